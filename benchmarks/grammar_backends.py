"""Two backends of the shared harness that run its tasks under a grammar: BoolCFG, and `lp.lark`.

The harness has no task of a grammar. These take a task's prompt, particles and limit, and put the grammar in
place of its constraint. Each is loaded in the environment of its own side.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from peer_adapter import GRAMMAR, PEER_NAME, LmpplBackend

_HARNESS: Any = sys.modules[PEER_NAME]


class GenlmGrammar(_HARNESS.GenlmBackend):
    """genlm-control with its Earley parser."""

    def prepare(self, task: dict[str, Any]) -> Any:
        """Builds the task's sampler, with the grammar where the harness would have a schema."""
        schemas = self.gc.JsonSchema
        self.gc.JsonSchema = lambda schema: self.gc.BoolCFG.from_lark(GRAMMAR)
        try:
            return super().prepare(task | {"constraint": {"kind": "json_schema", "schema": {}}})
        finally:
            self.gc.JsonSchema = schemas


class LmpplGrammar(LmpplBackend):
    """lmppl with `lp.lark` and its default parser."""

    def _constraint(self, constraint: dict[str, Any] | None, calls: list[int]) -> Any:
        return self.lp.lark(GRAMMAR)
