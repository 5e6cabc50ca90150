"""Are skill neurons robust? Probes that learn from one way of asking, tested on others."""
