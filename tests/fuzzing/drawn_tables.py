"""Table models with drawn probabilities: small enough that an oracle enumerates their strings."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

import lmppl as lp


def drawn_table(seed: int, tokens: Iterable[str] = "abc", concentration: float = 1.0) -> lp.TableLM:
    """Gives a table model with an end token, each row drawn from a symmetric Dirichlet distribution."""
    names = [*tokens, "<end>"]
    rows = np.random.default_rng(seed).dirichlet(np.full(len(names), concentration), len(names) + 1)
    return lp.TableLM(names, rows[0], rows[1:])
