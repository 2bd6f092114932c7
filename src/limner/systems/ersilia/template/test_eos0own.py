"""A package is plain code: it is tested without Limner."""

import runpy
from pathlib import Path

CODE = Path(__file__).parent / "packages" / "eos0own" / "model" / "framework" / "code" / "main.py"
share = runpy.run_path(str(CODE))["share"]


def test_share_of_heteroatoms() -> None:
    """Methyl acetate has two oxygens among five heavy atoms; what is no molecule has no share."""
    assert share("CC(=O)OC") == 0.4
    assert share("C1CC") is None
