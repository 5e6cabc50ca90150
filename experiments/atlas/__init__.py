"""The atlas: every neuron of a model on pages that open from the disk."""
