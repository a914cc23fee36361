"""Everything that lmppl raises on purpose, as one family."""

from __future__ import annotations


class LmpplError(Exception):
    """Base of every error that lmppl raises on purpose."""


class InvalidInputError(LmpplError, ValueError):
    """A value that a caller passed cannot be used; the message says what was expected."""


class InvalidTypeError(LmpplError, TypeError):
    """A value of the wrong type was passed; the message says which type was expected."""


class OutsideProgramError(LmpplError, RuntimeError):
    """A statement was reached while no program was being run."""


class SiteNameError(InvalidInputError):
    """A site's name is empty, reserved, or reached a second time."""


class UnknownSiteError(LmpplError, KeyError):
    """A site was asked for that no trace contains."""

    def __str__(self) -> str:
        return str(self.args[0])


class ProgramNotDeterministic(LmpplError, RuntimeError):
    """A program, run again over the same recorded values, took another path."""


class CheckError(LmpplError, RuntimeError):
    """A check, judge or cached function that the user wrote raised; the cause is chained."""


class NoPosterior(LmpplError, RuntimeError):
    """Every particle is dead: the posterior has no mass that was found.

    Attributes:
        log_evidence: `-inf`, the estimate that belongs to such a run.
        losses: Cause -> site -> number of particles.
    """

    def __init__(self, message: str, losses: dict[str, dict[str, int]] | None = None):
        super().__init__(message)
        self.log_evidence = float("-inf")
        self.losses = losses or {}


class ModelNotFoundError(LmpplError, FileNotFoundError):
    """No language model lies where `lp.load` was told to look."""


class CheckpointError(InvalidInputError):
    """A model folder is there but incomplete, damaged, or of an unsupported kind."""


class ConstraintError(InvalidInputError):
    """A constraint cannot be built: bad syntax, an unsupported feature, or an empty language."""


class UnsupportedSchema(ConstraintError):
    """A JSON Schema uses what cannot be enforced exactly; the message names the place and the keyword."""


class PDDLError(ConstraintError):
    """A PDDL text cannot be read or used; the message starts with the file and the line, if it has them."""


class PlanError(InvalidInputError):
    """A plan contains a step that cannot be taken; the message says which step and why."""


class PlanSearchLimit(LmpplError, RuntimeError):
    """A search for a plan came to its limit of states or seconds: it is not known whether there is one."""


class MissingExtraError(LmpplError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class NotEnoughMemory(LmpplError, MemoryError):
    """A site of so many particles and tokens does not fit; the message names the sizes."""
