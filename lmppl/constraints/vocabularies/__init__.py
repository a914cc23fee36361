"""Which tokens of a vocabulary a constraint allows."""
