"""The weights that ship: small, readable by others, informative and imperfect."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
import pytest

from lmppl.models.embedded.blocks import blocks_document
from lmppl.models.embedded.documents import Document
from lmppl.models.embedded.evaluate import Gain, blocks_with_evidence, constraint_gain
from lmppl.models.embedded.sampling import ExportedModel
from lmppl.models.embedded.splits import TEST
from lmppl.models.embedded.tokenizer import encode
from lmppl.models.embedded.train import WEIGHTS

pytestmark = pytest.mark.skipif(
    not (WEIGHTS / "model.safetensors").is_file(),
    reason=f"no weights in {WEIGHTS}: make them with `python -m lmppl.models.embedded.train --export`",
)


@pytest.fixture(scope="module")
def model() -> ExportedModel:
    return ExportedModel.read(WEIGHTS)


@pytest.fixture(scope="module")
def gain_by(model: ExportedModel) -> Callable[[Sequence[Callable[[str], bool]] | None], Gain]:
    """Gives the gain by checks of held-out goals, by default that the agent has ended up where they hold."""
    documents, reached = blocks_with_evidence(blocks_document, 0, TEST, 16)
    samples = model.sample(jax.random.key(0), [d.prompt for d in documents], num_samples=8, max_tokens=48)
    return lambda checks: constraint_gain(samples, [d.target for d in documents], checks or reached)


@pytest.fixture(scope="module")
def held_out_gain(gain_by: Callable[..., Gain]) -> Gain:
    """Held-out goals, filtered by the evidence that the goal holds where the agent has ended up."""
    return gain_by(None)


def test_everything_that_ships_is_at_most_ten_megabytes():
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 10_000_000


def test_the_weights_are_informative(held_out_gain: Gain):
    assert held_out_gain.mass_before > 0.1
    assert held_out_gain.valid > 0.2


def test_the_weights_are_imperfect_and_a_constraint_helps(held_out_gain: Gain):
    assert held_out_gain.valid < 1
    assert held_out_gain.mass_after - held_out_gain.mass_before > 0.1


def test_a_constraint_that_holds_always_gains_nothing(gain_by: Callable[..., Gain]):
    """The mutant of the test above: filtering by nothing must not pass it."""
    gain = gain_by([lambda _text: True] * 16)
    assert gain.mass_after == gain.mass_before


def test_a_target_ends_with_a_newline_and_then_the_end_token(model: ExportedModel):
    prompt = "### objects\nred blue green - block\n### goal\nstack red on blue\n### pddl\n"
    document = Document("blocks", prompt, "(and (on red blue))", "")
    ids, num_prompt = encode(model.tokenizer, document)
    assert model.tokenizer.decode(ids[num_prompt:-1]) == "(and (on red blue))\n"
    assert ids[-1] == 0
    assert model.loss([document]) < 1.0


def test_transformers_reads_the_folder_and_knows_its_end_token():
    transformers = pytest.importorskip("transformers", reason="transformers reads the configuration")
    config = transformers.AutoConfig.from_pretrained(str(WEIGHTS))
    assert config.model_type == "llama"
    assert (config.eos_token_id, config.bos_token_id, config.tie_word_embeddings) == (0, None, True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(WEIGHTS))
    text = "### goal\nstack red on b12\n"
    assert tokenizer.encode(text) == ExportedModel.read(WEIGHTS).tokenizer.encode(text).ids
    assert tokenizer.eos_token_id == 0


def test_the_model_card_gives_the_size_that_ships(model: ExportedModel):
    num_parameters = sum(np.size(leaf) for leaf in jax.tree.leaves(model.params))
    card = (Path(WEIGHTS).parent / "MODEL_CARD.md").read_text()
    assert f"{num_parameters:,} parameters" in card
    assert json.loads((WEIGHTS / "config.json").read_text())["hidden_size"] == model.config.hidden_size
