"""Weight files: reading them lazily, and converting them to parameters and back."""
