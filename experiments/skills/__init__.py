"""How much of a task a model's neurons know: accuracies of probes, without leaks."""
