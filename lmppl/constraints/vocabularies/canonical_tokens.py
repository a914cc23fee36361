"""`lp.canonical`: only the tokenisation that the tokenizer itself would give."""

from __future__ import annotations

from dataclasses import dataclass

from lmppl.constraints.protocol import Constraint, State
from lmppl.errors import ConstraintError, InvalidTypeError
from lmppl.language_model import LanguageModel
from lmppl.token_rules import TokenRule


def canonical(lm: LanguageModel) -> Constraint:
    """Allows only the canonical tokens of each text, those that `lm.encode(text)` gives.

    A sampler draws tokens, and most texts can be spelled by many token sequences; their masses are pooled.
    `log_prob` scores the canonical one. Under `lm(prompt) & lp.canonical(lm)` both are the same: the mass of
    a text is that of its canonical tokens, followed by its end. A stop string begins with a token of its own.

    This is a condition on tokens, so that it can be joined to a distribution by `&` and to nothing by
    `|`, `+`, `~` or `repeat`. A text that the tokenizer would change has no canonical tokens and is
    not allowed: one that is not in Unicode's form NFC, where the tokenizer normalises to it.

    Args:
        lm: The model that the distribution is made of.

    Raises:
        InvalidInputError: Prefixes cannot be judged for this kind of tokenizer; the message says why.
    """
    if not isinstance(lm, LanguageModel):
        raise InvalidTypeError(f"canonical() is given the language model, but got {lm!r}.")
    return Canonical(lm.canonical_rule(), lm.name)


@dataclass(frozen=True, repr=False)
class Canonical(Constraint):
    """The canonical token sequences. Made by `canonical`; `lmppl.acceptance` asks the rule.

    Attributes:
        rule: What is asked, token by token.
        name: Of the model.
    """

    rule: TokenRule
    name: str

    @property
    def viable_is_exact(self) -> bool:
        """Whether the rule is."""
        return self.rule.viable_is_exact

    def initial(self) -> State:
        """Gives the state of the empty string. Raises as `advance`."""
        raise self._no_text()

    def advance(self, state: State, data: bytes) -> State | None:
        """Raises: bytes do not say which tokens they came from.

        Raises:
            ConstraintError: Always.
        """
        raise self._no_text()

    def accepts(self, state: State) -> bool:
        """Raises as `advance`."""
        raise self._no_text()

    def describe(self) -> str:
        """Gives the call."""
        return f"canonical({self.name!r})"

    def _no_text(self) -> ConstraintError:
        return ConstraintError(
            f"{self.describe()} is a condition on tokens and cannot be asked about text, as a part of `|`, "
            "`+`, `~` or repeat() would be. Join it to a distribution by `&`: lm(prompt) & lp.canonical(lm)."
        )
