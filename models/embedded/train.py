"""The training loop of the embedded model, in resumable pieces.

Example:
    python -m lmppl.models.embedded.train --minutes 60 --run runs/embedded --data path/to/texts
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tokenizers import Tokenizer

from lmppl.errors import InvalidInputError
from lmppl.models.checkpoint import write_checkpoint
from lmppl.models.config import DecoderConfig
from lmppl.models.embedded.batches import SHAPES, training_batch
from lmppl.models.embedded.corpus import Mixture, mixture
from lmppl.models.embedded.optimisation import TrainingState, initial_state, rate_factor, step_function
from lmppl.models.embedded.tokenizer import (
    CONTEXT_LENGTH,
    END_ID,
    VOCAB_SIZE,
    read_tokenizer,
    save_tokenizer,
    train_tokenizer,
)  # fmt: skip

WEIGHTS = Path(__file__).parent / "weights"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a run does, fixed when it starts.

    Attributes:
        steps: The run's length in steps, or 0 if `minutes` gives it.
        minutes: The run's length in minutes of training, all pieces together, if `steps` is 0.
    """

    seed: int = 0
    steps: int = 0
    minutes: float = 60.0
    hidden_size: int = 128
    num_layers: int = 5
    intermediate_size: int = 384
    vocab_size: int = VOCAB_SIZE
    shapes: tuple[tuple[int, int], ...] = SHAPES
    tokenizer_documents: int = 60_000

    def progress(self, position: Position) -> float:
        """Gives how much of the run is done, from 0 to 1."""
        done = position.step / self.steps if self.steps else position.seconds / (60 * self.minutes)
        return min(done, 1.0)

    def config(self) -> DecoderConfig:
        """Gives the decoder's configuration: Llama-like, heads of 32, tied."""
        heads = self.hidden_size // 32
        return DecoderConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_layers=self.num_layers,
            num_heads=heads,
            num_kv_heads=heads,
            head_size=32,
            context_length=CONTEXT_LENGTH,
        )


@dataclass(frozen=True)
class Position:
    """How far a run is: steps, seconds of training, and tokens of documents read."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0


def fit(plan: Plan, run: Path, data: Path | None, stop_after: float = float("inf")) -> Position:
    """Trains until the plan is done or `stop_after` seconds of this call have passed.

    The folder `run` holds the tokenizer, the last state and a log; a second call goes on from there. Every
    five minutes, and at the end, the state is saved and the weights are exported to `run/weights`.
    """
    sources = mixture(data)
    for domain in sources.skipped:
        _log.warning("no text for %r in the data folder %s: this domain is left out", domain, data)
    tokenizer = _tokenizer(plan, run, sources)
    state, position = _resumed(plan, run)
    step = step_function(plan.config())
    started = saved = last = time.monotonic()
    while plan.progress(position) < 1 and last - started < stop_after:
        batch = training_batch(sources, tokenizer, plan.seed, position.step, plan.shapes)
        factor = rate_factor(plan.progress(position))
        state, loss = step(state, batch, factor)
        loss = float(loss)
        now = time.monotonic()
        tokens = position.tokens + int(sum((rows.weights > 0).sum() for rows in batch))
        position = Position(position.step + 1, position.seconds + now - last, tokens)
        last = now
        if position.step % 100 == 0:
            _report(run, position, loss, factor)
        if now - saved > 300:
            _save(plan, run, state, position)
            saved = now
    _save(plan, run, state, position)
    return position


def _tokenizer(plan: Plan, run: Path, sources: Mixture) -> Tokenizer:
    if not (run / "weights" / "tokenizer.json").is_file():
        made = train_tokenizer(sources, plan.seed, plan.tokenizer_documents, plan.vocab_size)
        save_tokenizer(made, run / "weights")
    return read_tokenizer(run / "weights")


def _resumed(plan: Plan, run: Path) -> tuple[TrainingState, Position]:
    """Reads the state that a run was left in, or draws the first one."""
    state = initial_state(plan.config(), plan.seed)
    path = run / "state.npz"
    if not path.is_file():
        return state, Position()
    with np.load(path) as saved:
        record = json.loads(str(saved["record"]))
        if record["plan"] != json.loads(json.dumps(asdict(plan))):
            raise InvalidInputError(
                f"{run} holds a run with another plan: {record['plan']}. Give the same options to go on with "
                "it, or another --run folder to start afresh."
            )
        structure = jax.tree.structure(state)
        leaves = [saved[f"leaf{i}"] for i in range(structure.num_leaves)]
    return jax.tree.unflatten(structure, [jax.numpy.asarray(leaf) for leaf in leaves]), Position(
        **record["position"]
    )


def _save(plan: Plan, run: Path, state: TrainingState, position: Position) -> None:
    record = json.dumps({"plan": asdict(plan), "position": asdict(position)})
    leaves: dict[str, Any] = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    _replaced(run / "state.npz", lambda path: np.savez(path, record=np.array(record), **leaves))
    write_checkpoint(run / "weights", plan.config(), state.params, jax.numpy.bfloat16)
    config = run / "weights" / "config.json"
    tokens = {
        "bos_token_id": None,
        "eos_token_id": END_ID,
        "pad_token_id": END_ID,
    }  # Llama's own defaults are other ids
    config.write_text(json.dumps(json.loads(config.read_text()) | tokens, indent=2) + "\n")


def _replaced(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file beside and moves it into place, so that a crash leaves the old one whole."""
    beside = path.with_name("new-" + path.name)
    write(beside)
    beside.replace(path)


def _report(run: Path, position: Position, loss: float, factor: float) -> None:
    line = {**asdict(position), "loss": round(loss, 4), "rate": round(factor, 4)}
    with (run / "log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    _log.info("step %(step)d  %(seconds).0f s  %(tokens)d tokens  loss %(loss).3f  rate %(rate).2f", line)


def export(run: Path, folder: Path = WEIGHTS) -> None:
    """Copies a run's exported weights and tokenizer to where the package looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted((run / "weights").iterdir()):
        shutil.copyfile(path, folder / path.name)


def main(arguments: list[str]) -> None:
    """Runs the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    _log.setLevel(logging.INFO)
    parser = argparse.ArgumentParser(prog="python -m lmppl.models.embedded.train", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="the whole run's length, if no --steps")
    parser.add_argument("--steps", type=int, default=0, help="the whole run's length, exactly repeatable")
    parser.add_argument(
        "--piece", type=float, default=float("inf"), help="stop this call after so many minutes"
    )
    parser.add_argument(
        "--run", type=Path, default=Path("runs/embedded"), help="folder of the run; resumed if there"
    )
    parser.add_argument(
        "--data", type=Path, default=None, help="folder of text files; without it, no prose and SMILES"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden-size", type=int, default=Plan.hidden_size)
    parser.add_argument("--layers", type=int, default=Plan.num_layers)
    parser.add_argument("--feed-forward", type=int, default=Plan.intermediate_size)
    parser.add_argument("--export", action="store_true", help="put the weights into the package at the end")
    options = parser.parse_args(arguments)
    plan = Plan(
        options.seed,
        options.steps,
        options.minutes,
        options.hidden_size,
        options.layers,
        options.feed_forward,
    )
    position = fit(plan, options.run, options.data, 60 * options.piece)
    _log.info("%.0f %% done after %s", 100 * plan.progress(position), position)
    if options.export:
        export(options.run)


if __name__ == "__main__":
    main(sys.argv[1:])
