"""JSON texts and JSON Schema, from the schema document to the acceptor that judges byte by byte."""
