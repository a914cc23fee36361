"""Which tokens may come next, and which end a string: EOS, stop strings and constraints in one place."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce
from typing import Any

import numpy as np

from lmppl.constraints.asked_together import REFUSED, Ask, Asking, answered, answered_together
from lmppl.constraints.combined.combinators import both
from lmppl.constraints.functions.remembered_answers import CheckTimedOut
from lmppl.constraints.protocol import Constraint
from lmppl.constraints.vocabularies.byte_steps import Standing, steps_of
from lmppl.constraints.vocabularies.canonical_tokens import Canonical
from lmppl.constraints.vocabularies.vocabulary_mask import index_of
from lmppl.errors import ConstraintError, InvalidInputError
from lmppl.language_model import Vocabulary
from lmppl.token_answers import ClassAnswers, StepAnswers, StopAnswers, TokenAnswers, WalkedAnswers
from lmppl.token_rules import Place, TokenRule, ends_at, places_after


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a string stands.

    Attributes:
        state: The constraint's state over the bytes that are settled; None without a constraint.
        held: The longest tail that is a proper prefix of the stop string. It may yet turn out to be
            text, so the constraint has not been given it.
        ended: True once EOS or the stop string has come.
        places: For each rule on tokens, the boundaries where the text may have ended.
    """

    state: Any
    held: bytes
    ended: bool = False
    places: tuple[tuple[Place, ...], ...] = ()


class Acceptor:
    """Judges the tokens of a string that obeys one constraint and ends by EOS or a stop string.

    The string's text is what stands before the first occurrence of the stop. A token may contain the
    stop in its middle, and the stop may be spread over several tokens.
    """

    def __init__(self, vocabulary: Vocabulary, constraint: Constraint | None, stop: bytes | None):
        self.vocabulary = vocabulary
        self.constraint = constraint
        self.stop = stop
        self._rules, self._text = _apart(vocabulary, constraint)
        starts = tuple((Place(0, rule.initial()),) for rule in self._rules)
        self.initial = Cursor(None if self._text is None else self._text.initial(), b"", places=starts)
        self._eos = np.array(sorted(vocabulary.eos_ids), int)
        self.gains_from_lists = self._text is not None and self._text.gains_from_lists
        self._stop_start = stop[:1] if stop else None
        self._texts = vocabulary.texts
        self._is_walked = not self._rules and self._text is not None and self._text.revisits_states
        self._machine = self._text.automaton() if self._is_walked and self._text is not None else None
        self._known: OrderedDict[Standing, dict[int, bool]] = OrderedDict()
        self._masks: dict[Cursor, np.ndarray] = {}
        self._end_masks: dict[Cursor, np.ndarray] = {}

    @property
    def is_masked_fast(self) -> bool:
        """Whether its masks are exact, and cost about as much as a few hundred checks."""
        return self._is_walked and self.constraint is not None and self.constraint.viable_is_exact

    def step(self, cursor: Cursor, token: int) -> Cursor | None:
        """Gives the cursor after a token, or None if the token is not allowed. May raise `CheckTimedOut`."""
        if (data := self._texts[token]) and self._is_only_text(cursor, data):
            state = self._advance(cursor.state, data)
            if state is cursor.state:
                return cursor
            return None if state is REFUSED else Cursor(state, b"")
        return answered(self._step(cursor, token))

    def taken(self, cursor: Cursor, token: int) -> Cursor:
        """Gives the cursor after a token that was allowed. May raise `CheckTimedOut`.

        Raises:
            ConstraintError: The constraint refuses it now.
        """
        after = self.step(cursor, token)
        if after is None:
            said = "A constraint" if self.constraint is None else self.constraint.describe()
            raise ConstraintError(
                f"{said} refuses the token {self.vocabulary.token_bytes[token]!r}, which it had allowed: its "
                "mask() says something else than advance(), or its answers change. See "
                "lp.testing.check_constraint."
            )
        return after

    def _is_only_text(self, cursor: Cursor, data: bytes) -> bool:
        """Says whether a token concerns the constraint alone, since nothing of it can belong to a stop."""
        if self._rules:
            return False
        return self._stop_start is None or not (cursor.held or self._stop_start in data)

    def steps(self, cursors: Sequence[Cursor], tokens: Sequence[int]) -> list[Cursor | CheckTimedOut | None]:
        """Gives what `judged` does for each pair.

        A constraint that gains from it is asked about all of them together.
        """
        if self.gains_from_lists:
            assert self._text is not None
            pairs = zip(cursors, tokens, strict=True)
            return answered_together([self._step(*pair) for pair in pairs])
        return [self.judged(cursor, token) for cursor, token in zip(cursors, tokens, strict=True)]

    def judged(self, cursor: Cursor, token: int) -> Cursor | CheckTimedOut | None:
        """Gives what `step` does, a check's timeout as a value."""
        try:
            return self.step(cursor, token)
        except CheckTimedOut as late:
            return late

    def answers(self, cursor: Cursor) -> TokenAnswers[Cursor]:
        """Gives what `step` says of each token at one place, found in the way that takes the least.

        For an automaton, tokens are sorted into classes as soon as so many places were asked about that it
        pays (`vocabulary_mask`). What else revisits its states has single steps remembered.
        """
        step = partial(self.step, cursor)
        if not self._is_walked or cursor.held:
            return StepAnswers(step)
        found = self._quick_answers(cursor, step)
        if self._stop_start is None:
            return found
        return StopAnswers(step, self._stop_start, self._texts, found)

    def _quick_answers(self, cursor: Cursor, step: Callable[[int], Cursor | None]) -> TokenAnswers[Cursor]:
        """Gives the answers about tokens that concern the constraint alone, and about ends."""
        assert self._text is not None
        machine = self._machine
        classes = None if machine is None else index_of(self.vocabulary).classes_if_they_pay(machine)
        if classes is not None:
            row = classes.row(cursor.state, self._accepts(cursor.state))
            return ClassAnswers(step, classes.class_of, row)
        steps = steps_of(self._text)
        standing = steps.standing(cursor.state)
        return WalkedAnswers(step, steps, standing, self._texts, self._answered_before(standing))

    def prepare(self) -> None:
        """Sorts the tokens into classes now, if there is an automaton and that does not take too much."""
        if self._machine is not None:
            index_of(self.vocabulary).classes(self._machine)

    def _answered_before(self, standing: Standing) -> dict[int, bool]:
        known = self._known.get(standing)
        if known is None:
            known = self._known[standing] = {}
            if len(self._known) > _MAX_PLACES:
                self._known.popitem(last=False)
        return known

    def extend(self, cursor: Cursor, data: bytes) -> Cursor | None:
        """Gives the cursor after some bytes, or None if they are not allowed; asks no rules on tokens."""
        return answered(self._extended(cursor, data))

    def _step(self, cursor: Cursor, token: int) -> Asking[Cursor | None]:
        if token in self.vocabulary.eos_ids:
            (state,) = yield [Ask(self._text, cursor.state, cursor.held, ends=True)]
            return replace(cursor, ended=True) if state is not REFUSED and self._rules_end(cursor) else None
        data = self.vocabulary.token_bytes[token]
        after = (yield from self._extended(cursor, data)) if data else None
        return self._ruled(cursor, token, data, after) if after is not None and self._rules else after

    def _ruled(self, cursor: Cursor, token: int, data: bytes, after: Cursor) -> Cursor | None:
        """Gives the cursor with the rules' places after a token whose bytes are allowed."""
        moved = []
        for rule, places in zip(self._rules, cursor.places, strict=True):
            if after.ended:
                assert self.stop is not None
                window = cursor.held + data
                if not ends_at(rule, places, len(data), len(window) - window.find(self.stop)):
                    return None
            further = () if after.ended else places_after(rule, places, token, len(data), len(after.held))
            if further is None:
                return None
            moved.append(further)
        return replace(after, places=tuple(moved))

    def _extended(self, cursor: Cursor, data: bytes) -> Asking[Cursor | None]:
        if self.stop is None:
            (state,) = yield [Ask(self._text, cursor.state, data)]
            return None if state is REFUSED else Cursor(state, b"", places=cursor.places)
        window = cursor.held + data
        at = window.find(self.stop)
        if at >= 0:
            (state,) = yield [Ask(self._text, cursor.state, window[:at], ends=True)]
            return None if state is REFUSED else Cursor(state, b"", ended=True)
        cut = len(window) - _border(window, self.stop)
        held = window[cut:]
        (state,) = yield [Ask(self._text, cursor.state, window[:cut])]
        if state is REFUSED or (held and not (yield from self._viable(state, held))):
            return None
        return Cursor(state, held, places=cursor.places)

    def _viable(self, state: Any, held: bytes) -> Asking[bool]:
        """Either the held bytes are text, or some tail of them begins the stop."""
        assert self.stop is not None
        (after,) = yield [Ask(self._text, state, held)]
        if after is not REFUSED:
            return True
        for at in range(len(held)):
            if self.stop.startswith(held[at:]):
                (end,) = yield [Ask(self._text, state, held[:at], ends=True)]
                if end is not REFUSED:
                    return True
        return False

    def may_end(self, cursor: Cursor) -> bool:
        """Says whether EOS is allowed here."""
        state = self._advance(cursor.state, cursor.held)
        return state is not REFUSED and self._accepts(state) and self._rules_end(cursor)

    def _rules_end(self, cursor: Cursor) -> bool:
        return all(
            ends_at(rule, places, 0, 0) for rule, places in zip(self._rules, cursor.places, strict=True)
        )

    def mask(self, cursor: Cursor) -> np.ndarray:
        """Gives `Bool[vocab]`: True for the tokens for which `step` gives a cursor. Cached."""
        mask = self._masks.get(cursor)
        if mask is None:
            mask = _remember(self._masks, cursor, self._mask(cursor))
        return mask

    def end_mask(self, cursor: Cursor) -> np.ndarray:
        """Gives `Bool[vocab]`: True for the allowed tokens that end the string. Cached."""
        mask = self._end_masks.get(cursor)
        if mask is None:
            mask = np.zeros(len(self.vocabulary), bool)
            for token in self._touching(cursor.held):
                after = self.step(cursor, int(token))
                mask[token] = after is not None and after.ended
            mask[self._eos] = self.may_end(cursor)
            _remember(self._end_masks, cursor, mask)
        return mask

    def _mask(self, cursor: Cursor) -> np.ndarray:
        state = self._advance(cursor.state, cursor.held)
        if state is REFUSED:
            mask = np.zeros(len(self.vocabulary), bool)
        elif self._text is None:
            mask = np.array(self.vocabulary.possible)
        else:
            mask = np.array(index_of(self.vocabulary).mask(self._text, state))
        for token in np.flatnonzero(mask) if self._rules else ():
            mask[token] = self.step(cursor, int(token)) is not None
        for token in self._touching(cursor.held):
            mask[token] = self.step(cursor, int(token)) is not None
        mask[self._eos] = self.may_end(cursor)
        return mask

    def _touching(self, held: bytes) -> np.ndarray:
        """The tokens that meet the stop string after `held`: for all others, bytes are just text."""
        if self.stop is None:
            return np.zeros(0, int)
        return _tokens_that_meet(self.vocabulary, self.stop, held)

    def _advance(self, state: Any, data: bytes) -> Any:
        if self._text is None or not data:
            return state
        after = self._text.advance(state, data)
        return REFUSED if after is None else after

    def _accepts(self, state: Any) -> bool:
        return self._text is None or self._text.accepts(state)


@lru_cache(maxsize=128)
def acceptor(vocabulary: Vocabulary, constraint: Constraint | None, stop: bytes | None) -> Acceptor:
    """Gives the acceptor of a vocabulary, constraint and stop, shared by equal constraints."""
    return Acceptor(vocabulary, constraint, stop)


def _apart(
    vocabulary: Vocabulary, constraint: Constraint | None
) -> tuple[tuple[TokenRule, ...], Constraint | None]:
    """Gives the rules on tokens among the conjuncts, and the conjunction of the others."""
    parts = () if constraint is None else constraint.parts()
    rules = tuple(part for part in parts if isinstance(part, Canonical))
    for part in rules:
        if part.rule.vocabulary is not vocabulary:
            raise InvalidInputError(
                f"{part.describe()} knows another vocabulary than the model that it constrains. Give "
                "lp.canonical() the model that the distribution is made of."
            )
    texts = [part for part in parts if not isinstance(part, Canonical)]
    whole = constraint if not rules else reduce(both, texts) if texts else None
    return tuple(part.rule for part in rules), whole


_MAX_PLACES = 256  # with answers that are remembered
_MAX_MASK_BYTES = 64 * 2**20


def _remember(cache: dict[Cursor, np.ndarray], cursor: Cursor, mask: np.ndarray) -> np.ndarray:
    if len(cache) * len(mask) > _MAX_MASK_BYTES:
        cache.clear()
    cache[cursor] = mask
    return mask


@lru_cache(maxsize=256)
def _tokens_that_meet(vocabulary: Vocabulary, stop: bytes, held: bytes) -> np.ndarray:
    remainders = [stop[len(held) - at :] for at in range(len(held)) if stop.startswith(held[at:])]
    tokens = []
    for token, data in enumerate(vocabulary.token_bytes):
        if not data:
            continue
        crosses = any(data.startswith(rest) or rest.startswith(data) for rest in remainders)
        if crosses or stop in data or _border(data, stop):
            tokens.append(token)
    return np.array(tokens, int)


def _border(data: bytes, stop: bytes) -> int:
    """Length of the longest tail of `data` that is a proper prefix of `stop`."""
    for length in range(min(len(data), len(stop) - 1), 0, -1):
        if data.endswith(stop[:length]):
            return length
    return 0
