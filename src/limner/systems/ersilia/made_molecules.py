"""Molecules that are made up: chains, esters, amides, ethers and rings with tails, thousands of them, all different."""

from collections.abc import Iterator
from itertools import count, islice

#: Rings that carry one tail, and rings that carry two different ones.
_ONE_TAIL = ("c1ccccc1", "c1ccncc1", "c1cccs1", "C1CCCCC1", "C1CCNCC1", "C1CCOC1")
_TWO_TAILS = ("c1ccc({})cc1", "c1ccc({})s1", "C1CCC({})CC1")
#: What a tail may end with.
_ENDS = ("F", "Cl", "Br", "O", "N", "C#N", "C(=O)O")


def made_molecules(number: int) -> list[str]:
    """The first *number* molecules as SMILES; always the same ones, small ones first, no two alike."""
    return list(islice(_molecules(), number))


def _molecules() -> Iterator[str]:
    for size in count(1):
        chain = "C" * size
        yield chain
        yield from (f"{chain}{end}" for end in _ENDS)
        yield from (f"{chain}{ring}" for ring in _ONE_TAIL)
        for left in range(1, size):
            yield from _joined("C" * left, "C" * (size - left))


def _joined(left: str, right: str) -> Iterator[str]:
    """Molecules of two chains."""
    yield f"{left}C(=O)O{right}"
    yield f"{left}C(=O)N{right}"
    if len(left) >= len(right):
        yield f"{left}O{right}"
        yield f"{left}S{right}"
    yield from (f"{left}{ring.format('O' + right)}" for ring in _TWO_TAILS)
