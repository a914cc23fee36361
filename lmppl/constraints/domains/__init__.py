"""Constraints that know a subject: SQL, Python source, chemistry."""
