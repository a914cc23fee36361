"""EOS, stop strings and constraints together: masks agree with single steps, and steps with whole strings."""

import itertools

import numpy as np
import pytest
from viable_prefixes import accepted

import lmppl as lp
from lmppl.acceptance import Acceptor
from lmppl.language_model import Vocabulary

TOKENS = (b"a", b"b", b"ab", b"ba", b"aab", b"bb", b"b", b"", b"\xc3", b"\xa9", b"")
VOCABULARY = Vocabulary(TOKENS, frozenset({10}))
STOPS = [None, b"b", b"ab", b"aab", b"bab"]
CONSTRAINTS = [
    None,
    lp.regex("(a|ba)*"),
    lp.regex("a{0,3}b?a*"),
    lp.check("short", prefix=lambda s: len(s) < 4),
]


def ended_text(data, stop):
    return data if stop is None or data.find(stop) < 0 else data[: data.find(stop)]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=["free", "regex 1", "regex 2", "check"])
def test_masks_agree_with_steps_on_all_short_token_paths(stop, constraint):
    judge = Acceptor(VOCABULARY, constraint, stop)
    frontier = [(judge.initial, b"")]
    for _ in range(3):
        longer = []
        for cursor, data in frontier:
            mask, ends = judge.mask(cursor), judge.end_mask(cursor)
            for token in range(len(VOCABULARY)):
                after = judge.step(cursor, token)
                assert mask[token] == (after is not None)
                assert ends[token] == (after is not None and after.ended)
                if after is not None and not after.ended:
                    longer.append((after, data + TOKENS[token]))
        frontier = longer[:300]


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("constraint", CONSTRAINTS[:3], ids=["free", "regex 1", "regex 2"])
def test_steps_agree_with_whole_strings(stop, constraint):
    """A path ends by EOS or the stop exactly if the string before the end is accepted as a whole."""
    judge = Acceptor(VOCABULARY, constraint, stop)
    for length in (1, 2, 3):
        for path in itertools.product((0, 1, 2, 3, 4, 5), repeat=length):
            data = b"".join(TOKENS[token] for token in path)
            first_stop = next((n for n in range(1, length) if stop and stop in joined(path[:n])), None)
            if first_stop is not None:
                continue  # the string has ended before this path does
            cursor = judge.initial
            for token in (*path, 10):
                if cursor is not None and not cursor.ended:
                    cursor = judge.step(cursor, token)
            text = ended_text(data, stop)
            assert (cursor is not None) == (constraint is None or accepted(constraint, text))


def joined(path):
    return b"".join(TOKENS[token] for token in path)


def test_a_held_tail_may_be_text_or_the_beginning_of_the_stop():
    judge = Acceptor(VOCABULARY, lp.regex("b"), b"aab")
    after_b = judge.step(judge.initial, 1)
    held = judge.step(after_b, 0)
    assert held is not None  # "a" cannot be text any more, but can begin the stop
    assert judge.step(held, 2).ended
    assert judge.step(held, 1) is None
    assert not judge.may_end(held)


def test_several_ids_with_the_same_bytes_are_allowed_together():
    mask = Acceptor(VOCABULARY, lp.regex("b*"), None).mask(Acceptor(VOCABULARY, lp.regex("b*"), None).initial)
    assert mask[1]
    assert mask[6]
    np.testing.assert_array_equal(np.flatnonzero(mask), [1, 5, 6, 10])
