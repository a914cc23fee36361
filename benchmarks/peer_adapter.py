"""lmppl as a backend of the shared peer harness: the same checkpoint, prompt, constraint and limits.

The harness loads this file in a process of its own and calls the four methods of `LmpplBackend`. Weights and
computation are float32. A peer counts the end among its `max_tokens`, lmppl does not, so one is taken off; a
peer begins with the end token, so the prompt does here too. `awrs` tasks run under `lp.Auto()`, the default,
and `mask` tasks under `lp.Mask()`; the mode `awrs` (`lmppl+awrs=...`) takes `lp.AWRS()` instead of `Auto`.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

PEER_NAME = "peer_bench"
GRAMMAR = r"""
start: "SELECT " columns " FROM " NAME condition? ";"
columns: NAME ("," NAME)? | "*"
condition: " WHERE " NAME OPERATOR VALUE
OPERATOR: "=" | "<" | ">"
VALUE: /[0-9]{1,4}/ | /'[a-z]{1,8}'/
NAME: /[a-z]{1,8}/
"""
MEMOS = {"_LOADED", "_kept", "_living"}  # grammars that were read, and answers of checks


class LmpplBackend:
    """Runs tasks of the harness with `lp.infer`."""

    name = "lmppl"

    def load(self, ckpt: str, threads: int, opts: dict[str, str]) -> dict[str, float]:
        """Imports lmppl and loads a checkpoint, with as many cores as the peer has threads."""
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(cores) > threads:
            os.sched_setaffinity(0, cores[:threads])
        began = time.perf_counter()
        from measured_models import endless  # sets where compiled programs are kept

        import lmppl as lp

        imported = time.perf_counter()
        self.lp, self.mode = lp, opts.get("mode", "auto")
        self.lm: Any = lp.load(ckpt, dtype="float32")
        self.end = end_token(ckpt)
        self.endless = endless
        self._endless_lm: Any = None
        return {"import_s": imported - began, "model_load_s": time.perf_counter() - imported}

    def prepare(self, task: dict[str, Any]) -> dict[str, Any]:
        """Builds the task's distribution."""
        began = time.perf_counter()
        lm = self.lm
        if task.get("ignore_eos"):
            self._endless_lm = self._endless_lm or self.endless(self.lm)
            lm = self._endless_lm
        text = lm(self.end + task["prompt"], max_tokens=task["max_tokens"] - 1)
        handle = {"task": task, "text": text, "calls": [0], "t": {}}
        handle["constraint"] = self._constraint(task["constraint"], handle["calls"])
        handle["t"]["constraint_build_s"] = time.perf_counter() - began
        return handle

    def reset(self, handle: dict[str, Any], warm: bool = False) -> None:
        """Forgets what the constraint remembers; compiled programs and the vocabulary's index stay."""
        handle["calls"][0] = 0
        if not warm:
            forget_constraints(handle["text"].lm.vocabulary)
            handle["constraint"] = self._constraint(handle["task"]["constraint"], handle["calls"])

    def run(
        self, handle: dict[str, Any], task: dict[str, Any], seed: int, split: bool = False
    ) -> dict[str, Any]:
        """Draws the task's particles."""
        lp = self.lp
        text = handle["text"] if handle["constraint"] is None else handle["text"] & handle["constraint"]
        method = lp.SMC(task["n"], proposal=self._proposal(task["method"]), ess_threshold=task["ess"])
        try:
            posterior = lp.infer(lambda: lp.sample("text", text), method=method, key=seed, progress=False)
        except lp.NoPosterior as error:
            lost = {"reason": str(error)[:300]}
            dead = [-math.inf] * task["n"]
            return {
                "texts": [""] * task["n"],
                "log_weights": dead,
                "n_tokens": 0,
                "evals": 0,
                "finished": [],
                "extra": lost,
            }
        weights = [float(weight) for weight in posterior.log_weights]
        texts = [value if isinstance(value, str) else "" for value in posterior.values]  # lost ones
        diagnostics = posterior.diagnostics
        return {
            "texts": texts,
            "log_weights": weights,
            "n_tokens": int(diagnostics.num_tokens),
            "evals": handle["calls"][0] or int(diagnostics.num_checks),
            "finished": [weight > -math.inf for weight in weights],
            "log_ml": float(posterior.log_evidence),
            "ess": float(posterior.effective_sample_size),
            "extra": {
                "text_sites": getattr(diagnostics, "text_sites", None),
                "num_compilations": getattr(diagnostics, "num_compilations", None),
                "losses": posterior.losses,
            },
        }

    def _proposal(self, method: str) -> Any:
        if method == "mask":
            return self.lp.Mask()
        return self.lp.AWRS() if self.mode == "awrs" else self.lp.Auto()

    def _constraint(self, constraint: dict[str, Any] | None, calls: list[int]) -> Any:
        lp = self.lp
        if constraint is None:
            return None
        if constraint["kind"] == "regex":
            if constraint["impl"] != "fsa":
                raise NotImplementedError("the peer's partial matching; lmppl has one kind of regex")
            return lp.regex(constraint["pattern"])
        if constraint["kind"] == "json_schema":
            return lp.json(closed(constraint["schema"]))
        if constraint.get("impl") == "mp2":
            raise NotImplementedError("the peer's own worker processes")
        return slow_check(lp, constraint["cost_ms"], calls)


def slow_check(lp: Any, cost_ms: float, calls: list[int]) -> Any:
    """Gives the harness's own predicate as a check."""
    harness = sys.modules[PEER_NAME]

    def judged(text: str, final: bool) -> bool:
        calls[0] += 1
        return harness.slow_pred(text, final, cost_ms)

    return lp.check(
        "words", prefix=lambda text: judged(text, False), complete=lambda text: judged(text, True)
    )


def end_token(ckpt: str) -> str:
    """Reads how a checkpoint writes the token that ends a text."""
    settings = json.loads((Path(ckpt) / "tokenizer_config.json").read_text())
    token = settings["eos_token"]
    return token["content"] if isinstance(token, dict) else token


def forget_constraints(vocabulary: Any = None) -> None:
    """Empties the memos of constraints, so that a run pays for its states and masks as the peer's does.

    Those of a vocabulary too, if one is given. Its layout stays, as the peer's does: it is made once a model.
    """
    rooms = ("lmppl.acceptance", "lmppl.constraints.", "lmppl.inference.text_rows", "lmppl.inference.token_")
    for name, module in list(sys.modules.items()):
        if name.startswith(rooms):
            for memo in list(vars(module).values()):
                if hasattr(memo, "cache_clear"):
                    memo.cache_clear()
            for memo in MEMOS & vars(module).keys():
                if not callable(vars(module)[memo]):  # a function that happens to have the name
                    vars(module)[memo].clear()
    for memo in ("_cache", "_classes", "_spent") if vocabulary is not None else ():
        _empty(vocabulary, memo)


def forget_masks(vocabulary: Any) -> None:
    """Empties the memo of masks alone; the tables that they are made of stay, as those of others do."""
    _empty(vocabulary, "_cache")


def _empty(vocabulary: Any, memo: str) -> None:
    from lmppl.constraints.vocabularies.vocabulary_mask import index_of

    getattr(index_of(vocabulary), memo).clear()


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Gives the schema as the peer reads it: no keys but those that it names."""
    return {"additionalProperties": False, **schema}
