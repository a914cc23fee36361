"""Conditions on token sequences, where constraints are conditions on text."""

from __future__ import annotations

import abc
from collections.abc import Hashable
from typing import NamedTuple

from lmppl.language_model import Vocabulary

RuleState = Hashable


class TokenRule(abc.ABC):
    """A set of token sequences, asked one token at a time. States are immutable and hashable.

    Attributes:
        vocabulary: Whose ids it is asked about.
    """

    vocabulary: Vocabulary

    @property
    @abc.abstractmethod
    def viable_is_exact(self) -> bool:
        """True if `advance` gives a state exactly when some completion is allowed."""

    @abc.abstractmethod
    def initial(self) -> RuleState:
        """Gives the state of the empty sequence."""

    @abc.abstractmethod
    def advance(self, state: RuleState, token: int) -> RuleState | None:
        """Gives the state after a token that is no end, or None if nothing that starts so is allowed."""

    @abc.abstractmethod
    def accepts(self, state: RuleState) -> bool:
        """Says whether the sequence that led to `state` is allowed as a whole."""


class Place(NamedTuple):
    """A boundary between tokens where the text may turn out to have ended, before a stop string.

    Attributes:
        distance: Bytes from here to the end of what was said.
        state: Of the rule, over the tokens before; None where they are not allowed as text.
    """

    distance: int
    state: RuleState | None


def places_after(
    rule: TokenRule, places: tuple[Place, ...], token: int, size: int, held: int
) -> tuple[Place, ...] | None:
    """Moves over a token of `size` bytes; None if none of its places can be followed.

    Args:
        rule: Asked about the tokens as text.
        places: The boundaries before the token; the last is at distance 0.
        token: What is said.
        size: Its bytes.
        held: How many bytes at the end may be the beginning of a stop string.
    """
    now = places[-1].state
    further = Place(0, None if now is None else rule.advance(now, token))
    kept = [Place(place.distance + size, place.state) for place in places]
    stops = [place for place in kept if place.distance <= held and _may_end(rule, place)]
    if further.state is None and not stops:
        return None
    return (*stops, further)


def ends_at(rule: TokenRule, places: tuple[Place, ...], size: int, distance: int) -> bool:
    """Says whether, after a token of `size` bytes, the text may have ended `distance` bytes ago."""
    return any(place.distance + size == distance and _may_end(rule, place) for place in places)


def _may_end(rule: TokenRule, place: Place) -> bool:
    return place.state is not None and rule.accepts(place.state)
