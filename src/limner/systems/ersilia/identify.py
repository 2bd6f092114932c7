"""Identifies molecules: canonical SMILES, InChIKey and number of heavy atoms, or why a text is none."""

from collections.abc import Callable
from typing import ClassVar, TypeAlias

from rdkit import Chem, rdBase
from rdkit.Chem import inchi

Identity: TypeAlias = dict[str, str | int | None]

#: Characters of a SMILES that a sentence shows.
_SHOWN = 60
_parsed: Callable[[str], Chem.Mol | None] = Chem.MolFromSmiles
_inchikey: Callable[[Chem.Mol], str | None] = inchi.MolToInchiKey


class NoMolecule(ValueError):
    """A text is no molecule."""

    # As in reasons.py, which an inferrer does not import: it knows nothing of the platform.
    code = "INPUT_INVALID"
    reason = "bad_smiles"

    def __init__(self, smiles: str) -> None:
        shown = smiles if len(smiles) <= _SHOWN else f"{smiles[: _SHOWN - 1]}…"
        super().__init__(f"{self.reason}: RDKit reads no molecule in {shown!r}.")


class Identify:
    """Parses SMILES with RDKit; one that cannot be parsed fails alone."""

    version = "1"
    environment: ClassVar[tuple[str, ...]] = ("rdkit",)

    def __init__(self) -> None:
        # What it would say of each bad molecule stands in that molecule's failure.
        rdBase.DisableLog("rdApp.*")

    def infer(self, smiles: list[str]) -> list[Identity | NoMolecule]:
        """``canonical``, ``inchikey`` (None where InChI knows none, as of wildcard atoms) and ``heavy_atoms``."""
        return [identity_of(text) for text in smiles]


def identity_of(smiles: str) -> Identity | NoMolecule:
    """The identity of one molecule."""
    found = _parsed(smiles)
    # RDKit makes a molecule without atoms of an empty text.
    if found is None or not found.GetNumAtoms():
        return NoMolecule(smiles)
    return {
        "canonical": Chem.MolToSmiles(found),
        "inchikey": _inchikey(found) or None,
        "heavy_atoms": found.GetNumHeavyAtoms(),
    }
