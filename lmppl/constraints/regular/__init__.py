"""Regular languages: expressions, and automata over characters and bytes."""
