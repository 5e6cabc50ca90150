"""What is asked: probes, tables of facts, neurons and sets of them."""
