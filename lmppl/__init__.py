"""lmppl: a probabilistic programming language for language models.

Importing it imports neither JAX nor a model: every name is looked up where it lives when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmppl import errors, testing
    from lmppl.constraints.domains.planning.pddl_goals import pddl_goal
    from lmppl.constraints.domains.planning.pddl_plans import pddl_plan
    from lmppl.constraints.domains.planning.shortest_plans import plan
    from lmppl.constraints.domains.python.python_source import python_code
    from lmppl.constraints.domains.records.linear_records import linear
    from lmppl.constraints.domains.records.smt_records import smt
    from lmppl.constraints.domains.smiles_strings import smiles
    from lmppl.constraints.domains.sql.sql_queries import sql
    from lmppl.constraints.functions.partial_matching import pattern
    from lmppl.constraints.functions.python_check import check
    from lmppl.constraints.functions.word_lists import words
    from lmppl.constraints.grammars.grammar import lark
    from lmppl.constraints.json_values.field_checks import json_check
    from lmppl.constraints.json_values.json_texts import json
    from lmppl.constraints.protocol import Constraint
    from lmppl.constraints.regular.alternatives import choices
    from lmppl.constraints.regular.regular_expression import regex
    from lmppl.constraints.regular.text_length import length
    from lmppl.constraints.vocabularies.canonical_tokens import canonical
    from lmppl.errors import (
        CheckError,
        CheckpointError,
        ConstraintError,
        InvalidInputError,
        InvalidTypeError,
        LmpplError,
        MissingExtraError,
        ModelNotFoundError,
        NoPosterior,
        NotEnoughMemory,
        OutsideProgramError,
        PDDLError,
        PlanError,
        PlanSearchLimit,
        ProgramNotDeterministic,
        SiteNameError,
        UnknownSiteError,
        UnsupportedSchema,
    )
    from lmppl.inference.enumeration import Enumerate
    from lmppl.inference.importance import IS
    from lmppl.inference.proposals import AWRS, Auto, Mask
    from lmppl.inference.smc import SMC
    from lmppl.language_model import LanguageModel, Vocabulary
    from lmppl.methods import Method, infer
    from lmppl.models.loading import load
    from lmppl.models.table import TableLM
    from lmppl.posterior import Posterior, load_posterior
    from lmppl.potentials.experts import expert
    from lmppl.potentials.protocol import Potential
    from lmppl.potentials.python_potential import potential
    from lmppl.programs import Program, program
    from lmppl.statements import cached, checkpoint, constrain, factor, observe, sample, twist
    from lmppl.text import Chat, Text, chat, local
    from lmppl.traces import Trace

__version__ = "0.1.0"

_HOMES = {
    "lmppl.constraints.regular.alternatives": ("choices",),
    "lmppl.constraints.vocabularies.canonical_tokens": ("canonical",),
    "lmppl.constraints.domains.records.linear_records": ("linear",),
    "lmppl.constraints.domains.planning.pddl_goals": ("pddl_goal",),
    "lmppl.constraints.domains.planning.pddl_plans": ("pddl_plan",),
    "lmppl.constraints.domains.python.python_source": ("python_code",),
    "lmppl.constraints.domains.planning.shortest_plans": ("plan",),
    "lmppl.constraints.domains.smiles_strings": ("smiles",),
    "lmppl.constraints.domains.records.smt_records": ("smt",),
    "lmppl.constraints.domains.sql.sql_queries": ("sql",),
    "lmppl.constraints.grammars.grammar": ("lark",),
    "lmppl.constraints.json_values.field_checks": ("json_check",),
    "lmppl.constraints.json_values.json_texts": ("json",),
    "lmppl.constraints.functions.partial_matching": ("pattern",),
    "lmppl.constraints.protocol": ("Constraint",),
    "lmppl.constraints.functions.python_check": ("check",),
    "lmppl.constraints.regular.regular_expression": ("regex",),
    "lmppl.constraints.regular.text_length": ("length",),
    "lmppl.constraints.functions.word_lists": ("words",),
    "lmppl.errors": (
        "CheckError",
        "CheckpointError",
        "ConstraintError",
        "InvalidInputError",
        "InvalidTypeError",
        "LmpplError",
        "MissingExtraError",
        "ModelNotFoundError",
        "NoPosterior",
        "NotEnoughMemory",
        "OutsideProgramError",
        "PDDLError",
        "PlanError",
        "PlanSearchLimit",
        "ProgramNotDeterministic",
        "SiteNameError",
        "UnknownSiteError",
        "UnsupportedSchema",
    ),
    "lmppl.inference.enumeration": ("Enumerate",),
    "lmppl.inference.importance": ("IS",),
    "lmppl.inference.proposals": ("AWRS", "Auto", "Mask"),
    "lmppl.inference.smc": ("SMC",),
    "lmppl.language_model": ("LanguageModel", "Vocabulary"),
    "lmppl.methods": ("Method", "infer"),
    "lmppl.models.loading": ("load",),
    "lmppl.models.table": ("TableLM",),
    "lmppl.posterior": ("Posterior", "load_posterior"),
    "lmppl.potentials.experts": ("expert",),
    "lmppl.potentials.protocol": ("Potential",),
    "lmppl.potentials.python_potential": ("potential",),
    "lmppl.programs": ("Program", "program"),
    "lmppl.statements": ("cached", "checkpoint", "constrain", "factor", "observe", "sample", "twist"),
    "lmppl.text": ("Chat", "Text", "chat", "local"),
    "lmppl.traces": ("Trace",),
}
_MODULES = ("errors", "testing")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "AWRS",
    "IS",
    "SMC",
    "Auto",
    "Chat",
    "CheckError",
    "CheckpointError",
    "Constraint",
    "ConstraintError",
    "Enumerate",
    "InvalidInputError",
    "InvalidTypeError",
    "LanguageModel",
    "LmpplError",
    "Mask",
    "Method",
    "MissingExtraError",
    "ModelNotFoundError",
    "NoPosterior",
    "NotEnoughMemory",
    "OutsideProgramError",
    "PDDLError",
    "PlanError",
    "PlanSearchLimit",
    "Posterior",
    "Potential",
    "Program",
    "ProgramNotDeterministic",
    "SiteNameError",
    "TableLM",
    "Text",
    "Trace",
    "UnknownSiteError",
    "UnsupportedSchema",
    "Vocabulary",
    "cached",
    "canonical",
    "chat",
    "check",
    "checkpoint",
    "choices",
    "constrain",
    "errors",
    "expert",
    "factor",
    "infer",
    "json",
    "json_check",
    "lark",
    "length",
    "linear",
    "load",
    "load_posterior",
    "local",
    "observe",
    "pattern",
    "pddl_goal",
    "pddl_plan",
    "plan",
    "potential",
    "program",
    "python_code",
    "regex",
    "sample",
    "smiles",
    "smt",
    "sql",
    "testing",
    "twist",
    "words",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lmppl.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'lmppl' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
