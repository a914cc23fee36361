"""`lp.smiles` on recorded molecules: all are allowed, with every prefix; what is none is refused."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

import lmppl as lp
from lmppl.constraints.domains import smiles_strings
from lmppl.constraints.domains.smiles_strings import Molecule, Prefix
from lmppl.errors import MissingExtraError
from lmppl.testing import check_constraint

pytest.importorskip("partialsmiles", reason="partialsmiles is part of the extra `smiles`")
pytest.importorskip("rdkit", reason="RDKit is part of the extra `smiles`")

MADE = [
    "[Al+3].[Cl-]",
    "C[C@@H](N)C(=O)O",
    "c1cc[nH]c1",
    "[13CH4]",
    "C%11CC%11",
    "F/C=C/F",
    "O=Cl(=O)(=O)O",
    "CBr",
]


def recorded(test_data: Path) -> list[str]:
    """Gives the 30 of GDB-17 and the others in a drawn order."""
    first = (test_data / "gdb17_sample" / "GDB17_sample.txt").read_text().split()
    others = (test_data / "smiles" / "2019PubChemQC_can_nocharge.smi").read_text().split()
    random.Random(0).shuffle(others)
    return first + others


def refused_prefixes(text: str) -> list[str]:
    prefix = Prefix()
    return [text[:cut] for cut in range(len(text) + 1) if not prefix(text[:cut])]


@pytest.mark.parametrize("text", MADE)
def test_every_prefix_of_a_molecule_is_viable(text: str):
    assert Molecule()(text)
    assert refused_prefixes(text) == []


def test_recorded_molecules_are_allowed_with_every_prefix(test_data: Path):
    for text in recorded(test_data)[:400]:
        assert Molecule()(text), text
        assert refused_prefixes(text) == [], text


@pytest.mark.slow
def test_all_recorded_molecules_are_allowed_with_every_prefix(test_data: Path):
    texts = recorded(test_data)
    assert len(texts) > 9_900
    assert [text for text in texts if not Molecule()(text) or refused_prefixes(text)] == []


def test_no_prefix_of_a_changed_molecule_that_is_still_one_is_refused(test_data: Path):
    rng = random.Random(1)
    letters = [*"CNOFSPcnos()=#123[]+-.@H", "[nH]", "[O-]", "[N+]", "Cl", "Br", "%10"]
    molecules = 0
    for text in recorded(test_data)[:300] * 3:
        at = rng.randrange(len(text))
        changed = text[:at] + rng.choice(letters) + text[at + rng.randint(0, 1) :]
        if Molecule()(changed):
            molecules += 1
            assert refused_prefixes(changed) == [], changed
    assert molecules > 100


def test_without_the_care_for_unfinished_atoms_prefixes_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Prefix, "__call__", lambda self, text: smiles_strings._reads(text, partial=True))
    assert any(refused_prefixes(text) for text in MADE)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("C(C)(C)(C)(C)C", "C(C)(C)(C)(C)C"),
        ("C)C", "C)"),
        ("C==C", "C=="),
        ("FF=C", "FF="),
        ("[Xx]", "[Xx]"),
        ("Cx", "Cx"),
        ("c1cccc1C", "c1cccc1C"),
    ],
)
def test_what_no_molecule_continues_is_refused_early(text: str, refused: str):
    assert not Molecule()(text)
    assert refused_prefixes(text)[:1] == [refused] or len(refused_prefixes(text)[0]) <= len(refused)


def test_the_laws_hold():
    check_constraint(lp.smiles(), ["c1ccccc1O", "C[C@H](N)O", "CBr", "C(C", "x"])
    assert lp.smiles() == lp.smiles()
    assert not lp.smiles().viable_is_exact


@pytest.mark.parametrize("text", ["", "C1CC", "C.", "é"])
def test_what_is_no_molecule_is_not_accepted(text: str):
    assert not Molecule()(text)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "partialsmiles", None)
    smiles_strings._partialsmiles.cache_clear()
    with pytest.raises(MissingExtraError, match=r"lmppl\[smiles\]"):
        lp.smiles()
    monkeypatch.undo()
    smiles_strings._partialsmiles.cache_clear()
