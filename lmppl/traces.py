"""What one particle drew, in order, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmppl.errors import UnknownSiteError


@dataclass(frozen=True)
class TextRecord:
    """How a text site was drawn.

    Attributes:
        tokens: Ids, the ending one included.
        token_log_probs: Of each under the distribution that it was drawn from, nats.
        log_normalisers: Log of the mass that each step's conditions left, as estimated; nats.
    """

    tokens: tuple[int, ...]
    token_log_probs: tuple[float, ...]
    log_normalisers: tuple[float, ...]


class Trace(Mapping[str, Any]):
    """The latents and deterministic values of one run, by site name, in the order they were reached.

    Attributes:
        observed: Observed values, by site name.
        texts: How each text latent was drawn.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        observed: Mapping[str, Any] | None = None,
        texts: Mapping[str, TextRecord] | None = None,
    ):
        self._values = dict(values)
        self.observed = dict(observed or {})
        self.texts = dict(texts or {})

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            sites = ", ".join(repr(known) for known in self._values) or "none"
            raise UnknownSiteError(f"This trace has no site {name!r}. Its sites are: {sites}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trace):
            return NotImplemented
        return list(self) == list(other) and all(same(self[name], other[name]) for name in self)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Trace({', '.join(f'{name}={value!r}' for name, value in self.items())})"


def same(a: Any, b: Any) -> bool:
    """Says whether two values are equal, arrays included."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(np.asarray(a), np.asarray(b))
    return bool(a == b)
