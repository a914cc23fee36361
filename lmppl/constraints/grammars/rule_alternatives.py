"""Rules that Lark would write out to too many alternatives, or terminals.

Lark distributes: `a? b? c?` becomes eight alternatives, and thirty optional parts in a row a thousand
million. The language stays the same if the parts are rules of their own; but an LALR parser then meets
conflicts that it did not have, so for it such a rule is refused.
"""

from __future__ import annotations

import math
from typing import Any

from lmppl.errors import ConstraintError

MAX_ALTERNATIVES = 1_000  # of one rule before it is split: 0.05 s of Lark's time
MAX_DISTRIBUTED = 5_000  # of one rule for LALR: 0.3 s
MAX_TERMINALS = 10_000  # of a grammar, each some 40 KB and 0.5 ms for Earley


def bound_alternatives(grammar: Any, may_split: bool) -> None:
    """Splits rules with too many alternatives, in place, or refuses them.

    Args:
        grammar: What Lark has loaded and not compiled.
        may_split: Whether only the language matters.

    Raises:
        ConstraintError: A rule is too large, and may not be split; or it is a template.
    """
    for name, parameters, tree, _ in [*grammar.rule_defs]:
        most = max(map(_alternatives, tree.iter_subtrees()))
        if may_split and not parameters and most > MAX_ALTERNATIVES:
            grammar.rule_defs += _split(name, tree)
        elif most > MAX_DISTRIBUTED:
            number = f"{most:,}" if most < 10**9 else f"about 10^{int(math.log10(most))}"
            raise ConstraintError(
                f"Rule {str(name)!r} of the grammar has {number} alternatives as Lark writes it out; at "
                f"most {MAX_DISTRIBUTED:,} are read. Give its optional parts and choices rules of their own"
                + ("" if parameters else ", or give parser='earley'")
                + ". A list of words may be one terminal, whose name is in upper case."
            )


def bound_literals(grammar: Any) -> None:
    """Refuses rules with too many strings, of which Lark would make a terminal each.

    Args:
        grammar: What Lark has loaded and not compiled.

    Raises:
        ConstraintError: There are too many.
    """
    in_rules = {
        str(name): {str(literal.children[0]) for literal in tree.find_data("literal")}
        for name, _, tree, _ in grammar.rule_defs
    }
    if sum(map(len, in_rules.values())) > MAX_TERMINALS:
        bound_terminals(
            len(set[str]().union(*in_rules.values())), max(in_rules, key=lambda n: len(in_rules[n]))
        )


def bound_terminals(number: int, largest: str | None = None) -> None:
    """Refuses so many terminals.

    Args:
        number: How many there are.
        largest: The rule with the most of them, if that is known.

    Raises:
        ConstraintError: They are too many.
    """
    if number > MAX_TERMINALS:
        where = "" if largest is None else f", most of them strings in rule {largest!r}"
        raise ConstraintError(
            f"The grammar has {number:,} terminals{where}; at most {MAX_TERMINALS:,} are read. Make one "
            'terminal of words that mean the same, WORD: "one" | "two" | ..., with a name in upper case: it '
            "may list thousands."
        )


def _alternatives(tree: Any) -> int:
    """Counts what Lark writes a part of a rule out to."""
    if tree.data == "expansions":
        return sum(map(_of_child, tree.children))
    if tree.data in ("expansion", "alias"):
        return math.prod(map(_of_child, tree.children))
    if tree.data == "maybe":
        return _of_child(tree.children[0]) + 1
    if tree.data != "expr":
        return 1
    item, operator, *bounds = tree.children
    if operator == "~":
        low, high = int(bounds[0]), int(bounds[-1])
        return sum(_of_child(item) ** times for times in range(low, min(high, low + 50) + 1))
    return {"?": _of_child(item) + 1, "*": 2, "+": 1}[str(operator)]  # what is repeated is a rule already


def _of_child(child: Any) -> int:
    return _alternatives(child) if hasattr(child, "data") else 1


def _split(name: str, tree: Any) -> list[tuple[str, tuple[()], Any, None]]:
    """Gives rules for the parts of a rule that have several alternatives, which it names from now on."""
    from lark import Tree
    from lark.grammar import NonTerminal

    rules: list[tuple[str, tuple[()], Any, None]] = []
    for part in [*tree.iter_subtrees()]:
        is_repeated = part.data == "expr" and part.children[1] == "~"
        if part.data != "expansion" and not is_repeated:
            continue
        for i, child in enumerate(part.children):
            if _of_child(child) > 1:
                new = f"__{name}_part_{len(rules)}"
                rules.append((new, (), Tree("expansions", [Tree("expansion", [child])]), None))
                part.children[i] = Tree("value", [NonTerminal(new)])
    return rules
