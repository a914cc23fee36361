"""Texts with fields: conditions on their values, linear or any that a solver decides."""
