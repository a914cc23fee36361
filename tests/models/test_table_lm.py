"""The table model: probabilities as given, prompts by longest match, mistakes named."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.contracts import check_language_model
from lmppl.errors import InvalidInputError
from lmppl.language_model import NOTHING
from lmppl.models import TableLM
from lmppl.text import Chat

TOKENS = ["a", "b", "ab", "a", "<end>"]
INITIAL = [0.3, 0.2, 0.3, 0.1, 0.1]
TRANSITION = np.array(
    [
        [0.2, 0.2, 0.2, 0.2, 0.2],
        [0.0, 0.5, 0.0, 0.0, 0.5],
        [0.1, 0.2, 0.3, 0.4, 0.0],
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)


@pytest.fixture
def lm() -> TableLM:
    return TableLM(TOKENS, INITIAL, TRANSITION)


def next_probs(lm: TableLM, prompt: str) -> np.ndarray:
    ids = lm.encode_prompt(prompt) or (NOTHING,)
    tokens = jnp.asarray([ids], jnp.int32)
    _, hidden = lm.extend(lm.params, lm.empty(1, len(ids)), tokens, jnp.asarray([len(ids)]))
    return np.exp(np.asarray(lm.logits(lm.params, hidden[0, -1])))


def test_it_keeps_the_contract_of_a_language_model(lm: TableLM):
    check_language_model(lm, ["ab", "bbba", "a"])


def test_an_empty_prompt_is_followed_by_the_initial_probabilities(lm: TableLM):
    np.testing.assert_allclose(next_probs(lm, ""), INITIAL, rtol=1e-6)


@pytest.mark.parametrize(("prompt", "last"), [("a", 0), ("b", 1), ("bab", 2), ("aba", 0)])
def test_the_last_token_of_the_prompt_decides_the_next_one(lm: TableLM, prompt: str, last: int):
    np.testing.assert_allclose(next_probs(lm, prompt), TRANSITION[last], rtol=1e-6)


def test_empty_and_other_prompts_lie_in_one_batch(lm: TableLM):
    tokens = jnp.asarray([[NOTHING, 0], [2, 2]], jnp.int32)
    _, hidden = jax.jit(lm.extend)(lm.params, lm.empty(2, 4), tokens, jnp.asarray([1, 1]))
    logits = lm.logits(lm.params, hidden[:, 0])
    np.testing.assert_allclose(np.exp(logits), [INITIAL, TRANSITION[2]], rtol=1e-6)


def test_an_impossible_token_has_log_probability_minus_infinity(lm: TableLM):
    assert lm.params["transition"][1, 0] == -math.inf


def test_the_longest_token_comes_first_and_the_first_of_equals(lm: TableLM):
    assert lm.encode("aab") == (0, 2)
    assert lm.vocabulary.token_bytes[0] == lm.vocabulary.token_bytes[3]


def test_a_longer_token_is_passed_over_where_the_rest_could_not_be_spelled():
    lm = TableLM(["ab", "a", "bc", "<end>"], [0.25] * 4, [[0.25] * 4] * 4)
    assert lm.encode("abc") == (1, 2)


def test_the_end_is_the_last_token_and_has_no_text(lm: TableLM):
    assert lm.vocabulary.eos_ids == {4}
    assert lm.vocabulary.token_bytes[4] == b""
    assert lm.vocabulary.possible.all()


def test_two_tables_are_equal_only_if_they_are_the_same_object(lm: TableLM):
    assert lm == lm
    assert lm != TableLM(TOKENS, INITIAL, TRANSITION)
    assert len({lm, lm}) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tokens": ["<end>"]}, "at least two strings"),
        ({"tokens": ["", "b", "c", "d", "<end>"]}, r"tokens\[0\] is the empty string"),
        ({"tokens": ["a", "b", "<end>"]}, r"shape \(5,\); 3 tokens need \(3,\)"),
        ({"initial_probs": [0.3, 0.3, 0.3, 0.3, 0.3]}, "initial_probs sums to 1.5"),
        ({"initial_probs": [1.5, -0.5, 0.0, 0.0, 0.0]}, "initial_probs contains -0.5"),
        ({"initial_probs": [math.nan, 1.0, 0.0, 0.0, 0.0]}, "initial_probs contains nan"),
        ({"initial_probs": ["x"] * 5}, "initial_probs is no array of numbers"),
        ({"transition_probs": TRANSITION[:4]}, r"transition_probs has shape \(4, 5\)"),
        ({"transition_probs": TRANSITION * 2}, r"transition_probs\[0\] \(after 'a'\) sums to 2"),
        ({"transition_probs": np.log(TRANSITION + 1e-3)}, "not their logarithms"),
    ],
)
def test_a_wrong_table_is_refused_with_the_value_in_the_message(changes: dict[str, Any], said: str):
    given = {"tokens": TOKENS, "initial_probs": INITIAL, "transition_probs": TRANSITION} | changes
    with pytest.raises(InvalidInputError, match=said):
        TableLM(**given)


def test_the_row_after_the_end_is_ignored():
    TableLM(["a", "<end>"], [0.5, 0.5], [[0.5, 0.5], [7.0, math.nan]])


def test_a_text_that_the_tokens_cannot_spell_is_refused_with_the_place(lm: TableLM):
    with pytest.raises(InvalidInputError, match=r"nothing fits at byte 2, before 'x'"):
        lm.encode_prompt("abx")


def test_a_chat_is_refused(lm: TableLM):
    with pytest.raises(InvalidInputError, match="no chat template"):
        lm.encode_prompt(Chat((("user", "a"),)))
