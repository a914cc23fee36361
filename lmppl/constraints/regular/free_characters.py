"""Characters that stand for themselves inside a string in most notations, and where any of them may come."""

from __future__ import annotations

from functools import cache, lru_cache

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.regular_expression import compiled
from lmppl.constraints.regular.transition_tables import DEAD

_MAX_REMEMBERED = 4_096  # states
_ASCII = bytes(byte for byte in range(0x20, 0x7F) if byte not in b"\"'\\")
_IN_CHARACTERS = _ASCII + bytes(range(0x80, 0x100))


def are_free(data: bytes) -> bool:
    """Says whether some bytes are whole characters, none of them a control, a quote or a backslash."""
    if data.translate(None, _IN_CHARACTERS):
        return False
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@lru_cache(_MAX_REMEMBERED)
def leads_back(machine: ByteAutomaton, state: int) -> bool:
    """Says whether every free character leads from a state to itself."""
    start, moves = _free_moves()
    flat = machine.flat
    met = [(state, start)]
    for at, inside in met:  # grows while it is walked
        for byte, target in moves[inside]:
            after = flat[256 * at + byte]
            if target is None:
                if after != state:
                    return False
            elif after == DEAD:
                return False
            elif (after, target) not in met:
                met.append((after, target))
    return True


@cache
def _free_moves() -> tuple[int, list[list[tuple[int, int | None]]]]:
    """Gives where a free character begins, and by place in it the bytes that may come and what follows.

    That is another place, or None where the character ends: none is the beginning of another.
    """
    machine = compiled(r"""[^\x00-\x1f\x7f"'\\]""")
    rows = [
        [
            (byte, None if machine.accepts(target) else target)
            for byte, target in enumerate(row)
            if target != DEAD
        ]
        for row in machine.transitions.tolist()
    ]
    return machine.start, rows
