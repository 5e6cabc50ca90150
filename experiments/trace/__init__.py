"""Where in the prompt and in the layers an answer is decided: clean against corrupted prompts."""
