"""Features of many prompts: streamed through the model, kept on disk, continued after a kill."""
