"""Which sets of values can stand somewhere in a text that satisfies a schema.

Whatever no value satisfies is taken out, so that a viable beginning of a shape can always be completed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

from lmppl.constraints.json_values.array_shapes import ArrayShape
from lmppl.constraints.json_values.conditions import NOTHING, Wanted, joined
from lmppl.constraints.json_values.item_tallies import finishable
from lmppl.constraints.json_values.item_values import finite_domain
from lmppl.constraints.json_values.nodes import Array, Due, Names, Node, Object
from lmppl.constraints.json_values.object_shapes import ObjectShape, Some, contains
from lmppl.constraints.json_values.shapes import Values
from lmppl.constraints.json_values.spelling import any_content
from lmppl.constraints.json_values.string_sets import is_surely_spelled
from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.automaton_algebra import intersection, word_counts, words
from lmppl.constraints.regular.character_automaton import TooLarge

MAX_NODES = 15_000
MAX_NAMES = 1_000


def plan(values: Callable[[Wanted], Values], root: Wanted) -> list[Node]:
    """Gives all nodes that can be reached; the first one is the whole text. There is none if it is empty.

    Args:
        values: What is wanted, as a set of values.
        root: What is wanted of the whole.

    Raises:
        TooLarge: There are more than 15,000 nodes, or an object that may need thousands of names.
    """
    known: dict[Wanted, Values] = {}
    todo = [root]
    for wanted in todo:  # grows while it is walked
        if wanted in known:
            continue
        if len(known) >= MAX_NODES:
            raise TooLarge
        found = values(wanted)
        known[wanted] = replace(found, objects=tuple(map(_written_out, found.objects)))
        todo.extend(each for each in _inner(known[wanted]) if each not in known)
    alive = _satisfiable(known)
    if root not in alive:
        return []
    numbers = {wanted: i for i, wanted in enumerate(each for each in known if each in alive)}
    rules: dict[tuple, int] = {}
    return [_node(known[wanted], numbers, known, rules) for wanted in numbers]


def _written_out(shape: ObjectShape) -> ObjectShape:
    """Gives the shape with single names for classes so small that an object may need all of one."""
    named = dict(shape.named)
    classes = []
    for machine, wanted in shape.classes:
        number = None if machine == any_content() else word_counts(machine)[machine.start]
        if number is None or number - len(shape.named) > max(MAX_NAMES, shape.low):
            classes.append((machine, wanted))
        elif number > 2 * MAX_NAMES:
            raise TooLarge
        else:
            for word in words(machine):
                named.setdefault(word.decode(), wanted)
    return replace(shape, named=tuple(sorted(named.items())), classes=tuple(classes))


def _inner(values: Values) -> list[Wanted]:
    found: dict[Wanted, None] = {}
    for array in values.arrays:
        found.update(dict.fromkeys((*array.prefix, array.rest)))
        found.update(dict.fromkeys(wanted for _, wanted in _counted(array)))
    for shape in values.objects:
        found.update(dict.fromkeys(wanted for _, wanted in (*shape.named, *shape.classes)))
        found.update(dict.fromkeys(wanted for _, wanted in _serving(shape)))
    return list(found)


def _counted(shape: ArrayShape) -> Iterator[tuple[tuple[int, int], Wanted]]:
    """Gives what items must satisfy that satisfy tallies too, by place and the tallies' bits."""
    if shape.tallies:
        for place, bits in product(range(len(shape.prefix) + 1), range(1 << len(shape.tallies))):
            yield (place, bits), shape.counted_item(place, bits)


def _serving(shape: ObjectShape) -> Iterator[tuple[tuple[str | int, int], Wanted]]:
    """Gives what must stand under a name, or the names of a class, to serve for the somes of some bits."""
    for bits in range(1, 1 << len(shape.somes)):
        chosen = [some for number, some in enumerate(shape.somes) if bits >> number & 1]
        kinds: list[tuple[str | int, Wanted]] = [
            (name, wanted)
            for name, wanted in shape.named
            if _is_text(name) and all(contains(some.names, name) for some in chosen)
        ]
        kinds += [
            (number, wanted)
            for number, (names, wanted) in enumerate(shape.classes)
            if not _common(names, chosen).is_empty
        ]
        for kind, wanted in kinds:
            for some in chosen:
                wanted = joined(wanted, some.wanted)
            yield (kind, bits), wanted


def _common(names: ByteAutomaton, somes: list[Some]) -> ByteAutomaton:
    for some in somes:
        names = intersection(names, some.names)
    return names


def _satisfiable(known: dict[Wanted, Values]) -> set[Wanted]:
    """Gives what some value satisfies: the least fixpoint, from scalars outwards."""
    alive: set[Wanted] = set()
    users: dict[Wanted, list[Wanted]] = {wanted: [] for wanted in known}
    for wanted, values in known.items():
        for inner in _inner(values):
            users[inner].append(wanted)
    todo = deque(known)
    waiting = set(known)
    while todo:  # first come, first served: so what uses much is looked at when most of that is known
        wanted = todo.popleft()
        waiting.discard(wanted)
        if wanted in alive:
            continue
        values = known[wanted]
        if (
            values.has_scalars
            or any(_array(shape, alive, known) for shape in values.arrays)
            or any(_object(shape, alive) for shape in values.objects)
        ):
            alive.add(wanted)
            todo.extend(user for user in users[wanted] if user not in waiting)
            waiting.update(users[wanted])
    return alive


def _array(shape: ArrayShape, alive: set[Wanted], known: dict[Wanted, Values]) -> ArrayShape | None:
    """Gives the shape of those arrays whose items can be satisfied, if there is such an array."""
    items = (*shape.prefix, shape.rest)
    dead = next((i for i, wanted in enumerate(items) if wanted not in alive), None)
    highs = [high for high in (dead, shape.high) if high is not None]
    high = min(highs) if highs else None
    if high is not None and high < shape.low:
        return None
    found = replace(shape, high=high)
    if found.is_unique and found.low > len(found.prefix):
        domain = _domain(known[found.rest])
        if domain is not None and found.low - len(found.prefix) > len(domain):
            return None
    if found.is_unique and _repeats(found.prefix[: found.low], known):
        return None
    if found.tallies and (0, (0,) * len(found.tallies)) not in _standings(found, alive):
        return None
    return found


def _repeats(items: tuple[Wanted, ...], known: dict[Wanted, Values]) -> bool:
    """Says whether two items can only be the same value."""
    single = [domain for wanted in items if (domain := _domain(known[wanted])) and len(domain) == 1]
    return len(set(single)) < len(single)


def _standings(shape: ArrayShape, alive: set[Wanted]) -> frozenset:
    if not shape.tallies:
        return frozenset()
    is_alive = {key: wanted in alive for key, wanted in _counted(shape)}
    last = len(shape.prefix)
    return finishable(
        shape.tallies,
        shape.low,
        shape.high,
        shape.places,
        lambda index, bits: is_alive[min(index, last), bits],
    )


def _domain(values: Values) -> frozenset[bytes] | None:
    if values.arrays or values.objects:
        return None
    return finite_domain(values.words, values.numbers, values.strings)


def _object(shape: ObjectShape, alive: set[Wanted]) -> ObjectShape | None:
    """Gives the shape of those objects whose values can be satisfied, if there is such an object."""
    named = tuple(
        (name, wanted if wanted in alive and _is_text(name) else NOTHING) for name, wanted in shape.named
    )
    allowed = {name for name, wanted in named if wanted != NOTHING}
    classes = tuple(pair for pair in shape.classes if pair[1] in alive)
    if not shape.required <= allowed or (not classes and len(allowed) < shape.low):
        return None
    if shape.high is not None and shape.high < max(shape.low, len(shape.required)):
        return None
    found = replace(shape, named=named, classes=classes)
    served = {bits for (_, bits), wanted in _serving(found) if wanted in alive}
    if not served.issuperset(1 << number for number in range(len(shape.somes))):
        return None
    return found


def _node(
    values: Values, numbers: dict[Wanted, int], known: dict[Wanted, Values], rules: dict[tuple, int]
) -> Node:
    alive = set(numbers)
    arrays = [_array(shape, alive, known) for shape in values.arrays]
    objects = [_object(shape, alive) for shape in values.objects]
    node = Node(
        values.words,
        values.numbers,
        values.strings,
        tuple(_numbered(shape, numbers) for shape in dict.fromkeys(arrays) if shape is not None),
        tuple(_named(shape, numbers, rules) for shape in dict.fromkeys(objects) if shape is not None),
    )
    if not is_surely_spelled(node.texts):
        _ = node.strings  # now, so that what is too large is refused
    return node


def _numbered(shape: ArrayShape, numbers: dict[Wanted, int]) -> Array:
    size = len(shape.prefix) if shape.high is None else min(len(shape.prefix), shape.high)
    shape = replace(shape, prefix=shape.prefix[:size], rest=shape.item(size))
    counted = {key: numbers[wanted] for key, wanted in _counted(shape) if wanted in numbers}
    return Array(
        tuple(numbers[wanted] for wanted in shape.prefix),
        numbers.get(shape.rest, -1),
        shape.low,
        shape.high,
        shape.places,
        shape.tallies,
        counted,
        _standings(shape, set(numbers)),
        shape.is_unique,
        shape.repeats,
    )


def _named(shape: ObjectShape, numbers: dict[Wanted, int], rules: dict[tuple, int]) -> Object:
    serving = {
        (kind.encode() if isinstance(kind, str) else kind, bits): numbers[wanted]
        for (kind, bits), wanted in _serving(shape)
        if wanted in numbers
    }
    named = {name.encode(): numbers.get(wanted) for name, wanted in shape.named if _is_text(name)}
    allowed = frozenset((name, node is not None) for name, node in named.items())
    key = (allowed, tuple(machine for machine, _ in shape.classes), bool(shape.somes))
    return Object(
        named,
        tuple(Names(machine, numbers[wanted]) for machine, wanted in shape.classes),
        frozenset(name.encode() for name in shape.required),
        shape.low,
        shape.high,
        tuple(_due(shape, number, serving) for number in range(len(shape.somes))),
        serving,
        rules.setdefault(key, len(rules)),
    )


def _due(shape: ObjectShape, number: int, serving: dict[tuple[bytes | int, int], int]) -> Due:
    names = shape.somes[number].names
    is_open = any(
        (kind, 1 << number) in serving
        and (common := intersection(each, names)) is not None
        and word_counts(common)[common.start] is None
        for kind, (each, _) in enumerate(shape.classes)
    )
    return Due(names, is_open)


def _is_text(name: str) -> bool:
    """Whether UTF-8 can write a name: it cannot write surrogates."""
    return name.isascii() or not any("\ud800" <= character < "\ue000" for character in name)
