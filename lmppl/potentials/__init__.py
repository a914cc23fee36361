"""Log-weights of strings, which multiply a text distribution where a constraint only allows or refuses."""
