"""negjax against two PyTorch baselines, in one run on one machine."""
