"""The laws of a potential, as a check that anyone can run on their own."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lmppl.errors import CheckError, InvalidInputError, InvalidTypeError
from lmppl.potentials.log_values import checked_log_weight
from lmppl.potentials.protocol import Potential

_ROLES = ("prefix", "complete")


def check_potential(potential: Potential, samples: Iterable[str | bytes], *, atol: float = 1e-6) -> None:
    """Tests the laws of a potential on samples and on all their prefixes.

    The laws: both functions give numbers in `[-inf, inf)`, and the same ones whenever they are asked; a
    prefix of `-inf` means that no string that begins so has mass; many asked at once, in any order, have the
    answers that each has alone; what has mass is in the support, if there is one.

    Args:
        potential: What to test.
        samples: Strings with mass and without. At least one must have mass. Every prefix of each is
            asked about several times.
        atol: How far log-weights of one string may differ, in nats. Give about 1e-4 for language models.

    Raises:
        AssertionError: A law is broken. The message names the law and the string.
        InvalidInputError: There is no sample.
        InvalidTypeError: It is no potential.
    """
    if not isinstance(potential, Potential):
        raise InvalidTypeError(f"check_potential() tests a Potential, but was given {potential!r}.")
    strings = [sample.encode() if isinstance(sample, str) else bytes(sample) for sample in samples]
    if not strings:
        raise InvalidInputError("check_potential() was given no samples. Give strings with and without mass.")
    _is_value(potential)
    heads = list(dict.fromkeys(string[:cut] for string in strings for cut in range(len(string) + 1)))
    said = {role: {head: _asked(potential, role, head) for head in heads} for role in _ROLES}
    for string in strings:
        _test_forecasts(said, string)
    for role in _ROLES:
        _test_batch(potential, role, said[role], atol)
    _test_support(potential, said["complete"])
    _law(
        any(said["complete"][string] > -math.inf for string in strings),
        "at least one sample has mass, or the test would prove little",
        strings[:3],
    )
    for role in _ROLES:
        for head in reversed(heads):
            same = _close(_asked(potential, role, head), said[role][head], atol)
            _law(same, f"{role} always says the same of one string", head)


def _test_forecasts(said: dict[str, dict[bytes, float]], string: bytes) -> None:
    for cut in range(len(string) + 1):
        if said["prefix"][string[:cut]] == -math.inf:
            for end in range(cut, len(string) + 1):
                none = said["complete"][string[:end]] == -math.inf
                _law(
                    none,
                    f"no string has mass that begins with {string[:cut]!r}, a prefix of -inf",
                    string[:end],
                )


def _test_batch(potential: Potential, role: str, said: dict[bytes, float], atol: float) -> None:
    method = getattr(potential, f"{role}_batch")
    for heads in (list(said), [*reversed(said), next(iter(said))], []):
        values = list(method(heads))
        _law(len(values) == len(heads), f"{role}_batch gives one answer for each string", heads[:3])
        for head, value in zip(heads, values, strict=True):
            together = _read(potential, role, head, value)
            _law(_close(together, said[head], atol), f"{role}_batch says of each what {role} says", head)


def _test_support(potential: Potential, said: dict[bytes, float]) -> None:
    support = potential.support()
    if support is None:
        return
    for string, value in said.items():
        if value > -math.inf:
            state = support.advance(support.initial(), string)
            accepted = state is not None and support.accepts(state)
            _law(accepted, "the support accepts every string with mass", string)


def _asked(potential: Potential, role: str, data: bytes) -> float:
    return _read(potential, role, data, getattr(potential, role)(data))


def _read(potential: Potential, role: str, data: bytes, value: object) -> float:
    try:
        return checked_log_weight(potential, role, data, value)
    except CheckError as error:
        raise AssertionError(f"Law broken: {role} gives numbers in [-inf, inf). {error}") from error


def _is_value(potential: Potential) -> None:
    try:
        same = hash(potential) == hash(potential)
    except TypeError as error:
        raise AssertionError(f"Law broken: a potential is hashable. At {potential!r}.") from error
    _law(potential == potential and same, "a potential is equal to itself and has one hash", potential)
    _law(isinstance(potential.describe(), str) and potential.describe() != "", "describe() gives a text", "")


def _close(one: float, other: float, atol: float) -> bool:
    return one == other or abs(one - other) <= atol


def _law(holds: bool, law: str, where: object) -> None:
    if not holds:
        raise AssertionError(f"Law broken: {law}. At {where!r}.")
