"""Asks potentials about many strings, and holds what they say to `[-inf, inf)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.errors import CheckError, LmpplError
from lmppl.potentials.experts import Expert, Role, expert_log_weights
from lmppl.potentials.log_values import checked_log_weight
from lmppl.potentials.protocol import Potential

Answer = float | CheckTimedOut


def log_weights(role: Role, asked: Sequence[tuple[Potential, bytes]]) -> list[Answer]:
    """Asks each potential about its string: equal potentials together, equal strings once.

    Returns:
        In the order of `asked`: nats, or the time-out of a potential that did not answer in time.

    Raises:
        CheckError: A potential raised, or gave what is no log-weight.
    """
    by_potential: dict[Potential, dict[bytes, Answer]] = {}
    for potential, data in asked:
        by_potential.setdefault(potential, {})[data] = 0.0
    experts = [
        (potential, data)
        for potential, answers in by_potential.items()
        if isinstance(potential, Expert)
        for data in answers
    ]
    values = expert_log_weights(role, experts) if experts else []
    for (expert, data), value in zip(experts, values, strict=True):
        by_potential[expert][data] = value
    for potential, answers in by_potential.items():
        if not isinstance(potential, Expert):
            data = list(answers)
            answers.update(zip(data, _asked(potential, role, data), strict=True))
    return [by_potential[potential][data] for potential, data in asked]


def complete_log_weights(asked: Sequence[tuple[Potential, bytes]]) -> list[float]:
    """Asks about complete strings, where the answers cannot be done without.

    Raises:
        CheckError: As `log_weights`, and where a potential did not answer in time.
    """
    answers = []
    for (potential, _), answer in zip(asked, log_weights("complete", asked), strict=True):
        if isinstance(answer, CheckTimedOut):
            raise CheckError(
                f"{potential.describe()} took too long to score a given string ({answer}). Give it a longer "
                "`timeout=`, or None."
            ) from answer
        answers.append(answer)
    return answers


def _asked(potential: Potential, role: Role, data: list[bytes]) -> list[Answer]:
    """Asks one potential: once for all if it has a method for that."""
    name = f"{role}_batch"
    if getattr(type(potential), name) is getattr(Potential, name):
        single = getattr(potential, role)
        answers = [_called(potential, single, one) for one in data]
    else:
        together = _called(potential, getattr(potential, name), data)
        answers = [together] * len(data) if isinstance(together, CheckTimedOut) else list(together)
        if len(answers) != len(data):
            raise CheckError(
                f"{potential.describe()} gave {len(answers)} answers from `{name}` to {len(data)} strings."
            )
    return [
        answer if isinstance(answer, CheckTimedOut) else checked_log_weight(potential, role, one, answer)
        for one, answer in zip(data, answers, strict=True)
    ]


def _called(potential: Potential, method: Any, argument: Any) -> Any:
    try:
        return method(argument)
    except CheckTimedOut as timeout:
        return timeout
    except LmpplError:
        raise
    except Exception as error:
        raise CheckError(
            f"{potential.describe()} raised {type(error).__name__} in `{method.__name__}` on "
            f"{str(argument)[:80]}: {error}\nA potential gives -inf for what has no mass, and never raises."
        ) from error
