"""Which part of a decoder's weights each device holds: the tensor parallelism of Megatron-LM.

Projections into heads and into the feed-forward's inner width are cut by outputs, those back by inputs, so
that a block needs one sum over the devices behind each of its two halves. Embedding and head are cut by
rows of the vocabulary. What does not divide evenly lies whole on every device.

Reference:
    Shoeybi et al. (2019), Megatron-LM, arXiv:1909.08053.
"""

from __future__ import annotations

from typing import Any

from flax import traverse_util
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from lmppl.device_layout import MODEL
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import Params, abstract_params

_BY_OUTPUTS = {"query", "key", "value", "gate", "up"}
_BY_INPUTS = {"output", "down"}


def param_shardings(config: DecoderConfig, mesh: Mesh | AbstractMesh) -> Params:
    """Gives the tree of weights with a `NamedSharding` a leaf, for a mesh of `checked_mesh`."""
    shapes = traverse_util.flatten_dict(abstract_params(config))
    return traverse_util.unflatten_dict(
        {path: NamedSharding(mesh, _spec(config, mesh.shape[MODEL], path)) for path in shapes}
    )


def _spec(config: DecoderConfig, num_shares: int, path: tuple[Any, ...]) -> PartitionSpec:
    if num_shares == 1:
        return PartitionSpec()
    if path[-1] in ("embedding", "head"):
        return PartitionSpec(MODEL) if config.vocab_size % num_shares == 0 else PartitionSpec()
    layer = path[-2]
    if _divided_size(config, layer) % num_shares:
        return PartitionSpec()
    if layer in _BY_OUTPUTS:
        return PartitionSpec(MODEL)
    return PartitionSpec(None, MODEL) if layer in _BY_INPUTS and path[-1] == "weight" else PartitionSpec()


def _divided_size(config: DecoderConfig, layer: Any) -> int:
    """Gives what is divided among the devices: heads are not cut through."""
    if layer in ("query", "output"):
        return config.num_heads
    if layer in ("key", "value"):
        return config.num_kv_heads
    return config.intermediate_size
