"""The compiled step of a text site: from the last tokens to the next ones, for all rows in one call.

The same parts make the two ways in which a site runs. `run` draws whole strings in one loop on the
device. `propose` and `propose_more` stop where the host has to be asked about candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int32, UInt32

from lmppl.device_layout import layout_of
from lmppl.inference import draws
from lmppl.inference.look_ahead import Search, begin_search, searched
from lmppl.inference.resampling import padded_ancestors
from lmppl.inference.step_asks import Ask
from lmppl.inference.token_machines import MachineTables, MaskCache, masks, step
from lmppl.inference.token_reading import Unread, next_twins, only_if, read_tokens
from lmppl.inference.token_trie import TokenTables
from lmppl.inference.weights import effective_sample_size, resampling_is_due
from lmppl.keys import step_keys
from lmppl.language_model import LanguageModel

ALIVE, UNSATISFIABLE, TRUNCATED, TIMED_OUT, EMPTY = range(5)  # why a row goes on no longer

_LOCAL, _MASK, _CHECK = range(3)  # columns of `Strings.states`
_DEAD = 0
_ENDED = 1
_ALL = 0xFFFFFFFF
_UNIFORMS = np.uint32(2**31)  # numbers of portions are smaller
_ALLOWED = np.uint32(2**30)  # likewise


@dataclass(frozen=True)
class Plan:
    """What a step is compiled for. Where a judge stands: `None`, `"device"` or `"host"`.

    Attributes:
        local: What the rows are normalised over.
        mask: What is masked and charged. With None only the limit of tokens is, in rows that are at it.
        check: What candidates are asked about.
        lookahead: As in `AWRS`.
        max_checks: As in `AWRS`.
        noisy: How candidates are drawn.
    """

    local: str | None
    mask: str | None
    check: str | None
    lookahead: int
    max_checks: int
    noisy: bool


class Fixed(NamedTuple):
    """What does not change during a site.

    Attributes:
        params: The model's weights.
        prefix: The cache of what all prompts begin with; None where they have nothing in common.
        is_read: Whether that is all of every prompt, so that the first tokens' logits are known.
        machine: The judges' automata.
        tokens: The vocabulary's bytes.
        bias: 0 for the tokens that may stand in a string, `-inf` for others.
        keys: Raw keys, one a slot; they do not move with the rows.
    """

    params: Any
    prefix: Any
    is_read: Bool[Array, ""]
    machine: MachineTables
    tokens: TokenTables
    bias: Float[Array, " vocab"]
    keys: UInt32[Array, "rows 2"]


class Strings(NamedTuple):
    """The rows: strings in the making, which resampling moves.

    Attributes:
        states: Of the three judges' automata.
        last: The token to be read next.
        twins: Equal for rows that have read the same, and read the same token next.
        lengths: Tokens drawn.
        limit: `max_tokens`: behind it a token must end the string.
        room: Tokens that the model can be asked for.
        local_limit: Whether the limit is renormalised over and not charged.
        scale: `1 / temperature`.
        ended: Whether EOS or the stop has come.
        lost: `ALIVE`, or why not.
        ids: The tokens drawn; what lies behind `lengths` means nothing.
        log_probs: Theirs, before masks are charged.
        log_normalisers: What each step was charged.
    """

    states: Int32[Array, "rows 3"]
    last: Int32[Array, " rows"]
    twins: Int32[Array, " rows"]
    lengths: Int32[Array, " rows"]
    limit: Int32[Array, " rows"]
    room: Int32[Array, " rows"]
    local_limit: Bool[Array, " rows"]
    scale: Float[Array, " rows"]
    ended: Bool[Array, " rows"]
    lost: Int32[Array, " rows"]
    ids: Int32[Array, "rows tokens"]
    log_probs: Float[Array, "rows tokens"]
    log_normalisers: Float[Array, "rows tokens"]

    @property
    def active(self) -> Bool[Array, " rows"]:
        """Which rows want another token."""
        return ~self.ended & (self.lost == ALIVE)

    @property
    def at_limit(self) -> Bool[Array, " rows"]:
        """Which rows must end now."""
        return self.lengths >= self.limit


class Resampling(NamedTuple):
    """When and how rows are resampled.

    Attributes:
        key: Raw; the number of the resampling is folded in.
        least: Resample when the effective sample size falls below this; 0 for never.
        num_particles: Rows behind them are padding.
        number: Of the next resampling in the run.
    """

    key: UInt32[Array, " 2"]
    least: Float[Array, ""]
    num_particles: Int32[Array, ""]
    number: Int32[Array, ""]


class History(NamedTuple):
    """What happened at each step, for the host to do likewise."""

    ancestors: Int32[Array, "steps rows"]
    resampled: Bool[Array, " steps"]
    log_increments: Float[Array, "steps rows"]
    lost: Int32[Array, "steps rows"]
    drew: Bool[Array, "steps rows"]


class Loop(NamedTuple):
    """What the loop of a site carries."""

    step: Int32[Array, ""]
    cache: Any
    logits: Float[Array, "rows vocab"]
    strings: Strings
    masks: MaskCache
    log_weights: Float[Array, " rows"]
    num_resamplings: Int32[Array, ""]
    num_checks: Int32[Array, ""]
    history: History


class Drawn(NamedTuple):
    """A token of each row.

    Attributes:
        token: Its id.
        log_weight: Its unnormalised log-probability.
        log_base: The log mass that normalises it.
        log_mass: The log admissible mass, exact or estimated.
        num_checks: How many candidates were asked about.
    """

    token: Int32[Array, " rows"]
    log_weight: Float[Array, " rows"]
    log_base: Float[Array, " rows"]
    log_mass: Float[Array, " rows"]
    num_checks: Int32[Array, " rows"]


def run(
    lm: LanguageModel,
    plan: Plan,
    resampler: Any,
    fixed: Fixed,
    resampling: Resampling,
    loop: Loop,
    until: Any,
) -> Loop:
    """Draws tokens until no row wants more, none has weight, or step `until` is reached. Traceable."""

    layout = layout_of(lm)

    def goes_on(loop: Loop) -> Array:
        alive = loop.log_weights > -jnp.inf
        return (loop.step < until) & layout.any(loop.strings.active & alive)

    def body(loop: Loop) -> Loop:
        loop = _resample(lm, resampler, resampling, loop)
        strings = loop.strings
        over = strings.active & (strings.lengths >= strings.room)
        strings = strings._replace(lost=jnp.where(over, TRUNCATED, strings.lost))
        new_masks, masked = _masks(plan, fixed, strings, loop.masks, None)
        cache, logits, masked = _read(lm, fixed, loop.step, loop.cache, loop.logits, strings, masked)
        rows = draws.Rows(logits, strings.scale, fixed.bias, *masked)
        keys = step_keys(fixed.keys, loop.step)
        drawn = _draw_tokens(plan, fixed, keys, strings, rows)
        strings, log_increments = _accept(fixed, strings, drawn)
        strings = strings._replace(twins=next_twins(lm, strings.twins, drawn.token, strings.active))
        log_increments = jnp.where(over, -jnp.inf, log_increments)
        return Loop(
            loop.step + 1,
            cache,
            logits,
            strings,
            new_masks,
            loop.log_weights + log_increments,
            loop.num_resamplings,
            loop.num_checks + jnp.sum(drawn.num_checks),
            _noted(loop, strings, log_increments),
        )

    return jax.lax.while_loop(goes_on, body, loop)


class Waiting(NamedTuple):
    """A step that waits for the host: what is kept on the device, and what more candidates need."""

    cache: Any
    masks: MaskCache
    states: Int32[Array, "rows 3"]
    rows: draws.Rows
    order: draws.Order


def propose(
    lm: LanguageModel,
    plan: Plan,
    num_candidates: int,
    fixed: Fixed,
    cache: Any,
    logits: Float[Array, "rows vocab"],
    mask_cache: MaskCache,
    states: Int32[Array, "rows 3"],
    ask: Ask,
) -> tuple[Waiting, Int32[Array, "rows packed"]]:
    """Moves the rows, reads a token each and gives candidates for the next one, packed. Traceable.

    `logits` are the last step's, or before the first step what the prompts have given.
    """
    moves = jnp.any(ask.ancestors != jnp.arange(len(ask.ancestors)))
    layout = layout_of(lm)
    cache = only_if(moves, lambda cache: layout.moved(lm, cache, ask.ancestors), cache)
    states = layout.all_rows(states)[layout.own(ask.ancestors)]
    after = step(fixed.machine, fixed.tokens, states, ask.tokens[:, None])
    states = jnp.where((ask.active & ask.advance)[:, None], after, states)
    strings = _shell(ask, states)
    mask_cache, masked = _masks(plan, fixed, strings, mask_cache, ask)
    cache, logits, masked = _read(lm, fixed, ask.step, cache, logits, strings, masked)
    rows = draws.Rows(logits, strings.scale, fixed.bias, *masked)
    keys = step_keys(fixed.keys, ask.step)
    order, masses = draws.begin(keys, rows, noisy=plan.noisy)
    order, found = draws.more(keys, rows, order, num_candidates)
    rows = rows._replace(is_masked=None)  # each device's own, and not asked any more
    return Waiting(cache, mask_cache, states, rows, order), _packed(found, masses)


def propose_more(
    num_candidates: int,
    keys: UInt32[Array, "rows 2"],
    number: Any,
    portion: Any,
    num_portions: Any,
    rows: draws.Rows,
    order: draws.Order,
) -> tuple[draws.Order, Int32[Array, "rows packed"]]:
    """Gives the next candidates of a step that waits, packed with masses that mean nothing. Traceable."""
    keys = step_keys(keys, number)
    order, found = draws.more(keys, rows, order, num_candidates, portion=portion, num_portions=num_portions)
    nothing = jnp.zeros_like(found.log_tail)
    return order, _packed(found, draws.Masses(nothing, nothing))


def propose_allowed(
    noisy: bool,
    keys: UInt32[Array, "rows 2"],
    number: Any,
    rows: draws.Rows,
    allowed: UInt32[Array, "rows words"],
) -> Int32[Array, "rows packed"]:
    """Gives one token of each row from those that are allowed, packed with the exact masses. Traceable."""
    if rows.allowed is not None:
        allowed = allowed & rows.allowed
    keys = jax.vmap(lambda key: jax.random.fold_in(key, _ALLOWED))(step_keys(keys, number))
    masses, found = draws.candidates(keys, rows._replace(allowed=allowed), 1, noisy=noisy)
    return _packed(found, masses)


def repeat_uniforms(
    keys: UInt32[Array, "rows 2"], number: Any, portion: Any, num_candidates: int, rounds: int
) -> Float[Array, "rows candidates slots"]:
    """Gives the uniforms of the geometric estimator for the candidates from one portion on. Traceable."""

    def one(key: Any) -> Array:
        return jax.random.uniform(jax.random.fold_in(key, _UNIFORMS + portion), (num_candidates, rounds + 1))

    return jax.vmap(one)(step_keys(keys, number))


def _resample(lm: LanguageModel, resampler: Any, resampling: Resampling, loop: Loop) -> Loop:
    """Resamples if the effective sample size is low, and notes it."""
    layout = layout_of(lm)
    log_weights = layout.all_rows(loop.log_weights)
    size = effective_sample_size(log_weights)
    due = resampling_is_due(size, resampling.least)
    places = jnp.arange(len(log_weights), dtype=jnp.int32)
    real = places < resampling.num_particles

    def drawn(_: Any) -> Array:
        key = jax.random.wrap_key_data(resampling.key, impl="threefry2x32")
        key = jax.random.fold_in(key, resampling.number + loop.num_resamplings)
        return padded_ancestors(resampler, key, log_weights, resampling.num_particles)

    ancestors = jax.lax.cond(due, drawn, lambda _: places, None)
    own = layout.own(ancestors)

    def moved(carry: tuple[Any, Strings]) -> tuple[Any, Strings]:
        cache, strings = carry
        strings = jax.tree.map(lambda leaf: leaf[own], layout.all_rows(strings))
        return layout.moved(lm, cache, ancestors), strings

    cache, strings = only_if(due, moved, (loop.cache, loop.strings))
    history = loop.history
    return loop._replace(
        cache=cache,
        strings=strings,
        log_weights=jnp.where(due, jnp.where(layout.own(real), 0.0, -jnp.inf), loop.log_weights),
        num_resamplings=loop.num_resamplings + due.astype(jnp.int32),
        history=history._replace(
            ancestors=history.ancestors.at[loop.step].set(own),
            resampled=history.resampled.at[loop.step].set(due),
        ),
    )


class _Masked(NamedTuple):
    """What rows are drawn from; see `draws.Rows`."""

    base: UInt32[Array, "rows words"] | None
    allowed: UInt32[Array, "rows words"] | None
    is_masked: Bool[Array, ""] | None


def _masks(
    plan: Plan, fixed: Fixed, strings: Strings, cache: MaskCache, ask: Ask | None
) -> tuple[MaskCache, _Masked]:
    """Gives what each row is drawn from. Rows that want no token are given all."""
    active, base, is_masked = strings.active, None, None

    def bits_of(judge: int, at_limit: Array, wanted: Array) -> Array:
        nonlocal cache
        wanted = active & wanted
        states = jnp.where(wanted, strings.states[:, judge], _DEAD)
        cache, found = masks(cache, fixed.machine, fixed.tokens, states, at_limit)
        return jnp.where(wanted[:, None], found, jnp.uint32(_ALL))

    if plan.local == "device":
        base = bits_of(_LOCAL, strings.at_limit & strings.local_limit, jnp.ones_like(active))
    elif plan.local == "host" and ask is not None:
        base = ask.base
    charged = strings.at_limit & ~strings.local_limit
    if plan.mask == "host" and ask is not None:
        allowed = ask.allowed
    elif plan.mask == "device":
        allowed = bits_of(_MASK, charged, jnp.ones_like(active))
    else:
        allowed, is_masked = bits_of(_MASK, charged, charged), jnp.any(active & charged)
    return cache, _Masked(base, allowed, is_masked)


def _read(
    lm: LanguageModel,
    fixed: Fixed,
    number: Array,
    cache: Any,
    logits: Array,
    strings: Strings,
    masked: _Masked,
) -> tuple[Any, Array, _Masked]:
    """Reads the last tokens of active rows; not in the first step if the prompts are read to their ends.

    Behind the masks: on a GPU the host waits for the device where one is missing, which takes long only if
    the model has been started before.
    """
    last, masked = jax.lax.optimization_barrier((strings.last, masked))
    unread = Unread(last, strings.active, strings.twins)
    due = ~(fixed.is_read & (number == 0))
    return *read_tokens(lm, fixed.params, fixed.prefix, cache, logits, unread, due), masked


def _draw_tokens(plan: Plan, fixed: Fixed, keys: Array, strings: Strings, rows: draws.Rows) -> Drawn:
    """Draws a token of each row, by a search on the device where candidates have to be checked."""
    if plan.check == "device":
        return _search(plan, fixed, keys, strings, rows)

    masses, found = draws.candidates(keys, rows, 1, noisy=plan.noisy)
    none = jnp.zeros_like(strings.lengths)
    return Drawn(found.ids[:, 0], found.log_weights[:, 0], masses.base, masses.allowed, none)


def _search(plan: Plan, fixed: Fixed, keys: Array, strings: Strings, rows: draws.Rows) -> Drawn:
    """Checks candidates, some at a time, until every row has its token and has looked ahead."""
    order, masses = draws.begin(keys, rows, noisy=plan.noisy)
    active = strings.active
    states = strings.states[:, _CHECK]
    rule = {"lookahead": plan.lookahead, "max_checks": plan.max_checks}

    def unfinished(carry: tuple[Any, draws.Order, Search]) -> Array:
        return jnp.any(active & carry[2].wants_more)

    def chunk(carry: tuple[Any, draws.Order, Search]) -> tuple[Any, draws.Order, Search]:
        portion, order, search = carry
        order, found = draws.more(keys, rows, order, draws.PORTION, portion=portion)
        accepted = step(fixed.machine, fixed.tokens, states[:, None], found.ids) != _DEAD
        return portion + 1, order, searched(search, found, accepted, **rule)

    start = (jnp.int32(1), order, begin_search(len(active), masses.allowed))
    search = jax.lax.while_loop(unfinished, chunk, start)[2]
    checks = jnp.where(active, search.num_checks, 0)
    return Drawn(search.token, search.log_weight, masses.base, search.log_estimate, checks)


def _accept(fixed: Fixed, strings: Strings, drawn: Drawn) -> tuple[Strings, Array]:
    """Appends the tokens; gives the strings and by what the rows' weights are multiplied."""
    active = strings.active
    dead = active & ~((drawn.log_mass > -jnp.inf) & (drawn.log_weight > -jnp.inf))
    goes_on = active & ~dead
    log_mass = jnp.where(goes_on, drawn.log_mass - drawn.log_base, 0.0)
    log_prob = jnp.where(goes_on, drawn.log_weight - drawn.log_base, 0.0)
    places = jnp.where(goes_on, strings.lengths, strings.ids.shape[1])
    rows = jnp.arange(len(places))
    after = step(fixed.machine, fixed.tokens, strings.states, drawn.token[:, None])
    cause = jnp.where(strings.at_limit, TRUNCATED, UNSATISFIABLE)
    strings = strings._replace(
        states=jnp.where(goes_on[:, None], after, strings.states),
        last=jnp.where(goes_on, drawn.token, strings.last),
        lengths=strings.lengths + goes_on.astype(jnp.int32),
        ended=strings.ended | (goes_on & (after[:, _MASK] == _ENDED)),
        lost=jnp.where(dead, cause, strings.lost),
        ids=strings.ids.at[rows, places].set(drawn.token, mode="drop"),
        log_probs=strings.log_probs.at[rows, places].set(log_prob, mode="drop"),
        log_normalisers=strings.log_normalisers.at[rows, places].set(log_mass, mode="drop"),
    )
    return strings, jnp.where(dead, -jnp.inf, log_mass)


def _noted(loop: Loop, strings: Strings, log_increments: Array) -> History:
    before, history = loop.strings, loop.history
    lost = jnp.where(strings.lost != before.lost, strings.lost, ALIVE)
    return history._replace(
        log_increments=history.log_increments.at[loop.step].set(log_increments),
        lost=history.lost.at[loop.step].set(lost),
        drew=history.drew.at[loop.step].set(before.active & (strings.lost == ALIVE)),
    )


def _shell(ask: Ask, states: Int32[Array, "rows 3"]) -> Strings:
    """Gives the strings as far as a single step looks at them."""
    zeros = jnp.zeros_like(ask.tokens)
    nothing = jnp.zeros((len(zeros), 0), jnp.float32)
    return Strings(
        states=states,
        last=ask.tokens,
        twins=ask.twins,
        lengths=zeros,
        limit=jnp.where(ask.at_limit, 0, 1),
        room=zeros + 1,
        local_limit=ask.local_limit,
        scale=ask.scale,
        ended=~ask.active,
        lost=zeros,
        ids=nothing.astype(jnp.int32),
        log_probs=nothing,
        log_normalisers=nothing,
    )


def _packed(found: draws.Candidates, masses: draws.Masses) -> Int32[Array, "rows packed"]:
    """Lays out ids, log-weights, tail, threshold and masses in one array, so that one copy takes them all."""
    single = jnp.stack([found.log_tail, found.threshold, masses.base, masses.allowed], axis=1)
    floats = jnp.concatenate([found.log_weights, single], axis=1)
    return jnp.concatenate([found.ids, jax.lax.bitcast_convert_type(floats, jnp.int32)], axis=1)
