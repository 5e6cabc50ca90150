"""Is the relation between a neuron's activation and the probability of the answer linear?"""
