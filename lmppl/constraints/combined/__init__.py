"""Constraints made of constraints."""
