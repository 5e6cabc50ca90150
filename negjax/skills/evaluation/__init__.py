"""How well probes do, on which neurons, and what sets of neurons share."""
