"""What is too large, or no pattern, as errors that name the place and the keyword in the schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lmppl.constraints.json_values.conditions import TooManyShapes
from lmppl.constraints.json_values.documents import Place, refusal
from lmppl.constraints.regular.character_automaton import TooLarge
from lmppl.errors import ConstraintError, UnsupportedSchema


@contextmanager
def refusing(place: Place, keyword: str) -> Iterator[None]:
    """Says where a schema is too large, or what is wrong with its pattern."""
    try:
        yield
    except (TooLarge, TooManyShapes) as error:
        reason = (
            "more alternatives come of it than are read side by side. Use fewer, or less nested ones."
            if isinstance(error, TooManyShapes)
            else "it needs too many states. Use smaller bounds, or fewer conditions on one value."
        )
        raise refusal(place, keyword, reason) from None
    except UnsupportedSchema:
        raise
    except ConstraintError as error:
        raise refusal(
            place, keyword, f"{str(error).rstrip('.')}. Change it, or test it in lp.check(complete=...)."
        ) from error
