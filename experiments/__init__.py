"""Studies with negjax, each run as `python -m experiments.<name>`."""
