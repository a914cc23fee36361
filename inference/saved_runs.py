"""Runs on disk: what a run is between two moves, from which another process goes on.

A file holds one line that names the format, one with a digest of the rest, one that says to which run it
belongs, and the state: a pickle of values and stand-ins, without weights and distributions.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
import pickle
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax
import numpy as np

import lmppl
from lmppl.errors import InvalidInputError, InvalidTypeError, ProgramNotDeterministic
from lmppl.inference.particles import Particle
from lmppl.inference.population import Population
from lmppl.inference.replay import Entry, Recording
from lmppl.inference.stand_ins import SavedStatement, digest, fingerprint, stand_in
from lmppl.programs import Program

_FORMAT = "lmppl run 1"
_START_ANEW = "Delete the file to start anew, or choose another with SMC(save_to=...)."


@dataclass(frozen=True)
class _SavedParticle:
    """A particle between two moves.

    Attributes:
        entries: What it has done.
        request: Where it waits; None if it has returned or is lost.
        returned: Whether the program came to its end.
    """

    entries: tuple[Entry, ...]
    request: SavedStatement | None
    returned: bool


class SavedRun:
    """The file of one run: written after every `every` moves, read once at the start.

    Args:
        path: Its folder must exist.
        every: At least 1.
        program: As the run has it, its arguments bound.
        key: The run's.
        options: What else a run depends on: a name and a text each.

    Raises:
        InvalidInputError: There is no such folder, or no file can be written in it, or `path` is no file.
    """

    def __init__(
        self, path: str | Path, every: int, program: Callable[[], Any], key: Any, options: Mapping[str, str]
    ):
        self._path = Path(path)
        if not self._path.parent.is_dir():
            raise InvalidInputError(
                f"SMC(save_to={str(path)!r}) names a file in the folder {str(self._path.parent)!r}, which "
                "does not exist. Make the folder first."
            )
        if self._path.is_dir():
            raise InvalidInputError(f"SMC(save_to={str(path)!r}) is a folder; name a file inside it.")
        if self._path.exists() and not self._path.is_file():
            raise InvalidInputError(f"SMC(save_to={str(path)!r}) is a device or a pipe; name a file.")
        _try_to_write(self._path)
        self._every = every
        self._program = program
        self._identity = _identity(program, key, options)
        self._num_moves = 0

    def moved(self, population: Population, particles: Sequence[Particle], plain: dict[str, Any]) -> None:
        """Takes note of a move, and writes the state where it is time to.

        Args:
            population: Its numbers.
            particles: All between two statements.
            plain: What else the run is made of: values that can be pickled.

        Raises:
            InvalidTypeError: A value cannot be pickled; the message names its site.
        """
        self._num_moves += 1
        if self._num_moves % self._every:
            return
        alive = population.alive
        saved = [_saved_particle(particle, here) for particle, here in zip(particles, alive, strict=True)]
        numbers = vars(population) | {"losses": population.plain_losses()}
        state = (numbers, saved, plain, self._num_moves)
        try:
            payload = pickle.dumps(state, protocol=5)
        except Exception as error:
            raise _unpicklable(saved, error) from error
        _write(self._path, _with_header(self._identity, payload))

    def restore(self, population: Population, particles: list[Particle]) -> dict[str, Any] | None:
        """Makes a run that has not begun what it was when the file was written.

        Args:
            population: Is given its numbers back.
            particles: Are replaced by particles that stand where they stood.

        Returns:
            `plain`, as `moved` was given it; None if there is no file.

        Raises:
            InvalidInputError: The file is damaged, or belongs to another run.
            ProgramNotDeterministic: The program took another path over the recorded values.
        """
        payload = self._read()
        if payload is None:
            return None
        try:
            numbers, saved, plain, num_moves = pickle.loads(payload)
        except Exception as error:
            raise InvalidInputError(
                f"The saved run in {str(self._path)!r} cannot be read: {type(error).__name__}: {error}. Was "
                f"a class of its values moved or renamed? {_START_ANEW}"
            ) from error
        alive = numbers["log_weights"] > -np.inf
        rebuilt: list[Particle] = []
        try:
            for particle, here in zip(saved, alive.tolist(), strict=True):
                rebuilt.append(self._rebuilt(particle, here))
        except BaseException as error:
            error.add_note(f"This happened while the run in {str(self._path)!r} was resumed. {_START_ANEW}")
            for particle in rebuilt:
                particle.close()
            raise
        particles[:] = rebuilt
        losses = defaultdict(lambda: defaultdict(int))
        for cause, sites in numbers.pop("losses").items():
            losses[cause].update(sites)
        vars(population).update(numbers, losses=losses)
        self._num_moves = num_moves
        return plain

    def finish(self) -> None:
        """Removes the file: the run has come to its end."""
        for path in (self._path, _unfinished(self._path)):
            with contextlib.suppress(OSError):
                path.unlink()

    def _rebuilt(self, saved: _SavedParticle, alive: bool) -> Particle:
        recording = Recording(list(saved.entries))
        particle = Particle(self._program, recording)
        if not alive and not saved.returned:
            particle.close()
            return particle
        particle.start()
        if saved.request is not None:
            recording.check_arrival(particle.request, saved.request)
        elif particle.request is not None:
            raise ProgramNotDeterministic(
                f"Run again over the same values, the program went on to {particle.request.name!r} "
                f"({particle.request.location}), where it had returned."
            )
        return particle

    def _read(self) -> bytes | None:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        found, _, rest = data.partition(b"\n")
        expected_digest, _, body = rest.partition(b"\n")
        if found != _FORMAT.encode():
            kind = found[:40].decode(errors="replace")
            raise InvalidInputError(
                f"{str(self._path)!r} is no saved run of this version of lmppl: it begins with {kind!r}, "
                f"expected {_FORMAT!r}. {_START_ANEW}"
            )
        if hashlib.sha256(body).hexdigest().encode() != expected_digest:
            raise InvalidInputError(
                f"The saved run in {str(self._path)!r} is damaged: its digest is wrong. {_START_ANEW}"
            )
        line, _, payload = body.partition(b"\n")
        self._check_identity(json.loads(line))
        return payload

    def _check_identity(self, found: dict[str, str]) -> None:
        differences = [
            f"its {name} is {found.get(name, 'unknown')}, not {self._identity.get(name, 'unknown')}"
            for name in {**found, **self._identity}
            if found.get(name) != self._identity.get(name)
        ]
        if differences:
            raise InvalidInputError(
                f"The file {str(self._path)!r} holds another run than this one: {'; '.join(differences)}. "
                f"{_START_ANEW}"
            )


def _identity(program: Callable[[], Any], key: Any, options: Mapping[str, str]) -> dict[str, str]:
    function = program
    arguments: list[Any] = []
    while isinstance(function, (functools.partial, Program)):
        if isinstance(function, functools.partial):
            arguments += [function.args, function.keywords]
            function = function.func
        else:
            function = function.function
    try:
        source = digest(inspect.getsource(function))
    except (OSError, TypeError):
        source = "unknown"
    return {
        "program": fingerprint(function),
        "source": source,
        "arguments": digest(arguments),
        "key": str(np.asarray(jax.random.key_data(key)).tolist()),
        **options,
        "lmppl": lmppl.__version__,
        "jax": jax.__version__,
        "numpyro": _version("numpyro"),
        "platform": jax.default_backend(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _saved_particle(particle: Particle, alive: bool) -> _SavedParticle:
    waits = alive and not particle.returned and particle.request is not None
    request = stand_in(particle.request) if waits and particle.request is not None else None
    entries = tuple(entry.portable for entry in particle.recording.entries)
    return _SavedParticle(entries, request, particle.returned)


def _unpicklable(saved: Sequence[_SavedParticle], error: Exception) -> InvalidTypeError:
    """Says which site's value it is."""
    for particle in saved:
        for entry in particle.entries:
            for value in (entry.value, entry.detail, getattr(entry.statement, "value", None)):
                try:
                    pickle.dumps(value, protocol=5)
                except Exception as reason:
                    return InvalidTypeError(
                        f"SMC(save_to=...) writes the values of all sites to a file, but that of "
                        f"{entry.statement.name!r} ({entry.statement.location}) is a {type(value).__name__} "
                        f"that cannot be pickled: {reason}. Let it be made of plain values, or leave save_to "
                        "away."
                    )
    return InvalidTypeError(f"SMC(save_to=...) cannot write the state of this run: {error}.")


def _with_header(identity: dict[str, str], payload: bytes) -> bytes:
    body = json.dumps(identity).encode() + b"\n" + payload
    return b"\n".join([_FORMAT.encode(), hashlib.sha256(body).hexdigest().encode(), body])


def _unfinished(path: Path) -> Path:
    return path.with_name(path.name + ".unfinished")


def _try_to_write(path: Path) -> None:
    """Raises before a run what would else be said at its first move."""
    unfinished = _unfinished(path)
    try:
        unfinished.write_bytes(b"")
        unfinished.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(
        f"SMC(save_to={str(path)!r}) cannot be written: {error.strerror}. Make room there, let no other run "
        "write to this file, or name another. If the file exists, the same call goes on from it."
    )


def _write(path: Path, data: bytes) -> None:
    """Replaces a file so that there is at any moment the old one or the new one, whole, on the disk."""
    try:
        with _unfinished(path).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _unfinished(path).replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            _unfinished(path).unlink()
        raise _unwritable(path, error) from error
    with contextlib.suppress(OSError):  # not every file system can do that to a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
