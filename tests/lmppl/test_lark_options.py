"""The options of `lark.Lark`: those that decide the language, against Lark itself, and errors of others."""

from __future__ import annotations

import inspect
import io
import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lark as lark_package
import pytest
import regex as regex_package
from lark_target import MODES, compared, loaded, parses
from viable_prefixes import accepted

from lmppl.constraints.grammars import grammar_terminals, lark_options
from lmppl.constraints.grammars.grammar import lark
from lmppl.constraints.grammars.grammar_terminals import Terminal
from lmppl.constraints.grammars.lark_options import HONOURED
from lmppl.errors import ConstraintError, InvalidInputError, InvalidTypeError, LmpplError, MissingExtraError

ALPHABET = "aAb\n"
COMPLETING = b"aAbBkK\n ."
MAX_LENGTH = 4
FLAGS = {"i": re.I, "s": re.S, "m": re.M, "x": re.X, "u": re.U, "a": re.A}
OWN_FLAGS = ("", "", "", "i", "s", "m", "x", "u")
REGEXPS = (
    *(
        "a+",
        "a|ab",
        "[ab]",
        "a b",
        "a.",
        "b.?",
        ".b",
        "(?i:a)b",
        "(?-i:A)",
        "[^b]",
        "(?!a)[ab]",
        "a(?=b)",
        "[a]+?b",
    ),
    *("^b", "a$", "b$", r"\w", "(?s:.)b", "a(?#c)b", "b(?!.)", r"a\ ?b", "(?x: a b )", "[ab]{1,2}", "A"),
)
MODULE = r"""
FAR: "ab"
FARTHER: /b a/
"""


def written(rng: random.Random) -> str:
    """Draws a grammar of strings and expressions, some ignored, imported, or with flags of their own."""

    def terminal() -> str:
        if rng.random() < 0.4:
            return f'"{rng.choice(["a", "b", "A", "ab", "ba"])}"{rng.choice(["", "", "i"])}'
        return f"/{rng.choice(REGEXPS)}/{rng.choice(OWN_FLAGS)}"

    symbols = ["X", "Y", "Z", "FAR", "FARTHER", '"a"', '"b"i', '"A"', "x"]
    lines = []
    for name in ("start", "x"):
        sides = {" ".join(rng.choices(symbols, k=rng.randint(1, 3))) for _ in range(rng.randint(1, 3))}
        lines.append(f"{name}: " + " | ".join(sorted(sides)))
    priorities = ["", "", ".1", ".2", ".-1"]
    lines += [f"{name}{rng.choice(priorities)}: {terminal()}" for name in ("X", "Y", "Z")]
    lines.append("%import module (FAR, FARTHER)")
    if rng.random() < 0.4:
        lines.append(f"%ignore {terminal()}")
    return "\n".join(lines)


def module(base: Any, name: str) -> tuple[str, str]:
    """Finds the imported grammar, as a function of `import_paths` does."""
    if name != "module.lark":
        raise FileNotFoundError(name)
    return "the module", MODULE


def strings() -> list[str]:
    return ["".join(s) for size in range(MAX_LENGTH + 1) for s in itertools.product(ALPHABET, repeat=size)]


def judged(grammar: str, mode: tuple[str, str], **options: Any) -> Counter[str]:
    """Compares a grammar under some options with Lark's own answers."""
    try:
        constraint = lark(grammar, parser=mode[0], lexer=mode[1], **options)
        constraint.initial()
    except ConstraintError as error:
        if "No string is in the language" not in str(error):
            return Counter({refusal(grammar, mode, **options): 1})
        theirs = loaded(grammar, *mode, **options)
        return Counter({"empty": 1, "wrong": sum(bool(parses(theirs, text)) for text in strings())})
    theirs = loaded(grammar, *mode, **options)
    expected = {text: parses(theirs, text) for text in strings()}
    return compared(constraint, expected, COMPLETING, 400) + Counter({"grammars": 1})


def refusal(grammar: str, mode: tuple[str, str], **options: Any) -> str:
    """Says whether Lark itself refuses a grammar, at once or when it reads a text."""
    try:
        loaded(grammar, *mode, **options).parse("ab")
    except lark_package.exceptions.UnexpectedInput:
        return "refused by us"
    except (lark_package.exceptions.LarkError, re.error, regex_package.error):
        return "refused by both"
    return "refused by us"


def cases(number: int, seed: int) -> Iterator[tuple[str, tuple[str, str], int]]:
    """Draws grammars, parsers and flags."""
    rng = random.Random(seed)
    for i in range(number):
        letters = rng.sample("isxma", rng.randint(1, 2))
        yield written(rng), MODES[i % len(MODES)], sum(FLAGS[letter] for letter in letters)


def tried(number: int, seed: int = 0, **options: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for grammar, mode, flags in cases(number, seed):
        found += judged(grammar, mode, g_regex_flags=flags, import_paths=[module], **options)
    return found


def require_right(found: Counter[str], grammars: int) -> None:
    wrong = {name: found[name] for name in ("wrong", "dead too early", "not exact")}
    assert not any(wrong.values()), wrong
    assert found["grammars"] >= grammars, found
    assert found["accepted"] > 5 * grammars, found


def test_flags_of_every_terminal_mean_what_they_mean_to_lark() -> None:
    require_right(tried(120), 60)


@pytest.mark.slow
def test_flags_of_every_terminal_mean_what_they_mean_to_lark_for_thousands_of_grammars() -> None:
    require_right(tried(3_000, seed=1), 1_500)


def test_terminals_by_the_package_regex_mean_what_they_mean_to_lark() -> None:
    rng = random.Random(3)
    found: Counter[str] = Counter()
    for i in range(80):
        flags = sum(FLAGS[letter] for letter in rng.sample("ismx", rng.randint(0, 2)))
        grammar = written(rng)
        found += judged(grammar, MODES[i % 5], regex=True, g_regex_flags=flags, import_paths=[module])
    require_right(found, 40)


@pytest.mark.parametrize("mode", MODES, ids="-".join)
@pytest.mark.parametrize(
    "flags", [0, re.I, int(regex_package.ASCII), re.I | int(regex_package.ASCII)], ids=str
)
def test_the_package_regex_says_what_classes_and_cases_are(mode: tuple[str, str], flags: int) -> None:
    """`regex` counts a combining acute as of a word, `re` does not; `re` takes U+0131 for an i."""
    lines = [
        r"start: (WORD | GREEK | OTHER | KEY)+",
        r"WORD: /\w!/",
        r"GREEK: /\p{Greek}[\p{Pd}\d]/",
        'KEY: "ik"',
    ]
    lines.append(r"OTHER: /\P{L}/" if mode[1] == "dynamic_complete" else r"OTHER: /\P{L}\b/")
    letters = "a\N{GREEK SMALL LETTER ALPHA}\N{GREEK CAPITAL LETTER OMEGA}\u0301!i\u0131k\u212aA1-\xe9"
    texts = ["".join(s) for size in (1, 2, 3) for s in itertools.product(letters, repeat=size)]
    constraint = lark("\n".join(lines), parser=mode[0], lexer=mode[1], regex=True, g_regex_flags=flags)
    theirs = loaded("\n".join(lines), *mode, regex=True, g_regex_flags=flags)
    expected = {text: parses(theirs, text) for text in texts}
    assert compared(constraint, expected, b"", 0)["wrong"] == 0
    assert sum(map(bool, expected.values())) > 20


class Mutant:
    """`Terminal.of_lark`, which forgets the common flags of some terminals."""

    def __init__(self, kind: str):
        self.kind = kind
        self.right = Terminal.of_lark

    def __call__(self, terminal: Any, token: int, flags: int = 0, by_regex: bool = False) -> Terminal:
        kinds = {
            "strings": terminal.is_word,
            "expressions": not terminal.is_word,
            "ignored": terminal.name.startswith("__IGNORE"),
            "imported": terminal.name.startswith("FAR"),
        }
        return self.right(terminal, token, 0 if kinds[self.kind] else flags, by_regex)


MUTANTS = ("strings", "expressions", "ignored", "imported", "keywords")


@pytest.mark.parametrize("mutant", MUTANTS)
def test_flags_that_some_terminals_do_not_get_are_caught(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mutant == "keywords":
        takes = grammar_terminals._takes
        monkeypatch.setattr(grammar_terminals, "_takes", lambda pattern, word, flags: takes(pattern, word, 0))
    else:
        monkeypatch.setattr(Terminal, "of_lark", staticmethod(Mutant(mutant)))
    found = tried(60, seed=100 + MUTANTS.index(mutant))  # grammars that are not remembered
    assert found["wrong"] > 0


def shown(value: object) -> str:
    """Gives a name for a test, which is the same in each process."""
    return re.sub(r" at 0x\w+", "", str(value))


NEUTRAL: dict[str, list[Any]] = {
    "keep_all_tokens": [True],
    "maybe_placeholders": [False],
    "propagate_positions": [True, lambda node: False],
    "debug": [True],
    "cache": [True, "grammar.cache"],
    "tree_class": [lark_package.Tree],
    "ambiguity": ["explicit", "forest", "resolve"],
    "ordered_sets": [False],
    "strict": [False],
    "regex": [False],
    "transformer": [None],
    "lexer_callbacks": [{}],
    "use_bytes": [False],
    "edit_terminals": [None, lambda terminal: None],
    "priority": ["normal", "auto"],
    "g_regex_flags": [0, re.NOFLAG, re.UNICODE, re.DEBUG],
    "start": [["start"]],
    "source_path": [None, Path("a/b.lark")],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, v) for name, values in NEUTRAL.items() for v in values], ids=shown
)
def test_options_that_say_nothing_of_the_language_are_taken(name: str, value: Any) -> None:
    parser = "lalr" if name == "cache" else "earley"
    constraint = lark('start: "a" [B]\nB: /b+/', parser=parser, **{name: value})
    assert accepted(constraint, "abb")
    assert not accepted(constraint, "ba")
    assert not Path("grammar.cache").exists()


class Lexer(lark_package.lexer.Lexer):
    def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Any]:
        yield from ()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"transformer": lark_package.Transformer()},
            InvalidInputError,
            r"`transformer`.*transform what is parsed",
        ),
        ({"lexer_callbacks": {"A": len}}, InvalidInputError, r"`lexer_callbacks`.*lp.check"),
        ({"use_bytes": True}, InvalidInputError, r"`use_bytes`.*UTF-8.*re.ASCII"),
        ({"lexer": Lexer}, InvalidInputError, r"the class Lexer.*lp.check"),
        ({"parser": "cyk"}, InvalidInputError, r"'earley' or 'lalr', but was given 'cyk'"),
        ({"parser": ["lalr"]}, InvalidInputError, r"'earley' or 'lalr'"),
        (
            {"keep_all_token": True},
            InvalidTypeError,
            r"no option 'keep_all_token'. Did you mean 'keep_all_tokens'",
        ),
        (
            {"maximum": True},
            InvalidTypeError,
            r"no option 'maximum'. It has Lark's: start, parser,.*ordered_sets",
        ),
        ({"strict": "yes"}, InvalidTypeError, r"`strict` of lark\(\) is True or False, but was given 'yes'"),
        ({"regex": 1}, InvalidTypeError, r"`regex` of lark\(\) is True or False"),
        ({"debug": 3}, InvalidTypeError, r"`debug` of lark\(\) is True or False"),
        ({"cache": 3}, InvalidTypeError, r"`cache`.*a path as str"),
        ({"cache": True}, InvalidInputError, r"`cache`.*parser='lalr' only"),
        ({"ambiguity": "forest", "parser": "lalr"}, InvalidInputError, r"`ambiguity`.*parser='earley' only"),
        (
            {"ambiguity": "none"},
            InvalidInputError,
            r"`ambiguity` of lark\(\) is one of 'auto',.*given 'none'",
        ),
        ({"priority": "high"}, InvalidInputError, r"`priority` of lark\(\) is one of 'auto',.*given 'high'"),
        ({"tree_class": 3}, InvalidTypeError, r"`tree_class`"),
        ({"edit_terminals": 3}, InvalidTypeError, r"`edit_terminals` of lark\(\) is a function"),
        (
            {"edit_terminals": lambda terminal: 1 / 0},
            InvalidInputError,
            r"raised ZeroDivisionError for terminal A",
        ),
        (
            {"edit_terminals": lambda t: setattr(t, "name", "B")},
            InvalidInputError,
            r"renames terminal A to 'B'",
        ),
        ({"g_regex_flags": "i"}, InvalidTypeError, r"such as re.IGNORECASE.*given 'i'"),
        ({"g_regex_flags": re.LOCALE}, InvalidInputError, r"has 0x4, LOCALE, which cannot be followed"),
        ({"g_regex_flags": re.A | re.U}, InvalidInputError, r"both ASCII and UNICODE"),
        ({"g_regex_flags": 1 << 20}, InvalidInputError, r"0x100000, which is no flag"),
        ({"g_regex_flags": re.A, "regex": True}, InvalidInputError, r"re.ASCII, which is V1.*regex.ASCII"),
        (
            {"g_regex_flags": regex_package.W, "regex": True},
            InvalidInputError,
            r"W.*, which cannot be followed",
        ),
        ({"start": ["a", "b"]}, InvalidTypeError, r"one rule, but was given \['a', 'b'\].*joined by `\|`"),
        ({"import_paths": "folder"}, InvalidTypeError, r"`import_paths`.*list of folders.*given 'folder'"),
        ({"import_paths": [3]}, InvalidTypeError, r"`import_paths`.*list of folders.*given \[3\]"),
        ({"source_path": 3}, InvalidTypeError, r"`source_path` of lark\(\) is a path"),
    ],
    ids=shown,
)
def test_options_that_cannot_be_had_say_so(
    options: dict[str, Any], error: type[LmpplError], message: str
) -> None:
    with pytest.raises(error, match=message):
        lark("start: A\nA: /a+/", **options)


RULES = 'start: x "!" | y "!" "?"\nx.2: "k"\ny.3: "k"'
TERMINALS = 'start: A | B "!"\nA.2: "if"\nB.3: /[a-z]+/'


@pytest.mark.parametrize("mode", MODES, ids="-".join)
@pytest.mark.parametrize("priority", ["normal", "invert", None])
@pytest.mark.parametrize("grammar", [RULES, TERMINALS], ids=["rules", "terminals"])
def test_priorities_are_turned_around_or_taken_away_as_by_lark(
    grammar: str, mode: tuple[str, str], priority: str | None
) -> None:
    try:
        theirs = loaded(grammar, *mode, priority=priority)
    except lark_package.exceptions.GrammarError:
        with pytest.raises(ConstraintError, match="Reduce/Reduce"):
            lark(grammar, parser=mode[0], lexer=mode[1], priority=priority)
        assert (grammar, mode[0], priority) == (RULES, "lalr", None)
        return
    constraint = lark(grammar, parser=mode[0], lexer=mode[1], priority=priority)
    expected = {text: parses(theirs, text) for text in ("k!", "k!?", "if", "if!", "ifx!", "k", "")}
    assert compared(constraint, expected, b"", 0)["wrong"] == 0
    assert any(expected.values())


@pytest.mark.parametrize("grammar", [RULES, TERMINALS], ids=["rules", "terminals"])
def test_priorities_that_are_not_turned_around_are_caught(
    grammar: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lark_options.LanguageOptions, "apply", lambda *args: None)
    with pytest.raises(AssertionError):
        test_priorities_are_turned_around_or_taken_away_as_by_lark(
            f"{grammar}\n// so that it is read anew", ("lalr", "basic"), "invert"
        )


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_terminals_are_edited_as_by_lark(mode: tuple[str, str]) -> None:
    grammar = 'start: A B\nA: "a"\nB: /b+/'

    def edit(terminal: Any) -> None:
        if terminal.name == "B":
            terminal.pattern = lark_package.lexer.PatternRE("[bc]", "i")
            terminal.priority = 3

    constraint = lark(grammar, parser=mode[0], lexer=mode[1], edit_terminals=edit)
    theirs = loaded(grammar, *mode, edit_terminals=edit)
    for text in ("ab", "abb", "ac", "aC", "a", "A"):
        assert accepted(constraint, text) == parses(theirs, text), text
    assert accepted(constraint, "aC")
    assert not accepted(lark(grammar, parser=mode[0], lexer=mode[1]), "aC")


def test_strict_grammars_have_no_conflicts() -> None:
    conflict = 'start: "a" start "b" | "a" start | "c"'
    assert accepted(lark(conflict, parser="earley", strict=True), "aacb")
    try:
        lark_package.Lark('start: "a"', parser="lalr", strict=True)
    except lark_package.exceptions.LexError:
        with pytest.raises(MissingExtraError, match=r"pip install 'lark\[interegular\]'"):
            lark('start: "a"', parser="lalr", strict=True)
        return
    assert accepted(lark('start: "a"', parser="lalr", strict=True), "a")
    with pytest.raises(ConstraintError, match="Shift/Reduce conflict"):
        lark(conflict, parser="lalr", strict=True)
    with pytest.raises(ConstraintError, match="Collision between Terminals"):
        lark("start: A | B\nA: /a+/\nB: /[ab]+/", parser="lalr", strict=True)


@pytest.mark.parametrize("mode", MODES, ids="-".join)
def test_a_terminal_that_is_empty_once_spaces_are_skipped_is_refused(mode: tuple[str, str]) -> None:
    with pytest.raises(ConstraintError, match="Terminal A matches the empty string"):
        lark("start: A\nA: /( |b?)/", parser=mode[0], lexer=mode[1], g_regex_flags=re.VERBOSE)
    assert accepted(lark("start: A\nA: /( |b)/", parser=mode[0], lexer=mode[1]), " ")


def test_a_comment_in_a_verbose_terminal_swallows_the_others_where_lark_writes_them_in_one_pattern() -> None:
    grammar = "start: A\nA: /a#b/"
    for mode in MODES:
        options = {"parser": mode[0], "lexer": mode[1], "g_regex_flags": re.VERBOSE}
        if "dynamic" in mode[1]:
            assert accepted(lark(grammar, **options), "a")
        else:
            with pytest.raises(ConstraintError, match="Terminal A is no regular expression: 'a#b'"):
                lark(grammar, **options)
            with pytest.raises(re.error):
                loaded(grammar, *mode, g_regex_flags=re.VERBOSE).parse("a")


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(?:ab){e<=1}", "brace that is no count"),
        ("[[:alpha:]]", "POSIX class"),
        (r"\X", r"bad escape"),
        ("(?|a|b)", "unknown extension"),
        ("(?a:a)", "flag 'a' inside"),
        ("a*+b", "possessive"),
        (r"\p{Nothing}", "unknown property"),
        (r"\P{Lu}|(?i:b)", "have .*P{Lu}, where case is ignored in a part"),
    ],
)
@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
def test_what_the_package_regex_alone_has_is_refused(pattern: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        lark(f"start: A\nA: /{pattern}/", parser="lalr", regex=True).initial()


def test_case_is_ignored_in_all_terminals_with_properties_of_case_or_in_none() -> None:
    """`regex` reads `\\P{Lu}|(?i:b)` as if case was ignored in both, and `\\p{Lu}+` otherwise under ASCII."""
    assert not regex_package.match(r"\P{Lu}|(?i:b)", "k")
    grammar = 'start: UPPER | KEY\nUPPER: /\\p{Lu}/\nKEY: "key"'
    assert accepted(lark(grammar, parser="lalr", regex=True), "K")
    assert accepted(lark(grammar, parser="lalr", regex=True, g_regex_flags=re.I), "k")
    for mixed, flags in (
        (grammar + "i", 0),
        (grammar, re.I | int(regex_package.ASCII)),
        (grammar.replace("/\\p", "/(?-i:x)?\\p"), re.I),
    ):
        with pytest.raises(ConstraintError, match=r"have .*p\{Lu\}.*Ignore case in all of them"):
            lark(mixed, parser="lalr", regex=True, g_regex_flags=flags)
    other = grammar.replace("Lu", "Greek") + "i"
    assert accepted(lark(other, parser="lalr", regex=True), "KEY")


def test_properties_need_the_package_regex() -> None:
    with pytest.raises(ConstraintError, match=r"Terminal A.*bad escape \\p.*regex=True"):
        lark(r"start: A" + "\n" + r"A: /\p{Lu}/", parser="lalr")


def test_functions_find_what_is_imported_and_a_change_is_noticed() -> None:
    texts = {"words.lark": 'WORD: "one"'}

    def find(base: Any, name: str) -> tuple[str, str]:
        if name not in texts:
            raise FileNotFoundError(name)
        return name, texts[name]

    grammar = "start: WORD\n%import words.WORD"
    first = lark(grammar, import_paths=[find])
    assert accepted(first, "one")
    assert lark(grammar, import_paths=[find]) == first
    texts["words.lark"] = 'WORD: "two"'
    second = lark(grammar, import_paths=[find])
    assert second != first
    assert accepted(second, "two")
    assert accepted(first, "one")
    with pytest.raises(InvalidTypeError, match="gives the path and the text of a file"):
        lark("start: WORD\n%import other.WORD", import_paths=[lambda base, name: "text"])
    with pytest.raises(InvalidInputError, match=r"raised KeyError for 'other.lark': .* FileNotFoundError"):
        lark("start: WORD\n%import other.WORD", import_paths=[lambda base, name: {}[name]])


def test_every_option_is_named_in_the_error_about_an_unknown_one() -> None:
    parameters = inspect.signature(lark).parameters
    assert set(HONOURED) == parameters.keys() - {"grammar", "others"}


def test_a_grammar_comes_from_where_source_path_says(tmp_path: Path) -> None:
    (tmp_path / "words.lark").write_text('WORD: "one"')
    grammar = "start: WORD\n%import .words.WORD"
    assert accepted(lark(grammar, source_path=tmp_path / "main.lark"), "one")
    (tmp_path / "main.lark").write_text(grammar)
    with open(tmp_path / "main.lark") as file:
        assert accepted(lark(file), "one")
    assert accepted(lark(io.StringIO('start: "a"')), "a")
    with pytest.raises(InvalidTypeError, match="a text file, but was given"):
        lark(io.BytesIO(b"start"))  # type: ignore[arg-type]
