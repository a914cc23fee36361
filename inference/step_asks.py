"""What the host says about each row before a step, in one array.

An array that is copied to a GPU costs about 0.1 ms, however small it is, and a step of a small model 1 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt32

from lmppl.device_layout import Layout
from lmppl.inference.text_rows import Row, active_rows

_ACTIVE, _AT_LIMIT, _LOCAL_LIMIT, _ADVANCE = 1, 2, 4, 8
_NUM_COLUMNS = 6


class Ask(NamedTuple):
    """What the host says about the rows of a device; see `text_steps.Strings`.

    Attributes:
        ancestors: The row that each row, of all devices, becomes a copy of, before it reads `tokens`.
        advance: Whether the automata have yet to take the token (not so for a prompt's last one).
        twins: Of the rows as they are after that.
    """

    ancestors: Int32[Array, " all_rows"]
    tokens: Int32[Array, " rows"]
    advance: Bool[Array, " rows"]
    twins: Int32[Array, " rows"]
    active: Bool[Array, " rows"]
    at_limit: Bool[Array, " rows"]
    local_limit: Bool[Array, " rows"]
    scale: Float[Array, " rows"]
    step: Int32[Array, ""]
    base: UInt32[Array, "rows words"] | None
    allowed: UInt32[Array, "rows words"] | None


def packed_ask(
    rows: Sequence[Row | None], ancestors: np.ndarray, tokens: np.ndarray, twins: np.ndarray, step: int
) -> np.ndarray:
    """Gives `int32[rows, columns]`, of which `unpacked_ask` makes an `Ask`; there may be padding."""
    flags = np.zeros(len(tokens), np.int32)
    scale = np.ones(len(tokens), np.float32)
    for index, row in active_rows(rows):
        flags[index] = _ACTIVE | _AT_LIMIT * row.at_limit | _LOCAL_LIMIT * row.text.local_limit
        scale[index] = 1.0 / row.text.temperature
    if step > 0:
        flags |= _ADVANCE
    packed = np.empty((len(tokens), _NUM_COLUMNS), np.int32)
    columns = (ancestors, tokens, twins, flags, scale.view(np.int32), step)
    for number, column in enumerate(columns):
        packed[:, number] = column
    return packed


def unpacked_ask(layout: Layout, packed: Int32[Array, "all_rows columns"], base: Any, allowed: Any) -> Ask:
    """Takes the device's rows of what `packed_ask` gave, and its masks. Traceable."""
    tokens, twins, flags, scale, steps = layout.own(packed[:, 1:]).T
    active, at_limit, local_limit, advance = (
        (flags & flag) != 0 for flag in (_ACTIVE, _AT_LIMIT, _LOCAL_LIMIT, _ADVANCE)
    )
    scale = jax.lax.bitcast_convert_type(scale, jnp.float32)
    ancestors = packed[:, 0]
    return Ask(
        ancestors, tokens, advance, twins, active, at_limit, local_limit, scale, steps[0], base, allowed
    )
