"""Every neuron over a corpus: how it is distributed, when it fires, whose texts it belongs to."""
