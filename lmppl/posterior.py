"""Weighted samples of a posterior and its evidence: what `lp.infer` gives back."""

from __future__ import annotations

import html
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lmppl.errors import InvalidInputError, InvalidTypeError, MissingExtraError, UnknownSiteError
from lmppl.traces import Trace

CAUSES = ("constraint unsatisfiable", "constrain false", "truncated", "check timed out", "undecodable")


@dataclass(frozen=True)
class NoAnswer:
    """Stands for the answer of a particle that did not return.

    Attributes:
        reason: `lost`, or `unfinished` if its run was interrupted.
    """

    reason: str

    def __repr__(self) -> str:
        return f"({self.reason})"


class Answers(Mapping[Any, float]):
    """Values and their probabilities, equal values pooled, the most probable first.

    Values need not be hashable: lists, dicts and arrays are pooled by what they contain.
    """

    def __init__(self, values: Sequence[Any], probabilities: np.ndarray):
        pooled: dict[Any, list[Any]] = {}
        for value, probability in zip(values, probabilities, strict=True):
            if probability > 0:
                pooled.setdefault(frozen(value), [value, 0.0])[1] += float(probability)
        order = sorted(pooled.items(), key=lambda item: -item[1][1])
        self._entries: dict[Any, list[Any]] = dict(order)

    def __getitem__(self, value: Any) -> float:
        return self._entries[frozen(value)][1]

    def __contains__(self, value: object) -> bool:
        return frozen(value) in self._entries

    def __iter__(self) -> Iterator[Any]:
        return (value for value, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def mean(self) -> Any:
        """Gives the expectation of values that are numbers or arrays.

        Raises:
            InvalidTypeError: A value is neither.
        """
        return _expectation(
            ((value, value, probability) for value, probability in self._entries.values()), "mean()"
        )

    def __repr__(self) -> str:
        shown = ", ".join(f"{value!r}: {probability:.4g}" for value, probability in list(self.items())[:10])
        return f"{{{shown}{', ...' if len(self) > 10 else ''}}}"


@dataclass(frozen=True, eq=False)
class Posterior:
    """Weighted samples of a program's posterior.

    Attributes:
        values: What each particle returned.
        traces: What each particle drew.
        log_weights: `Float64[particles]`, nats, unnormalised; `-inf` for a lost particle.
        log_evidence: Log of an unbiased estimate of the evidence (exact under `Enumerate`).
        log_evidence_error: Standard error of `log_evidence`, nats.
        losses: Cause -> site -> how many particles were lost there, over the whole run.
        diagnostics: What the method has to say about its run.
        partial: True if the run was interrupted.
        exact: True if nothing is estimated.
    """

    values: list[Any]
    traces: list[Trace]
    log_weights: np.ndarray
    log_evidence: float
    log_evidence_error: float = 0.0
    losses: dict[str, dict[str, int]] = field(default_factory=dict)
    diagnostics: Any = None
    method: str = ""
    partial: bool = False
    exact: bool = False

    @property
    def weights(self) -> np.ndarray:
        """`Float64[particles]`, normalised."""
        top = np.max(self.log_weights, initial=-np.inf)
        if top == -np.inf:
            return np.zeros(len(self.log_weights))
        weights = np.exp(self.log_weights - top)
        return weights / weights.sum()

    @property
    def effective_sample_size(self) -> float:
        """How many equally weighted particles the weights are worth."""
        total = float(np.sum(self.weights**2))
        return 1.0 / total if total else 0.0

    def answers(self) -> Answers:
        """Gives the returned values, pooled, with their probabilities, the most probable first."""
        return Answers(self.values, self.weights)

    def probability(self, value: Any) -> float:
        """Gives the probability that the program returns `value`.

        Args:
            value: An answer, or a function that says whether an answer counts.
        """
        if callable(value):
            return float(sum(w for v, w in zip(self.values, self.weights, strict=True) if w > 0 and value(v)))
        return self.answers().get(value, 0.0)

    def marginal(self, site: str) -> Answers:
        """Gives the values of one site, pooled, with their probabilities.

        Traces that do not reach the site are left out and the rest is renormalised.

        Raises:
            UnknownSiteError: No trace reaches the site.
        """
        reached = [
            (trace[site], w) for trace, w in zip(self.traces, self.weights, strict=True) if site in trace
        ]
        if not reached:
            if not isinstance(site, str):
                raise InvalidTypeError(
                    f"`marginal` takes the name of a site, got {type(site).__name__} ({site!r})."
                )
            known = list(dict.fromkeys(name for trace in self.traces for name in trace))
            raise UnknownSiteError(
                f"`marginal` names {site!r}, which no trace reaches. Its sites are: "
                f"{', '.join(map(repr, known)) or 'none'}.{_did_you_mean(site, known)}"
            )
        weights = np.array([w for _, w in reached])
        total = weights.sum()
        return Answers([value for value, _ in reached], weights / total if total else weights)

    def expect(self, fn: Callable[[Any], Any], *, site: str | None = None) -> Any:
        """Gives the posterior expectation of `fn(answer)`, or of `fn(value)` at a site.

        Args:
            fn: Gives a number or an array.
            site: Take the values of this site instead of the returned ones.

        Raises:
            InvalidTypeError: `fn` is no function, or gives neither a number nor an array.
        """
        if not callable(fn):
            raise InvalidTypeError(
                f"expect takes a function of the answer, got {type(fn).__name__} ({fn!r})."
            )
        pooled = self.answers() if site is None else self.marginal(site)
        found = ((fn(value), value, probability) for value, probability in pooled.items())
        total = _expectation(found, "the function of expect()")
        return float(total) if np.ndim(total) == 0 else total

    def top(self, k: int = 1) -> list[tuple[Any, float]]:
        """Gives the `k` most probable answers with their probabilities."""
        return list(self.answers().items())[: _count("top(k)", k)]

    def sample(self, key: Any, n: int) -> list[Any]:
        """Draws `n` answers with replacement, in proportion to their weights.

        Args:
            key: An int or a JAX key.
            n: How many.
        """
        import jax

        from lmppl.keys import run_key

        n = _count("sample(key, n)", n)
        positions = np.asarray(jax.random.uniform(run_key(key), (n,)), float)
        cumulative = np.cumsum(self.weights)
        if not len(cumulative) or cumulative[-1] == 0:
            raise InvalidInputError(
                "This posterior has no particle with weight, so there is nothing to sample."
            )
        chosen = np.searchsorted(cumulative, positions * cumulative[-1], side="right")
        return [self.values[i] for i in np.minimum(chosen, len(self.values) - 1)]

    def errors(self) -> dict[Any, float]:
        """Gives the standard error of each answer's probability, by `frozen` answer.

        That of self-normalised importance sampling, `sum w_i^2 (1{i} - p)^2`; resampling adds to it.
        """
        if self.exact:
            return {frozen(value): 0.0 for value in self.answers()}
        pooled: dict[Any, tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
        for value, weight in zip(self.values, self.weights.tolist(), strict=True):
            if weight > 0:
                key = frozen(value)
                probability, squares = pooled[key]
                pooled[key] = (probability + weight, squares + weight**2)
        total = sum(squares for _, squares in pooled.values())
        return {
            key: math.sqrt(squares * (1 - p) ** 2 + max(0.0, total - squares) * p**2)
            for key, (p, squares) in pooled.items()
        }

    def to_pandas(self) -> Any:
        """Gives a `pandas.DataFrame`: a row a particle, with its answer, weight and sites.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("to_pandas needs pandas: pip install 'lmppl[pandas]'") from error
        columns: dict[str, list[Any]] = {"answer": list(self.values)}
        columns["probability"] = self.weights.tolist()
        columns["log_weight"] = self.log_weights.tolist()
        for name in dict.fromkeys(name for trace in self.traces for name in trace):
            columns[name] = [trace.get(name) for trace in self.traces]
        frame = pandas.DataFrame(columns)
        frame.index.name = "particle"
        return frame

    def save(self, path: str | Path) -> None:
        """Writes the posterior to a file that `lp.load_posterior` reads; no code is stored in it.

        Raises:
            InvalidInputError: The file cannot be written.
            InvalidTypeError: An answer or a site holds a value that is no plain data.
        """
        from lmppl.storage import write_posterior

        write_posterior(self, Path(path))

    def viewer(self, path: str | Path) -> Path:
        """Writes one self-contained HTML page with the tables of the posterior.

        Raises:
            InvalidInputError: The file cannot be written.
        """
        from lmppl.storage import writing

        page = Path(path)
        text = f"<!doctype html><meta charset='utf-8'><title>Posterior</title>{self._repr_html_()}"
        with writing(page):
            page.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")  # of lone surrogates
        return page

    def __repr__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self, most: int = 10) -> list[str]:
        rows = self._rows(most)
        width = max([len("answer"), *(len(shown) for shown, _, _ in rows)])
        lines = [f"{'answer':<{width}}  probability    error"]
        lines += [
            f"{shown:<{width}}  {probability:11.3f}  {error:7.3f}" for shown, probability, error in rows
        ]
        rest = len(self.answers()) - len(rows)
        if rest > 0:
            lines.append(f"... and {rest} more")
        lines.append("")
        lines += [f"{name}: {value}" for name, value in self._summary()]
        return lines

    def _rows(self, most: int) -> list[tuple[str, float, float]]:
        errors = self.errors()
        return [(_shown(value), p, errors[frozen(value)]) for value, p in self.top(most)]

    def _summary(self) -> list[tuple[str, str]]:
        alive = int(np.sum(self.log_weights > -np.inf))
        if self.exact:
            rows = [("log evidence", f"{self.log_evidence:.3f} (exact)"), ("paths", str(len(self.values)))]
        else:
            size = f"{self.effective_sample_size:.1f} of {len(self.values)} particles, {alive} alive"
            rows = [
                ("log evidence", f"{self.log_evidence:.3f} +- {self.log_evidence_error:.3f}"),
                ("effective sample size", size),
                ("lost", describe_losses(self.losses) or "nothing"),
            ]
        if self.method:
            rows.insert(0, ("method", self.method))
        if self.partial:
            rows.append(("partial", "the run was interrupted; unfinished particles have no answer yet"))
        return rows

    def _repr_html_(self) -> str:
        bar = "<div style='background:#4c78a8;height:.7em;width:{:.1f}%'></div>"
        rows = "".join(
            f"<tr><td style='text-align:left'><code>{html.escape(shown)}</code></td>"
            f"<td>{probability:.3f}</td><td>&plusmn; {error:.3f}</td>"
            f"<td style='width:12em'>{bar.format(100 * probability)}</td></tr>"
            for shown, probability, error in self._rows(20)
        )
        summary = "".join(
            f"<tr><td style='text-align:left'>{html.escape(name)}</td>"
            f"<td style='text-align:left' colspan=3>{html.escape(value)}</td></tr>"
            for name, value in self._summary()
        )
        style = "font-family:sans-serif;border-collapse:separate;border-spacing:.8em .15em"
        head = "<th style='text-align:left'>answer</th><th>probability</th><th>error</th><th></th>"
        return (
            f"<table style='{style}'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody>"
            f"<tfoot style='color:#666'>{summary}</tfoot></table>"
        )


def load_posterior(path: str | Path) -> Posterior:
    """Reads a posterior that `Posterior.save` wrote.

    Raises:
        InvalidInputError: The file is missing, damaged, or no posterior.
    """
    from lmppl.storage import read_posterior

    return read_posterior(Path(path))


def _expectation(found: Iterable[tuple[Any, Any, float]], who: str) -> Any:
    """Sums numbers, each given with the value that it is of, and its probability."""
    total: Any = 0
    for number, value, probability in found:
        try:
            total = total + np.asarray(number, float) * probability
        except (TypeError, ValueError) as error:
            raise InvalidTypeError(
                f"{who} is of numbers or arrays of one shape, but of {_shown(value)} it is {number!r}, a "
                f"{type(number).__name__}. Give `expect` a function that makes a number of each."
            ) from error
    return total


def describe_losses(losses: Mapping[str, Mapping[str, int]]) -> str:
    """Gives one line on where particles were lost, the most frequent cause first."""
    flat = [(number, cause, site) for cause, sites in losses.items() for site, number in sites.items()]
    return ", ".join(
        f"{number} {cause} at {site!r}" for number, cause, site in sorted(flat, key=lambda r: -r[0])
    )


def _count(what: str, number: Any) -> int:
    try:
        count = operator.index(number)
    except TypeError:
        raise InvalidTypeError(f"{what} takes an int, got {type(number).__name__} ({number!r}).") from None
    if count < 0:
        raise InvalidInputError(f"{what} takes an int of 0 or more, got {number}.")
    return count


def frozen(value: Any) -> Any:
    """Gives a hashable stand-in that is equal for equal values, whatever they are made of."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isnan(value):
        return ("nan",)  # one NaN does not equal another
    if isinstance(value, (str, bytes, int, float, complex, type(None))):
        return value
    if isinstance(value, Mapping):
        return ("dict", frozenset((frozen(k), frozen(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *(frozen(item) for item in value))
    if isinstance(value, (set, frozenset)):
        return frozenset(frozen(item) for item in value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        array = np.asarray(value)
        if array.shape == ():
            return frozen(array.item())
        return ("array", array.shape, tuple(frozen(item) for item in array.ravel().tolist()))
    try:
        hash(value)
    except TypeError:
        return ("repr", type(value).__qualname__, repr(value))
    return value


def _shown(value: Any, longest: int = 60) -> str:
    if isinstance(value, (set, frozenset)):
        text = "{" + ", ".join(sorted(_shown(item) for item in value)) + "}" if value else "{}"
    elif isinstance(value, np.generic):
        text = str(value)
    else:
        text = value if isinstance(value, str) else repr(value)
    text = text.encode("unicode_escape").decode() if any(ord(c) < 32 for c in text) else text
    return text if len(text) <= longest else text[: longest - 3] + "..."


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
