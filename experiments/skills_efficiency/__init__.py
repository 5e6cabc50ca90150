"""How few neurons and how few training prompts do: accuracies of probes by the number of either."""
