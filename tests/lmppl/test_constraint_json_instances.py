"""`lp.json` against jsonschema on real schemas: values made from each, changed here and there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

import lmppl as lp
from lmppl.constraints.json_values import acceptor
from lmppl.constraints.protocol import Constraint
from lmppl.errors import UnsupportedSchema

jsonschema = pytest.importorskip("jsonschema")
from schema_instances import Instances, repaired  # noqa: E402
from viable_prefixes import stepped  # noqa: E402

NUM_VALUES = 12
NUM_CHANGES = 4


def compared(schema: Any, constraint: Constraint, instances: Instances) -> Counter[str]:
    """Counts values that are valid, those that are not, and those that the constraint judges wrong."""
    validator = jsonschema.Draft7Validator(schema)
    counts: Counter[str] = Counter()
    for value in drawn(instances, validator):
        text = json.dumps(value, ensure_ascii=False).encode()
        states = stepped(constraint, text)
        accepted = len(states) > len(text) and constraint.accepts(states[-1])
        is_valid = validator.is_valid(value)
        counts["valid" if is_valid else "invalid"] += 1
        counts["wrong"] += accepted != is_valid
    return counts


def drawn(instances: Instances, validator: Any) -> Iterable[Any]:
    for _ in range(NUM_VALUES):
        value = repaired(validator, instances.value())
        yield value
        if isinstance(value, dict | list) and value:
            yield from (instances.changed(value) for _ in range(NUM_CHANGES))


@pytest.fixture(scope="module")
def schemas(test_data: Path) -> list[Any]:
    lines = (test_data / "jsonschemabench" / "permissive_schemas_only.jsonl").read_text().strip().split("\n")
    return [json.loads(line)["schema"] for line in lines]


def test_values_of_real_schemas_are_judged_as_a_validator_judges_them(schemas: list[Any]) -> None:
    counts: Counter[str] = Counter()
    for seed, schema in enumerate(schemas):
        try:
            constraint = lp.json(schema, draft="7")
        except UnsupportedSchema:
            counts["refused"] += 1
            continue
        found = compared(schema, constraint, Instances(schema, seed))
        assert not found["wrong"], schema
        counts += found
    assert counts["valid"] > 1_000, counts
    assert counts["invalid"] > 500, counts


def test_a_required_name_that_is_forgotten_would_be_noticed(
    schemas: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor.Entry, "may_close", property(lambda entry: True))
    schema = next(schema for schema in schemas if len(schema.get("required", ())) > 1)
    schema = {**schema, "$comment": "nothing is required"}
    assert compared(schema, lp.json(schema, draft="7"), Instances(schema, 0))["wrong"]
