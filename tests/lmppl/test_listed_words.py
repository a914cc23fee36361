"""Terminals that list many words, against the general construction, `re` and Lark."""

from __future__ import annotations

import itertools
import random
import re
import time
from collections import Counter

import lark as lark_package
import pytest
from lark_target import MODES, compared, keywords, loaded, parses

from lmppl.constraints.grammars import listed_words
from lmppl.constraints.grammars.grammar import _lark, lark
from lmppl.constraints.grammars.match_automata import MatchAutomaton
from lmppl.constraints.grammars.pattern_automata import match_automaton, ordered_subsets
from lmppl.constraints.regular.regex_syntax import parse
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.errors import ConstraintError

LETTERS = ("a", "b", "é", "è", "ß", "字", "孚", "𝒳", "𝒴")


def random_lists(num: int) -> list[str]:
    """Gives lists in which words begin with one another, stand twice, or differ within a character."""
    rng = random.Random(0)
    lists = []
    for _ in range(num):
        letters = rng.sample(LETTERS, rng.randint(1, 4))
        words = [
            "".join(rng.choices(letters, k=rng.choice((1, 1, 2, 3, 4)))) for _ in range(rng.randint(1, 9))
        ]
        flags = "i" if rng.random() < 0.3 else ""
        words = [f"(?:{word})" if rng.random() < 0.1 else word for word in words]
        if rng.random() < 0.1:
            words.insert(rng.randrange(len(words)), "")
        lists.append(f"(?{flags}:{'|'.join(words)})")
    return lists


def difference(one: MatchAutomaton, other: MatchAutomaton) -> bytes | None:
    """Gives a shortest text after which two automata do not say the same; None if they never differ."""
    seen = {(0, 0)}
    todo = [((0, 0), b"")]
    for (mine, theirs), text in todo:  # grows while it is walked
        if one.labels[mine] != other.labels[theirs] or one.settled[mine] != other.settled[theirs]:
            return text
        for byte in range(256):
            pair = one.flat[256 * mine + byte], other.flat[256 * theirs + byte]
            if (pair[0] == DEAD) != (pair[1] == DEAD):
                return text + bytes((byte,))
            if DEAD not in pair and pair not in seen:
                seen.add(pair)
                todo.append((pair, text + bytes((byte,))))
    return None


def test_listed_words_are_what_the_general_construction_makes_of_them() -> None:
    for pattern in random_lists(150):
        assert listed_words.words_of(parse(pattern)) is not None
        assert difference(match_automaton(pattern), ordered_subsets(pattern, parse(pattern))) is None, pattern


def test_listed_words_are_found_as_re_finds_them() -> None:
    rng = random.Random(1)
    for pattern in random_lists(60):
        automaton, program = match_automaton(pattern), re.compile(pattern)
        for _ in range(60):
            text = "".join(rng.choices((*LETTERS, "A", "SS"), k=rng.randint(1, 5)))
            found = program.match(text)
            expected = None if found is None else len(found[0].encode())
            assert expected == 0 or automaton.find(text.encode()) == expected, (pattern, text)


@pytest.mark.parametrize("mutant", ["later words are kept", "no order", "nothing else may follow"])
def test_broken_list_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mutant == "later words are kept":
        original = listed_words._Tree.add

        def added(self: listed_words._Tree, word: listed_words.Word) -> None:
            kept, self.is_word = self.is_word, [False] * len(self.is_word)
            original(self, word)
            self.is_word = [a or b for a, b in zip([*kept, *[False] * len(word)], self.is_word, strict=False)]

        monkeypatch.setattr(listed_words._Tree, "add", added)
    elif mutant == "no order":
        monkeypatch.setattr(
            "lmppl.constraints.grammars.pattern_automata.words_automaton",
            lambda words: listed_words.words_automaton(sorted(words)),
        )
    else:
        ways = listed_words._Bytes._ways
        monkeypatch.setattr(
            listed_words._Bytes, "_ways", lambda self, written, default: ways(self, written, DEAD)
        )
    assert any(
        difference(match_automaton.__wrapped__(p), ordered_subsets(p, parse(p))) is not None
        for p in random_lists(30)
    )


@pytest.mark.parametrize(
    "pattern", ["a|[ab]", "(?:a|(?i:a)b)", "[a-z]b|c", "a|b*", "(?=a)b|c", "a|.", r"a\b|b"]
)
def test_choice_of_more_than_words_is_left_to_the_general_construction(pattern: str) -> None:
    assert listed_words.words_of(parse(pattern, look_around=True)) is None


@pytest.mark.parametrize("pattern", [r"(?:\ud800|a)", r"\ud800", "(?:|a)", "(?:b|)a"])
def test_word_that_no_text_has_is_left_out(pattern: str) -> None:
    automaton = match_automaton(pattern)
    for text in ("a", "b", "ba", ""):
        found = re.match(pattern, text)
        expected = None if found is None or not found[0] else len(found[0])
        assert automaton.find(text.encode()) == expected


def random_grammar(rng: random.Random) -> str:
    """Gives a grammar in which two lists, names and single words overlap."""
    lists = ["|".join("".join(rng.choices("ab", k=rng.randint(1, 3))) for _ in range(6)) for _ in range(2)]
    words = " | ".join(f'"{word}"{rng.choice(("", "", "i"))}' for word in lists[1].split("|"))
    return "\n".join(
        (
            f"start: ({' | '.join(rng.sample(['ONE', 'OTHER', 'NAME', 'ONE OTHER', '/ba/', 'A'], 3))})+",
            f"ONE{rng.choice(('', '', '.1'))}: /({lists[0]}){rng.choice(('', '', 'b', '+'))}/",
            f'OTHER: {words}\nNAME: /b[ab]*/\nA: "ab"',
            rng.choice(('%ignore " "', "%ignore ONE", "")),
        )
    )


def wrong(mode: tuple[str, str], seed: int, num: int) -> Counter[str]:
    """Compares random grammars with Lark on every short string."""
    rng = random.Random(seed)
    found: Counter[str] = Counter()
    strings = ["".join(p) for n in range(5) for p in itertools.product("ab ", repeat=n)]
    while found["grammars"] < num:
        grammar = random_grammar(rng)
        try:
            theirs = loaded(grammar, *mode)
            constraint = lark(grammar, parser=mode[0], lexer=mode[1])
            constraint.initial()
        except (lark_package.exceptions.LarkError, ConstraintError):
            continue
        found["grammars"] += 1
        found.update(compared(constraint, {s: parses(theirs, s) for s in strings}, b"ab AB", 2_000))
    return found


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_lists_beside_other_terminals_agree_with_lark(mode: tuple[str, str]) -> None:
    found = wrong(mode, seed=0, num=6)
    assert found["accepted"] > 50
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_many_lists_beside_other_terminals_agree_with_lark(mode: tuple[str, str]) -> None:
    found = wrong(mode, seed=1, num=150)
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


def test_list_in_another_order_is_caught_against_lark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    monkeypatch.setattr(
        "lmppl.constraints.grammars.grammar_terminals.match_automaton", match_automaton.__wrapped__
    )
    monkeypatch.setattr(
        "lmppl.constraints.grammars.pattern_automata.words_automaton",
        lambda words: listed_words.words_automaton(words[::-1]),
    )
    assert wrong(("lalr", "contextual"), seed=0, num=6)["wrong"]


def judge(words: list[str], terminal: str, mode: tuple[str, str]) -> None:
    """Compares a grammar over many words with Lark on some texts, and prefixes with the list itself."""
    grammar = f'start: KW (","? KW)* NAME?\nKW: {terminal}\nNAME: /[a-z]+!/\n%ignore " "'
    theirs = loaded(grammar, *mode)
    begun = time.process_time()
    constraint = lark(grammar, parser=mode[0], lexer=mode[1])
    assert time.process_time() - begun < 20
    rng = random.Random(0)
    num_accepted = 0
    for _ in range(60):
        pair = rng.sample(words, 2)
        pair[1] = rng.choice((pair[1], pair[1][:-1], pair[1] + pair[0][-1:], pair[0]))
        text = rng.choice((",", ", ", " ,", "")).join(pair) + rng.choice(("", "", "", "x!", " xa!", "x"))
        expected = parses(theirs, text)
        state = constraint.advance(constraint.initial(), text.encode())
        assert (state is not None and constraint.accepts(state)) == expected, text
        num_accepted += bool(expected)
    assert num_accepted > 5
    for text in {word[:size] + more for word in words[:40] for size in (1, 3, 5) for more in ("", "x")}:
        is_viable = any(word.startswith(text) for word in words)
        is_whole = any(text[:size] in words for size in range(len(text)))  # then another may follow
        state = constraint.advance(constraint.initial(), text.encode())
        assert state is not None or not is_viable, text
        assert state is None or is_viable or is_whole, text


def test_list_of_two_thousand_words_agrees_with_lark() -> None:
    words = keywords(2_000)
    judge(words, f"/({'|'.join(words)})/", ("lalr", "contextual"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_list_of_five_thousand_words_agrees_with_lark(mode: tuple[str, str]) -> None:
    words = keywords(5_000)
    judge(words, " | ".join(f'"{word}"' for word in words), mode)
    judge(words, f"/{'|'.join(words)}/i", mode)
