"""A matrix applied to vectors gives the same in every way it is computed, and can be differentiated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmppl.models import products
from lmppl.models.products import applied

SHAPES = [(24, 16), (16, 24), (300, 8)]  # outputs, inputs: two layers and a head


@pytest.mark.parametrize("leading", [(), (1,), (5,), (3, 2), (100,), (0,)])
@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
def test_every_vector_is_multiplied(outputs, inputs, leading):
    weight = jax.random.normal(jax.random.key(0), (outputs, inputs))
    x = jax.random.normal(jax.random.key(1), (*leading, inputs))
    expected = np.einsum("...i,oi->...o", np.asarray(x, float), np.asarray(weight, float))
    for compiled in (applied, jax.jit(applied, static_argnums=2)):
        found = compiled(weight, x, jnp.float32)
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere there is one way")
def test_both_ways_of_multiplying_are_taken_on_cpu(monkeypatch):
    weight, x = jnp.ones((24, 16)), jnp.ones((5, 16))
    seen = []
    original = products.product
    monkeypatch.setattr(products, "product", lambda how, *rest: seen.append(how) or original(how, *rest))
    for vectors, matrix in itertools.product((x, x[:1]), (weight, weight.astype(jnp.bfloat16))):
        applied(matrix, vectors.astype(matrix.dtype), jnp.float32)
    applied(jnp.ones((300, 16)), jnp.ones((65, 16)), jnp.float32)
    assert seen == ["oi,iv->ov"] + 4 * ["...i,oi->...o"]


def test_the_derivative_is_that_of_the_product():
    weight = jax.random.normal(jax.random.key(0), (24, 16))
    x = jax.random.normal(jax.random.key(1), (5, 16))
    to_weight, to_x = jax.grad(lambda w, x: jnp.sum(applied(w, x, jnp.float32) ** 2), (0, 1))(weight, x)
    y = np.asarray(x) @ np.asarray(weight).T
    np.testing.assert_allclose(to_weight, 2 * y.T @ np.asarray(x), atol=1e-3)
    np.testing.assert_allclose(to_x, 2 * y @ np.asarray(weight), atol=1e-3)


@pytest.mark.parametrize("leading", [(1,), (5,)])
def test_bfloat16_is_summed_in_the_precision_that_is_asked_for(leading):
    weight = jax.random.normal(jax.random.key(0), (24, 16), jnp.bfloat16)
    x = jax.random.normal(jax.random.key(1), (*leading, 16), jnp.bfloat16)
    assert applied(weight, x, jnp.bfloat16).dtype == jnp.bfloat16
    expected = np.asarray(x, np.float32) @ np.asarray(weight, np.float32).T
    np.testing.assert_allclose(applied(weight, x, jnp.float32), expected, atol=1e-4)
