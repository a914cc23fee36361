"""How the weights of a decoder are cut up."""

from __future__ import annotations

import dataclasses

import jax
import pytest
from flax import traverse_util
from jax.sharding import AbstractMesh, PartitionSpec

from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import abstract_params
from lmppl.models.weight_shards import param_shardings

CONFIG = DecoderConfig(
    vocab_size=320,
    hidden_size=32,
    intermediate_size=48,
    num_layers=2,
    num_heads=8,
    num_kv_heads=4,
    head_size=8,
    context_length=64,
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    tie_embeddings=False,
)
OUTPUTS, INPUTS, WHOLE = PartitionSpec("model"), PartitionSpec(None, "model"), PartitionSpec()


def specs(config: DecoderConfig, num_shares: int) -> dict[str, PartitionSpec]:
    shardings = param_shardings(config, AbstractMesh((2, num_shares), ("data", "model")))
    assert jax.tree.structure(shardings) == jax.tree.structure(abstract_params(config))
    flat = traverse_util.flatten_dict(shardings)
    return {"/".join(map(str, path)): sharding.spec for path, sharding in flat.items()}


def test_every_weight_has_its_cut():
    found = specs(CONFIG, 4)
    for layer in ("attention/query", "attention/key", "attention/value", "mlp/gate", "mlp/up"):
        assert found[f"blocks/1/{layer}/weight"] == OUTPUTS
        assert found[f"blocks/1/{layer}/bias"] == OUTPUTS
    for layer in ("attention/output", "mlp/down"):
        assert found[f"blocks/1/{layer}/weight"] == INPUTS
        assert found[f"blocks/1/{layer}/bias"] == WHOLE  # added once, behind the sum
    assert found["embedding"] == found["head"] == OUTPUTS
    assert {spec for path, spec in found.items() if "norm" in path} == {WHOLE}


@pytest.mark.parametrize("num_shares", [2, 3, 4, 8, 16])
def test_every_cut_goes_up_and_heads_stay_whole(num_shares: int):
    config = dataclasses.replace(CONFIG, vocab_size=321)
    found = specs(config, num_shares)
    shapes = traverse_util.flatten_dict(abstract_params(config), sep=None)
    for path, leaf in shapes.items():
        for size, axis in zip(leaf.shape, found["/".join(map(str, path))], strict=False):
            assert axis is None or size % num_shares == 0
    assert (found["blocks/0/attention/key/weight"] == OUTPUTS) == (4 % num_shares == 0)
    assert (found["blocks/0/attention/query/weight"] == OUTPUTS) == (8 % num_shares == 0)


def test_one_share_is_the_whole():
    assert set(specs(CONFIG, 1).values()) == {WHOLE}
