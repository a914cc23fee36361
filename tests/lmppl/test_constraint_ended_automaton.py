"""The automaton of a constraint and its end takes the same tokens and strings as the acceptor."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from viable_prefixes import accepted

import lmppl as lp
from lmppl.acceptance import Acceptor, Cursor
from lmppl.constraints.regular.ended_automaton import DEAD, ENDED, EndedAutomaton, ended_automaton_of
from lmppl.language_model import Vocabulary

PIECES = st.sampled_from(
    ["a", "b", "ab", "é", "[ab]", ".", "a{0,3}", "(ab)*", "(a|ba)*", "b?", "[^a]", "(é|a)+"]
)
PATTERNS = st.lists(PIECES, min_size=1, max_size=4).map("".join)
WORDS = st.lists(st.sampled_from(["a", "ab", "aab", "b", "bab", "é", "aé", ""]), min_size=1, unique=True)
CONSTRAINTS = st.one_of(
    st.none(),
    PATTERNS.map(lp.regex),
    WORDS.map(lp.choices),
    st.tuples(PATTERNS, PATTERNS).map(lambda pair: lp.regex(f"({pair[0]})|({pair[1]})b")),
)
STOPS = st.one_of(
    st.none(), st.text("ab", min_size=1, max_size=5), st.sampled_from(["é", "aé", "\n", "aé\n"])
).map(lambda stop: None if stop is None else stop.encode())
DATA = st.lists(st.sampled_from([b"a", b"b", "é".encode(), b"\xc3", b"\xa9", b"\n"]), max_size=6).map(
    b"".join
)


@st.composite
def vocabularies(draw: st.DrawFn) -> Vocabulary:
    """Draws tokens that overlap, repeat, split characters and stand for nothing, and up to two EOS."""
    tokens = [b"a", b"b", b"\xc3", b"\xa9", *draw(st.lists(DATA, max_size=8))]
    eos = range(len(tokens), len(tokens) + draw(st.integers(0, 2)))
    return Vocabulary((*tokens, *(b"" for _ in eos), b""), frozenset(eos))


def after_token(machine: EndedAutomaton, vocabulary: Vocabulary, state: int, token: int) -> int:
    """Walks one token through the table."""
    if token in vocabulary.eos_ids:
        return ENDED if machine.may_end[state] else DEAD
    return machine.advance(state, data) if (data := vocabulary.token_bytes[token]) else DEAD


def state_of(cursor: Cursor | None, live: dict[Cursor, int]) -> int:
    """Gives the state that stands for a cursor."""
    return DEAD if cursor is None else ENDED if cursor.ended else live[cursor]


@settings(max_examples=150)
@given(vocabularies(), CONSTRAINTS, STOPS)
def test_without_trimming_it_is_the_acceptor_token_by_token(vocabulary, constraint, stop):
    judge = Acceptor(vocabulary, constraint, stop)
    machine = ended_automaton_of(constraint, stop, trim=False)
    trimmed = ended_automaton_of(constraint, stop, has_eos=bool(vocabulary.eos_ids))
    finishable = states_that_can_end(machine, bool(vocabulary.eos_ids))
    met = {(judge.initial, machine.start, trimmed.start)}
    todo = list(met)
    while todo and len(met) < 60:
        cursor, state, strict = todo.pop(0)
        assert machine.may_end[state] == judge.may_end(cursor)
        assert (strict != DEAD) == (state in finishable)
        for token in range(len(vocabulary)):
            expected = judge.step(cursor, token)
            after = after_token(machine, vocabulary, state, token)
            assert (after == DEAD) == (expected is None)
            assert (after == ENDED) == (expected is not None and expected.ended)
            stricter = after_token(trimmed, vocabulary, strict, token)
            assert (stricter != DEAD) == (after in finishable)
            assert (stricter == ENDED) == (after == ENDED)
            if after > ENDED and (expected, after, stricter) not in met:
                met.add((expected, after, stricter))
                todo.append((expected, after, stricter))
    for place in (0, 1):  # a cursor and a state say the same
        assert len({pair[place] for pair in met}) == len(met)


def states_that_can_end(machine: EndedAutomaton, has_eos: bool) -> set[int]:
    """Gives `ENDED` and the states from which it can be reached, by plain iteration."""
    found = np.zeros(machine.num_states, bool)
    found[ENDED] = True
    found |= machine.may_end & has_eos
    while True:
        more = found | found[machine.transitions].any(axis=1)
        if (more == found).all():
            return set(np.flatnonzero(found).tolist())
        found = more


@settings(max_examples=100)
@given(CONSTRAINTS, STOPS, st.booleans())
def test_complete_strings_are_those_of_the_constraint_before_their_first_stop(constraint, stop, trim):
    machine = ended_automaton_of(constraint, stop, trim=trim)
    for length in range(5):
        for letters in itertools.product([b"a", b"b", "é".encode(), b"\n"], repeat=length):
            text = b"".join(letters)
            free_of_stop = stop is None or stop not in text
            assert machine.may_end[machine.advance(machine.start, text)] == (
                free_of_stop and (constraint is None or accepted(constraint, text))
            )
            if stop is not None and (text + stop).find(stop) == len(text):
                ended = machine.advance(machine.start, text + stop + b"anything")
                assert ended == (ENDED if (constraint is None or accepted(constraint, text)) else DEAD)


def test_a_stop_that_no_text_can_stand_before_leaves_nothing():
    machine = ended_automaton_of(lp.regex("(a|b)*ab"), b"ab")
    assert (machine.start, machine.num_states) == (DEAD, 2)
    judge = Acceptor(Vocabulary((b"a", b""), frozenset({1})), lp.regex("(a|b)*ab"), b"ab")
    assert judge.mask(judge.initial)[0]  # the acceptor finds out later


def test_without_eos_only_the_stop_ends_a_string():
    assert ended_automaton_of(lp.regex("a*"), None, has_eos=False).start == DEAD
    assert ended_automaton_of(None, None, has_eos=False).start == DEAD
    by_stop = ended_automaton_of(lp.regex("a*b?"), b"ba", has_eos=False)
    assert by_stop.advance(by_stop.start, b"aaba") == ENDED
    assert by_stop.may_end[by_stop.advance(by_stop.start, b"aa")]


def test_a_free_text_has_one_live_state():
    machine = ended_automaton_of(None, None)
    assert machine.num_states == 3
    assert machine.may_end.tolist() == [False, False, True]
    assert (machine.transitions[machine.start] == machine.start).all()


def test_dead_and_ended_are_never_left():
    machine = ended_automaton_of(lp.regex("[a-z]{2,5}"), b"\n\n")
    assert (machine.transitions[DEAD] == DEAD).all()
    assert (machine.transitions[ENDED] == ENDED).all()
    assert not machine.may_end[[DEAD, ENDED]].any()


def test_a_constraint_without_automaton_or_with_too_large_a_product_gives_none():
    assert ended_automaton_of(lp.check("short", prefix=lambda s: len(s) < 4), None) is None
    assert ended_automaton_of(lp.regex("a{100}"), b"\n", max_states=101) is not None
    assert ended_automaton_of(lp.regex("a{100}"), b"\n", max_states=100) is None
    assert ended_automaton_of(lp.regex("a{100}"), None, max_states=100) is None


def test_equal_constraints_share_one_automaton_and_its_numbers_are_repeatable():
    first = ended_automaton_of(lp.regex("(a|b)*a"), b"ab")
    assert ended_automaton_of(lp.regex("(b|a)*a"), b"ab") is first
    again = ended_automaton_of.__wrapped__(lp.regex("(a|b)*a"), b"ab")
    np.testing.assert_array_equal(again.transitions, first.transitions)


@pytest.mark.parametrize(("stop", "begun"), [(None, b""), (b"\n\n", b"\n"), (b"aab", b"aa")])
def test_long_chains_are_taken_whole(stop, begun):
    machine = ended_automaton_of(lp.regex("a{9000}"), stop)
    state = machine.advance(machine.start, b"a" * 9000)
    assert machine.may_end[state]
    assert machine.advance(state, begun) != DEAD
    assert machine.advance(state, begun + b"a") == DEAD
    assert stop is None or machine.advance(state, stop) == ENDED
