"""What stands for statements and values outside of this process: texts that another process makes alike.

They hold no weights, no distributions and no addresses.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmppl.compilation import compiled
from lmppl.constraints.protocol import Constraint
from lmppl.distributions import is_numpyro
from lmppl.language_model import LanguageModel
from lmppl.potentials.protocol import Potential
from lmppl.programs import Program
from lmppl.sites import Constrain, Factor, Observe, Statement, Twist
from lmppl.text import Text

_FEW_BYTES = 2**20  # of weights: a table's are typed by hand and change between runs


@dataclass(frozen=True, eq=False, kw_only=True)
class SavedStatement(Statement):
    """Stands for a statement of another process.

    Attributes:
        kind: The class of the statement.
        digest: Equal for statements that a faithful replay makes twice, in any process.
        shown: Its distribution, for errors.
        value: What `weighed_by` gives of the statement.
    """

    kind: str
    digest: str
    shown: str
    value: Any = None

    def signature(self) -> tuple[Any, ...]:
        return (self.kind, self.name, self.digest)


def stand_in(statement: Statement) -> SavedStatement:
    """Gives what stands for a statement; a stand-in stands for itself."""
    if isinstance(statement, SavedStatement):
        return statement
    kind = type(statement).__name__
    parts = [getattr(statement, name, None) for name in ("distribution", "proposal")]
    return SavedStatement(
        name=statement.name,
        location=statement.location,
        kind=kind,
        digest=digest((kind, statement.name, parts)),
        shown=str(parts[0] or "")[:120],
        value=weighed_by(statement),
    )


def weighed_by(statement: Statement) -> Any:
    """Gives what a statement weighs a particle by, beside its distribution: data, condition or log-weight."""
    if isinstance(statement, (Observe, SavedStatement)):
        return statement.value
    if isinstance(statement, Constrain):
        return statement.condition
    return statement.log_weight if isinstance(statement, (Factor, Twist)) else None


def digest(value: Any) -> str:
    """Gives 64 bits, in hexadecimal digits, of what `fingerprint` says of a value."""
    return hashlib.sha256(fingerprint(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def fingerprint(value: Any) -> str:
    """Gives a text that is equal for equal values, in any process.

    Of a language model it holds the name, the vocabulary, and the weights where they are few; of a function
    its name, and of an object whose class it does not know the class.
    """
    if isinstance(value, (str, bytes, int, float, complex, type(None))):
        return repr(value)
    if isinstance(value, Mapping):
        items = sorted((fingerprint(key), fingerprint(item)) for key, item in value.items())
        return f"{{{', '.join(f'{key}: {item}' for key, item in items)}}}"
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(fingerprint, value)))}}}"
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(fingerprint, value))})"
    if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    if isinstance(value, (np.ndarray, np.generic, jax.Array)):
        array = np.asarray(value)
        data = hashlib.sha256(array.tobytes()).hexdigest() if array.dtype != object else ""
        return f"{array.dtype}{list(array.shape)} {data}"
    if isinstance(value, LanguageModel):
        return compiled(value, "fingerprint", lambda: _model(value))
    if isinstance(value, Constraint | Potential):
        return value.describe()
    if hasattr(value, "tree_flatten") and not isinstance(value, type):
        return f"{type(value).__qualname__}{fingerprint(_fields(value))}"
    if isinstance(value, functools.partial):
        return f"partial{fingerprint((value.func, value.args, value.keywords))}"
    if isinstance(value, Program):
        value = value.function
    named = value if isinstance(value, type) or hasattr(value, "__qualname__") else type(value)
    name = f"{getattr(named, '__module__', None)}.{named.__qualname__}"
    if isinstance(value, Text):
        fields = [field.name for field in dataclasses.fields(value) if field.name != "prompt"]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value)]
    else:
        return name
    return f"{name}({', '.join(f'{field}={fingerprint(getattr(value, field))}' for field in fields)})"


def _model(lm: LanguageModel) -> str:
    """Gives what tells a language model from another; it is asked for at each statement, so remember it."""
    pieces = (lm.vocabulary.token_bytes, sorted(lm.vocabulary.eos_ids))
    parts = hashlib.sha256(repr(pieces).encode())
    leaves = jax.tree.leaves(lm.params)
    here = all(getattr(leaf, "is_fully_addressable", True) for leaf in leaves)
    if here and sum(leaf.nbytes for leaf in leaves) <= _FEW_BYTES:
        for leaf in leaves:
            parts.update(np.asarray(leaf).tobytes())
    return f"<{type(lm).__qualname__} {lm.name!r}, {len(lm.vocabulary)} tokens, {parts.hexdigest()[:16]}>"


def _fields(value: Any) -> Any:
    """Gives what a NumPyro distribution, transform or constraint is made of.

    NumPyro orders a distribution's fields differently in each process, so they go by name.
    """
    parts = value.tree_flatten()
    if not is_numpyro(value):
        return parts
    names = (type(value).gather_pytree_data_fields(), type(value).gather_pytree_aux_fields())
    return [dict(zip(some, part, strict=True)) for some, part in zip(names, parts, strict=True)]
