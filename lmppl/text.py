"""A language model's distribution over complete strings: sampled, scored, conditioned, proposed from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from lmppl.constraints.combined.combinators import both
from lmppl.constraints.protocol import Constraint
from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.language_model import LanguageModel
from lmppl.potentials.products import factors_of
from lmppl.potentials.protocol import Potential

_COLDEST, _HOTTEST = 1e-30, 1e30  # logits are multiplied by its inverse, in float32


@dataclass(frozen=True)
class Chat:
    """A conversation; a language model renders it by its own template.

    Attributes:
        messages: Pairs of a role (`system`, `user`, `assistant`) and a text.
    """

    messages: tuple[tuple[str, str], ...]


def chat(*, system: str | None = None, user: str | None = None, assistant: str | None = None) -> Chat:
    """Gives a chat prompt, to be passed as `lm(lp.chat(user="..."))`.

    Args:
        system: Instructions that come first.
        user: What the user says.
        assistant: The beginning of the answer, if the model is to go on from there.
    """
    given = (("system", system), ("user", user), ("assistant", assistant))
    messages = tuple((role, text) for role, text in given if text is not None)
    if not messages:
        raise InvalidInputError("lp.chat() got no message; pass at least user='...'.")
    for role, text in messages:
        if not isinstance(text, str):
            raise InvalidTypeError(f"lp.chat({role}=...) expects a str, got {type(text).__name__}.")
    return Chat(messages)


@dataclass(frozen=True)
class Text:
    """The distribution over complete strings that follow a prompt; made by `lm(prompt)`.

    A string is tokens followed by EOS or by the stop string, which is not part of it but whose
    probability counts, so that over all strings the probabilities sum to 1. With `max_tokens=m`
    longer strings have no mass: the total is then P(at most m tokens before the end). `constraint`
    takes away the mass of all other strings. Neither renormalises: what is left is the evidence.
    `potentials` multiply what is left, each by the exponential of its log-weight of the whole string.

    `local_constraint` and `local_limit`, set by `lp.local`, renormalise at every token instead.
    """

    lm: LanguageModel
    prompt: str | Chat
    prompt_tokens: tuple[int, ...]
    max_tokens: int | None = None
    stop: str | None = None
    temperature: float = 1.0
    constraint: Constraint | None = None
    local_constraint: Constraint | None = None
    local_limit: bool = False
    potentials: tuple[Potential, ...] = ()

    @classmethod
    def of(
        cls,
        lm: LanguageModel,
        prompt: str | Chat,
        *,
        max_tokens: int | None,
        stop: str | None,
        temperature: float,
    ) -> Text:
        """Checks the arguments of `lm(prompt, ...)` and gives the distribution."""
        if not isinstance(prompt, (str, Chat)):
            raise InvalidTypeError(
                f"lm(prompt) expects a str or lp.chat(...), got {type(prompt).__name__} "
                f"({str(prompt)[:60]!r})."
            )
        if max_tokens is not None:
            if not isinstance(max_tokens, (int, np.integer)) or isinstance(max_tokens, bool):
                raise InvalidTypeError(f"max_tokens must be an int or None, got {max_tokens!r}.")
            max_tokens = int(max_tokens)
        if max_tokens is not None and max_tokens < 0:
            raise InvalidInputError(f"max_tokens must be at least 0, got {max_tokens}.")
        if stop is not None and not isinstance(stop, str):
            raise InvalidTypeError(
                f"stop must be one str or None, got {type(stop).__name__} ({str(stop)[:60]!r})."
            )
        if stop == "":
            raise InvalidInputError(
                "stop is the empty string, which would end every string at once; pass None or '\\n'."
            )
        if not isinstance(temperature, (int, float, np.number)) or isinstance(temperature, bool):
            raise InvalidTypeError(
                f"temperature must be a number, got {type(temperature).__name__} ({str(temperature)[:60]!r})."
            )
        if not _COLDEST <= temperature <= _HOTTEST:
            raise InvalidInputError(
                f"temperature must be a number from {_COLDEST:g} to {_HOTTEST:g}, got {temperature!r}. A "
                "greedy choice is no distribution; use a small number such as 0.01."
            )
        return cls(lm, prompt, _prompt_tokens(lm, prompt), max_tokens, stop, float(temperature))

    def __and__(self, other: Any) -> Text:
        """Conditions on a constraint, or multiplies by a potential; the mass counts in the evidence."""
        if not isinstance(other, Constraint | Potential):
            raise InvalidTypeError(
                "`lm(prompt) & ...` expects a constraint such as lp.regex('[a-z]+') or a potential such as "
                f"lp.expert(lm(prompt)), got {type(other).__name__} ({str(other)[:60]!r})."
            )
        potentials, constraint = factors_of(other)
        joined = _join(self.constraint, constraint)
        return replace(self, constraint=joined, potentials=(*self.potentials, *potentials))

    def log_prob(self, value: str) -> float:
        """Scores a complete string: nats, including its end; `-inf` outside the support.

        Constraints and potentials do not renormalise: with a potential this is the unnormalised log-mass.

        The string is scored by its canonical tokenisation after the prompt. Other tokenisations of the
        same string, which a sampler may draw, are not added. With `max_tokens` the canonical tokens are
        counted, so a string that a sampler ends early by a token with the stop in its middle may be too long.
        """
        from lmppl.scoring import text_log_probs  # scoring works on many texts at once

        if not isinstance(value, str):
            raise InvalidTypeError(
                f"log_prob scores a str, got {type(value).__name__} ({str(value)[:60]!r})."
            )
        return float(text_log_probs([self], [value])[0])

    @property
    def conditions(self) -> tuple[Constraint, ...]:
        """What a string with mass satisfies: the constraint, and what the potentials support."""
        given = (self.constraint, *(potential.support() for potential in self.potentials))
        return tuple(constraint for constraint in given if constraint is not None)

    @property
    def stop_bytes(self) -> bytes | None:
        """The stop string in UTF-8."""
        return None if self.stop is None else self.stop.encode()

    def describe(self) -> tuple[Any, ...]:
        """Gives a comparable value, equal for texts that a deterministic program makes twice."""
        constraints = tuple(
            None if c is None else c.describe()
            for c in (self.constraint, self.local_constraint, *self.potentials)
        )
        options = (self.max_tokens, self.stop, self.temperature, self.local_limit)
        return (id(self.lm), self.prompt_tokens, options, constraints)

    def __repr__(self) -> str:
        prompt = (
            self.prompt if isinstance(self.prompt, str) else f"<chat of {len(self.prompt.messages)} messages>"
        )
        shown = prompt if len(prompt) <= 40 else prompt[:37] + "..."
        options = [repr(shown)]
        options += [
            f"{n}={v!r}" for n, v in (("max_tokens", self.max_tokens), ("stop", self.stop)) if v is not None
        ]
        options += [f"temperature={self.temperature}"] if self.temperature != 1.0 else []
        text = f"lm({', '.join(options)})"
        if self.local_constraint is not None:
            text = f"local({text} & {self.local_constraint.describe()})"
        joined = [] if self.constraint is None else [self.constraint]
        return " & ".join([text, *(part.describe() for part in (*joined, *self.potentials))])


def local(text: Text) -> Text:
    """Renormalises a text distribution at every token: what masking samplers draw from.

    The result *is* the distribution: its weight is 0, and it differs from conditioning, because early
    tokens do not know how much mass the constraint leaves after them. `max_tokens` is treated alike:
    the end is forced at the limit and not charged.

    Args:
        text: `lm(prompt) & constraint`.

    Reference:
        Park et al. (2024), Grammar-Aligned Decoding, arXiv:2405.21047, on the difference.
    """
    if not isinstance(text, Text):
        raise InvalidTypeError(
            f"lp.local expects a text distribution `lm(prompt) & constraint`, got {text!r}."
        )
    if text.potentials:
        raise InvalidInputError(
            f"lp.local renormalises over constraints, and {text.potentials[0].describe()} is a potential. "
            "Put it outside: lp.local(lm(prompt) & constraint) & potential."
        )
    joined = (
        text.constraint if text.local_constraint is None else _join(text.local_constraint, text.constraint)
    )
    return replace(text, local_constraint=joined, constraint=None, local_limit=True)


def _join(first: Constraint | None, second: Constraint | None) -> Constraint | None:
    if first is None or second is None:
        return second if first is None else first
    return both(first, second)


_PROMPTS: WeakKeyDictionary[LanguageModel, dict[str | Chat, tuple[int, ...]]] = WeakKeyDictionary()


def _prompt_tokens(lm: LanguageModel, prompt: str | Chat) -> tuple[int, ...]:
    """Particles share most prompts, so a prompt is tokenised once."""
    known = _PROMPTS.setdefault(lm, {})
    tokens = known.get(prompt)
    if tokens is None:
        if len(known) >= 4096:
            known.clear()
        tokens = known[prompt] = tuple(lm.encode_prompt(prompt))
    return tokens
