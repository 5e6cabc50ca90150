"""A local page on which neurons of a model are turned, and what becomes of its answer is seen."""
