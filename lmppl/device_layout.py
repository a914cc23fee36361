"""Where arrays lie on several devices: rows of particles apart, weights cut up, the rest everywhere.

A mesh has two axes. Along `"data"` every device has some of the rows, and works on them alone: what a
step does with rows is a `shard_map` over this axis, in which the only talk between devices is what the
methods of `Layout` say. Along `"model"` the devices share the weights, and the compiler adds the talk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lmppl.errors import InvalidInputError, InvalidTypeError

DATA, MODEL = "data", "model"

WHOLE = PartitionSpec()  # the same on all devices of the axis "data"
ROWS = PartitionSpec(DATA)  # the first axis is that of rows
STEPS = PartitionSpec(None, DATA)  # rows come second

_EXAMPLE = "jax.make_mesh((2, 4), ('data', 'model'), axis_types=(jax.sharding.AxisType.Auto,) * 2)"


def on_cpu() -> bool:
    """Says whether programs are compiled for CPUs. To be asked while tracing."""
    return jax.default_backend() == "cpu"


def checked_mesh(mesh: Any) -> Mesh:
    """Gives a mesh with the axes `"data"` and `"model"` in this order, of the same devices.

    An axis that is not there has size 1. The axes become automatic ones (`AxisType.Auto`), whatever
    their type was.

    Raises:
        InvalidTypeError: It is no mesh of devices.
        InvalidInputError: It has other axes.
    """
    if not isinstance(mesh, Mesh):
        raise InvalidTypeError(
            f"mesh is {mesh!r}, a {type(mesh).__name__}; expected a jax.sharding.Mesh such as {_EXAMPLE}."
        )
    names = mesh.axis_names
    if not names or not set(names) <= {DATA, MODEL}:
        found = ", ".join(map(repr, names)) or "none"
        raise InvalidInputError(
            f"mesh has the axes {found}; expected 'data' (particles), 'model' "
            f"(weights), or both, such as {_EXAMPLE}."
        )
    devices = np.asarray(mesh.devices)
    if names == (MODEL, DATA):
        devices = devices.T
    shape = (mesh.shape.get(DATA, 1), mesh.shape.get(MODEL, 1))
    return Mesh(devices.reshape(shape), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2)


@dataclass(frozen=True)
class Layout:
    """How the arrays of a model's runs lie. Without a mesh all but `put` give back what they are given.

    Caches have their rows on the first axis and, with more than two axes, their heads on the second.

    Attributes:
        mesh: As `checked_mesh` gives it; None for one device.
    """

    mesh: Mesh | None = None

    @property
    def num_parts(self) -> int:
        """Into how many parts the rows are divided."""
        return 1 if self.mesh is None else self.mesh.shape[DATA]

    @property
    def num_shares(self) -> int:
        """How many devices share the weights."""
        return 1 if self.mesh is None else self.mesh.shape[MODEL]

    def num_rows(self, size: int) -> int:
        """Gives the number of rows, at least `size`, that is divided among the devices."""
        return -(-size // self.num_parts) * self.num_parts

    def devices_here(self) -> list[Any]:
        """Gives the devices of this process that take part."""
        if self.mesh is None:
            return jax.local_devices()[:1]
        return [device for device in self.mesh.devices.flat if device.process_index == jax.process_index()]

    def bytes_in_a_memory(self, make: Callable[[], Any]) -> int:
        """Gives what a cache, or what else has rows, takes of one memory; CPUs of a process share theirs."""
        devices = self.devices_here()
        num_sharing = len(devices) if devices[0].platform == "cpu" else 1
        return num_sharing * sum(
            leaf.size * leaf.dtype.itemsize // self._num_cuts(leaf)
            for leaf in jax.tree.leaves(jax.eval_shape(make))
        )

    # From the host, and outside of `over_rows`.

    def placed(self, tree: Any, spec: PartitionSpec) -> Any:
        """Puts arrays that every process has onto the devices."""
        if self.mesh is None:
            return tree
        sharding = NamedSharding(self.mesh, spec)

        def one(leaf: Any) -> Any:
            whole = np.asarray(leaf)
            return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

        return jax.tree.map(one, tree)

    def put(self, tree: Any, spec: PartitionSpec) -> Any:
        """Does so even without a mesh, where a compiled call would else copy them each time."""
        return jax.device_put(tree) if self.mesh is None else self.placed(tree, spec)

    def one_each(self, tree: Any) -> Any:
        """Gives every part a copy of its own, which `own_one` takes."""
        if self.mesh is None:
            return tree
        parts = self.num_parts
        return self.placed(
            jax.tree.map(lambda leaf: np.broadcast_to(leaf, (parts, *np.shape(leaf))), tree), ROWS
        )

    def rows_of(self, cache: Any) -> PartitionSpec:
        """Says how a cache lies: what cannot be divided, such as a prefix of one row, is everywhere."""
        num_rows = jax.tree.leaves(cache)[0].shape[0]
        return ROWS if num_rows % self.num_parts == 0 else WHOLE

    def laid(self, cache: Any) -> Any:
        """Says where a cache shall lie. Traceable."""
        if self.mesh is None:
            return cache
        mesh = self.mesh

        def one(leaf: Any) -> Any:
            rows = DATA if leaf.shape[0] % self.num_parts == 0 else None
            heads = (MODEL,) if self._has_heads(leaf) else ()
            spec = PartitionSpec(rows, *heads) if rows or heads else WHOLE
            return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, spec))

        return jax.tree.map(one, cache)

    def over_rows(self, function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
        """Lets every device call a function with its own rows. Traceable.

        Args:
            function: Sees the rows of its device only.
            in_specs: `ROWS`, `STEPS` or `WHOLE` for its arguments, or trees of them.
            out_specs: Likewise for its results.
        """
        if self.mesh is None:
            return function
        # With one share the other axis is the function's too: then the compiler has nothing to decide.
        axes = {DATA, MODEL} if self.num_shares == 1 else {DATA}
        return jax.shard_map(
            function,
            mesh=self.mesh,
            in_specs=in_specs,
            out_specs=out_specs,
            axis_names=axes,
            check_vma=False,
        )

    # Inside of `over_rows`. Those that talk between devices: `all_rows`, `any`, `total`, `moved`, `gathered`.

    def all_rows(self, tree: Any, axis: int = 0) -> Any:
        """Gathers the rows of all devices."""
        if self.num_parts == 1:
            return tree
        return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, DATA, axis=axis, tiled=True), tree)

    def any(self, values: Any) -> Any:
        """Says whether any value of any row is True."""
        found = jnp.any(values)
        return found if self.num_parts == 1 else jax.lax.pmax(found.astype(jnp.int32), DATA) > 0

    def total(self, values: Any) -> Any:
        """Adds what the devices have."""
        return values if self.num_parts == 1 else jax.lax.psum(values, DATA)

    def moved(self, lm: Any, cache: Any, ancestors: Any) -> Any:
        """Makes row `i` what row `ancestors[i]` is, of all rows; see `LanguageModel.move`."""
        if self.num_parts > 1:
            return self.gathered(lm, cache, self.own(ancestors))
        return self._head_by_head(lm.move, cache, ancestors)

    def gathered(self, lm: Any, cache: Any, rows: Any) -> Any:
        """Gives the device's rows of a cache whose row `i` is row `rows[i]`, of all rows, of the old one."""
        return self._head_by_head(lambda cache, rows: lm.gather(self.all_rows(cache), rows), cache, rows)

    def first_row(self, num_rows: int) -> Any:
        """Gives the number of the device's first row, where each has `num_rows`."""
        return 0 if self.num_parts == 1 else jax.lax.axis_index(DATA) * num_rows

    def own(self, values: Any) -> Any:
        """Takes the device's part of an array that has a value for every row."""
        if self.num_parts == 1:
            return values
        num_rows = len(values) // self.num_parts
        return jax.lax.dynamic_slice_in_dim(values, self.first_row(num_rows), num_rows)

    def own_one(self, tree: Any) -> Any:
        """Takes the device's own of what `one_each` made."""
        return tree if self.mesh is None else jax.tree.map(lambda leaf: leaf[0], tree)

    def as_one(self, tree: Any) -> Any:
        """Gives back what `own_one` took."""
        return tree if self.mesh is None else jax.tree.map(lambda leaf: leaf[None], tree)

    def whole(self, tree: Any) -> Any:
        """Gathers what lies apart along `"model"`, such as logits."""
        if self.num_shares == 1:
            return tree
        return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, WHOLE), tree)

    def heads_apart(self, cache: Any) -> Any:
        """Says that the devices that share the weights share the heads of a cache too."""
        if self.num_shares == 1:
            return cache

        return jax.tree.map(jax.lax.with_sharding_constraint, cache, self._head_specs(cache))

    def _head_by_head(self, function: Callable[[Any, Any], Any], cache: Any, rows: Any) -> Any:
        """Calls a function that does the same to all heads, so that they need not be gathered for it."""
        if self.num_shares == 1:
            return function(cache, rows)
        specs = self._head_specs(cache)
        return jax.shard_map(
            function, in_specs=(specs, WHOLE), out_specs=specs, axis_names={MODEL}, check_vma=False
        )(cache, rows)

    def _head_specs(self, cache: Any) -> Any:
        return jax.tree.map(
            lambda leaf: PartitionSpec(None, MODEL) if self._has_heads(leaf) else WHOLE, cache
        )

    def _num_cuts(self, leaf: Any) -> int:
        """Into how many pieces an array is cut."""
        rows = self.num_parts if leaf.shape[0] % self.num_parts == 0 else 1
        return rows * (self.num_shares if self._has_heads(leaf) else 1)

    def _has_heads(self, leaf: Any) -> bool:
        return self.num_shares > 1 and leaf.ndim > 2 and leaf.shape[1] % self.num_shares == 0


def layout_of(lm: Any) -> Layout:
    """Gives how the arrays of a model's runs lie."""
    return Layout(lm.mesh)
