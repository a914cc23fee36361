"""Weights in a checkpoint folder: which tensor is which, reading them all or saying what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from lmppl.errors import CheckpointError
from lmppl.models.config import DecoderConfig
from lmppl.models.decoder import Params, abstract_params

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

# Our path, its name in a Llama checkpoint.
_LLAMA_NAMES = {
    "embedding": "model.embed_tokens.weight",
    "norm/scale": "model.norm.weight",
    "head": "lm_head.weight",
    "blocks/{}/attention_norm/scale": "model.layers.{}.input_layernorm.weight",
    "blocks/{}/mlp_norm/scale": "model.layers.{}.post_attention_layernorm.weight",
    "blocks/{}/attention/query/weight": "model.layers.{}.self_attn.q_proj.weight",
    "blocks/{}/attention/key/weight": "model.layers.{}.self_attn.k_proj.weight",
    "blocks/{}/attention/value/weight": "model.layers.{}.self_attn.v_proj.weight",
    "blocks/{}/attention/output/weight": "model.layers.{}.self_attn.o_proj.weight",
    "blocks/{}/attention/query/bias": "model.layers.{}.self_attn.q_proj.bias",
    "blocks/{}/attention/key/bias": "model.layers.{}.self_attn.k_proj.bias",
    "blocks/{}/attention/value/bias": "model.layers.{}.self_attn.v_proj.bias",
    "blocks/{}/attention/output/bias": "model.layers.{}.self_attn.o_proj.bias",
    "blocks/{}/mlp/gate/weight": "model.layers.{}.mlp.gate_proj.weight",
    "blocks/{}/mlp/up/weight": "model.layers.{}.mlp.up_proj.weight",
    "blocks/{}/mlp/down/weight": "model.layers.{}.mlp.down_proj.weight",
    "blocks/{}/mlp/gate/bias": "model.layers.{}.mlp.gate_proj.bias",
    "blocks/{}/mlp/up/bias": "model.layers.{}.mlp.up_proj.bias",
    "blocks/{}/mlp/down/bias": "model.layers.{}.mlp.down_proj.bias",
}
# Tensors that old checkpoints carry and nothing needs.
_IGNORED = re.compile(r"\.rotary_emb\.inv_freq$")


def read_params(folder: Path, config: DecoderConfig, dtype: Any, shardings: Params | None = None) -> Params:
    """Reads the weights of a folder with model.safetensors, or with its shards and their index.

    Args:
        folder: Where they lie.
        config: What shapes they have.
        dtype: What they are converted to.
        shardings: Trees of `jax.sharding.Sharding`, where each device reads its own part only.

    Raises:
        CheckpointError: A missing, damaged or truncated file; a tensor that is missing, of another
            shape than config.json says, or that the decoder has no place for.
    """
    files = _tensor_files(folder)
    shapes = _flat(abstract_params(config))
    wanted = {_hf_name(path): path for path in shapes}
    if config.tie_embeddings:
        files.pop("lm_head.weight", None)
    _compare_names(folder, set(wanted), {name for name in files if not _IGNORED.search(name)})
    placed = {} if shardings is None else _flat(shardings)
    loaded = {}
    for name, tensor in _tensors(folder, {name: files[name] for name in wanted}):
        path = wanted[name]
        expected = shapes[path].shape
        shape = tuple(tensor.get_shape())
        if shape != expected:
            raise CheckpointError(
                f"{name} in {folder / files[name]} has shape {shape}; config.json makes it "
                f"{expected}. The two files do not belong together: copy both from one checkpoint."
            )
        loaded[path] = _array(tensor, dtype, placed.get(path))
    return traverse_util.unflatten_dict(loaded)


def write_checkpoint(folder: Path, config: DecoderConfig, params: Params, dtype: Any = None) -> None:
    """Writes config.json and model.safetensors as transformers would; `dtype=None` keeps each dtype."""
    from safetensors.numpy import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for path, leaf in _flat(params).items():
        array = np.asarray(leaf if dtype is None else leaf.astype(dtype))
        tensors[_hf_name(path)] = np.ascontiguousarray(array)
    stored = str(np.asarray(jax.tree.leaves(tensors)[0]).dtype)
    (folder / "config.json").write_text(json.dumps(config.to_hf() | {"dtype": stored}, indent=2) + "\n")
    save_file(tensors, folder / SINGLE_FILE, metadata={"format": "pt"})


def _flat(params: Params) -> dict[tuple[Any, ...], Any]:
    return traverse_util.flatten_dict(params)


def _hf_name(path: tuple[Any, ...]) -> str:
    layers = [part for part in path if isinstance(part, int)]
    template = "/".join("{}" if isinstance(part, int) else part for part in path)
    return _LLAMA_NAMES[template].format(*layers)


def _tensor_files(folder: Path) -> dict[str, str]:
    """Gives each tensor's file, read from the index or from the single file itself."""
    index = folder / INDEX_FILE
    if index.is_file():
        try:
            weight_map = json.loads(index.read_text())["weight_map"]
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{index} is no safetensors index ({error!r}); download it again."
            ) from error
        missing = sorted({name for name in weight_map.values() if not (folder / name).is_file()})
        if missing:
            raise CheckpointError(
                f"{folder} is half a checkpoint: its index names {', '.join(missing)}, not in the folder. "
                "Download the missing shards."
            )
        return dict(weight_map)
    if not (folder / SINGLE_FILE).is_file():
        others = sorted(path.name for path in folder.glob("*.bin")) + sorted(
            path.name for path in folder.glob("*.gguf")
        )
        hint = f" It holds {', '.join(others)}, another format: save it as safetensors." if others else ""
        raise CheckpointError(f"{folder} has neither {SINGLE_FILE} nor {INDEX_FILE}: no weights.{hint}")
    with _opened(folder / SINGLE_FILE) as file:
        return dict.fromkeys(file.keys(), SINGLE_FILE)


def _array(tensor: Any, dtype: Any, sharding: Any) -> jax.Array:
    """Reads a tensor, or the parts of it that this process's devices hold."""
    if sharding is None:
        put: Any = jax.device_put  # JAX's own conversion is a program for each shape
        return put(np.asarray(tensor[:]).astype(dtype))
    shape = tuple(tensor.get_shape())
    return jax.make_array_from_callback(
        shape, sharding, lambda index: np.asarray(tensor[index]).astype(dtype)
    )


def _tensors(folder: Path, files: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Gives the tensors, not yet read: slices of them are."""
    for file_name in sorted(set(files.values())):
        with _opened(folder / file_name) as file:
            held = set(file.keys())
            for name in (name for name, where in files.items() if where == file_name):
                if name not in held:
                    raise CheckpointError(
                        f"{folder / file_name} does not hold {name}, though the index says so."
                    )
                yield name, file.get_slice(name)


def _opened(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="np")
    except SafetensorError as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is damaged or cut short: {error}. Download it again."
        ) from error


def _compare_names(folder: Path, wanted: set[str], held: set[str]) -> None:
    missing, extra = sorted(wanted - held), sorted(held - wanted)
    if missing:
        raise CheckpointError(
            f"The weights in {folder} lack {len(missing)} of {len(wanted)} tensors: {_few(missing)}. "
            "Is the download complete, and does config.json belong to it?"
        )
    if extra:
        raise CheckpointError(
            f"The weights in {folder} hold {len(extra)} tensors that config.json has no place for: "
            f"{_few(extra)}. Running without them would give other probabilities. "
            "Does config.json belong to these weights?"
        )


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
