"""Which tokens may come next at one place of a string: answers one by one, quickly where that can be."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.vocabularies.byte_steps import ByteSteps, Standing

MAX_REMEMBERED = 2_048  # answers of one place that is walked from

After = TypeVar("After")


class TokenAnswers(abc.ABC, Generic[After]):
    """The answers at one place of a string. All kinds answer alike; they differ in what it takes.

    Args:
        step: Gives what comes of the string with a token, or None if the token is not allowed.
    """

    def __init__(self, step: Callable[[int], After | None]):
        self._step = step

    @abc.abstractmethod
    def allows(self, token: int) -> bool:
        """Says whether a token may come next. May raise `CheckTimedOut`."""

    def after(self, token: int) -> After | None:
        """Gives what comes of the string with a token, or None if the token is not allowed."""
        return self._step(token)


class StepAnswers(TokenAnswers[After]):
    """Answers by asking a constraint about each token once; a check's timeout is an answer too."""

    def __init__(self, step: Callable[[int], After | None]):
        super().__init__(step)
        self._known: dict[int, After | CheckTimedOut | None] = {}

    def allows(self, token: int) -> bool:
        return self.after(token) is not None

    def after(self, token: int) -> After | None:
        if token not in self._known:
            try:
                self._known[token] = self._step(token)
            except CheckTimedOut as late:
                self._known[token] = late
        known = self._known[token]
        if isinstance(known, CheckTimedOut):
            raise known
        return known

    def learn(self, token: int, answer: After | CheckTimedOut | None) -> None:
        """Takes an answer that was found elsewhere."""
        self._known[token] = answer

    def knows(self, token: int) -> bool:
        """Says whether a token was asked about."""
        return token in self._known


class ClassAnswers(TokenAnswers[After]):
    """Answers by the class of a token: two look-ups each.

    Args:
        step: As for `TokenAnswers`.
        class_of: The class of each token.
        row: By class, whether it is allowed here.
    """

    def __init__(self, step: Callable[[int], After | None], class_of: Sequence[int], row: Sequence[bool]):
        super().__init__(step)
        self._class_of = class_of
        self._row = row

    def allows(self, token: int) -> bool:
        return self._row[self._class_of[token]]


class WalkedAnswers(TokenAnswers[After]):
    """Answers by walking a token's bytes through steps that are remembered; so are the answers.

    Args:
        step: As for `TokenAnswers`. Asked about tokens without bytes.
        steps: Of the constraint.
        standing: Where the text stands.
        token_bytes: The tokens.
        known: Answers of this place, taken up, and added to while there are few.
    """

    def __init__(
        self,
        step: Callable[[int], After | None],
        steps: ByteSteps,
        standing: Standing,
        token_bytes: Sequence[bytes],
        known: dict[int, bool],
    ):
        super().__init__(step)
        self._steps = steps
        self._standing = standing
        self._token_bytes = token_bytes
        self._known = known
        self._first = steps.next_bytes(standing)

    def allows(self, token: int) -> bool:
        known = self._known.get(token)
        if known is not None:
            return known
        data = self._token_bytes[token]
        if data:
            answer = data[0] in self._first and self._steps.is_viable(self._standing, data)
        else:
            answer = self._step(token) is not None
        if len(self._known) < MAX_REMEMBERED:
            self._known[token] = answer
        return answer


class StopAnswers(StepAnswers[After]):
    """Answers by others about tokens that can have nothing of a stop string in them, and by steps elsewhere.

    Args:
        step: As for `TokenAnswers`.
        stop_start: The stop's first byte.
        token_bytes: The tokens.
        others: The answers if there were no stop.
    """

    def __init__(
        self,
        step: Callable[[int], After | None],
        stop_start: bytes,
        token_bytes: Sequence[bytes],
        others: TokenAnswers[After],
    ):
        super().__init__(step)
        self._stop_start = stop_start
        self._token_bytes = token_bytes
        self._others = others

    def allows(self, token: int) -> bool:
        if self._stop_start in self._token_bytes[token]:
            return super().allows(token)
        return self._others.allows(token)
