"""The documents that the embedded model is trained on: well-formed, repeatable, apart from held-out ones."""

from __future__ import annotations

import functools
import itertools
import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest
from scipy.stats import binom

from lmppl.errors import InvalidInputError
from lmppl.models.embedded.blocks import AMBIGUITIES, FIVE_BLOCK_TOWERS, blocks_document, tower
from lmppl.models.embedded.blocks_world import final_state
from lmppl.models.embedded.corpus import documents, mixture, training_document
from lmppl.models.embedded.documents import Document
from lmppl.models.embedded.goals import canonical, parse, render
from lmppl.models.embedded.identifiers import FORMATS
from lmppl.models.embedded.splits import DEV, PARAPHRASES, TEST, TRAIN, split_of, template_is_held_out
from lmppl.models.embedded.sql import UNSEEN_SCHEMA
from lmppl.models.embedded.validity import is_valid, listed_objects

DOMAINS = sorted(mixture().sources)
CHECKED = ("blocks", "kitchen", "sql", "records", "dates", "e-mails")


def drawn(domain: str, number: int, split: str | None = None, seed: int = 0) -> list[Document]:
    source, rng = mixture().sources[domain], random.Random(seed)
    stream = (source(rng) for _ in itertools.count()) if split is None else documents(source, rng, split)
    return list(itertools.islice(stream, number))


@functools.cache
def many_blocks() -> list[Document]:
    return drawn("blocks", 2500)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_seed_fixes_the_documents(domain: str):
    assert drawn(domain, 50) == drawn(domain, 50)
    assert drawn(domain, 50) != drawn(domain, 50, seed=1)


@pytest.mark.parametrize("domain", DOMAINS)
def test_targets_are_one_line_and_prompts_end_in_a_header(domain: str):
    for document in drawn(domain, 300):
        assert document.target
        assert "\n" not in document.target
        assert re.fullmatch(r"(### \w+\n([^#\n]+\n)+)+### \w+\n", document.prompt), document.prompt


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_key_is_both_trained_on_and_held_out(domain: str):
    splits = {split: {d.key for d in drawn(domain, 12, split)} for split in (TRAIN, TEST, DEV)}
    assert not splits[TRAIN] & splits[TEST]
    assert not splits[TRAIN] & splits[DEV]
    assert not splits[TEST] & splits[DEV]


def test_a_goal_and_its_reversal_are_on_the_same_side():
    forward = Document("blocks", "", "(and (clear red))", "(and (clear red))")
    assert split_of(forward) == split_of(Document("blocks reversed", "", "clear red", "(and (clear red))"))


@pytest.mark.parametrize(
    "domain", ["blocks", "blocks reversed", "kitchen", "kitchen reversed", "sql", "records"]
)
def test_training_never_uses_a_held_out_paraphrase_and_there_are_some(domain: str):
    used = {template for d in drawn(domain, 500, TRAIN) for template in d.templates}
    held_out = {template for d in drawn(domain, 60, PARAPHRASES) for template in d.templates} - used
    assert not any(template_is_held_out(template) for template in used)
    assert held_out


def test_five_block_towers_and_one_schema_are_never_trained_on():
    for document in drawn("blocks", 600, TRAIN):
        assert document.target.count("(on ") < 4
        assert not document.unseen
    assert all("flight(" not in document.prompt for document in drawn("sql", 500, TRAIN))
    assert drawn("blocks", 3, FIVE_BLOCK_TOWERS)
    assert drawn("sql", 3, UNSEEN_SCHEMA)


def test_a_split_that_a_domain_lacks_is_an_error():
    with pytest.raises(InvalidInputError, match="none of the split 'nonsense'"):
        next(documents(blocks_document, random.Random(0), "nonsense", patience=100))


@pytest.mark.parametrize("domain", CHECKED)
def test_every_target_is_valid_for_its_prompt(domain: str):
    for document in drawn(domain, 200):
        assert is_valid(document, document.target), document


@pytest.mark.parametrize("domain", ["blocks", "kitchen"])
def test_every_goal_parses_and_is_in_canonical_order(domain: str):
    for document in drawn(domain, 200):
        assert parse(document.target) == canonical(parse(document.target))
        assert render(parse(document.target)) == document.target


def test_prompts_of_goals_hold_the_objects_and_the_words_only():
    for document in drawn("blocks", 300):
        assert re.fullmatch(r"### objects\n[a-z0-9 ]+ - block\n### goal\n[^\n]+\n### pddl\n", document.prompt)
        assert "(" not in document.prompt


def test_towers_are_written_from_top_to_bottom():
    goal = [("on", "b", "a"), ("clear", "z"), ("on", "c", "b"), ("on-table", "a"), ("on", "a2", "x")]
    assert render(goal) == "(and (on a2 x) (on c b) (on b a) (on-table a) (clear z))"


@pytest.mark.parametrize(
    "text", ["", "(and)", "(and (on a b)", "(AND (on a b))", "(and  (on a b))", "(on a b)"]
)
def test_what_is_no_goal_is_refused_with_the_form(text: str):
    with pytest.raises(InvalidInputError, match="A goal is one line such as"):
        parse(text)


@pytest.mark.parametrize("kind", AMBIGUITIES)
def test_an_underspecified_instruction_has_several_distinct_meanings(kind: str):
    ambiguity = AMBIGUITIES[kind]
    objects = ["red", "blue", "green", "yellow", "white", "black", "pink"][: ambiguity.num_objects[-1]]
    goals = [frozenset(goal) for goal in ambiguity.meanings(objects, objects[: ambiguity.num_named])]
    assert len(goals) == len(set(goals)) >= 2


def test_labels_of_underspecified_instructions_are_uniform_over_their_meanings():
    """A two-sided binomial test at 1e-6; the mutant draws the first meaning five times of six."""
    number = 60

    def is_accepted(count: int) -> bool:
        return bool(5e-7 < binom.cdf(count, number, 0.5) < 1 - 5e-7)

    ambiguity = AMBIGUITIES["two, some order"]
    assert ambiguity.meanings(["a", "b", "c"], ["a", "b"]) == [tower(["a", "b"]), tower(["b", "a"])]
    first = 0
    asked = [document for document in many_blocks() if document.templates[0] in ambiguity.paraphrases]
    assert len(asked) >= number
    for document in asked[:number]:
        words = document.prompt.split("### goal\n")[1].replace("a tower", "")  # a block may be called "a"
        one, two = (name for name in re.findall(r"\w+", words) if name in listed_objects(document.prompt))
        first += document.target == f"(and (on {one} {two}))"
    assert is_accepted(first)
    assert not is_accepted(number * 5 // 6)


def test_about_three_blocks_prompts_in_ten_are_underspecified():
    paraphrases = {template for ambiguity in AMBIGUITIES.values() for template in ambiguity.paraphrases}
    share = sum(set(document.templates) <= paraphrases for document in many_blocks()[:2000]) / 2000
    assert 0.25 < share < 0.35  # 0.30 +- 4.9 standard deviations: one false alarm in a million


@pytest.mark.parametrize("kind", FORMATS)
def test_values_of_a_format_differ_and_keep_its_length_and_letters(kind: str):
    rng = random.Random(0)
    values = {FORMATS[kind](rng) for _ in range(40)}
    assert len(values) > 20
    assert all(value == value.strip() and value.isprintable() for value in values)


def test_an_agent_reaches_its_goal():
    rng = random.Random(0)
    for document in drawn("blocks", 200):
        objects = list(listed_objects(document.prompt))
        facts = final_state(rng, objects, parse(document.target))
        assert set(parse(document.target)) <= facts
        assert Counter(f[1] for f in facts if f[0] in ("on", "on-table", "holding")) == Counter(objects)


def test_without_text_files_their_domains_are_named_and_left_out(tmp_path: Path):
    assert mixture().skipped == mixture(tmp_path).skipped == ("smiles", "prose")
    assert training_document(mixture(), random.Random(0)).domain not in ("smiles", "prose")


def test_text_files_are_read_without_the_licence_around_a_book(tmp_path: Path):
    (tmp_path / "corpora").mkdir()
    start, end = "*** START OF THIS PROJECT GUTENBERG EBOOK X ***", "End of Project Gutenberg's X. A licence."
    book = f"A header.\n{start}\n\nA fox saw some ripe grapes.\n\n{end}"
    (tmp_path / "corpora" / "gutenberg_x.txt").write_text(book)
    source = mixture(tmp_path).sources["prose"]
    rng = random.Random(0)
    assert {source(rng).target for _ in range(50)} == {"A fox saw some ripe grapes."}


def test_no_list_of_molecules_mixes_trained_and_held_out_ones(tmp_path: Path):
    (tmp_path / "smiles").mkdir()
    smiles = ["C" * n + "O" * m for n in range(1, 25) for m in range(1, 25)]
    (tmp_path / "smiles" / "2019PubChemQC_can_nocharge.smi").write_text("\n".join(smiles))
    source, rng = mixture(tmp_path).sources["smiles"], random.Random(0)
    sides = set()
    for _ in range(200):
        document = source(rng)
        molecules = document.target.split("\n")
        assert 2 <= len(molecules) <= 8
        (side,) = {split_of(Document("smiles", "", molecule, molecule)) for molecule in molecules}
        assert side == split_of(document)
        sides.add(side)
    assert sides == {TRAIN, TEST, DEV}


def test_records_hold_what_is_said_and_nothing_else():
    for document in drawn("records", 200):
        record = json.loads(document.target)
        assert record["name"] in document.prompt
        assert all(hobby in document.prompt for hobby in record.get("hobbies", []))
        assert str(record.get("age", "")) in document.prompt
