"""How what is compiled of a JSON Schema is kept on disk: the sets of values that the acceptor walks."""

from __future__ import annotations

from typing import Any

from lmppl.constraints.json_values.conditions import Literal
from lmppl.constraints.json_values.item_tallies import Tally
from lmppl.constraints.json_values.nodes import Array, Due, Names, Node, Object
from lmppl.constraints.json_values.sized_texts import Lengths, Sized
from lmppl.constraints.json_values.spelling import any_content, number_text
from lmppl.constraints.json_values.string_readers import Reader, Spelled
from lmppl.constraints.json_values.string_sets import Listed, Texts
from lmppl.constraints.plain_values import Kind, Kinds, fields
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.stored_compilations import AUTOMATA

_NAMED = {"any content": any_content, "number": number_text}
"""Automata that are told by being the same object."""

_AUTOMATON = AUTOMATA[ByteAutomaton]
_NOT_MADE = "not made"


def _automaton_parts(machine: ByteAutomaton) -> tuple:
    names = (name for name, known in _NAMED.items() if machine is known())
    name = next(names, None)
    return _AUTOMATON.parts(machine) if name is None else (name,)


def _automaton(*parts: Any) -> ByteAutomaton:
    return _NAMED[parts[0]]() if len(parts) == 1 else _AUTOMATON.made(*parts)


def _node_parts(node: Node) -> tuple:
    reader = vars(node).get("strings", _NOT_MADE)
    return node.words, node.numbers, node.texts, node.arrays, node.objects, reader


def _node(
    words: frozenset[str],
    numbers: ByteAutomaton | None,
    texts: Texts,
    arrays: tuple[Array, ...],
    objects: tuple[Object, ...],
    reader: Reader | str | None,
) -> Node:
    node = Node(words, numbers, texts, arrays, objects)
    if reader != _NOT_MADE:
        vars(node)["strings"] = reader
    return node


KINDS: Kinds = {
    ByteAutomaton: Kind("automaton", _automaton_parts, _automaton),
    Node: Kind("node", _node_parts, _node),
    Array: fields("array", Array),
    Object: fields("object", Object),
    Names: fields("names", Names),
    Due: fields("due", Due),
    Tally: fields("tally", Tally),
    Literal: fields("literal", Literal),
    Lengths: fields("lengths", Lengths),
    Sized: fields("sized", Sized),
    Listed: fields("listed", Listed),
    Spelled: fields("spelled", Spelled),
}
"""The classes that nodes consist of."""
