"""From records and arrays to tables, figures and documents. Knows no model."""
