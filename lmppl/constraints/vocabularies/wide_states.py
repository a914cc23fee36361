"""States in which nearly any text may go on, as inside a string, and what stays in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lmppl.constraints.regular.automaton import ByteAutomaton
from lmppl.constraints.regular.transition_tables import DEAD
from lmppl.constraints.vocabularies.byte_steps import ByteSteps, Standing

LEAST_STAYING = 64  # bytes that stay in the state itself
_MOST_LEAVING = 16
_MOST_STATES = 32  # 8 for the characters of UTF-8
_NUM_ASCII = 128


class Wide(NamedTuple):
    """What stays in a state, but for characters under way.

    Attributes:
        machine: Of the texts without any of the bytes that leave; the state is its start. Equal for states
            that differ only in what comes behind.
        leaving: The bytes that may lead elsewhere.
    """

    machine: ByteAutomaton
    leaving: bytes


def wide(steps: ByteSteps, start: Standing) -> Wide | None:
    """Gives what stays in a state; None where that is little, or the rest is not told by single bytes."""
    viable = steps.viable(start)
    leaving = {byte for byte, each in viable.items() if byte < _NUM_ASCII and each is not start}
    if num_staying(steps, start) < LEAST_STAYING or len(leaving) > _MOST_LEAVING:
        return None
    numbers: dict[Standing, int] = {start: 0}
    rows = []
    for standing in (met := [start]):  # grows while it is walked
        row = [DEAD] * 256
        for byte, each in steps.viable(standing).items():
            if byte in leaving:
                continue
            if each not in numbers:
                if len(met) == _MOST_STATES:
                    return None
                numbers[each] = len(met)
                met.append(each)
            row[byte] = numbers[each]
        rows.append(row)
    machine = ByteAutomaton(np.array(rows, np.int32), np.ones(len(rows), bool))
    return Wide(machine, bytes(sorted(leaving)))


def num_staying(steps: ByteSteps, standing: Standing) -> int:
    """Gives how many bytes stay in a state itself."""
    return sum(each is standing for each in steps.viable(standing).values())
