"""What users write inside a program: `sample`, `observe`, `constrain` and the rest."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from lmppl.constraints.protocol import Constraint
from lmppl.distributions import check_value, is_numpyro
from lmppl.errors import InvalidInputError, InvalidTypeError, SiteNameError
from lmppl.handlers import current_handler
from lmppl.potentials.protocol import Potential
from lmppl.sites import Call, Checkpoint, Constrain, Factor, Observe, Sample, Twist
from lmppl.text import Text

RESERVED_NAMES = frozenset({"answer", "probability", "log_weight", "particle"})
_PACKAGE = os.path.dirname(os.path.realpath(__file__))
_OWN_FOLDERS = tuple(
    os.path.join(folder, "")
    for folder in (
        _PACKAGE,
        *(os.path.realpath(os.path.join(_PACKAGE, room)) for room in ("models", "inference")),
    )
)


def sample(name: str, distribution: Any, *, proposal: Any = None) -> Any:
    """Draws a latent.

    Args:
        name: The site's name, unique in a run; in a loop, index it: `f"word[{i}]"`.
        distribution: A text distribution `lm(prompt)` or a NumPyro distribution.
        proposal: Draw from this instead, and weigh by `distribution / proposal`. It must reach
            everything that `distribution` does.

    Returns:
        A `str` for text; a NumPy scalar or array otherwise.
    """
    handler = current_handler(f"lp.sample({name!r})")
    location = user_location()
    check_name(name, location)
    _check_distribution("lp.sample", name, distribution)
    if proposal is not None:
        _check_distribution("lp.sample", name, proposal)
        if isinstance(proposal, Text) != isinstance(distribution, Text):
            raise InvalidTypeError(
                f"lp.sample({name!r}) has a proposal over {_kind(proposal)} for a distribution over "
                f"{_kind(distribution)}. Both must be over the same kind of value."
            )
    return handler.handle(Sample(name=name, location=location, distribution=distribution, proposal=proposal))


def observe(name: str, distribution: Any, value: Any) -> None:
    """Observes data under a distribution. A checkpoint.

    Args:
        name: The site's name, unique in a run.
        distribution: A text distribution or a NumPyro distribution.
        value: The data: a complete string for text (scored with its end), else an array.
    """
    handler = current_handler(f"lp.observe({name!r})")
    location = user_location()
    check_name(name, location)
    _check_distribution("lp.observe", name, distribution)
    check_value(f"lp.observe({name!r})", distribution, value)
    handler.handle(Observe(name=name, location=location, distribution=distribution, value=value))


def constrain(name: str, condition: Any) -> None:
    """Keeps only particles for which `condition` is true. A checkpoint.

    Args:
        name: The site's name, unique in a run.
        condition: A bool (Python's, NumPy's or a JAX scalar).
    """
    handler = current_handler(f"lp.constrain({name!r})")
    location = user_location()
    check_name(name, location)
    handler.handle(Constrain(name=name, location=location, condition=_as_bool(name, condition)))


def factor(name: str, log_weight: Any) -> None:
    """Multiplies the target by `exp(log_weight)` for good.

    Args:
        name: The site's name, unique in a run.
        log_weight: Nats, in `[-inf, inf)`; `-inf` loses the particle.
    """
    handler = current_handler(f"lp.factor({name!r})")
    location = user_location()
    check_name(name, location)
    weight = as_log_weight("lp.factor", name, log_weight)
    handler.handle(Factor(name=name, location=location, log_weight=weight))


def twist(name: str, log_weight: Any) -> None:
    """Multiplies the target by `exp(log_weight)` until the next checkpoint only.

    It says which particles look promising: it changes the variance, never the posterior.

    Args:
        name: The site's name, unique in a run.
        log_weight: Nats, finite.
    """
    handler = current_handler(f"lp.twist({name!r})")
    location = user_location()
    check_name(name, location)
    weight = as_log_weight("lp.twist", name, log_weight)
    if weight == -math.inf:
        raise InvalidInputError(
            f"lp.twist({name!r}) got -inf, which could not be divided out again. Use lp.constrain for a hard "
            "condition, or a finite number such as -20.0."
        )
    handler.handle(Twist(name=name, location=location, log_weight=weight))


def checkpoint(name: str) -> None:
    """Makes particles wait for each other here, so that they can be resampled.

    Args:
        name: The site's name, unique in a run.
    """
    handler = current_handler(f"lp.checkpoint({name!r})")
    location = user_location()
    check_name(name, location)
    handler.handle(Checkpoint(name=name, location=location))


def cached(function: Callable[..., Any], *args: Any, timeout: float | None = None, **kwargs: Any) -> Any:
    """Calls an expensive function once for each different set of arguments.

    All particles share the results. With a timeout, calls run in worker processes, several at a time;
    a particle whose call takes longer is lost and counted under `check timed out`. An exception of
    the function is an error of the run.

    Args:
        function: Deterministic, without side effects. With a timeout, it and its arguments and result are
            sent to another process.
        timeout: Seconds a call; None runs it here, without a limit.
    """
    name = getattr(function, "__qualname__", repr(function))
    handler = current_handler(f"lp.cached({name})")
    if not callable(function):
        raise InvalidTypeError(
            f"lp.cached expects a function and its arguments, `lp.cached(f, x)`, but got "
            f"{type(function).__name__}. Was it called already, as in `lp.cached(f(x))`?"
        )
    if timeout is not None and not timeout > 0:
        raise InvalidInputError(f"lp.cached({name}) got timeout={timeout!r}; expected seconds > 0, or None.")
    return handler.handle(
        Call(
            name=name, location=user_location(), function=function, args=args, kwargs=kwargs, timeout=timeout
        )
    )


def user_location() -> str:
    """Gives `file:line` of the innermost frame that is not lmppl's own."""
    frame = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not _is_own(filename):
            return f"{filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "unknown line"


_IS_OWN: dict[str, bool] = {}


def _is_own(filename: str) -> bool:
    own = _IS_OWN.get(filename)
    if own is None:
        path = os.path.realpath(filename)
        between = any(f"{os.sep}{package}{os.sep}" in path for package in ("numpyro", "jaxtyping"))
        own = _IS_OWN[filename] = (
            path.startswith(_OWN_FOLDERS) or between or filename.startswith("<@beartype")
        )
    return own


def check_name(name: Any, location: str) -> None:
    """Raises unless a site may be called so."""
    if not isinstance(name, str):
        raise InvalidTypeError(
            f"A site's name must be a string, got {type(name).__name__} ({name!r}) at {location}. "
            "The name comes first: lp.sample('goal', lm(prompt))."
        )
    if not name.strip():
        raise SiteNameError(
            f"A site's name is empty at {location}. Name what the value stands for, such as 'goal'."
        )
    if name in RESERVED_NAMES or name.startswith("__"):
        raise SiteNameError(
            f"The site name {name!r} at {location} is reserved: tables of a posterior use "
            f"{', '.join(sorted(RESERVED_NAMES))} and names that start with two underscores. Choose another."
        )


def _check_distribution(what: str, name: str, distribution: Any) -> None:
    if isinstance(distribution, Text) or is_numpyro(distribution):
        return
    if isinstance(distribution, Constraint | Potential):
        kind = "constraint" if isinstance(distribution, Constraint) else "potential"
        hint = f"{distribution.describe()} is a {kind}, not a distribution. Write `lm(prompt) & {kind}`."
    elif hasattr(distribution, "encode_prompt"):
        hint = "This is a language model; the distribution over strings is `lm(prompt)`."
    else:
        hint = f"Got {type(distribution).__name__} ({str(distribution)[:60]!r})."
    raise InvalidTypeError(
        f"{what}({name!r}) expects a text distribution `lm(prompt)` or a NumPyro distribution. {hint}"
    )


def _kind(distribution: Any) -> str:
    return "text" if isinstance(distribution, Text) else "numbers"


def _as_bool(name: str, condition: Any) -> bool:
    if isinstance(condition, (bool, np.bool_)):
        return bool(condition)
    dtype = getattr(condition, "dtype", None)
    if dtype is not None and dtype == np.bool_ and getattr(condition, "shape", None) == ():
        return bool(condition)
    shape = f" of shape {condition.shape}" if getattr(condition, "shape", ()) else ""
    raise InvalidTypeError(
        f"lp.constrain({name!r}) expects True or False, got {type(condition).__name__}{shape} "
        f"({str(condition)[:60]!r}). Write the comparison out, such as `x > 0`; use .all() or .any() on "
        "arrays."
    )


def as_log_weight(what: str, name: str, value: Any) -> float:
    """Gives a log-weight as a float; raises unless it is one number in `[-inf, inf)`."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        raise InvalidTypeError(
            f"{what}({name!r}) expects one number in nats, got {type(value).__name__} ({str(value)[:60]!r})."
        ) from None
    if math.isnan(weight) or weight == math.inf:
        raise InvalidInputError(
            f"{what}({name!r}) got {weight}, which is no log-weight; expected a number in [-inf, inf). "
            "Look for 0/0, inf - inf or the log of a negative number."
        )
    return weight
