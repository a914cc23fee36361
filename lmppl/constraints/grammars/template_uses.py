"""Templates that Lark would write out to too many rules, or to rules without end.

Lark makes a rule of a template for each list of arguments, named after them: `list{item}`. A template that
uses itself with longer arguments, such as `t{x}: x t{u{x}}`, becomes rules for ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lmppl.errors import ConstraintError

MAX_USES = 5_000  # with different arguments, of all templates: some 5 s of time
MAX_CHARACTERS = 5_000_000  # of the names that Lark gives them
LITERAL = 10  # characters of the name of a terminal that has none

Argument = int | str
"""A use of a template by its number, or what else a parameter stands for."""


def bound_templates(grammar: Any) -> None:
    """Refuses templates that become too many rules.

    Args:
        grammar: What Lark has loaded and not compiled.

    Raises:
        ConstraintError: There are too many.
    """
    if any(parameters for _, parameters, _, _ in grammar.rule_defs):
        _Uses(grammar.rule_defs).follow()


class _Uses:
    """The uses of templates with different arguments, as far as they have been met."""

    def __init__(self, rules: Iterable[tuple[str, tuple[str, ...], Any, Any]]):
        uses = {str(name): (names, [*tree.find_data("template_usage")]) for name, names, tree, _ in rules}
        self._templates = {name: each for name, each in uses.items() if each[0]}
        self._plain = [inside for names, inside in uses.values() if not names]
        self._numbers: dict[tuple[str, tuple[Argument, ...]], int] = {}
        self._met: list[tuple[str, tuple[Argument, ...]]] = []
        self._lengths: list[int] = []
        self._characters = 0

    def follow(self) -> None:
        """Meets all uses."""
        for inside in self._plain:
            self._meet(inside, {})
        for name, arguments in self._met:  # grows while it is walked
            parameters, inside = self._templates[name]
            self._meet(inside, dict(zip(parameters, arguments, strict=False)))

    def _meet(self, uses: Iterable[Any], meanings: Mapping[str, Argument]) -> None:
        for use in uses:
            self._number(use, meanings)

    def _number(self, use: Any, meanings: Mapping[str, Argument]) -> Argument:
        """Gives the number of a use, given what the parameters around it stand for."""
        head, *arguments = use.children
        name = meanings.get(str(head.name), str(head.name))
        key = name, tuple(self._argument(each, meanings) for each in arguments)
        if name not in self._templates:  # Lark says what is wrong
            return str(name)
        return self._known(key)

    def _known(self, key: tuple[Any, tuple[Argument, ...]]) -> int:
        if key not in self._numbers:
            name, arguments = key
            length = len(name) + 2 + sum(map(self._length, arguments))
            self._numbers[key] = len(self._met)
            self._met.append(key)
            self._lengths.append(length)
            self._characters += length
            if len(self._met) > MAX_USES or self._characters > MAX_CHARACTERS:
                raise self._refusal()
        return self._numbers[key]

    def _argument(self, argument: Any, meanings: Mapping[str, Argument]) -> Argument:
        """Gives what an argument stands for; literals are told apart by how they are written."""
        inside = argument.children[0] if hasattr(argument, "data") else argument
        if hasattr(inside, "data"):
            return self._number(inside, meanings) if inside.data == "template_usage" else str(inside)
        name = str(getattr(inside, "name", inside))
        return meanings.get(name, name)

    def _length(self, argument: Argument) -> int:
        return 1 + (self._lengths[argument] if isinstance(argument, int) else min(len(argument), LITERAL))

    def _refusal(self) -> ConstraintError:
        (name, _), *_ = Counter(name for name, _ in self._met).most_common(1)
        return ConstraintError(
            f"Template {name!r} of the grammar, with others, becomes more rules than are read: at most "
            f"{MAX_USES:,}, with names of at most {MAX_CHARACTERS:,} characters in all. Perhaps a template "
            "uses itself with arguments that grow. Let it use itself with the same arguments only."
        )
