"""Measures exported weights on held-out documents: losses, validity, and what a constraint gains.

Example:
    python -m lmppl.models.embedded.evaluate --data path/to/texts --output report.md
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from lmppl.models.embedded.blocks import AMBIGUITIES, FIVE_BLOCK_TOWERS, blocks_document
from lmppl.models.embedded.blocks_world import final_state
from lmppl.models.embedded.corpus import Source, documents, mixture
from lmppl.models.embedded.documents import Document
from lmppl.models.embedded.goals import parse
from lmppl.models.embedded.sampling import ExportedModel
from lmppl.models.embedded.splits import PARAPHRASES, TEST
from lmppl.models.embedded.sql import UNSEEN_SCHEMA
from lmppl.models.embedded.train import WEIGHTS
from lmppl.models.embedded.validity import conjuncts, is_valid, listed_objects

_log = logging.getLogger(__name__)
Check = Callable[[str], bool]


@dataclass(frozen=True)
class Gain:
    """What filtering samples by a constraint does to them, averaged over prompts; the crudest inference.

    Attributes:
        valid: Share of the samples that fulfil the constraint.
        top_before: Share of the prompts whose most frequent sample is the truth.
        top_after: The same among the samples that fulfil the constraint.
        mass_before: Mean share of the samples that are the truth.
        mass_after: The same among those that fulfil the constraint; 0 where none does.
    """

    valid: float
    top_before: float
    top_after: float
    mass_before: float
    mass_after: float


def constraint_gain(samples: list[list[str]], truths: list[str], checks: list[Check]) -> Gain:
    """Compares samples with the truth, before and after the constraint of each prompt."""
    rows = []
    for texts, truth, check in zip(samples, truths, checks, strict=True):
        right = [_same(text, truth) for text in texts]
        valid = [check(text) for text in texts]
        kept = [text for text, good in zip(texts, valid, strict=True) if good]
        both = sum(r and v for r, v in zip(right, valid, strict=True))
        rows.append(
            (
                np.mean(valid),
                _top_is(texts, truth),
                _top_is(kept, truth),
                np.mean(right),
                both / max(len(kept), 1),
            )
        )
    return Gain(*(float(column) for column in np.mean(rows, axis=0)))


def blocks_with_evidence(
    source: Source, seed: int, split: str, number: int
) -> tuple[list[Document], list[Check]]:
    """Draws held-out goal prompts, each with the check that the goal holds where the agent has ended up."""
    rng = random.Random(f"evaluation {seed}")
    drawn = list(itertools.islice(documents(source, rng, split), number))
    return drawn, [_holds_at_the_end(rng, document) for document in drawn]


def ambiguous_blocks_document(rng: random.Random) -> Document:
    """Draws an underspecified instruction and one of its goals."""
    paraphrases = {template for ambiguity in AMBIGUITIES.values() for template in ambiguity.paraphrases}
    return next(d for d in iter(lambda: blocks_document(rng), None) if set(d.templates) <= paraphrases)


def _holds_at_the_end(rng: random.Random, document: Document) -> Check:
    facts = final_state(rng, list(listed_objects(document.prompt)), parse(document.target))

    def check(text: str) -> bool:
        goal = conjuncts(text)
        return bool(goal) and goal <= facts

    return check


def _same(text: str, truth: str) -> bool:
    """Equality of goals up to the order of conjuncts, and of all else as text."""
    return text == truth or (bool(conjuncts(truth)) and conjuncts(text) == conjuncts(truth))


def _top_is(texts: list[str], truth: str) -> bool:
    counts = Counter(conjuncts(text) or text for text in texts)
    return bool(counts) and counts.most_common(1)[0][0] == (conjuncts(truth) or truth)


def losses(model: ExportedModel, data: Path | None, number: int, seed: int = 0) -> dict[str, float]:
    """Gives the nats per target token on the test split of each domain, and on the further splits."""
    sources = mixture(data).sources
    kinds = [(domain, TEST) for domain in sources]
    kinds += [(domain, PARAPHRASES) for domain in ("blocks", "kitchen", "sql", "records")]
    kinds += [("blocks", FIVE_BLOCK_TOWERS), ("sql", UNSEEN_SCHEMA)]
    found = {}
    for domain, split in kinds:
        rng = random.Random(f"losses {seed}")
        drawn = list(itertools.islice(documents(sources[domain], rng, split), number))
        found[f"{domain}, {split}"] = model.loss(drawn)
    return found


def gains(model: ExportedModel, number: int, seed: int = 0, num_samples: int = 16) -> dict[str, Gain]:
    """Measures what constraints gain on the test split, for every domain that a constraint is written for."""
    sources = mixture().sources
    found = {}
    blocks = {
        "blocks, goal holds in the state reached": blocks_document,
        "ambiguous blocks prompts only, the same": ambiguous_blocks_document,
    }
    for name, source in blocks.items():
        drawn, checks = blocks_with_evidence(source, seed, TEST, number)
        found[name] = _measured(model, drawn, checks, seed, num_samples)
    for domain in ("blocks", "kitchen", "sql", "records", "dates", "e-mails"):
        rng = random.Random(f"evaluation {seed}")
        drawn = list(itertools.islice(documents(sources[domain], rng, TEST), number))
        checks = [_well_formed(document) for document in drawn]
        found[f"{domain}, well-formed and of listed things"] = _measured(
            model, drawn, checks, seed, num_samples
        )
    return found


def _well_formed(document: Document) -> Check:
    return lambda text: is_valid(document, text)


def _measured(
    model: ExportedModel, drawn: list[Document], checks: list[Check], seed: int, num_samples: int
) -> Gain:
    max_tokens = 80 if drawn[0].domain == "records" else 56
    samples = model.sample(jax.random.key(seed), [d.prompt for d in drawn], num_samples, max_tokens)
    return constraint_gain(samples, [d.target for d in drawn], checks)


def specimens(model: ExportedModel, data: Path | None, seed: int = 1) -> list[tuple[str, str, list[str]]]:
    """Gives, for every domain, a held-out prompt and three samples after it."""
    sources = mixture(data).sources
    rng = random.Random(f"specimens {seed}")
    drawn = [next(documents(source, rng, TEST)) for domain, source in sources.items() if domain != "prose"]
    samples = model.sample(jax.random.key(seed), [d.prompt for d in drawn], 3, max_tokens=80)
    return [(d.domain, d.prompt, texts) for d, texts in zip(drawn, samples, strict=True)]


def report(model: ExportedModel, data: Path | None, number: int) -> str:
    """Gives the whole evaluation in Markdown."""
    lines = ["| held-out split | nats per target token |", "| --- | --- |"]
    lines += [f"| {name} | {nats:.3f} |" for name, nats in losses(model, data, 2 * number).items()]
    lines += [
        "",
        "| prompts and constraint | valid | top-1 | -> filtered | mass on the truth | -> filtered |",
    ]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for name, gain in gains(model, number).items():
        figures = (gain.valid, gain.top_before, gain.top_after, gain.mass_before, gain.mass_after)
        lines.append(f"| {name} | " + " | ".join(f"{figure:.2f}" for figure in figures) + " |")
    for domain, prompt, texts in specimens(model, data):
        lines += ["", f"{domain}:", "```", prompt.rstrip("\n"), "```", "", "Samples:", "```", *texts, "```"]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Runs the command line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
    _log.setLevel(logging.INFO)
    parser = argparse.ArgumentParser(prog="python -m lmppl.models.embedded.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--data", type=Path, default=None, help="folder of text files, for prose and SMILES")
    parser.add_argument(
        "--prompts", type=int, default=80, help="prompts per constraint; twice as many for losses"
    )
    parser.add_argument("--output", type=Path, default=Path("report.md"))
    options = parser.parse_args(arguments)
    options.output.write_text(report(ExportedModel.read(options.weights), options.data, options.prompts))
    _log.info("wrote %s", options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
