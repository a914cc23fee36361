"""Tokens sorted into classes by an automaton, against asking about every token in every state."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import lmppl as lp
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.vocabularies import token_classes as module
from lmppl.constraints.vocabularies.token_classes import TokenClasses, classes_of
from lmppl.constraints.vocabularies.vocabulary_mask import VocabularyIndex
from lmppl.constraints.vocabularies.vocabulary_trie import VocabularyTrie
from lmppl.errors import ConstraintError
from lmppl.language_model import Vocabulary

PIECES = (b"a", b"b", b"c", b"ab", b"ba", "é".encode(), b"\xc3", b"\xa9", b"\x00", b"\xff")
ATOMS = ("a", "b", "c", "é", "[ab]", "[^a]", ".", "(?:ab|ba)", "a*", "b+", "c?", "(?:b|cc)*", "a{2,3}")


def random_machine(rng: random.Random) -> ByteAutomaton:
    while True:
        sides = ["".join(rng.choices(ATOMS, k=rng.randrange(1, 4))) for _ in range(rng.randrange(1, 3))]
        try:
            machine = lp.regex("|".join(sides)).automaton()
        except ConstraintError:
            continue
        assert machine is not None
        return machine


def random_vocabulary(rng: random.Random) -> Vocabulary:
    """Makes tokens of several bytes, some of them equal, some empty, and ends with and without bytes."""
    tokens = [b"".join(rng.choices(PIECES, k=rng.randrange(5))) for _ in range(rng.randrange(1, 60))]
    tokens += [rng.choice(tokens) for _ in range(3)] + [b"", b"ab"]
    return Vocabulary(tuple(tokens), frozenset({len(tokens) - 1, len(tokens) - 2}))


def one_by_one(machine: ByteAutomaton, vocabulary: Vocabulary, state: int) -> list[bool]:
    return [
        bool(data) and token not in vocabulary.eos_ids and machine.advance(state, data) is not None
        for token, data in enumerate(vocabulary.token_bytes)
    ]


def agrees_with_one_by_one(
    made: Callable[[ByteAutomaton, VocabularyTrie], TokenClasses | None], num_trials: int
) -> int:
    """Compares masks and rows of all states; gives how many answers were compared."""
    rng = random.Random(0)
    num_compared = 0
    for _ in range(num_trials):
        machine, vocabulary = random_machine(rng), random_vocabulary(rng)
        classes = made(machine, VocabularyTrie(vocabulary))
        assert classes is not None
        for state in range(machine.num_states):
            expected = one_by_one(machine, vocabulary, state)
            assert classes.mask(state).tolist() == expected
            for may_end in (False, True):
                row = classes.row(state, may_end)
                answers = [row[classes.class_of[token]] for token in range(len(vocabulary))]
                ends = [may_end and token in vocabulary.eos_ids for token in range(len(vocabulary))]
                assert answers == [a or b for a, b in zip(expected, ends, strict=True)]
            num_compared += len(expected)
    return num_compared


def test_classes_answer_for_all_tokens_and_states_as_the_automaton_does() -> None:
    assert agrees_with_one_by_one(classes_of, num_trials=300) > 20_000


@pytest.mark.parametrize("lost", ["a state", "the tokens said again", "the ends"])
def test_the_comparison_catches_classes_that_are_wrong(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.distinct_columns

    def blind(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tells columns of booleans apart by all states but the last."""
        if table.dtype != bool or len(table) == 1:
            return real(table)
        columns, class_of = real(table[:-1])
        return np.concatenate([columns, columns[-1:]]), class_of

    def made(machine: ByteAutomaton, trie: VocabularyTrie) -> TokenClasses | None:
        if lost == "the tokens said again":
            trie._again = trie._again[:0]
            trie._said_before = trie._said_before[:0]
        elif lost == "the ends":
            trie.ends = trie.ends[:0]
        return classes_of(machine, trie)

    if lost == "a state":
        monkeypatch.setattr(module, "distinct_columns", blind)
    with pytest.raises(AssertionError):
        agrees_with_one_by_one(made, num_trials=50)


def test_more_classes_than_a_byte_can_name_are_told_apart() -> None:
    words = [f"{i * 7919 % 1000:03d}" for i in range(400)]
    machine = lp.choices([f"{word}{'x' * (i % 17)}{word}" for i, word in enumerate(words)]).automaton()
    assert machine is not None
    vocabulary = Vocabulary((*(word.encode() for word in words), b"x", b""), frozenset({401}))
    classes = classes_of(machine, VocabularyTrie(vocabulary))
    assert classes is not None
    assert not isinstance(classes.class_of, bytes)
    for state in range(0, machine.num_states, 29):
        assert classes.mask(state).tolist() == one_by_one(machine, vocabulary, state)
        row = classes.row(state, True)
        assert [row[classes.class_of[token]] for token in range(402)][:-1] == one_by_one(
            machine, vocabulary, state
        )[:-1]


def test_a_vocabulary_without_text_has_classes_too() -> None:
    machine = lp.regex("a*").automaton()
    assert machine is not None
    classes = classes_of(machine, VocabularyTrie(Vocabulary((b"", b""), frozenset({0}))))
    assert classes is not None
    assert classes.mask(0).tolist() == [False, False]


def test_large_automata_have_no_classes_and_the_same_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    vocabulary = random_vocabulary(rng)
    constraint = lp.regex("(?:ab|c){0,9}[^a]*")
    machine = constraint.automaton()
    assert machine is not None
    for limit, most in (("MAX_STATES", 3), ("MAX_TARGETS", 50)):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, most)
            index = VocabularyIndex(vocabulary)
            assert index.classes(machine) is None
            for state in range(machine.num_states):
                assert index.mask(constraint, state).tolist() == one_by_one(machine, vocabulary, state)


def test_classes_are_made_when_as_much_was_spent_without_them() -> None:
    index = VocabularyIndex(Vocabulary(tuple(bytes((i // 64, i % 64)) for i in range(1024)), frozenset()))
    machine = lp.regex("a*").automaton()
    assert machine is not None
    assert [index.classes_if_they_pay(machine) is None for _ in range(9)] == [True] * 7 + [False] * 2
    other = lp.regex("b*")
    for _ in range(3):
        index.mask(other, 0)
        index._cache.clear()
        assert not index._classes.get(other.automaton())  # type: ignore[arg-type]
    index.mask(other, 0)
    assert index._classes[other.automaton()]  # type: ignore[index]


def test_memory_for_classes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from lmppl.constraints.vocabularies import vocabulary_mask

    monkeypatch.setattr(vocabulary_mask, "MAX_CACHED_BYTES", 4_000)
    monkeypatch.setattr(vocabulary_mask, "MAX_COUNTED", 8)
    index = VocabularyIndex(Vocabulary(tuple(bytes((i // 64, i % 64)) for i in range(1024)), frozenset()))
    machines = [lp.regex(f"a{{{size}}}").automaton() for size in range(1, 30)]
    for size, machine in enumerate(machines):
        assert machine is not None
        index.classes_if_they_pay(machine)
        index.classes(machine)
        index.classes_if_they_pay(lp.regex(f"b{{{size + 1}}}").automaton())  # type: ignore[arg-type]
        assert index._num_class_bytes <= 4_000
        assert len(index._spent) <= 8
    assert machines[-1] in index._classes
