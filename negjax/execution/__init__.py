"""How kernels run over probes: buckets, budgets, batches, results that must be finite."""
