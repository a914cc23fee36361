"""`lp.lark` with terminals that look at what stands before them, against Lark and `re`."""

from __future__ import annotations

import itertools
import random
import re
import string
from collections import Counter
from pathlib import Path

import lark as lark_package
import pytest
from lark.indenter import PythonIndenter
from lark_target import MODES, compared, loaded, parses
from viable_prefixes import accepted

from lmppl.constraints.grammars import (
    completion_search,
    left_contexts,
    match_threads,
    matchers,
    preceding_texts,
    texts_in_context,
    written_in_context,
)
from lmppl.constraints.grammars.earley import Recogniser
from lmppl.constraints.grammars.grammar import Grammar, _lark, lark
from lmppl.constraints.grammars.lexed_texts import LexedTexts
from lmppl.constraints.grammars.pattern_automata import match_automaton
from lmppl.errors import ConstraintError
from lmppl.testing import check_constraint

FOLLOWED = MODES[:4]
"""All but `dynamic_complete`."""

ALPHABET = "abé \n"
SYMBOLS = ('"a"', '"b"', '"ab"', '" "', "A", "B", "C", "x", "y")
PATTERNS = (
    *(r"/\ba/", r"/\Bb/", r"/\b[ab]+\b/", r"/\B[abé]/", r"/\bab?\b/", r"/(\bb|a)+/", r"/\b(?:ab|b|é)/"),
    *(r"/^[ab]/", r"/\Aa+/", r"/^b.*/m", r"/^ *a/m", r"/(?:^|(?<=b))a/", r"/(?m:^a)|b/", r"/[ab]\n|^é/"),
    *(r"/(?<=a)b/", r"/(?<![a ])b+/", r"/(?<!\w)b/", r"/(?<=[\né])a/", r"/(?<=a)b|(?<=b)a/"),
    *(r"/(?<=ab)b/", r"/(?<!ba)a+/", r"/(?<=a.)[ab]/", r"/(?<=\n\n|é )a/", r"/(?<!é[ab])b+/"),
    *(r"/(?<=bb)a|(?<!a\n)b/", r"/(?<=é)(?<!aé)b/", r"/(?<!a  )a/", r"/a+(?<!baa)b?/", r"/(?<![ab]{3})[ab]/"),
    *(r"/(?<!é)[ab]+/", r"/(?!\bab)[ab]+/", r"/(?=\Ba)[ab]+/", r"/\bé(?!a)/", r"/(?a:\b)é?[ab]/"),
    *(
        r"/\B[ab]+?(?=b|\n)/",
        r"/b(?<=ab)a*/",
        r"/b(?<!ab)/",
        "/[ab]+/",
        "/a+/",
        "/ab|[é ]/",
        "/b*a/",
        "/b(?!a)/",
    ),
)
IGNORED = (
    "",
    '" "',
    "/ +/",
    r"/\s+/",
    r"/\B /",
    r"/\b[ \n]+/",
    "/é/",
    r"/^ /m",
    r"/(?<=b)a/",
    r"/(?<=ab) /",
    "A",
)

KEYWORD = r"""
start: NAME "=" value
value: atom (IF value)*
atom: NUMBER | NAME | "(" value ")"
IF.1: /\bif\b/
NAME: /\b[^\W\d]\w*\b/
NUMBER: /\d+/
%ignore " "
"""
HEADINGS = """
start: (HEADING | TEXT | "\\n")*
HEADING.1: /^#.*/m
TEXT: /[^\\n]+/
"""


def random_grammar(rng: random.Random) -> str:
    """Gives a grammar of which some terminals look at what stands before them, others overlap with those."""
    lines = []
    for name in ("start", "x", "y"):
        sides = {" ".join(rng.choices(SYMBOLS, k=rng.choice((0, 1, 1, 2, 2, 3, 3)))) for _ in range(3)}
        lines.append(f"{name}: " + " | ".join(sorted(sides)))
    if rng.random() < 0.3:
        lines[0] = "start: (A | B | C)*"
    for name in "ABC":
        priority = f".{rng.randint(-1, 2)}" if rng.random() < 0.2 else ""
        lines.append(f"{name}{priority}: {rng.choice(PATTERNS)}")
    if ignored := rng.choice(IGNORED):
        lines.append(f"%ignore {ignored}")
    return "\n".join(lines)


def compare(mode: tuple[str, str], seed: int, num: int, length: int) -> Counter[str]:
    """Compares random grammars with Lark on every string up to a length, and counts what it finds."""
    rng = random.Random(f"{mode} {seed}")
    strings = ["".join(p) for n in range(length + 1) for p in itertools.product(ALPHABET, repeat=n)]
    found: Counter[str] = Counter()
    while found["in context"] < num:
        grammar = random_grammar(rng)
        try:
            parser = loaded(grammar, *mode)
            expected = {text: parses(parser, text) for text in strings}
        except lark_package.exceptions.LarkError:
            continue
        try:
            constraint = lark(grammar, parser=mode[0], lexer=mode[1])
            constraint.initial()
        except ConstraintError as error:
            if "LR(k) for no k" not in str(error):
                found["wrong"] += "No string is in the language" not in str(error) or any(expected.values())
            continue
        assert isinstance(constraint, Grammar)
        texts = constraint.texts
        in_context = isinstance(texts, texts_in_context.TextsInContext)
        if isinstance(texts, Recogniser):
            in_context = texts._contexts is not None
        found["in context"] += in_context
        found["exact at first"] += in_context and constraint.viable_is_exact
        found.update(compared(constraint, expected, ALPHABET.encode(), 2_000))
        found["exact at last"] += in_context and constraint.viable_is_exact
    return found


@pytest.mark.parametrize("mode", FOLLOWED, ids="-".join)
def test_random_grammar_agrees_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=0, num=15, length=4)
    assert found["accepted"] > 100
    assert found["exact at last"] >= {"lalr": 14, "earley": int(mode[1] == "basic")}[mode[0]]
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", FOLLOWED, ids="-".join)
def test_many_random_grammars_agree_with_lark_on_every_string(mode: tuple[str, str]) -> None:
    found = compare(mode, seed=1, num=600, length=4)
    assert found["accepted"] > 1_000
    assert not found["wrong"] + found["dead too early"] + found["not exact"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_automaton_after_a_character_finds_what_re_finds(pattern: str) -> None:
    body, flags = re.fullmatch(r"/(.*)/(m?)", pattern).groups()  # type: ignore[union-attr]
    pattern = f"(?{flags}:{body})" if flags else body
    compiled = re.compile(pattern)
    texts = ["".join(p) for n in range(5) for p in itertools.product("abé \n", repeat=n)]
    texts += ["aab", "abba", "aé ", "b\n\na"]
    for before in ("", *"abé \n0", "ab", "ba", "bb", "aé", "é ", "\n\n", "bab", "a  ", "ba\n", "aba0"):
        automaton = match_automaton(pattern, before)
        for text in texts:
            found = compiled.match(before + text, len(before))
            expected = found and len(found[0].encode())
            assert automaton.find(text.encode()) == expected, (before, text)


def looking_back(rng: random.Random, depth: int = 4) -> str:
    """Gives a random pattern that looks back over up to six characters, within look-ahead too."""
    kind = rng.randrange(9) if depth else 0
    if kind <= 1:
        return rng.choice(("a", "b", "é", "[ab]", "."))
    if kind <= 3:
        return "".join(looking_back(rng, depth - 1) for _ in range(2))
    if kind == 4:
        return f"(?:{looking_back(rng, depth - 1)}|{looking_back(rng, depth - 1)})"
    if kind == 5:
        return f"(?:{looking_back(rng, depth - 1)}){rng.choice(('*', '+', '?', '*?', '+?', '{1,2}'))}"
    if kind == 6:
        return f"{rng.choice(('(?=', '(?!'))}{looking_back(rng, depth - 1)})"
    parts = ("a", "b", "[ab]", ".", r"\w", "(?:a|b)", "(?:ab|b.)", "[ab]{2}")
    return f"{rng.choice(('(?<=', '(?<!'))}{''.join(rng.choices(parts, k=rng.randint(1, 3)))})"


def compare_patterns(seed: int, num: int) -> Counter[str]:
    """Compares random patterns with `re` where texts stand before, and counts what it finds."""
    rng = random.Random(seed)
    texts = ["".join(p) for n in range(6) for p in itertools.product("abé", repeat=n)]
    found: Counter[str] = Counter()
    while found["compared"] < num:
        pattern = looking_back(rng)
        if "(?<" not in pattern:
            continue
        compiled = re.compile(pattern)
        for before in ("", "a", *("".join(rng.choices("abé", k=rng.randint(1, 8))) for _ in range(4))):
            try:
                automaton = match_automaton.__wrapped__(pattern, before)
            except ConstraintError as error:
                found["wrong"] += "prefers to be" not in str(error)
                break
            found["compared"] += 1
            for text in texts:
                match = compiled.match(before + text, len(before))
                expected = match and len(match[0].encode())
                found["wrong"] += expected != 0 and automaton.find(text.encode()) != expected
    return found


def test_random_pattern_after_a_text_finds_what_re_finds() -> None:
    found = compare_patterns(seed=0, num=300)
    assert not found["wrong"]


@pytest.mark.slow
def test_many_random_patterns_after_a_text_find_what_re_finds() -> None:
    assert not compare_patterns(seed=1, num=10_000)["wrong"]


@pytest.mark.parametrize("mutant", ["one at a time", "all begin anew", "one has begun"])
def test_broken_look_behind_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = preceding_texts.WordsBehind
    after = behind.after
    if mutant == "one at a time":
        monkeypatch.setattr(
            behind,
            "after",
            lambda self, begun, c: frozenset((n, k) for n, k in after(self, begun, c) if k > 1 or not begun),
        )
    elif mutant == "all begin anew":
        monkeypatch.setattr(behind, "after", lambda self, begun, c: after(self, frozenset(), c))
    else:
        monkeypatch.setattr(behind, "after", lambda self, begun, c: after(self, begun, c) | {(0, 1)})
    assert compare_patterns(seed=0, num=300)["wrong"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?<=\ba)c", "has look-around or an anchor inside look-behind at position 0"),
        (r"a(?<!a{1001})c", "looks back for more than 1,000 characters at position 1"),
        (r"(?<=(?:a|b){10})c", "looks back for more than 1,000 characters at position 0"),
        (r"(?<=(?:aa|bb){99999999})c", "looks back for more than 1,000 characters at position 0"),
    ],
)
def test_look_behind_that_is_not_supported_is_refused_with_its_reason(pattern: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        match_automaton(pattern, "a")
    for parser, lexer in MODES[:4]:
        with pytest.raises(ConstraintError, match=f"Terminal A of the grammar: .* {message}"):
            lark(f"start: A\nA: /{pattern}/", parser=parser, lexer=lexer)


@pytest.mark.parametrize(
    ("grammar", "mode", "text", "expected"),
    [
        (KEYWORD, ("lalr", "contextual"), "a = 1 if b", True),
        (KEYWORD, ("lalr", "contextual"), "a = 1if b", False),
        (KEYWORD, ("lalr", "basic"), "a=(1)if b", True),
        (KEYWORD, ("earley", "dynamic"), "a=(1)ifb", False),
        (KEYWORD, ("earley", "basic"), "a=(1)if(b)", True),
        (HEADINGS, ("lalr", "contextual"), "# a #\n#b\nc # d\n", True),
        (HEADINGS, ("lalr", "contextual"), "a\n#b\nc", True),
    ],
)
def test_examples(grammar: str, mode: tuple[str, str], text: str, expected: bool) -> None:
    assert parses(loaded(grammar, *mode), text) is expected
    assert accepted(lark(grammar, parser=mode[0], lexer=mode[1]), text) is expected


@pytest.mark.parametrize("mode", FOLLOWED, ids="-".join)
def test_grammar_keeps_the_laws(mode: tuple[str, str]) -> None:
    check_constraint(lark(KEYWORD, parser=mode[0], lexer=mode[1]), ["é=(1)if b", "a = 1if", "a=é", "=", "("])


def test_shorter_matches_and_indented_blocks_are_refused_with_their_reason() -> None:
    grammar = "start: A\nA: /\\ba/\n_NEWLINE: /\\n */\n%declare _INDENT _DEDENT\n%ignore _NEWLINE"
    with pytest.raises(ConstraintError, match="Terminal A .* before it.*'dynamic_complete'.*'dynamic'"):
        lark(grammar, lexer="dynamic_complete")
    with pytest.raises(ConstraintError, match="Terminal A .* stands before it.*`postlex`"):
        lark(grammar, parser="lalr", postlex=PythonIndenter())


def test_look_behind_that_tells_too_much_apart_is_refused() -> None:
    for parser, lexer in MODES[:4]:
        with pytest.raises(ConstraintError, match=r"(?s)look-behind tells apart more than 300 texts"):
            lark(r"start: A" "\n" r"A: /(?<=a.{12})c|b/", parser=parser, lexer=lexer)


DOCUMENTS = {
    "study_sql": "SELECT a.b, count(*) FROM t -- x\nWHERE y = 'it''s' LIMIT 3;",
    "syncode_java_grammar": "public class A { public static void main(String[] x) { int a = 1; } }",
}


@pytest.mark.parametrize("mode", FOLLOWED, ids="-".join)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_keywords_that_stick_to_nothing_agree_with_lark_on_mutated_documents(
    name: str, mode: tuple[str, str], test_data: Path
) -> None:
    grammar = with_edges((test_data / "lark_grammars" / f"{name}.lark").read_text())
    parser, constraint = loaded(grammar, *mode), lark(grammar, parser=mode[0], lexer=mode[1])
    rng = random.Random(0)
    found: Counter[bool] = Counter()
    for text in (DOCUMENTS[name], *(mutated(rng, DOCUMENTS[name]) for _ in range(40))):
        expected = parses(parser, text)
        assert accepted(constraint, text) == expected, text
        found[bool(expected)] += 1
    assert min(found[True], found[False]) > 5
    assert constraint.viable_is_exact == ("dynamic" not in mode)


def with_edges(grammar: str) -> str:
    """Makes words in rules terminals that are preferred, between edges of words."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found[1].lower(), f"WORD{len(names)}")

    lines = [
        re.sub(r'"([A-Za-z]{2,})"i?', name, line) if line[:1] in "?| " + string.ascii_lowercase else line
        for line in grammar.splitlines()
    ]
    return "\n".join([*lines, *(rf"{name}.5: /\b{word}\b/i" for word, name in names.items()), ""])


def mutated(rng: random.Random, text: str) -> str:
    """Puts something in place of a character, or between two."""
    at = rng.randrange(len(text))
    return text[:at] + rng.choice(("", "a", " ", "1", "(", text[at] * 2)) + text[at + rng.choice((0, 1)) :]


def test_contexts_that_are_not_told_apart_are_one() -> None:
    def contexts(*patterns: str) -> left_contexts.LeftContexts | None:
        lines = (f"T{number}: /{pattern}/" for number, pattern in enumerate(patterns))
        names = " ".join(f"T{number}" for number in range(len(patterns)))
        made = lark("\n".join((f"start: {names}", *lines)), parser="lalr")
        assert isinstance(made, Grammar)
        texts = made.texts
        return texts._contexts if isinstance(texts, texts_in_context.TextsInContext) else None

    for patterns, num in (
        ((r"\bif\b", r"\Ba"), 2),
        ((r"^a",), 2),
        ((r"(?m:^a)",), 2),
        ((r"^a", r"\bb"), 3),
        ((r"(?<![ab])c", r"(?<=b)c", "a+"), 3),
        ((r"a(?<!b)b",), None),
        ((r"(?:\b|\B)a",), 1),
        ((r"(?<=abab)c",), 5),
        ((r"(?<=ab)c", r"(?<!b)c"), 4),
        ((r"(?<=[ab][bc])c",), 4),
    ):
        found = contexts(*patterns)
        assert (None if found is None else len(found.numbers)) == num, patterns


@pytest.mark.parametrize(
    ("mutant", "mode"),
    [
        ("no context", MODES[0]),
        ("no context", MODES[3]),
        ("bytes for characters", MODES[1]),
        ("bytes for characters", MODES[3]),
        ("start is a letter", MODES[2]),
        ("start is a letter", MODES[3]),
        ("one character", MODES[0]),
        ("one character", MODES[3]),
        ("one context begins", MODES[3]),
        ("places are shared", MODES[3]),
    ],
)
def test_broken_context_is_caught(
    mutant: str, mode: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = left_contexts.LeftContexts
    after = contexts.after
    if mutant == "no context":
        monkeypatch.setattr(contexts, "after", lambda self, number, byte: 0)
    elif mutant == "bytes for characters":
        monkeypatch.setattr(
            contexts, "after", lambda self, number, byte: after(self, 0, byte) if byte < 128 else 0
        )
    elif mutant == "one character":
        monkeypatch.setattr(
            contexts,
            "after",
            lambda self, number, byte: after(self, 0 if number in self.numbers else number, byte),
        )
    elif mutant == "start is a letter":
        made = match_threads.Threads.__init__
        monkeypatch.setattr(
            match_threads.Threads,
            "__init__",
            lambda self, program, before: made(self, program, before or "a"),
        )
    elif mutant == "one context begins":
        begun = matchers.Matchers.begun
        monkeypatch.setattr(
            matchers.Matchers, "begun", lambda self, terminals, byte, context: begun(self, terminals, byte)
        )
    else:
        followed = Recogniser._followed
        known: dict = {}
        monkeypatch.setattr(
            Recogniser,
            "_followed",
            lambda self, plan, frames, context: known.setdefault(
                (self, plan, frames), followed(self, plan, frames, context)
            ),
        )
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    match_automaton.cache_clear()
    try:
        assert compare(mode, seed=0, num=30, length=4)["wrong"]
    finally:
        match_automaton.cache_clear()


PROOFS = {
    "found anywhere": 'start: "b" x | "#"\nx: "a" B\nB: /\\bb/',
    "divided anywhere": 'start: "b" x | "a"\nx: "a" T\nT.1: /(?<=#)#b/\n%ignore /#+/',
    "all may follow": 'start: "a" B | "b"\nB: /\\bb/\n%ignore /#.*/',
    "few ways": "start: W T\nW: /[ab]/\nT: /(?<=b)#/",
    "no search": 'start: "b" x | "#"\nx: "a" B\nB: /\\bb/',
    "any filler": 'start: "a" B | "b"\nB: /(?<!a#)(?<!##)(?<!a)b/\n%ignore /#+/',
    "a filler is needed": 'start: "a" B\nB: /\\bb+/\n%ignore "#"',
    "what is left out takes the filler": 'start: "a" B | "b"\nB: /\\bb/\n%ignore /a?#a*/',
}
"""Grammars of which all prefixes are short that have no completion."""


def misjudged(grammar: str, mode: tuple[str, str]) -> list[str] | None:
    """Gives the prefixes that are let through without a completion, or refused with one; None if unknown."""
    parser = loaded(grammar, *mode)
    strings = ("".join(s) for n in range(7) for s in itertools.product("ab#", repeat=n))
    viable = {s[:size] for s in strings if parses(parser, s) for size in range(len(s) + 1)}
    constraint = lark(grammar, parser=mode[0], lexer=mode[1])
    try:
        initial = constraint.initial()
    except ConstraintError:
        return sorted(viable)
    texts = ("".join(s) for n in range(4) for s in itertools.product("ab#", repeat=n))
    found = [t for t in texts if (constraint.advance(initial, t.encode()) is not None) != (t in viable)]
    return found if constraint.viable_is_exact else None


@pytest.mark.parametrize("mode", FOLLOWED[:3], ids="-".join)
@pytest.mark.parametrize("grammar", PROOFS.values(), ids=[*PROOFS])
def test_prefix_is_let_through_exactly_if_it_has_a_completion(grammar: str, mode: tuple[str, str]) -> None:
    found = misjudged(grammar, mode)
    assert not found
    assert found is not None or mode[0] == "earley"


@pytest.mark.parametrize("mutant", [*PROOFS][:6])
def test_broken_proof_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = written_in_context.WrittenInContext
    if mutant == "found anywhere":
        monkeypatch.setattr(written, "_place", lambda self, scanner, token: (scanner.start, 0))
        monkeypatch.setattr(written, "after", lambda self, scanner, point, slot: self.all)
    elif mutant == "divided anywhere":
        monkeypatch.setattr(written_in_context, "_divides", lambda scanner, filler, text: True)
    elif mutant == "all may follow":
        monkeypatch.setattr(written, "after", lambda self, scanner, point, slot: self.all)
    elif mutant == "any filler":
        after_text = left_contexts.LeftContexts.after_text
        monkeypatch.setattr(
            left_contexts.LeftContexts, "after_text", lambda self, number, text: after_text(self, 0, text)
        )
    elif mutant == "few ways":
        monkeypatch.setattr(texts_in_context.TextsInContext, "_ways", LexedTexts._ways)
    else:
        monkeypatch.setattr(completion_search.CompletionSearch, "_search", lambda self, reading: True)
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    assert misjudged(PROOFS[mutant], ("lalr", "contextual"))


@pytest.mark.parametrize("mode", FOLLOWED[:3], ids="-".join)
@pytest.mark.parametrize("mutant", ["", "nothing is left out", "only the start"])
def test_prefix_is_kept_whose_context_is_still_to_change(
    mutant: str, mode: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = texts_in_context.TextsInContext
    monkeypatch.setattr("lmppl.constraints.grammars.grammar._lark", _lark.__wrapped__)
    if mutant == "nothing is left out":
        monkeypatch.setattr(texts, "_goes_on", LexedTexts._goes_on)
    elif mutant:
        everywhere = texts._everywhere
        monkeypatch.setattr(texts, "_everywhere", lambda self, situation: everywhere(self, situation)[:1])
    for grammar, text, needed in (
        ('start: A B\nA: "a"\nB: /\\bb/\n%ignore /(?<=a) /', "a b", "nothing is left out"),
        ('start: A B\nA: "aa"\nB: /\\Bb/', "aab", "only the start"),
    ):
        assert parses(loaded(grammar, *mode), text)
        try:
            found = accepted(lark(grammar, parser=mode[0], lexer=mode[1]), text)
        except ConstraintError:  # no string is in the language, or so it says
            found = False
        assert found == (mutant != needed)
