"""Formats of files: safetensors, GGUF, tokenizers."""
