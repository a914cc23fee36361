"""From a name to a language model that is ready to be called."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from lmppl.compilation import leave_compile_cache, use_compile_cache
from lmppl.device_layout import checked_mesh, on_cpu
from lmppl.errors import CheckpointError, InvalidInputError, ModelNotFoundError
from lmppl.language_model import LanguageModel
from lmppl.models.checkpoint import read_params
from lmppl.models.config import DecoderConfig
from lmppl.models.flax_lm import FlaxLM
from lmppl.models.hub import find_folder
from lmppl.models.tokens import read_codec
from lmppl.models.weight_shards import param_shardings

EMBEDDED_FOLDER = Path(__file__).parent / "embedded" / "weights"
EMBEDDED_NAME = "embedded"


def load(
    name: str | os.PathLike[str] | None = None,
    *,
    dtype: Any = None,
    revision: str | None = None,
    mesh: Any = None,
) -> LanguageModel:
    """Loads a language model; what is wrong with its files is said at once.

    Args:
        name: A folder with config.json, safetensors (one file or shards with their index) and
            tokenizer.json; or a Hugging Face hub id, downloaded and cached; or None for the small
            model that ships with lmppl, which is read once a process.
        dtype: Of the weights and the computation: `"float32"` or `"bfloat16"`, or the same as
            NumPy or JAX dtypes. By default float32 on CPU and bfloat16 elsewhere.
        revision: Branch, tag or commit of a hub id.
        mesh: Devices to spread the model and its particles over, with axes named `"data"` (particles),
            `"model"` (weights), or both: `jax.make_mesh((2, 4), ("data", "model"), axis_types=...)`. A
            device reads only its own part of the weights. The mesh may span several processes (call
            `jax.distributed.initialize` first, and run the same program everywhere).

    Raises:
        ModelNotFoundError: No such folder or hub id.
        InvalidInputError: A mesh with other axes, a dtype or revision that does not exist.
        CheckpointError: Files are missing, damaged, contradict each other, or are of an
            unsupported kind.
    """
    use_compile_cache()
    kind = _dtype(dtype)
    mesh = None if mesh is None else checked_mesh(mesh)
    if mesh is not None and on_cpu():
        leave_compile_cache()
    if name is None:
        return _embedded(_embedded_folder(revision), kind, mesh)
    return _read_model(find_folder(name, revision), os.fspath(name), kind, mesh)


@functools.lru_cache(maxsize=4)
def _embedded(folder: Path, kind: Any, mesh: Mesh | None) -> FlaxLM:
    """The embedded model is small and asked for often: once a process, it keeps what was compiled for it."""
    return _read_model(folder, EMBEDDED_NAME, kind, mesh)


def _read_model(folder: Path, shown: str, kind: Any, mesh: Mesh | None) -> FlaxLM:
    config_json = _read_config(folder)
    config = DecoderConfig.from_hf(config_json)
    codec = read_codec(folder, config.vocab_size, config_json)
    shardings = None if mesh is None else param_shardings(config, mesh)
    return FlaxLM(shown, config, read_params(folder, config, kind, shardings), codec, mesh)


def _embedded_folder(revision: str | None) -> Path:
    if revision is not None:
        raise InvalidInputError(f"revision={revision!r} is for hub ids; the embedded model has only one.")
    if not (EMBEDDED_FOLDER / "config.json").is_file():
        raise ModelNotFoundError(
            f"The embedded model is not in this installation: {EMBEDDED_FOLDER} has no config.json. "
            "Reinstall lmppl, or name a model: lp.load('folder or hub id')."
        )
    return EMBEDDED_FOLDER


def _dtype(dtype: Any) -> Any:
    if dtype is None:
        return jnp.dtype(jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16)
    try:
        kind = jnp.dtype(dtype)
    except TypeError:
        kind = None
    if kind not in (jnp.dtype(jnp.float32), jnp.dtype(jnp.bfloat16)):
        raise InvalidInputError(f"dtype is {dtype!r}; expected 'float32' or 'bfloat16'.")
    return kind


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:5]) or "nothing"
        raise CheckpointError(
            f"{folder} has no config.json, so it is no model folder (it holds: {held}). Expected "
            "config.json, safetensors and tokenizer.json."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{path} is no JSON ({error}); it may be cut short. Download it again."
        ) from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} holds a JSON {type(config).__name__}; expected an object.")
    return config
