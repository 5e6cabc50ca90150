"""The two PyTorch baselines that `experiments.bench` measures negjax against.

- `torch_serial`: what the original implementation does: hooks, two full forwards for each neuron
  and shift, a full backward for each target.
- `torch_best`: the same numbers by the best hand-written PyTorch: shifts batched, keys and values
  of the prefix computed once, no layer rerun that a neuron cannot influence.

Both read the weights of one `transformers` model, made by `torch_model.llama_from_tensors` from
arrays, so that both compute with negjax's own numbers. They need the extra `torch`.
"""
