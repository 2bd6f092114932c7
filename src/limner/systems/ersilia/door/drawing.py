"""Draws a molecule as SVG."""

from limner.errors import UsageError

#: Larger molecules take long, and nobody could read them.
_MOST_ATOMS = 300


def drawn(smiles: str, *, width: int = 320, height: int = 240) -> str:
    """
    The structure of a molecule, as SVG.

    Raises:
        UsageError: it is no molecule, or too large to be drawn.
    """
    from rdkit import Chem
    from rdkit.Chem.Draw import rdMolDraw2D

    found: Chem.Mol | None = Chem.MolFromSmiles(smiles)
    if found is None or not found.GetNumAtoms():
        raise UsageError(f"RDKit reads no molecule in {smiles[:60]!r}.")
    if found.GetNumAtoms() > _MOST_ATOMS:
        raise UsageError(f"A molecule of {found.GetNumAtoms()} atoms is not drawn; {_MOST_ATOMS} are the most.")
    canvas = rdMolDraw2D.MolDraw2DSVG(width, height)
    rdMolDraw2D.PrepareAndDrawMolecule(canvas, found)
    canvas.FinishDrawing()
    return str(canvas.GetDrawingText())
