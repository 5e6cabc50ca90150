"""What several studies read: facts, curves, flags of the benchmark."""
