"""What a mesh may be, and how arrays lie on it. Runs over several devices are in test_meshes.py."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType, Mesh, PartitionSpec

from lmppl.device_layout import ROWS, WHOLE, Layout, checked_mesh
from lmppl.errors import InvalidInputError, InvalidTypeError


def test_a_mesh_gets_both_axes_in_order_and_lets_the_compiler_shard():
    device = np.array(jax.devices()[:1])
    for names in [("data",), ("model",), ("data", "model"), ("model", "data")]:
        mesh = jax.make_mesh((1,) * len(names), names)  # explicit axes, as JAX makes them
        checked = checked_mesh(mesh)
        assert checked.axis_names == ("data", "model")
        assert checked.axis_types == (AxisType.Auto, AxisType.Auto)
        assert (checked.devices == device).all()


@pytest.mark.parametrize("mesh", [None, 8, "data", AbstractMesh((2,), ("data",))])
def test_what_is_no_mesh_of_devices_is_refused(mesh: Any):
    with pytest.raises(InvalidTypeError, match=r"expected a jax.sharding.Mesh such as jax.make_mesh"):
        checked_mesh(mesh)


def test_other_axes_are_refused():
    for names in [("x",), ("data", "tensor")]:
        mesh = Mesh(np.array(jax.devices()[:1]).reshape((1,) * len(names)), names)
        with pytest.raises(
            InvalidInputError, match="expected 'data' .particles., 'model' .weights., or both"
        ):
            checked_mesh(mesh)


def test_without_a_mesh_nothing_is_changed():
    layout, tree = Layout(), {"a": jnp.arange(3), "b": np.zeros(2)}
    assert layout.placed(tree, ROWS) is tree
    assert layout.one_each(tree) is tree
    assert layout.laid(tree) is tree
    assert layout.all_rows(tree) is tree
    assert layout.heads_apart(tree) is tree
    assert layout.over_rows(len, WHOLE, WHOLE) is len
    assert (layout.num_rows(7), layout.first_row(7)) == (7, 0)


def test_rows_are_rounded_up_and_odd_caches_lie_everywhere():
    layout = Layout(AbstractMesh((3, 2), ("data", "model")))  # type: ignore[arg-type]
    assert [layout.num_rows(size) for size in (1, 3, 4, 32)] == [3, 3, 6, 33]
    assert layout.rows_of(np.zeros((6, 4))) == ROWS
    assert layout.rows_of([np.zeros((1, 4))]) == WHOLE


def test_a_cache_is_cut_by_rows_and_heads_where_they_divide():
    layout = Layout(AbstractMesh((2, 4), ("data", "model")))  # type: ignore[arg-type]
    assert layout._head_specs([np.zeros((2, 8, 3)), np.zeros((2, 6, 3)), np.zeros(2)]) == [
        PartitionSpec(None, "model"),
        WHOLE,
        WHOLE,
    ]
    assert [layout._num_cuts(np.zeros(shape)) for shape in [(2, 8, 3), (3, 8, 3), (4, 6, 3), (2,)]] == [
        8,
        4,
        2,
        2,
    ]


def test_a_layout_is_a_value():
    mesh = checked_mesh(jax.make_mesh((1,), ("data",)))
    assert Layout(mesh) == Layout(checked_mesh(jax.make_mesh((1,), ("data",))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        Layout().mesh = mesh  # type: ignore[misc]
