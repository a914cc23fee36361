"""A constraint with a mask of its own: the same posterior, and nobody is asked about single tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import lmppl as lp

LETTERS = lp.TableLM(
    ["a", "b", "ab", "<eos>"],
    [0.4, 0.3, 0.2, 0.1],
    [[0.1, 0.5, 0.1, 0.3], [0.3, 0.2, 0.1, 0.4], [0.2, 0.2, 0.2, 0.4], [0, 0, 0, 1]],
)


@dataclass(frozen=True)
class EvenBytes(lp.Constraint):
    """Texts with an even number of bytes, of which there are few. A state is what is left of them."""

    most: int
    asked: list[bytes] = field(default_factory=list, compare=False)

    @property
    def viable_is_exact(self) -> bool:
        return False  # it is, but would be masked for a vocabulary as small as this

    def initial(self) -> int:
        return self.most

    def advance(self, state: Any, data: bytes) -> int | None:
        self.asked.append(data)
        return state - len(data) if state >= len(data) else None

    def accepts(self, state: Any) -> bool:
        return (self.most - state) % 2 == 0

    def describe(self) -> str:
        return f"EvenBytes({self.most})"


class Masked(EvenBytes):
    """Knows at once what may come."""

    def mask(self, state: Any, vocabulary: lp.Vocabulary) -> np.ndarray:
        return np.array([len(data) <= state for data in vocabulary.token_bytes])


@lp.program
def word(constraint: lp.Constraint) -> str:
    return lp.sample("word", LETTERS("", max_tokens=4) & constraint)


@pytest.mark.parametrize("more", [None, lp.regex("[ab]*b"), lp.check("no aa", lambda s: "aa" not in s)])
def test_the_posterior_is_that_of_the_same_constraint_without_a_mask(more: lp.Constraint | None) -> None:
    plain, masked = EvenBytes(4), Masked(4)
    joined = [each if more is None else each & more for each in (plain, masked)]
    exact, same = (lp.infer(word, each, method=lp.Enumerate()) for each in joined)
    assert dict(same.answers()) == pytest.approx(dict(exact.answers()))
    # False alarms: 1 in 10,000 were 3.9 deviations, and there are three cases.
    drawn = lp.infer(word, joined[1], method=lp.SMC(2_000), key=3)
    error = abs(np.expm1(drawn.log_evidence - exact.log_evidence))
    assert error < 4.2 * drawn.log_evidence_error
    for value, probability in exact.answers().items():
        assert drawn.probability(value) == pytest.approx(probability, abs=0.05)


def test_auto_masks_it_and_asks_about_no_token_that_is_not_taken() -> None:
    masked = Masked(4)
    posterior = lp.infer(word, masked, method=lp.SMC(50), key=0)
    assert "EvenBytes(4) masked" in posterior.diagnostics.text_sites["word"]
    plain = EvenBytes(4)
    asked = lp.infer(word, plain, method=lp.SMC(50), key=0)
    assert "EvenBytes(4) by AWRS()" in asked.diagnostics.text_sites["word"]
    assert posterior.diagnostics.num_checks == 0 < asked.diagnostics.num_checks


class Forgetful(Masked):
    """Says of each token that it may come."""

    def mask(self, state: Any, vocabulary: lp.Vocabulary) -> np.ndarray:
        return np.ones(len(vocabulary), bool)


@pytest.mark.parametrize("method", [lp.Enumerate(), lp.SMC(20)], ids=["enumerate", "smc"])
def test_a_mask_that_allows_what_advance_refuses_is_named(method: lp.SMC | lp.Enumerate) -> None:
    with pytest.raises(
        lp.errors.ConstraintError, match=r"EvenBytes\(1\) refuses the token b'\w+', which it had"
    ):
        lp.infer(word, Forgetful(1), method=method, key=0)
