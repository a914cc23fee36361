"""Constraints that ask functions: how these are called, and what is remembered of them."""
