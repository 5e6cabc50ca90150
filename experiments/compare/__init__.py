"""Finished runs of one experiment beside each other and beside what the paper reports."""
