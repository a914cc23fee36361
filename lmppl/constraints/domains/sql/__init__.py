"""Queries of SQL, judged by SQLite and by the names of a schema."""
