"""Loading by folder or name, and what is said about wrong names and incomplete folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lmppl.errors import CheckpointError, InvalidInputError, InvalidTypeError, LmpplError, ModelNotFoundError
from lmppl.models import load

WEIGHTS = "model.safetensors"


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_tensors(folder: Path, **changes: np.ndarray | None) -> None:
    tensors = load_file(folder / WEIGHTS) | changes
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, folder / WEIGHTS)


def test_a_folder_is_loaded_in_float32_on_cpu_and_in_bfloat16_elsewhere(checkpoint: Path):
    lm = load(checkpoint)
    assert lm.name == str(checkpoint)
    expected = jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(lm.params)} == {jnp.dtype(expected)}
    assert len(lm.vocabulary) == 320
    assert lm.vocabulary.eos_ids == {0}
    assert lm.context_length == 64


@pytest.mark.parametrize("dtype", ["bfloat16", jnp.bfloat16, jnp.dtype(jnp.bfloat16)])
def test_a_dtype_may_be_a_name_or_a_dtype(checkpoint: Path, dtype: Any):
    lm = load(str(checkpoint), dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(lm.params)} == {jnp.dtype(jnp.bfloat16)}


def test_a_hub_id_is_downloaded_at_its_revision(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def download(repo_id: str, **options: Any) -> str:
        asked.append((repo_id, options["revision"]))
        return str(checkpoint)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load("someone/small", revision="v1").name == "someone/small"
    assert asked == [("someone/small", "v1")]


def test_a_hub_that_cannot_be_reached_is_said_at_once(tmp_path: Path):
    code = "from lmppl.models import load\nload('someone/no-such-model')"
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | offline,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "ModelNotFoundError" in result.stderr
    assert "the hub cannot be reached" in result.stderr
    assert "someone/no-such-model" in result.stderr


@pytest.mark.parametrize("name", ["./nowhere", "/no/such/folder", "a/b/c", "~/nowhere", "no such model", ""])
def test_a_folder_that_is_not_there_is_an_error_without_a_download(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("downloaded"))
    with pytest.raises((ModelNotFoundError, CheckpointError)) as caught:
        load(name)
    assert isinstance(caught.value, LmpplError)


def test_a_file_is_no_model_folder(checkpoint: Path):
    with pytest.raises(ModelNotFoundError, match="is a file"):
        load(checkpoint / WEIGHTS)


def test_a_mesh_of_one_device_holds_the_same_weights(checkpoint: Path):
    lm, meshed = load(checkpoint), load(checkpoint, mesh=jax.make_mesh((1, 1), ("model", "data")))
    assert meshed.mesh is not None
    assert meshed.mesh.axis_names == ("data", "model")
    jax.tree.map(np.testing.assert_array_equal, meshed.params, lm.params)
    for leaf in jax.tree.leaves(meshed.params):
        assert leaf.sharding.mesh == meshed.mesh


def test_weights_in_bfloat16_are_read_as_they_are(checkpoint: Path):
    half = {name: tensor.astype(jnp.bfloat16) for name, tensor in load_file(checkpoint / WEIGHTS).items()}
    edit_tensors(checkpoint, **half)
    for mesh in (None, jax.make_mesh((1,), ("model",))):
        lm = load(checkpoint, dtype="bfloat16", mesh=mesh)
        embedding = np.asarray(lm.params["embedding"])
        np.testing.assert_array_equal(embedding, half["model.embed_tokens.weight"])


def test_the_embedded_model_is_kept_by_mesh():
    mesh = jax.make_mesh((1,), ("data",))
    assert load(mesh=mesh) is load(mesh=mesh)
    assert load(mesh=mesh) is not load()


def test_a_wrong_mesh_a_revision_of_a_folder_and_an_odd_dtype_are_refused(checkpoint: Path):
    with pytest.raises(InvalidTypeError, match=r"expected a jax.sharding.Mesh such as jax.make_mesh"):
        load(checkpoint, mesh=jax.devices())
    with pytest.raises(InvalidInputError, match="has the axes 'rows'; expected 'data'"):
        load(checkpoint, mesh=jax.make_mesh((1,), ("rows",)))
    with pytest.raises(InvalidInputError, match="revision='main' is for hub ids"):
        load(checkpoint, revision="main")
    with pytest.raises(InvalidInputError, match="the embedded model has only one"):
        load(revision="main")
    for dtype in ("float16", "int8", "no such type"):
        with pytest.raises(InvalidInputError, match=f"dtype is {dtype!r}"):
            load(checkpoint, dtype=dtype)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS])
def test_a_missing_file_is_named(checkpoint: Path, name: str):
    (checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        load(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "generation_config.json", WEIGHTS])
def test_a_file_that_was_cut_short_is_named(checkpoint: Path, name: str):
    data = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=rf"{name}.*cut short"):
        load(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_json_of_another_kind_is_refused(checkpoint: Path, name: str):
    (checkpoint / name).write_text("[]")
    with pytest.raises(CheckpointError, match="expected an object"):
        load(checkpoint)


def test_an_unsupported_family_is_refused_by_name(checkpoint: Path):
    edit_json(checkpoint / "config.json", model_type="mamba")
    with pytest.raises(CheckpointError, match="model_type is 'mamba'"):
        load(checkpoint)


def test_a_missing_tensor_is_named(checkpoint: Path):
    edit_tensors(checkpoint, **{"model.layers.1.mlp.up_proj.weight": None})
    with pytest.raises(CheckpointError, match=r"lack 1 of \d+ tensors: model.layers.1.mlp.up_proj.weight"):
        load(checkpoint)


def test_a_tensor_without_a_place_is_named(checkpoint: Path):
    edit_tensors(checkpoint, **{"model.layers.0.self_attn.q_proj.bias": np.zeros(32, np.float32)})
    with pytest.raises(CheckpointError, match=r"no place for: model.layers.0.self_attn.q_proj.bias"):
        load(checkpoint)


def test_the_copies_that_old_checkpoints_carry_are_ignored(checkpoint: Path):
    spare = np.zeros(4, np.float32)
    edit_tensors(
        checkpoint, **{"model.layers.0.self_attn.rotary_emb.inv_freq": spare, "lm_head.weight": spare}
    )
    load(checkpoint)


def test_a_wrong_shape_is_shown_beside_the_right_one(checkpoint: Path):
    edit_tensors(checkpoint, **{"model.norm.weight": np.zeros(31, np.float32)})
    with pytest.raises(CheckpointError, match=r"model.norm.weight .*\(31,\); config.json makes it \(32,\)"):
        load(checkpoint)


def test_a_missing_shard_is_named(checkpoint: Path):
    tensors = load_file(checkpoint / WEIGHTS)
    (checkpoint / WEIGHTS).unlink()
    names = sorted(tensors)
    shards = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for shard, held in shards.items():
        save_file({name: tensors[name] for name in held}, checkpoint / shard)
    index = {"weight_map": {name: shard for shard, held in shards.items() for name in held}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    load(checkpoint)
    (checkpoint / "two.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"half a checkpoint: its index names two.safetensors"):
        load(checkpoint)
    (checkpoint / "two.safetensors").write_bytes((checkpoint / "one.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="does not hold"):
        load(checkpoint)


def test_weights_in_another_format_are_pointed_out(checkpoint: Path):
    (checkpoint / WEIGHTS).rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin, another format"):
        load(checkpoint)


def test_a_tokenizer_of_another_model_is_refused(checkpoint: Path):
    edit_json(checkpoint / "config.json", vocab_size=200)
    with pytest.raises(CheckpointError, match="only 200 rows"):
        load(checkpoint)


def test_an_end_outside_the_vocabulary_is_refused(checkpoint: Path):
    edit_json(checkpoint / "generation_config.json", eos_token_id=320)
    with pytest.raises(CheckpointError, match="eos_token_id is 320"):
        load(checkpoint)


def test_the_embedded_model_that_is_not_installed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("lmppl.models.loading.EMBEDDED_FOLDER", tmp_path)
    with pytest.raises(ModelNotFoundError, match="embedded model is not in this installation"):
        load()


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import lmppl.models", "torch transformers flax jax tokenizers huggingface_hub"),
        ("from lmppl.models import TableLM", "torch transformers flax tokenizers huggingface_hub"),
        ("from lmppl.models import load, FlaxLM", "torch transformers"),
    ],
)
def test_importing_models_imports_no_more_than_is_needed(code: str, absent: str):
    check = f"{code}; import sys; print(*(set({absent.split()!r}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_a_name_that_models_does_not_have_is_an_attribute_error():
    import lmppl.models

    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = lmppl.models.lode
    assert {"load", "TableLM", "FlaxLM"} <= set(dir(lmppl.models))
