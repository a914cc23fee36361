"""Which strings are allowed: incremental acceptors of byte strings."""
