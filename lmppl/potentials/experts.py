"""`lp.expert`: a language model as a potential, so that the product of two models can be sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, cast

from lmppl.constraints.combined.combinators import both
from lmppl.constraints.utf8_decoding import decodable_head
from lmppl.errors import InvalidInputError, InvalidTypeError
from lmppl.potentials.protocol import Potential
from lmppl.text import Text

if TYPE_CHECKING:
    from lmppl.constraints.protocol import Constraint
    from lmppl.language_model import LanguageModel

Role = Literal["prefix", "complete"]

LEAST_FORECAST = -50.0  # nats: what cannot be spelled so may yet be spelled by other tokens
_MOST_DROPPED = 32  # characters at the end that no token spells yet


def expert(text: Text, power: float = 1.0) -> Potential:
    """Gives a text distribution as a potential: `lm(p) & lp.expert(lm(q))` is the product of both.

    Over complete strings the mass of `x` is `p(x) q(x)**power`, not normalised: it counts in the evidence.
    `q(x)` is `text.log_prob(x)`: the probability of the string's canonical tokens after the expert's own
    prompt, its own end included. So the two models may read different vocabularies. Give both the same
    `stop`: a string in which the expert's stop occurs has no mass, and neither has one that is longer than
    its `max_tokens`.

    The forecast of a prefix is the probability of its canonical tokens without an end. In a sampler the
    expert reads each token once, all particles together.

    Args:
        text: `lm(prompt)`, of the same or of another model, with a constraint or not.
        power: Above 0: how much the expert's word counts. `1/T` is its distribution at temperature `T`
            as a whole, where `temperature=T` of a text changes each token by itself.

    Raises:
        InvalidTypeError: `text` is no text distribution, or `power` no number.
        InvalidInputError: `power` is not above 0 and finite.

    Reference:
        Hinton (2002), Training products of experts, Neural Computation 14(8).
    """
    if not isinstance(text, Text):
        raise InvalidTypeError(
            f"lp.expert expects a text distribution such as lm(prompt), got {type(text).__name__} "
            f"({str(text)[:60]!r})."
        )
    if isinstance(power, bool) or not isinstance(power, (int, float)):
        raise InvalidTypeError(f"lp.expert(power=...) expects a number, got {power!r}.")
    if not 0 < power < math.inf:
        raise InvalidInputError(
            f"lp.expert(power={power!r}) must be above 0 and finite. With a negative power a string that the "
            "expert excludes would have infinite mass."
        )
    return Expert(text, float(power))


@dataclass(frozen=True, repr=False)
class Expert(Potential):
    """A text distribution as a potential. Made by `expert`.

    Attributes:
        text: Whose log-probabilities count.
        power: What they are multiplied by.
    """

    text: Text
    power: float

    def prefix(self, data: bytes) -> float:
        """Gives the log-probability of the canonical tokens so far, times the power."""
        return self.prefix_batch([data])[0]

    def complete(self, data: bytes) -> float:
        """Gives the log-probability of the string, its end included, times the power."""
        return self.complete_batch([data])[0]

    def prefix_batch(self, data: Sequence[bytes]) -> list[float]:
        """Gives `prefix` of many, read together."""
        return expert_log_weights("prefix", [(self, one) for one in data])

    def complete_batch(self, data: Sequence[bytes]) -> list[float]:
        """Gives `complete` of many, read together."""
        return expert_log_weights("complete", [(self, one) for one in data])

    def describe(self) -> str:
        """Gives the distribution, and the power if it is not 1."""
        power = "" if self.power == 1.0 else f", power={self.power:g}"
        return f"expert({self.text!r}{power})"

    def support(self) -> Constraint | None:
        """Gives the constraints of the distribution."""
        given = [c for c in (*self.text.conditions, self.text.local_constraint) if c is not None]
        return reduce(both, given) if given else None

    def tokens_of(self, data: bytes) -> tuple[int, ...] | None:
        """Gives the canonical tokens of a prefix; None if no string that begins so has mass.

        Characters at the end are left out if only further ones make a token of them.
        """
        head = decodable_head(data)
        if head is None or (self.text.stop is not None and self.text.stop in head):
            return None
        tokens = _spelled(self.text.lm, head)
        needed = len(self.text.prompt_tokens) + len(tokens) + 1
        if needed > self.text.lm.context_length:
            raise InvalidInputError(
                f"{self.describe()} cannot read {needed} tokens: {self.text.lm.name!r} reads at most "
                f"{self.text.lm.context_length}. Set a smaller max_tokens on what is sampled."
            )
        return tokens

    def log_weight(self, role: Role, log_prob: float) -> float:
        """Gives what is said of a string with this log-probability, its end included if it is complete."""
        return self.power * (log_prob if role == "complete" else max(log_prob, LEAST_FORECAST))


def expert_log_weights(role: Role, asked: Sequence[tuple[Any, bytes]]) -> list[float]:
    """Asks experts about a string each; those of one language model share their passes.

    Args:
        role: Whether the strings are prefixes or complete.
        asked: Experts and strings.
    """
    from lmppl.scoring import text_log_probs, token_log_probs  # they score potentials themselves

    values = [-math.inf] * len(asked)
    experts = [cast(Expert, expert) for expert, _ in asked]
    if role == "prefix":
        tokens = [expert.tokens_of(data) for expert, (_, data) in zip(experts, asked, strict=True)]
        possible = [(at, one) for at, one in enumerate(tokens) if one is not None]
        scores = token_log_probs([experts[at].text for at, _ in possible], [one for _, one in possible])
        for (at, _), score in zip(possible, scores, strict=True):
            values[at] = experts[at].log_weight(role, float(score))
        return values
    texts = [_decoded(data) for _, data in asked]
    possible = [(at, text) for at, text in enumerate(texts) if text is not None]
    scores = text_log_probs([experts[at].text for at, _ in possible], [text for _, text in possible])
    for (at, _), score in zip(possible, scores, strict=True):
        values[at] = experts[at].log_weight(role, float(score))
    return values


def _spelled(lm: LanguageModel, head: str) -> tuple[int, ...]:
    for dropped in range(min(len(head), _MOST_DROPPED) + 1):
        try:
            return lm.encode(head[: len(head) - dropped])
        except InvalidInputError:
            continue
    return ()


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
