"""Other constraint engines, timed as ours is. Runs in the peers' environment; imports no lmppl.

    PEER_PYTHON rival_constraints.py ENGINE TOKENIZER_JSON VOCAB_SIZE EFFORT DATA TASK...

Writes one JSON line a task, of those that the engine can be told. `benchmarks/constraints.py` starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from constraint_tasks import TASKS, Task
from constraint_timing import Effort, Segmentation, measure, read_vocabulary


class LLGuidance:
    """llguidance's matcher: `validate_tokens` for one token, `compute_bitmask` for all."""

    name, kinds = "llguidance", ("regex", "json", "lark")

    def __init__(self, tokens: list[bytes]):
        import llguidance  # type: ignore[import-not-found]

        end = len(tokens) - 1

        class Words:
            eos_token_id, bos_token_id = end, None
            special_token_ids = (end,)

            def __init__(self) -> None:
                self.tokens = tokens
                self.longest_match = Segmentation(tokens)

            def __call__(self, text: bytes) -> list[int]:
                return self.longest_match(text)

        self._matcher = llguidance.LLMatcher
        self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(Words()))

    def compile(self, task: Task) -> Any:
        of = self._matcher
        whitespace = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        if task.kind == "regex":
            grammar = of.grammar_from_regex(task.source)
        elif task.kind == "json":
            grammar = of.grammar_from_json_schema(task.source, defaults=whitespace)
        else:
            grammar = of.grammar_from_lark(task.source)
        made = of(self._tokenizer, grammar)
        if made.is_error():
            raise ValueError(made.get_error())
        return made

    def initial(self, compiled: Any) -> Any:
        return compiled.deep_copy()

    def advanced(self, state: Any, token: int) -> Any:
        state.consume_token(token)
        return state

    def check(self, state: Any, candidates: Sequence[int]) -> list[bool]:
        validate = state.validate_tokens
        return [validate([token]) == 1 for token in candidates]

    def mask(self, state: Any) -> int:
        return _num_bits(state.compute_bitmask())

    def fork(self, state: Any) -> Any:
        return state.deep_copy()


class XGrammar:
    """xgrammar's matcher: a check accepts the token and takes it back."""

    name, kinds = "xgrammar", ("regex", "json", "lark")

    def __init__(self, tokens: list[bytes]):
        import xgrammar  # type: ignore[import-not-found]

        self._module = xgrammar
        info = xgrammar.TokenizerInfo(tokens, stop_token_ids=[len(tokens) - 1])
        self._compiler = xgrammar.GrammarCompiler(info, cache_enabled=False)
        self._bits = xgrammar.allocate_token_bitmask(1, len(tokens))

    def compile(self, task: Task) -> Any:
        if task.kind == "regex":
            return self._compiler.compile_regex(task.source)
        if task.kind == "json":
            separators = (", ", ": ")
            return self._compiler.compile_json_schema(
                task.source, any_whitespace=False, separators=separators
            )
        return self._compiler.compile_lark(task.source)

    def initial(self, compiled: Any) -> Any:
        return self._module.GrammarMatcher(compiled)

    def advanced(self, state: Any, token: int) -> Any:
        state.accept_token(token)
        return state

    def check(self, state: Any, candidates: Sequence[int]) -> list[bool]:
        answers = []
        for token in candidates:
            accepted = state.accept_token(token)
            if accepted:
                state.rollback(1)
            answers.append(accepted)
        return answers

    def mask(self, state: Any) -> int:
        state.fill_next_token_bitmask(self._bits)
        return _num_bits(self._bits.numpy().tobytes())

    def fork(self, state: Any) -> Any:
        return state.fork()


class OutlinesCore:
    """outlines-core's guide over an index of the whole vocabulary."""

    name, kinds = "outlines-core", ("regex", "json")

    def __init__(self, tokens: list[bytes]):
        import outlines_core  # type: ignore[import-not-found]

        self._module = outlines_core
        numbers: dict[bytes, list[int]] = {}
        for number, data in enumerate(tokens[:-1]):
            numbers.setdefault(data, []).append(number)
        self._vocabulary = outlines_core.Vocabulary(len(tokens) - 1, numbers)

    def compile(self, task: Task) -> Any:
        if task.kind == "regex":
            pattern = task.source
        else:
            pattern = self._module.json_schema.build_regex_from_schema(task.source)
        return self._module.Index(pattern, self._vocabulary)

    def initial(self, compiled: Any) -> Any:
        return compiled, compiled.get_initial_state()

    def advanced(self, state: Any, token: int) -> Any:
        index, number = state
        return index, index.get_next_state(number, token)

    def check(self, state: Any, candidates: Sequence[int]) -> list[bool]:
        index, number = state
        return [index.get_next_state(number, token) is not None for token in candidates]

    def mask(self, state: Any) -> int:
        index, number = state
        return len(index.get_allowed_tokens(number))

    def fork(self, state: Any) -> Any:
        return state  # an index and a number


class GenLM:
    """genlm-control's potentials over bytes: the weight of a longer prefix, charts remembered."""

    name, kinds = "genlm-control", ("regex", "json", "lark")

    def __init__(self, tokens: list[bytes]):
        import genlm.control  # type: ignore[import-not-found]

        self._module, self._tokens = genlm.control, tokens
        self._loop = asyncio.new_event_loop()

    def compile(self, task: Task) -> Any:
        if task.kind == "regex":
            return self._module.BoolFSA.from_regex(task.source)
        if task.kind == "json":
            return self._module.JsonSchema(json.loads(task.source))
        return self._module.BoolCFG.from_lark(task.source)

    def initial(self, compiled: Any) -> Any:
        return compiled, b""

    def advanced(self, state: Any, token: int) -> Any:
        potential, text = state
        return potential, text + self._tokens[token]

    def check(self, state: Any, candidates: Sequence[int]) -> list[bool]:
        potential, text = state
        texts = [list(text + self._tokens[token]) for token in candidates]
        try:
            weights = self._loop.run_until_complete(potential.batch_prefix(texts))
        except BaseException:  # a mask that was given up: the loop cannot go on
            self._loop = asyncio.new_event_loop()
            raise
        return [bool(weight > -float("inf")) for weight in weights]

    def mask(self, state: Any) -> int:
        return sum(self.check(state, range(len(self._tokens) - 1)))

    def fork(self, state: Any) -> Any:
        return state  # bytes


ENGINES = {engine.name: engine for engine in (LLGuidance, XGrammar, OutlinesCore, GenLM)}


def _num_bits(bits: bytes) -> int:
    return int.from_bytes(bits, "little").bit_count()


def main(name: str, tokenizer: str, size: str, effort: str, data: str, *names: str) -> None:
    """Measures one engine on all tasks that it can be told."""
    tokens = read_vocabulary(Path(tokenizer), int(size))
    engine = ENGINES[name](tokens)
    for task in TASKS:
        read = task.read(Path(data)) if task.name in names else task
        form = read.form_for(engine.kinds)
        if task.name not in names or form is None:
            continue
        with contextlib.redirect_stdout(sys.stderr):
            try:
                told = replace(read, kind=form[0], source=form[1])
                row = measure(engine, told, tokens, Effort(**json.loads(effort)))
            except Exception as error:  # what an engine refuses is a result
                row = {"engine": name, "task": task.name, "vocab": len(tokens)}
                row["error"] = f"{type(error).__name__}: {error}"[:200]
        sys.stdout.write(json.dumps({**row, "of": task.kind}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
