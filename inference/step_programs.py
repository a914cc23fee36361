"""The programs of text sites as they are compiled: steps over the rows of one device, or of several."""

from __future__ import annotations

import os
from typing import Any

import jax

from lmppl.compilation import compiled
from lmppl.device_layout import ROWS, STEPS, WHOLE, layout_of
from lmppl.inference import draws
from lmppl.inference.step_asks import unpacked_ask
from lmppl.inference.text_steps import (
    Fixed,
    History,
    Loop,
    Plan,
    Resampling,
    Waiting,
    propose,
    propose_allowed,
    propose_more,
    run,
)
from lmppl.language_model import LanguageModel

_GRAPHS = "xla_gpu_enable_command_buffer"


def _specs(kind: Any, otherwise: Any, **fields: Any) -> Any:
    return kind(**{name: fields.get(name, otherwise) for name in kind._fields})


_FIXED = _specs(Fixed, WHOLE, keys=ROWS)
_LOOP = _specs(
    Loop,
    WHOLE,
    cache=ROWS,
    logits=ROWS,
    strings=ROWS,
    masks=ROWS,
    log_weights=ROWS,
    history=_specs(History, STEPS, resampled=WHOLE),
)
_WAITING = _specs(Waiting, ROWS, rows=_specs(draws.Rows, ROWS, bias=WHOLE))


def run_program(lm: LanguageModel, plan: Plan, resampler: Any) -> Any:
    """Gives `run`, compiled: `(Fixed, Resampling, Loop, until) -> (Loop, report)`; the loop is used up.

    The report is what the host reads: the step, the number of checks, the history and the strings.
    """
    lm = lm.skeleton
    layout = layout_of(lm)

    def go(fixed: Fixed, resampling: Resampling, loop: Loop, until: Any) -> Any:
        loop = loop._replace(masks=layout.own_one(loop.masks))
        loop = run(lm, plan, resampler, fixed, resampling, loop, until)
        loop = loop._replace(masks=layout.as_one(loop.masks), num_checks=layout.total(loop.num_checks))
        history = loop.history
        steps = layout.all_rows(history._replace(resampled=None), axis=1)  # type: ignore[arg-type]
        steps = steps._replace(resampled=history.resampled)
        return loop, (loop.step, loop.num_checks, steps, layout.all_rows(loop.strings))

    over_rows = layout.over_rows(go, (_FIXED, WHOLE, _LOOP, WHOLE), (_LOOP, WHOLE))
    return compiled(
        lm,
        ("run", plan, resampler),
        lambda: jax.jit(over_rows, donate_argnums=2, compiler_options=_whole_loops(lm)),
    )


def _whole_loops(lm: LanguageModel) -> dict[str, str] | None:
    """Gives XLA's options for a program that is one loop: on one GPU all of it is put into one graph.

    Otherwise the host starts the hundreds of kernels of each step of the loop, and waits for the device to
    learn whether there is another. XLA leaves it where the driver cannot do so, and we where the user has
    said what is to be put into graphs.
    """
    if jax.default_backend() != "gpu" or lm.mesh is not None or _GRAPHS in os.environ.get("XLA_FLAGS", ""):
        return None
    return {_GRAPHS: "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"}


def propose_program(lm: LanguageModel, plan: Plan, num_candidates: int) -> Any:
    """Gives `propose`, compiled: `(Fixed, cache, logits, masks, states, *asked) -> (Waiting, packed)`.

    `asked` is what `packed_ask` gives, then masks that the host has made: `base` and `allowed`, or None.
    The cache, the logits and the masks are used up. New logits take the memory of the old: pages that a
    process has not touched yet cost more than the writing.
    """
    lm = lm.skeleton
    layout = layout_of(lm)

    def go(fixed: Fixed, cache: Any, logits: Any, masks: Any, states: Any, *asked: Any) -> Any:
        masks = layout.own_one(masks)
        ask = unpacked_ask(layout, *asked)
        waiting, packed = propose(lm, plan, num_candidates, fixed, cache, logits, masks, states, ask)
        return waiting._replace(masks=layout.as_one(waiting.masks)), layout.all_rows(packed)

    over_rows = layout.over_rows(go, (_FIXED, ROWS, ROWS, ROWS, ROWS, WHOLE, ROWS, ROWS), (_WAITING, WHOLE))
    return compiled(
        lm, ("propose", plan, num_candidates), lambda: jax.jit(over_rows, donate_argnums=(1, 2, 3))
    )


def more_program(lm: LanguageModel, num_candidates: int) -> Any:
    """Gives `propose_more`, compiled: `(keys, step, portion, num_portions, rows, order) -> (order, packed)`.

    The order is used up. One program draws any number of portions up to `num_candidates`.
    """
    lm = lm.skeleton
    layout = layout_of(lm)

    def go(keys: Any, step: Any, portion: Any, number: Any, rows: draws.Rows, order: draws.Order) -> Any:
        order, packed = propose_more(num_candidates, keys, step, portion, number, rows, order)
        return order, layout.all_rows(packed)

    over_rows = layout.over_rows(go, (ROWS, WHOLE, WHOLE, WHOLE, _WAITING.rows, ROWS), (ROWS, WHOLE))
    return compiled(lm, ("propose more", num_candidates), lambda: jax.jit(over_rows, donate_argnums=5))


def allowed_program(lm: LanguageModel, noisy: bool) -> Any:
    """Gives `propose_allowed`, compiled: `(keys, step, rows, allowed) -> packed`."""
    lm = lm.skeleton
    layout = layout_of(lm)

    def go(keys: Any, number: Any, rows: draws.Rows, allowed: Any) -> Any:
        return layout.all_rows(propose_allowed(noisy, keys, number, rows, allowed))

    over_rows = layout.over_rows(go, (ROWS, WHOLE, _WAITING.rows, ROWS), WHOLE)
    return compiled(lm, ("propose allowed", noisy), lambda: jax.jit(over_rows))
