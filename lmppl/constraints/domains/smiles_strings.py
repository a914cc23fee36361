"""`lp.smiles`: molecules as SMILES strings, by their syntax, valences and aromatic systems."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

from lmppl.constraints.functions.described_check import DescribedCheck
from lmppl.constraints.functions.python_check import Check
from lmppl.constraints.functions.remembered_answers import Answers, require_askable
from lmppl.constraints.protocol import Constraint
from lmppl.errors import MissingExtraError

_BRACKET_BEGUN = re.compile(
    r"\[(?:[1-9]\d{0,2}|)(?:[A-Za-z*][a-z]?|)(?:@{1,2}|)(?:H\d?|)(?:\+{1,15}|-{1,15}|[+-]\d{1,2}|)\Z"
)
_RING_BEGUN = re.compile(r"%\d?\Z")


def smiles(timeout: float | None = 5.0) -> Constraint:
    """Allows the SMILES strings of molecules, which neither partialsmiles nor RDKit finds fault with.

    The whole string must be read by partialsmiles, strictly (common valences, no branch at the end of a
    chain), and by RDKit, which also sanitises it. A prefix is judged by partialsmiles: what is there must
    follow the syntax, closed atoms must not have too many bonds, and closed aromatic systems must have a
    Kekulé structure. Viability is over-approximate. Each prefix is read from its beginning, so the cost of a
    string grows with the square of its length; strings of a hundred atoms are no matter.

    Args:
        timeout: Seconds for one answer, as for `lp.check`.

    Raises:
        MissingExtraError: partialsmiles or RDKit is not installed; both are the extra `smiles`.

    Reference:
        N. O'Boyle, partialsmiles, github.com/baoilleach/partialsmiles; RDKit, rdkit.org.
    """
    _partialsmiles()
    _rdkit()
    functions = {"prefix": Prefix(), "complete": Molecule()}
    require_askable("smiles()", functions, timeout)
    return DescribedCheck(Check(Answers("smiles()", functions, timeout)), "smiles()")


@dataclass(frozen=True)
class Prefix:
    """Whether a string can be the beginning of a molecule.

    An atom in brackets and a ring number of two digits are read when they are complete; before that they
    must only look like one. A final C or B may become Cl or Br.
    """

    def __call__(self, text: str) -> bool:
        bracket = text.rfind("[")
        if bracket > text.rfind("]"):
            return bool(_BRACKET_BEGUN.match(text, bracket)) and self(text[:bracket])
        ring = _RING_BEGUN.search(text)
        if ring:
            return self(text[: ring.start()])
        longer = {"C": "l", "B": "r"}.get(text[-1:])
        return _reads(text, partial=True) or (longer is not None and _reads(text + longer, partial=True))


@dataclass(frozen=True)
class Molecule:
    """Whether a string is one molecule or several, to both packages."""

    def __call__(self, text: str) -> bool:
        if not text or not text.isascii() or not _reads(text, partial=False):
            return False
        chemistry, base = _rdkit()
        with base.BlockLogs():
            return chemistry.MolFromSmiles(text) is not None


def _reads(text: str, *, partial: bool) -> bool:
    reader = _partialsmiles()
    try:
        reader.ParseSmiles(text, partial=partial)
    except reader.Error:
        return False
    except (IndexError, KeyError, ValueError, AttributeError):  # the reader itself stumbled
        return partial
    return True


@functools.cache
def _partialsmiles() -> Any:
    try:
        import partialsmiles
    except ImportError as error:
        raise _missing("partialsmiles") from error
    return partialsmiles


@functools.cache
def _rdkit() -> tuple[Any, Any]:
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise _missing("RDKit") from error
    return Chem, rdBase


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(f"lp.smiles() needs {package}. Install it by: pip install 'lmppl[smiles]'")
