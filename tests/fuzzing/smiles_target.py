"""`lp.smiles` against partialsmiles and RDKit: the same whole texts, and every prefix of one of them."""

from __future__ import annotations

from typing import Any

import partialsmiles
from drawn_bytes import Draws
from rdkit import Chem, rdBase
from viable_prefixes import stepped

from lmppl.constraints.domains.smiles_strings import smiles

MAX_BYTES = 40
ATOMS = (*("C",) * 9, "N", "N", "O", "O", "F", "Cl", "Br", "I", "S", "P", "B", "c", "n", "o", "s", "*")
BRACKETS = (
    *(
        "[nH]",
        "[NH3+]",
        "[O-]",
        "[C@H]",
        "[C@@H]",
        "[13CH4]",
        "[Na+]",
        "[Cl-]",
        "[se]",
        "[H]",
        "[Si]",
        "[2H]",
    ),
    *(
        "[N+]",
        "[OH-]",
        "[Fe+2]",
        "[Fe++]",
        "[n+]",
        "[C@]",
        "[SiH3]",
        "[238U]",
        "[*]",
        "[BH4-]",
        "[C:1]",
        "[cH-]",
    ),
)
BONDS = (*("",) * 24, "-", "=", "/", "=", "#", "-", ":", "/", "\\", ".", "$", "~")
RINGS = ("c1ccccc1", "C1CC1", "c1cc[nH]c1", "c1ccncc1", "C1CCCCC1", "c1ccc2ccccc2c1", "o1cccc1", "C%11CC%11")
GROUPS = (
    "C(=O)O",
    "C#N",
    "[N+](=O)[O-]",
    "S(=O)(=O)C",
    "OC",
    "C(F)(F)F",
    "P(=O)(O)O",
    "N=O",
    "C(=O)N",
    "F/C=C/F",
)
MARKS = ("1", "2", "1", "=1", "%10", "%11", "-2", "0")
SPOILERS = (
    *(
        "(",
        ")",
        "[",
        "]",
        "=",
        "#",
        "1",
        "2",
        "%",
        "%1",
        ".",
        "/",
        "C",
        "c",
        "N",
        "n",
        "H",
        "+",
        "-",
        "@",
        "l",
        "r",
    ),
    *("()", "(.C)", "[nH", "x", " ", "é", "[C", "3]", "++", "[CH5]", "Br", "[Xx]", ">", ":1]", "\n", "\0"),
)
SEEDS = tuple(bytes(step * place % 256 for place in range(MAX_BYTES)) for step in (1, 5, 17, 37, 71))


def drawn(data: bytes) -> tuple[str]:
    """Draws a string that looks like a molecule, and in a third of all cases spoils it."""
    draws = Draws(data)
    spoilt = draws.below(3)
    text = _chain(draws, 2, 1 + draws.below(5))
    if spoilt == 2:
        place = draws.below(256) % (len(text) + 1)
        text = text[:place] + draws.one_of(SPOILERS) + text[place + draws.below(2) :]
    return (text,)


def _chain(draws: Draws, depth: int, size: int) -> str:
    """Draws atoms and groups in a row, with branches, and ring numbers that may be closed."""
    parts = []
    for number in range(size):
        parts.append(draws.one_of(BONDS) if number else "")
        kind = draws.below(8)
        parts.append(draws.one_of((ATOMS, ATOMS, ATOMS, ATOMS, BRACKETS, RINGS, GROUPS, ATOMS)[kind]))
        if kind == 7 and depth:
            mark = draws.one_of(MARKS)
            parts += [mark, _chain(draws, depth - 1, 1 + draws.below(4)), "C", mark.strip("=-")]
        if depth and draws.below(5) == 1:
            parts.append(
                f"({draws.one_of(('', '=', '-', ''))}{_chain(draws, depth - 1, 1 + draws.below(2))})"
            )
    return "".join(parts)


def judged(text: str) -> str:
    """Compares a string with both packages, and asks for its prefixes if they read it."""
    constraint = smiles(timeout=None)
    data = text.encode()
    states = stepped(constraint, data)
    is_viable = len(states) > len(data)
    whole = is_molecule(text)
    assert (is_viable and constraint.accepts(states[-1])) == whole, (
        f"{text!r} is {'one' if whole else 'none'}"
    )
    for end, state in enumerate(states[: len(data)]):
        assert not constraint.accepts(state) or is_molecule(data[:end].decode()), text[:end]
    return "text" if whole else "no text"


def is_molecule(text: str) -> bool:
    """Says whether both packages read a string, and it is not empty."""
    reader: Any = partialsmiles
    if not text or not text.isascii():
        return False
    try:
        reader.ParseSmiles(text, partial=False)
    except (reader.Error, IndexError, KeyError, ValueError, AttributeError):
        return False
    with rdBase.BlockLogs():
        return Chem.MolFromSmiles(text) is not None
