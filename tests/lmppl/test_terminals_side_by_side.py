"""Where terminals end beside others, all followed at once, against all pairs by all short texts."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from lark_target import keywords, loaded, parses

from lmppl.constraints.grammars import lexer_exactness, terminals_side_by_side
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.match_automata import NEW, MatchAutomaton
from lmppl.constraints.grammars.pattern_automata import match_automaton
from lmppl.constraints.grammars.terminals_side_by_side import Meeting, Place, TerminalsSideBySide
from lmppl.constraints.regular.transition_tables import DEAD

PATTERNS = (
    "a+",
    "a|ab",
    "[ab]",
    "b+?a",
    "a*b",
    "(?i:a)b",
    "[ab]+",
    "aab",
    "a*?b",
    "b{1,2}",
    "é+",
    "é|è",
    "[éè]b",
)
PATTERNS += (
    "字|a字?",
    "[^a]",
    "#[^b]*b",
    "ab",
    "abb",
    "éa",
    " +",
    "[ #]",
    "a[ab]*b#",
    ".b",
    r"\s",
    "ab|a|aé|é",
    "#",
)
TEXTS = ["".join(p) for n in range(6) for p in itertools.product("abé#" if n > 3 else "abéè字# A", repeat=n)]


def random_patterns(rng: random.Random) -> list[str]:
    return [rng.choice(PATTERNS) for _ in range(rng.randint(2, 6))]


def walked(automata: list[MatchAutomaton]) -> list[set[Meeting]]:
    """Gives the meetings on short texts, by reading each with each automaton alone."""
    found: list[set[Meeting]] = [set() for _ in automata]
    for text in TEXTS:
        states = [state_after(automaton, text.encode()) for automaton in automata]
        for number, state in enumerate(states):
            if state is None or automata[number].labels[state].slots != (NEW,):
                continue
            for other, beside in enumerate(states[:number]):
                runs = beside is not None and automata[other].runs[beside]
                if beside is not None and runs and not automata[other].labels[beside].slots:
                    found[number].add((state, (other, beside)))
    return found


def state_after(automaton: MatchAutomaton, data: bytes) -> int | None:
    state = 0
    for byte in data:
        state = automaton.flat[256 * state + byte]
        if state == DEAD:
            return None
    return state


def test_meetings_are_those_of_all_short_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(0)
    num_meetings = 0
    for _ in range(100):
        automata = [match_automaton(pattern) for pattern in random_patterns(rng)]
        expected = walked(automata)
        assert TerminalsSideBySide(automata).meetings == expected
        with monkeypatch.context() as patch:
            patch.setattr(terminals_side_by_side, "MAX_STEPS", 0)
            assert TerminalsSideBySide(automata).meetings == expected  # found two by two
        num_meetings += sum(map(len, expected))
    assert num_meetings > 50


@pytest.mark.parametrize("mutant", ["the widest stands still", "later ones count", "nothing goes on"])
def test_broken_walk_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    moved, note = TerminalsSideBySide._moved, TerminalsSideBySide._note
    if mutant == "the widest stands still":

        def without(self: TerminalsSideBySide, places: tuple[Place, ...]) -> list[list[Place]]:
            widest = max(places, key=lambda place: len(self._edges_of(place)))
            return [[p for p in after if p[0] != widest[0]] for after in moved(self, places)]

        monkeypatch.setattr(TerminalsSideBySide, "_moved", without)
    elif mutant == "later ones count":
        monkeypatch.setattr(
            TerminalsSideBySide, "_note", lambda self, places, found: note(self, places[::-1], found)
        )
    else:
        monkeypatch.setattr(TerminalsSideBySide, "_moved", lambda self, places: list(moved(self, places))[:1])
    rng = random.Random(0)
    samples = [[match_automaton(p) for p in random_patterns(rng)] for _ in range(8)]
    assert any(TerminalsSideBySide(automata).meetings != walked(automata) for automata in samples)


def terminals(patterns: list[str]) -> list[Terminal]:
    return [Terminal(f"T{i}", i + 1, pattern, None, frozenset(), 0) for i, pattern in enumerate(patterns)]


def separates(automata: list[MatchAutomaton], number: int, byte: int) -> bool:
    """Says by one character after another whether a byte is a lexeme that all others end by beginning."""
    mine = automata[number]
    state = mine.flat[byte]
    others = [automaton for other, automaton in enumerate(automata) if other != number]
    if state == DEAD or mine.labels[state].slots != (NEW,) or any(o.flat[byte] != DEAD for o in others):
        return False
    characters = [c.encode() for c in "abéè字# AÄ中\n~"]
    begins = [c for c in characters if any(state_after(other, c) is not None for other in others)]
    for end, label in enumerate(mine.labels):
        if label.slots == (NEW,) and not mine.settled[end]:
            for data in begins:
                after = end
                for each in data:
                    after = mine.flat[256 * after + each]
                if not mine.settled[after] or mine.labels[after].slots != (0,):
                    return False
    return True


def test_separators_are_what_all_others_end_by_beginning() -> None:
    rng = random.Random(2)
    num_found = 0
    for _ in range(60):
        listed = terminals(random_patterns(rng))
        ignored = frozenset(t.name for t in rng.sample(listed, min(2, len(listed))))
        automata = [t.automaton for t in listed]
        expected = {
            byte
            for number, terminal in enumerate(listed)
            if terminal.name in ignored
            for byte in range(128)
            if separates(automata, number, byte)
        }
        assert lexer_exactness._Lexemes(listed, ignored)._separators.keys() == expected
        num_found += bool(expected)
    assert num_found > 10


def test_ways_without_end_are_those_that_long_walks_show() -> None:
    rng = random.Random(3)
    for _ in range(100):
        graph = {node: {rng.randrange(8) for _ in range(rng.choice((0, 0, 1, 2)))} for node in range(8)}
        reached = {*graph}
        for _ in range(8):
            reached = {node for node in graph if graph[node] & reached}
        assert lexer_exactness._leading_to_circles(graph) == reached


def judge(num: int, flag: str, lexer: str) -> None:
    """Compares a grammar with many keywords beside names with Lark."""
    words = keywords(num)
    sides = " | ".join(f'"{word}"{flag} NAME' for word in words)
    grammar = f'start: ({sides} | NUMBER)+\nNAME: /[a-z]+/\nNUMBER: /[0-9]+/\n%ignore " "'
    theirs = loaded(grammar, "lalr", lexer)
    begun = time.process_time()
    constraint = lark(grammar, parser="lalr", lexer=lexer)
    assert constraint.viable_is_exact
    assert time.process_time() - begun < 20
    rng = random.Random(0)
    num_accepted = 0
    for _ in range(80):
        word = rng.choice(words)
        text = rng.choice((word, word.upper(), word[:-1])) + rng.choice((" ", " ", "", "1"))
        text += rng.choice((rng.choice(words), "x", "name", "")) + rng.choice((" 12", ""))
        expected = parses(theirs, text)
        state = constraint.advance(constraint.initial(), text.encode())
        assert (state is not None and constraint.accepts(state)) == expected, text
        num_accepted += bool(expected)
    assert num_accepted > 5


@pytest.mark.parametrize(("flag", "lexer"), [("", "contextual"), ("i", "basic")])
def test_many_keywords_beside_names_agree_with_lark(flag: str, lexer: str) -> None:
    judge(60, flag, lexer)


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["", "i"])
@pytest.mark.parametrize("lexer", ["contextual", "basic"])
def test_four_hundred_keywords_beside_names_agree_with_lark(flag: str, lexer: str) -> None:
    judge(400, flag, lexer)


def test_steps_for_words_are_about_their_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work is counted, so a slow machine does not matter: pairs of words would be 180,000."""
    words = keywords(600)
    automata = [match_automaton("[a-z]+"), *map(match_automaton, words)]
    monkeypatch.setattr(terminals_side_by_side, "MAX_STEPS", 4 * sum(map(len, words)))
    assert TerminalsSideBySide(automata)._all_at_once([set() for _ in automata])
