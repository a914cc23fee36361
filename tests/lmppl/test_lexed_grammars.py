"""Which terminals a lexer can find at all: the quick answer against a search among all texts."""

from __future__ import annotations

import random

import pytest

from lmppl.constraints.grammars.lark_grammars import GrammarSource
from lmppl.constraints.grammars.lexed_grammars import _Scanners

WORDS = ('"a"', '"b"', '"ab"', '"aa"i', '"ba"')
EXPRESSIONS = (
    "/a+/",
    "/[ab]/",
    "/[ab]{2}/",
    "/a*b/",
    "/b(?=a)/",
    "/ab?/",
    "/aa|b/",
    "/(a|b)+c/i",
    "/(?!a)../",
)


def grammars(num_grammars: int) -> list[str]:
    """Makes grammars of a few words and expressions, of which some have a priority, and some are ignored."""
    rng = random.Random(0)
    made = []
    for _ in range(num_grammars):
        kinds = [rng.choice((WORDS, EXPRESSIONS)) for _ in range(rng.randrange(2, 5))]
        names = [f"T{number}" for number in range(len(kinds))]
        lines = [f"start: ({' | '.join(names)})+"]
        for name, kind in zip(names, kinds, strict=True):
            lines.append(f"{name}{rng.choice(('', '', '.1'))}: {rng.choice(kind)}")
        lines += [f"%ignore {rng.choice(rng.choice((WORDS, EXPRESSIONS)))}" for _ in range(rng.randrange(3))]
        made.append("\n".join(lines))
    return made


def differences(scanners: _Scanners) -> list[tuple[frozenset[int], int]]:
    """Gives the terminals that are found or not, wrongly, with those that are looked for beside them."""
    tokens = list(scanners.tokens.values())
    rng = random.Random(1)
    wrong = []
    for _ in range(6):
        wanted = frozenset(rng.sample(tokens, rng.randrange(1, len(tokens) + 1)))
        for token in wanted:
            fresh = scanners.of(wanted)
            searched = any(found == token for found in fresh._search(fresh.start))
            if scanners.can_find([scanners.of(wanted)], token) != searched:
                wrong.append((wanted, token))
    return wrong


def test_a_terminal_is_found_exactly_where_a_search_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = shown = num_caught = 0
    for grammar in grammars(100):
        loaded = GrammarSource.of(grammar, "start", "lalr", "contextual", ()).loaded()
        scanners = _Scanners(loaded)
        assert differences(scanners) == [], grammar
        hidden += sum(scanners._hidden.values())
        shown += len(scanners._hidden) - sum(scanners._hidden.values())
        mutant = _Scanners(loaded)
        monkeypatch.setattr(mutant, "_is_hidden", lambda token, mutant=mutant: hides_more(mutant, token))
        num_caught += bool(differences(mutant))
    assert hidden > 5
    assert shown > 5
    assert num_caught


def hides_more(scanners: _Scanners, token: int) -> bool:
    """Asks beside all terminals, not only those that are looked for everywhere."""
    scanner = scanners.of(scanners.tokens.values())
    return not any(found == token for found in scanner._search(scanner.start))
