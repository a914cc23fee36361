"""What every test runs under: strict JAX promotion, checked types and shapes, CPU."""

from __future__ import annotations

import functools
import gc
import math
import os
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# Read by JAX and by transformers when they are first imported, so set before either is.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("LMPPL_COMPILE_CACHE", str(ROOT / ".pytest_cache" / "compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Most programs run once or twice on a few numbers: to optimise them takes longer than they do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Nobody reads where in our code an operation of a compiled program comes from.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
# XLA's older code generator, in one piece a program, compiles a loop of tokens in half the time. Not where
# programs are compiled as users compile them, and not by another XLA: an unknown flag ends the process.
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and version("jaxlib").startswith("0.10."):
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    )

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jaxtyping  # noqa: E402
import numpyro.distributions as dist  # noqa: E402
import pytest  # noqa: E402
from beartype import BeartypeConf, beartype  # noqa: E402

from lmppl.compilation import make_room_for_programs, use_compile_cache  # noqa: E402
from lmppl.constraints import stored_compilations  # noqa: E402
from lmppl.constraints.protocol import Constraint, State  # noqa: E402

TEST_DATA = "LMPPL_TEST_DATA"

# The fuzz targets are scripts; what they compare with and search by serves other tests too.
sys.path.insert(0, str(ROOT / "tests" / "fuzzing"))

use_compile_cache()

hypothesis.settings.register_profile("untimed", deadline=None)  # a machine that does other work is no fault
hypothesis.settings.load_profile("untimed")

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

# The hook asks for a checker by its import path. An int is accepted for a float, as PEP 484 has it.
checker = types.ModuleType("lmppl_type_checker")
checker.check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # type: ignore[attr-defined]
sys.modules[checker.__name__] = checker
# It costs some 20 us a call, so only modules that compute with arrays are checked: the engine makes
# thousands of small Python calls a run and would be 20 times slower.
CHECKED = ["lmppl.models"]
CHECKED += [f"lmppl.inference.{module}" for module in ("awrs", "draws", "resampling", "weights")]
jaxtyping.install_import_hook(CHECKED, f"{checker.__name__}.check")


@pytest.fixture(scope="session", autouse=True)
def no_stored_compilations() -> Iterator[None]:
    """Keeps no compiled constraint between runs: that of a mutant would be found again."""
    before, stored_compilations.LEAST_SECONDS = stored_compilations.LEAST_SECONDS, math.inf
    yield
    stored_compilations.LEAST_SECONDS = before


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of recorded data that some tests compare with; without it they are skipped."""
    folder = os.environ.get(TEST_DATA)
    if not folder:
        pytest.skip(f"{TEST_DATA} is not set: it names the folder of recorded reference data")
    return Path(folder)


def pytest_collection_finish() -> None:
    """What has been imported stays: else each collection of garbage looks through all of it.

    Tracing makes many objects that live until it ends; to look for garbage among them all the time takes a
    seventh of the tests' time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def room_for_programs() -> Iterator[None]:
    """Tests that never call `lp.infer` compile programs too, and a process can hold only so many."""
    yield
    make_room_for_programs()


@dataclass(frozen=True)
class WithoutAutomaton(Constraint):
    """The same constraint, of which nobody sees the automaton."""

    inner: Constraint

    @property
    def viable_is_exact(self) -> bool:
        return self.inner.viable_is_exact

    def initial(self) -> State:
        return self.inner.initial()

    def advance(self, state: State, data: bytes) -> State | None:
        return self.inner.advance(state, data)

    def accepts(self, state: State) -> bool:
        return self.inner.accepts(state)

    def describe(self) -> str:
        return self.inner.describe()


@pytest.fixture(scope="session")
def without_automaton() -> Callable[[Constraint], Constraint]:
    """Hides a constraint's automaton, so that the host has to advance it and joins it by its general form."""
    return WithoutAutomaton


def lenient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Runs NumPyro's own code under JAX's usual promotion rules: only ours is held to the strict ones."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return function(*args, **kwargs)

    return wrapped


def relax_numpyro() -> None:
    """Wraps what a distribution computes with, in every class of `numpyro.distributions`."""
    methods = ("__init__", "log_prob", "sample", "cdf", "icdf", "enumerate_support", "mean", "variance")
    classes = {value for value in vars(dist).values() if isinstance(value, type)}
    for cls in {base for value in classes for base in value.__mro__ if base.__module__.startswith("numpyro")}:
        for name in methods:
            method = vars(cls).get(name)
            if callable(method):
                setattr(cls, name, lenient(method))


relax_numpyro()
