"""The canonical sequences of longest-match tokenizers, against all sequences of small vocabularies."""

from __future__ import annotations

import itertools
import math
import random

import pytest

import lmppl as lp
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError
from lmppl.language_model import Vocabulary
from lmppl.models.canonical_cuts import LongestMatchRule
from lmppl.models.longest_match import LongestMatch
from lmppl.token_rules import TokenRule


def is_viable(rule: TokenRule, tokens: tuple[int, ...]) -> bool:
    state = rule.initial()
    for token in tokens:
        further = rule.advance(state, token)
        if further is None:
            return False
        state = further
    assert rule.accepts(state)
    return True


def vocabularies() -> list[tuple[bytes, ...]]:
    """Small vocabularies over two letters, some without one of the letters, some with a token twice."""
    rng = random.Random(0)
    words = [bytes(word) for n in range(1, 5) for word in itertools.product(b"ab", repeat=n)]
    return [tuple(rng.choices(words, k=rng.randint(2, 6))) for _ in range(30)]


@pytest.mark.parametrize("token_bytes", vocabularies())
def test_a_prefix_is_viable_exactly_when_it_is_what_the_longest_match_gives(token_bytes: tuple[bytes, ...]):
    rule, codec = LongestMatchRule(Vocabulary(token_bytes)), LongestMatch(token_bytes)
    for length in range(5):
        for tokens in itertools.product(range(len(token_bytes)), repeat=length):
            text = b"".join(token_bytes[token] for token in tokens).decode()
            assert is_viable(rule, tokens) == (codec.encode(text) == tokens), tokens


def test_whether_a_longer_token_leads_anywhere_decides():
    token_bytes = (b"ab", b"cd", b"abc", b"d")
    assert LongestMatch(token_bytes).encode("abcd") == (2, 3)
    assert not is_viable(LongestMatchRule(Vocabulary(token_bytes)), (0, 1))
    without_d = token_bytes[:-1]  # now "abc" leads nowhere
    assert LongestMatch(without_d).encode("abcd") == (0, 1)
    assert is_viable(LongestMatchRule(Vocabulary(without_d)), (0, 1))


def table() -> lp.TableLM:
    tokens = ["a", "b", "ab", "ba", ".", "b.", "<eos>"]
    rows = [[0.2, 0.1, 0.2, 0.1, 0.1, 0.1, 0.2]] * len(tokens)
    return lp.TableLM(tokens, rows[0], rows)


@pytest.mark.parametrize("stop", [None, ".", "b.", "ab."])
@pytest.mark.parametrize("with_text", [False, True])
def test_log_prob_is_the_mass_that_sampling_gives_under_the_constraint(stop: str | None, with_text: bool):
    lm = table()
    text = lm("", max_tokens=3, stop=stop) & lp.canonical(lm)
    text = text & lp.regex("[ab.]{0,4}") if with_text else text

    @lp.program
    def said(lm):
        return lp.sample("text", text)

    exact = lp.infer(said, lm, method=lp.Enumerate())
    answers = exact.answers()
    assert len(answers) > 10
    for value, probability in answers.items():
        expected = text.log_prob(value)
        assert math.isclose(math.log(probability) + exact.log_evidence, expected, abs_tol=1e-4), value
    pooled = lp.infer(said_freely(text), lm, method=lp.Enumerate())
    assert pooled.log_evidence > exact.log_evidence  # without the constraint some mass is spelled otherwise


def said_freely(text: lp.Text) -> lp.Program:
    free = text.lm("", max_tokens=text.max_tokens, stop=text.stop)

    @lp.program
    def said(lm):
        return lp.sample("text", free)

    return said


def test_smc_draws_canonical_tokens_only():
    lm = table()

    @lp.program
    def said(lm):
        return lp.sample("text", lm("", max_tokens=4) & lp.canonical(lm))

    posterior = lp.infer(said, lm, method=lp.SMC(8, proposal=lp.AWRS()))
    for trace in posterior.traces:
        assert trace.texts["text"].tokens[:-1] == lm.encode(trace["text"])


def test_a_condition_on_tokens_is_joined_by_and_alone():
    lm = table()
    with pytest.raises(ConstraintError, match="condition on tokens"):
        (lp.canonical(lm) | "a").initial()
    with pytest.raises(ConstraintError, match="condition on tokens"):
        lp.canonical(lm).repeat().initial()
    with pytest.raises(InvalidTypeError, match="language model"):
        lp.canonical("gpt")
    with pytest.raises(InvalidInputError, match="another vocabulary"):
        (lm("") & lp.canonical(table())).log_prob("a")
    assert lp.canonical(lm) == lp.canonical(lm)
