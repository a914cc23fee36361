"""Log-probabilities of complete strings: they sum to what they should, and agree with enumeration."""

import itertools
import math

import numpy as np
import pytest

import lmppl as lp
from lmppl.scoring import path_log_probs, text_log_probs


def table(tokens=("a", "b", "c"), seed=0, end=None):
    generator = np.random.default_rng(seed)
    size = len(tokens) + 1
    rows = generator.dirichlet(np.ones(size), size + 1)
    if end is not None:  # every row ends with this probability
        rows[:, :-1] *= (1 - end) / rows[:, :-1].sum(axis=1, keepdims=True)
        rows[:, -1] = end
    return lp.TableLM([*tokens, "<end>"], rows[0], rows[1:])


def total(text, letters, longest):
    strings = ["".join(s) for n in range(longest + 1) for s in itertools.product(letters, repeat=n)]
    return float(np.exp(text_log_probs([text] * len(strings), strings)).sum())


def enumerated_mass(text):
    return math.exp(lp.infer(lambda: lp.sample("x", text), method=lp.Enumerate()).log_evidence)


def test_probabilities_of_all_strings_sum_to_one_with_eos():
    text = table(end=0.6)("a")
    assert total(text, "abc", 7) == pytest.approx(1 - 0.4**8, abs=1e-6)


@pytest.mark.parametrize("stop", ["b", "ab"])
def test_probabilities_of_all_strings_sum_to_one_with_a_stop_string(stop):
    text = table(end=0.6)("c", stop=stop)
    assert total(text, "abc", 7) == pytest.approx(1.0, abs=2e-3)
    assert total(text, "abc", 7) > 1 - 0.4**8 - 1e-6


@pytest.mark.parametrize("stop", [None, "b", "ab", "aab"])
@pytest.mark.parametrize("limit", [0, 1, 3])
def test_with_a_token_limit_they_sum_to_the_mass_within_it(stop, limit):
    text = table()("a", stop=stop, max_tokens=limit)
    assert total(text, "abc", limit + 1) == pytest.approx(enumerated_mass(text), rel=1e-5)


def test_the_mass_within_a_token_limit_is_that_of_the_chain():
    probs = np.array([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
    lm = lp.TableLM(["a", "b", "<end>"], probs[0], probs)
    after_a = probs[0]
    expected = after_a[2] + after_a[0] * probs[0, 2] + after_a[1] * probs[1, 2]
    assert total(lm("a", max_tokens=1), "ab", 2) == pytest.approx(expected, rel=1e-6)
    assert enumerated_mass(lm("a", max_tokens=1)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("stop", [None, "b", "ab"])
def test_a_locally_normalised_distribution_sums_to_one(stop):
    text = lp.local(table()("a", stop=stop, max_tokens=3) & lp.regex("[ac]*"))
    assert total(text, "abc", 4) == pytest.approx(1.0, rel=1e-5)
    assert enumerated_mass(text) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_enumeration_gives_each_string_its_probability(seed):
    text = table(seed=seed)("b", stop="ca", max_tokens=3, temperature=1.7) & lp.regex("[ab]*c?[ab]*")
    exact = lp.infer(lambda: lp.sample("x", text), method=lp.Enumerate())
    for string, probability in exact.answers().items():
        assert text.log_prob(string) == pytest.approx(exact.log_evidence + math.log(probability), abs=1e-5)


def test_a_token_with_the_stop_in_its_middle_ends_the_string_before_it():
    lm = table(tokens=("a", "b", "b.a", "."), end=0.3)
    text = lm("a", stop=".", max_tokens=2)
    exact = lp.infer(lambda: lp.sample("x", text), method=lp.Enumerate())
    assert "ab" in exact.answers()
    assert not any("." in string for string in exact.answers())


def test_strings_outside_of_the_support_have_no_probability():
    lm = table()
    assert lm("a", stop="b").log_prob("ab") == -math.inf
    assert lm("a", max_tokens=1).log_prob("aa") == -math.inf
    assert (lm("a") & lp.regex("a*")).log_prob("b") == -math.inf


def test_temperature_scales_the_logits():
    probs = np.array([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])
    lm = lp.TableLM(["a", "b", "<end>"], probs[0], probs)
    scaled = probs**2 / (probs**2).sum(axis=1, keepdims=True)
    assert lm("a", temperature=0.5).log_prob("b") == pytest.approx(
        math.log(scaled[0, 1] * scaled[1, 2]), abs=1e-6
    )


def test_equal_pairs_and_mixed_lengths_are_scored_as_alone():
    lm, other = table(), table(seed=3)
    texts = [lm("a"), other("b"), lm("a"), lm("abc", max_tokens=5), other("b")]
    values = ["ab", "cc", "ab", "", "a"]
    together = text_log_probs(texts, values)
    alone = [text.log_prob(value) for text, value in zip(texts, values, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def test_a_path_is_scored_with_the_token_that_ends_it():
    lm = table()
    text = lm("a")
    path = (0, 1, 3)
    assert path_log_probs([text], [path])[0] == pytest.approx(text.log_prob("ab"), abs=1e-6)
    assert path_log_probs([text], [(0, 1)])[0] == -np.inf  # it has not ended


def test_what_the_tokens_cannot_spell_has_no_probability():
    assert table()("a").log_prob("zzz") == -math.inf
