"""The empirical gradient of every neuron of a model: exact, and drawn."""
