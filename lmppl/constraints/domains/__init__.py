"""Constraints that know a subject: records, plans, SQL, Python source, chemistry."""
