"""Which estimator tells what a neuron does to P(answer), and which misses it?"""
