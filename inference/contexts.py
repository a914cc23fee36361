"""What a run's models have read already: prompts are read once and shared by particles and sites."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.compilation import compiled
from lmppl.device_layout import ROWS, WHOLE, layout_of
from lmppl.errors import NotEnoughMemory
from lmppl.inference.free_memory import free_on_device, shown_bytes
from lmppl.language_model import LanguageModel
from lmppl.shape_buckets import bucket

Tokens = tuple[int, ...]

_MOST_AT_ONCE = 512  # tokens of a prompt that are read in one call
_LEAST_AT_ONCE = 16
_MOST_KEPT = 8  # prefixes of one model
_MOST_BYTES_KEPT = 32 * 2**20  # a prefix, from run to run
_GAIN = 16  # tokens: a copy of what rows have read is worth while if it saves so many a row


@dataclass(frozen=True)
class Prefix:
    """What has been read once for all rows.

    Attributes:
        tokens: That were read.
        cache: Of one row that has read them.
        logits: Of the token that follows, `Float32[1, vocab]`.
        capacity: Tokens that the cache can hold.
    """

    tokens: Tokens
    cache: Any
    logits: Any
    capacity: int


@dataclass(frozen=True)
class RowContexts:
    """What the rows of a site have read when it is done.

    Attributes:
        prefix: Shared by all rows; None if they share nothing.
        prefix_length: In tokens.
        cache: The rows' own.
        capacity: Tokens that a row of it can hold.
        row_of: The row of each slot that has one.
        tokens: Everything that each slot's row has read, the prefix included.
    """

    prefix: Any
    prefix_length: int
    cache: Any
    capacity: int
    row_of: dict[int, int]
    tokens: dict[int, Tokens]


@dataclass
class Contexts:
    """The caches that a run keeps from site to site.

    Attributes:
        reuse: False reads everything anew: results then do not depend, in the last bits, on what
            was read before, which a run needs that goes on from a file.
    """

    reuse: bool = True
    _prefixes: dict[LanguageModel, list[Prefix]] = field(default_factory=dict)
    _rows: dict[LanguageModel, RowContexts] = field(default_factory=dict)

    def prefix(self, lm: LanguageModel, tokens: Tokens) -> Prefix:
        """Reads `tokens`, of which there is one at least, as far as that is not done."""
        kept = self._prefixes.setdefault(lm, [])
        usable = [one for one in kept if self.reuse and _saved(one.tokens, tokens)]
        best = max(usable, key=lambda one: _saved(one.tokens, tokens), default=None)
        if best is None:
            found = _read_anew(lm, tokens)
        else:
            found = best if best.tokens == tokens else _read_on(lm, best, tokens)
        kept.insert(0, found)
        del kept[_MOST_KEPT:]
        return found

    def keep_rows(self, lm: LanguageModel, rows: RowContexts) -> None:
        """Keeps what the rows of a site have read until the next site of this model."""
        if self.reuse:
            self._rows[lm] = rows

    def take_rows(self, lm: LanguageModel, wanted: Mapping[int, Tokens]) -> RowContexts | None:
        """Gives, once, what is kept of the slots' own rows, if it spares enough reading.

        Args:
            lm: The model.
            wanted: What the row of each slot has to have read.
        """
        rows = self._rows.pop(lm, None)
        if rows is None or not wanted.keys() <= rows.tokens.keys():
            return None
        reused = [common_length(rows.tokens[slot], tokens) for slot, tokens in wanted.items()]
        read_once = max(rows.prefix_length, common_prefix(list(wanted.values())))
        saved = sum(max(0, length - read_once) for length in reused)
        return rows if min(reused) >= rows.prefix_length and saved >= _GAIN * len(wanted) else None

    def resample(self, ancestors: np.ndarray) -> None:
        """Follows the particles: slot `i` now holds a copy of slot `ancestors[i]`."""
        moves = list(enumerate(ancestors.tolist()))
        for key, rows in self._rows.items():
            self._rows[key] = replace(
                rows,
                row_of={slot: rows.row_of[old] for slot, old in moves if old in rows.row_of},
                tokens={slot: rows.tokens[old] for slot, old in moves if old in rows.tokens},
            )


def _saved(known: Tokens, tokens: Tokens) -> int:
    """Gives how many tokens need not be read again; the last one has to be, for what follows it."""
    return len(tokens) if known == tokens else min(common_length(known, tokens), len(tokens) - 1)


def _read_on(lm: LanguageModel, known: Prefix, tokens: Tokens) -> Prefix:
    """Reads what `tokens` have beyond the beginning that they share with what is read already."""
    shared = _saved(known.tokens, tokens)
    capacity = max(bucket(len(tokens), _LEAST_AT_ONCE), known.capacity)
    cache = known.cache
    if capacity > known.capacity:
        cache = grown(lm, cache, capacity)
    if shared < len(known.tokens):
        cache = rewound(lm, cache, np.array([shared], np.int32))
    # Reading uses a cache up, and this one is looked at by others.
    cache = gathered(lm, cache, np.zeros(1, np.int32))
    return Prefix(tokens, *_read_prefix(lm, cache, tokens[shared:]), capacity)


def _read_anew(lm: LanguageModel, tokens: Tokens) -> Prefix:
    """Reads `tokens` from the start. The last few stay with the model from run to run.

    Only such prefixes do: what was read in other portions differs in the last bits, and a run would then
    depend on those before it.
    """
    known: OrderedDict[Tokens, Prefix] = compiled(lm, "prefixes", OrderedDict)
    found = known.pop(tokens, None)
    if found is None:
        capacity = bucket(len(tokens), _LEAST_AT_ONCE)
        found = Prefix(tokens, *_read_prefix(lm, empty_rows(lm, 1, capacity), tokens), capacity)
    if sum(leaf.nbytes for leaf in jax.tree.leaves(found.cache)) <= _MOST_BYTES_KEPT:
        known[tokens] = found
        if len(known) > _MOST_KEPT:
            known.popitem(last=False)
    return found


def require_memory(lm: LanguageModel, num_rows: int, capacity: int, prefix_length: int) -> int:
    """Gives the bytes that a site's caches take, before anything of it is made.

    Raises:
        NotEnoughMemory: It does not fit; the message names the sizes.
    """
    own = _cache_bytes(lm, num_rows, capacity)
    shared = _cache_bytes(lm, 1, bucket(prefix_length, _LEAST_AT_ONCE)) if prefix_length else 0
    shape = (num_rows, 2 * len(lm.vocabulary))
    logits = _bytes_of(lm, ("logits", shape), lambda: jnp.zeros(shape, jnp.float32))
    available = free_on_device()
    if available is not None and own + shared + logits > available:
        raise NotEnoughMemory(
            f"{num_rows:,} particles with room for {capacity:,} tokens each need {shown_bytes(own)} for what "
            f"{lm.name!r} has read, {shown_bytes(shared)} for what all prompts begin with ({prefix_length:,} "
            f"tokens) and {shown_bytes(logits)} for logits; {shown_bytes(available)} are free. Use fewer "
            "particles, a smaller max_tokens, or a shorter prompt."
        )
    return own + shared


def read(lm: LanguageModel, prefix: Any, cache: Any, tokens: Sequence[Tokens]) -> Any:
    """Lets each row of a cache read its own further tokens, which may be none. The cache is used up."""
    extend = compiled(
        lm.skeleton, "read rows", lambda: jax.jit(partial(_read, lm.skeleton), donate_argnums=1)
    )
    for chunk, lengths in _chunks(tokens):
        cache = extend(lm.params, cache, chunk, lengths, prefix)
    return cache


def spread_logits(lm: LanguageModel, logits: Any, num_rows: int) -> Any:
    """Gives every row the logits of one."""
    lm = lm.skeleton
    layout = layout_of(lm)
    rows_here = num_rows // layout.num_parts

    def spread(logits: Any) -> Any:
        return jnp.broadcast_to(logits, (rows_here, logits.shape[1]))

    go = compiled(lm, ("spread logits", num_rows), lambda: jax.jit(layout.over_rows(spread, (WHOLE,), ROWS)))
    return go(logits)


def _chunks(tokens: Sequence[Tokens]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gives the rows' tokens in portions, `Int32[rows, length]`, with how many there are of each row."""
    longest = max(map(len, tokens))
    at = 0
    while at < longest:
        length = min(bucket(longest - at, _LEAST_AT_ONCE), _MOST_AT_ONCE)
        chunk = np.zeros((len(tokens), length), np.int32)
        lengths = np.zeros(len(tokens), np.int32)
        for row, own in enumerate(tokens):
            part = own[at : at + length]
            chunk[row, : len(part)], lengths[row] = part, len(part)
        yield chunk, lengths
        at += length


def _read_prefix(lm: LanguageModel, cache: Any, tokens: Tokens) -> tuple[Any, Any]:
    """Lets a cache of one row read on, and gives it with the logits of the next token. It is used up."""
    skeleton = lm.skeleton
    extend = compiled(
        skeleton, "read prefix", lambda: jax.jit(partial(_read_to_end, skeleton), donate_argnums=1)
    )
    logits = None
    for chunk, lengths in _chunks([tokens]):
        cache, logits = extend(lm.params, cache, chunk, lengths)
    return cache, logits


def empty_rows(lm: LanguageModel, num_rows: int, capacity: int) -> Any:
    """Gives a cache of rows that have read nothing."""
    lm = lm.skeleton

    def empty(num_rows: int, capacity: int) -> Any:
        return layout_of(lm).laid(lm.empty(num_rows, capacity))

    return compiled(lm, "empty rows", lambda: jax.jit(empty, static_argnums=(0, 1)))(num_rows, capacity)


def gathered(lm: LanguageModel, cache: Any, rows: np.ndarray) -> Any:
    """Gives the cache whose row `i` is row `rows[i]` of the old one."""
    lm = lm.skeleton
    layout = layout_of(lm)

    def gather(cache: Any, rows: Any) -> Any:
        return layout.gathered(lm, cache, rows)

    go = compiled(lm, "gather rows", lambda: jax.jit(layout.over_rows(gather, (ROWS, ROWS), ROWS)))
    return go(cache, rows.astype(np.int32))


def rearranged(caches: Sequence[Any], rows: Sequence[np.ndarray]) -> list[Any]:
    """Gives caches whose rows are taken, by number, from those of some caches laid end to end.

    For one device. The old caches are used up: each array is dropped before the next is made, so that little
    lies in memory twice.
    """
    numbers = [part.astype(np.int32) for part in rows]
    old = [jax.tree.flatten(cache) for cache in caches]
    new: list[list[Any]] = [[] for _ in rows]
    for leaves in zip(*(leaves for leaves, _ in old), strict=True):
        for done, leaf in zip(new, _taken(list(leaves), numbers), strict=True):
            done.append(leaf)
        for leaf in leaves:
            leaf.delete()
    return [jax.tree.unflatten(old[0][1], leaves) for leaves in new]


def rewound(lm: LanguageModel, cache: Any, lengths: np.ndarray) -> Any:
    """Makes row `i` forget all but its first `lengths[i]` tokens."""
    lm = lm.skeleton

    def rewind(cache: Any, lengths: Any) -> Any:
        return layout_of(lm).laid(lm.rewind(cache, lengths))

    return compiled(lm, "rewind rows", lambda: jax.jit(rewind))(cache, lengths.astype(np.int32))


def grown(lm: LanguageModel, cache: Any, capacity: int) -> Any:
    """Gives the same cache with more room."""
    lm = lm.skeleton

    def grow(cache: Any, capacity: int) -> Any:
        return layout_of(lm).laid(lm.grow(cache, capacity))

    return compiled(lm, "grow rows", lambda: jax.jit(grow, static_argnums=1))(cache, capacity)


@jax.jit
def _taken(arrays: list[Any], rows: list[Any]) -> list[Any]:
    whole = jnp.concatenate(arrays)
    return [whole[numbers] for numbers in rows]


def common_length(left: Tokens, right: Tokens) -> int:
    """Gives how many tokens two sequences begin with in common."""
    least = min(len(left), len(right))
    if left[:least] == right[:least]:
        return least
    low, high = 0, least
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if left[:middle] == right[:middle] else (low, middle - 1)
    return low


def common_prefix(sequences: Sequence[Tokens]) -> int:
    """Gives how many tokens all sequences begin with in common."""
    return common_length(min(sequences), max(sequences)) if sequences else 0


def _read(lm: LanguageModel, params: Any, cache: Any, tokens: Any, lengths: Any, prefix: Any) -> Any:
    layout = layout_of(lm)

    def extend(*args: Any) -> Any:
        return layout.heads_apart(lm.extend(*args)[0])

    rows = layout.rows_of(cache)
    return layout.over_rows(extend, (WHOLE, rows, rows, rows, WHOLE), rows)(
        params, cache, tokens, lengths, prefix
    )


def _read_to_end(lm: LanguageModel, params: Any, cache: Any, tokens: Any, lengths: Any) -> tuple[Any, Any]:
    layout = layout_of(lm)

    def extend(params: Any, cache: Any, tokens: Any, lengths: Any) -> tuple[Any, Any]:
        cache, hidden = lm.extend(params, cache, tokens, lengths)
        last = hidden[jnp.arange(len(lengths)), lengths - 1][:, None]
        logits = lm.logits(params, last)[:, 0].astype(jnp.float32)
        return layout.heads_apart(cache), layout.whole(logits)

    rows = layout.rows_of(cache)
    return layout.over_rows(extend, (WHOLE, rows, rows, rows), (rows, rows))(params, cache, tokens, lengths)


def _cache_bytes(lm: LanguageModel, num_rows: int, capacity: int) -> int:
    lm = lm.skeleton
    return _bytes_of(lm, ("cache", num_rows, capacity), lambda: lm.empty(num_rows, capacity))


def _bytes_of(lm: LanguageModel, what: Hashable, make: Callable[[], Any]) -> int:
    """Gives what something takes of one memory. Remembered: to trace its making takes milliseconds."""
    lm = lm.skeleton
    return compiled(lm, ("bytes", what), lambda: layout_of(lm).bytes_in_a_memory(make))
