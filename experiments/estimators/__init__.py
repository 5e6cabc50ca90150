"""Which estimator shows what a neuron does to P(answer), and which misses it?"""
