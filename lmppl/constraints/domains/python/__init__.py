"""Source code of Python."""
