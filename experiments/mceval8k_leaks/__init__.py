"""How much of MCEval8K's test items a probe has seen in training: published parts, and ours."""
