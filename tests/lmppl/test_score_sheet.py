"""Scoring reads what strings share once, and never holds the log-probabilities of all positions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn_tables import drawn_table

import lmppl as lp
from lmppl import score_sheet
from lmppl.language_model import NOTHING, LanguageModel
from lmppl.reading_plan import hosts, plan_passes
from lmppl.score_sheet import ScoreSheet
from lmppl.scoring import next_log_probs, path_log_probs, text_log_probs

PROMPTS = [
    "### objects\nred blue green - block\n### goal\nstack red on blue\n### pddl\n",
    "### objects\nred blue green - block\n### goal\nstack green on red\n### pddl\n",
    "{",
]
VALUES = ["(and (on red blue))", "(and (on red blue)", "", "naïve", "(and (on green red) (clear blue))"]


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return lp.load(dtype="float32")


def plain_pass(lm: LanguageModel, params: Any, tokens: Any) -> Any:
    """Logits after each prefix of each row, all at once; those of the empty prefix mean nothing."""
    rows, length = tokens.shape
    nothing = jnp.full((rows, 1), NOTHING, jnp.int32)
    first = lm.extend(params, lm.empty(rows, 1), nothing, jnp.ones(rows, jnp.int32))[1]
    lengths = jnp.full(rows, length, jnp.int32)
    hidden = lm.extend(params, lm.empty(rows, length), tokens, lengths)[1]
    return lm.logits(params, jnp.concatenate([first, hidden], axis=1))


def oracle(lm: LanguageModel, tokens: tuple[int, ...], temperature: float = 1.0) -> np.ndarray:
    """Log-probabilities of what follows each token, by one plain pass over the whole row."""
    length = 128
    ids = np.zeros((1, length), np.int32)
    ids[0, : len(tokens)] = tokens
    full = score_sheet.compiled(lm, "oracle", lambda: jax.jit(partial(plain_pass, lm)))
    logits = np.asarray(full(lm.params, jnp.asarray(ids)), float)[0, : len(tokens) + 1] / temperature
    logits = np.where(lm.vocabulary.possible, logits, -np.inf)
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)


def expected(text: Any, value: str) -> float:
    prompt, path = text.prompt_tokens, text.lm.encode(value)
    rows = oracle(text.lm, (*prompt, *path), text.temperature)[len(prompt) :]
    end = np.logaddexp.reduce(rows[-1][sorted(text.lm.vocabulary.eos_ids)])
    return float(sum(row[token] for row, token in zip(rows, path, strict=False)) + end)


def test_strings_of_several_prompts_are_scored_as_by_a_plain_pass(lm: LanguageModel):
    pairs = [(lm(prompt), value) for prompt in PROMPTS for value in VALUES]
    pairs += [(lm(PROMPTS[0], temperature=0.6), value) for value in VALUES] + pairs[:3]
    scored = text_log_probs(*zip(*pairs, strict=True))
    np.testing.assert_allclose(scored, [expected(*pair) for pair in pairs], atol=1e-5, rtol=1e-5)


def test_a_table_scores_strings_after_an_empty_prompt_among_others():
    lm = drawn_table(0)
    pairs = [(lm(prompt), value) for prompt in ("", "a", "cab") for value in ("", "a", "ab", "abc", "ccc")]
    scored = text_log_probs(*zip(*pairs, strict=True))
    np.testing.assert_allclose(scored, [expected(*pair) for pair in pairs], atol=1e-5)


def test_paths_and_next_tokens_are_scored_as_by_a_plain_pass(lm: LanguageModel):
    text = lm(PROMPTS[0])
    path = (*lm.encode(VALUES[0]), *sorted(lm.vocabulary.eos_ids)[:1])
    rows = oracle(lm, (*text.prompt_tokens, *path))[len(text.prompt_tokens) :]
    wanted = sum(row[token] for row, token in zip(rows, path, strict=False))
    np.testing.assert_allclose(path_log_probs([text], [path]), [wanted], atol=1e-5, rtol=1e-5)
    after = next_log_probs(lm, [(text.prompt_tokens, path[:n], 1.0) for n in range(3)])
    np.testing.assert_allclose(np.array(after)[:, 65:90], rows[:3, 65:90], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("stop", [")", "\n", "))", "d b"])
def test_every_way_to_end_with_a_stop_string_is_counted(lm: LanguageModel, stop: str):
    """Against a sum over token paths, each looked up in plain passes."""
    text, value = lm(PROMPTS[0], stop=stop), "(and (on re"
    table, data = lm.vocabulary.token_bytes, stop.encode()

    def ways(path: tuple[int, ...], begun: bytes) -> float:
        row = oracle(lm, (*text.prompt_tokens, *path))[-1]
        total = -np.inf if begun else np.logaddexp.reduce(row[sorted(lm.vocabulary.eos_ids)])
        for token, piece in enumerate(table):
            said = begun + piece
            if piece and said.startswith(data) and (value.encode() + said).find(data) == len(value):
                total = np.logaddexp(total, row[token])
            elif piece and data.startswith(said) and said != data:
                total = np.logaddexp(total, row[token] + ways((*path, token), said))
        return total

    path = lm.encode(value)
    rows = oracle(lm, (*text.prompt_tokens, *path))[len(text.prompt_tokens) :]
    wanted = sum(row[token] for row, token in zip(rows, path, strict=False)) + ways(path, b"")
    assert text.log_prob(value) == pytest.approx(wanted, abs=1e-4, rel=1e-5)


def test_a_local_distribution_divides_by_the_mass_of_what_is_allowed(lm: LanguageModel):
    text, value = lp.local(lm(PROMPTS[0]) & lp.choices(["(and", "(or"])), "(or"
    path = lm.encode(value)
    rows = oracle(lm, (*text.prompt_tokens, *path))[len(text.prompt_tokens) :]
    table = lm.vocabulary.token_bytes
    wanted = 0.0
    for position, row in enumerate(rows[:-1]):
        said = b"".join(table[token] for token in path[:position])
        allowed = [
            bool(piece) and any(choice.startswith(said + piece) for choice in (b"(and", b"(or"))
            for piece in table
        ]
        wanted += row[path[position]] - np.logaddexp.reduce(row[np.array(allowed)])
    assert text.log_prob(value) == pytest.approx(wanted, abs=1e-5)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The jaxprs and arguments of all that scoring calls."""
    calls: list[tuple[str, Any, Any]] = []

    def recording(lm: LanguageModel, name: str, make: Any) -> Any:
        function = make()

        def call(*arguments: Any) -> Any:
            calls.append((name, jax.make_jaxpr(function)(*arguments), arguments))
            return function(*arguments)

        return call

    monkeypatch.setattr(score_sheet, "compiled", recording)
    return calls


def shapes(jaxpr: Any) -> Iterator[tuple[int, ...]]:
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from shapes(inner)


def most_rows_of_logits(calls: list[Any], vocab_size: int) -> int:
    found = [shape for _, jaxpr, _ in calls for shape in shapes(jaxpr.jaxpr)]
    return max(int(np.prod(shape[:-1])) for shape in found if shape and shape[-1] == vocab_size)


def test_scoring_64_strings_holds_no_array_of_positions_by_vocabulary(
    lm: LanguageModel, recorded: list[Any], monkeypatch: pytest.MonkeyPatch
):
    size = len(lm.vocabulary)
    monkeypatch.setattr(score_sheet, "_LOGITS_AT_ONCE", 16 * size)
    values = [f"(and (on red b{i}) (clear b{i + 1}))" for i in range(64)]
    text_log_probs([lm(PROMPTS[0])] * 64, values)
    num_positions = sum(len(lm.encode(value)) for value in values)
    assert num_positions > 500
    assert most_rows_of_logits(recorded, size) == 16
    for name, _, arguments in recorded:
        if name.endswith("head"):
            head = {"token head": score_sheet._token_head, "set head": score_sheet._set_head}[name]
            compiled = jax.jit(partial(head, lm)).lower(*arguments).compile()
            analysis = compiled.memory_analysis()
            assert analysis is None or analysis.temp_size_in_bytes < num_positions * size * 4 / 4


def test_a_plain_pass_over_the_same_strings_is_noticed(lm: LanguageModel):
    """The mutant of the test above."""
    size = len(lm.vocabulary)
    jaxpr = jax.make_jaxpr(partial(plain_pass, lm))(lm.params, jnp.zeros((64, 20), jnp.int32))
    assert most_rows_of_logits([("", jaxpr, ())], size) == 64 * 21


def test_a_shared_prompt_is_read_once_and_a_string_that_begins_another_not_at_all(
    lm: LanguageModel, recorded: list[Any]
):
    prompt = lm(PROMPTS[0])
    values = [f"(and (on red b{n}))" for n in range(8)] + ["(and", "(and (on red b3))"]
    text_log_probs([prompt] * len(values), values)
    reads = [arguments[2:5] for name, _, arguments in recorded if name == "read"]
    assert [len(tokens) for tokens, _, _ in reads] == [1, 8]
    assert int(reads[0][1][0]) >= len(prompt.prompt_tokens)
    lines = {(*prompt.prompt_tokens, *lm.encode(value)) for value in values}
    assert sum(int(lengths.sum()) for _, lengths, _ in reads) < 2 * max(map(len, lines))


def test_equal_questions_are_asked_once(lm: LanguageModel):
    sheet = ScoreSheet(lm)
    line = sheet.line((1, 2, 3))
    assert sheet.ask_token(line, 2, 1.0, 7) == sheet.ask_token(line, 2, 1.0, 7)
    assert sheet.ask_token(line, 2, 0.5, 7) != sheet.ask_token(line, 2, 1.0, 7)


def test_a_sequence_that_begins_another_is_read_with_it():
    assert hosts([(1,), (1, 2), (1, 3), (1, 2, 4), (5,)]) == {
        (1,): (1, 2, 4),
        (1, 2): (1, 2, 4),
        (1, 2, 4): (1, 2, 4),
        (1, 3): (1, 3),
        (5,): (5,),
    }


@pytest.mark.parametrize("seed", range(5))
def test_every_sequence_is_in_one_pass_and_fits(seed: int):
    generator = np.random.default_rng(seed)
    beginnings = [tuple(generator.integers(0, 3, n).tolist()) for n in (0, 2, 40, 300)]
    sequences = {
        (*beginnings[generator.integers(4)], *generator.integers(0, 9, generator.integers(3, 60)).tolist())
        for _ in range(80)
    }
    hosted = {sequence for sequence, host in hosts(sequences).items() if sequence == host}
    passes = plan_passes(hosted, most_tokens=1024)
    read = [(*one.prefix, *row) for one in passes for row in one.rows]
    assert sorted(read) == sorted(hosted)
    for one in passes:
        assert len(one.rows) <= one.num_rows
        assert max(map(len, one.rows)) <= one.length
        assert one.num_rows == 1 or one.num_rows * one.length <= 1024


def test_prompts_that_share_much_are_apart_from_those_that_share_little():
    first, second = tuple(range(100)), tuple(range(200, 300))
    sequences = [(*start, 400 + n, 500) for start in (first, second) for n in range(8)]
    plan = plan_passes(sequences)
    assert {one.prefix for one in plan} == {first, second}
    assert dataclasses.astuple(plan_passes([(1, 2, 3), (1, 2, 4)])[0])[0] == ()  # not worth a pass
