"""The moves of an alias: what one is recorded as, and which version a roll-back returns to."""

from collections.abc import Iterable, Sequence

from limner.domain.models import ModelVersion
from limner.store.models import AliasMove, MoveKind

#: Aliases that Limner itself moves; others may be named freely.
CHAMPION = "champion"
CHALLENGER = "challenger"


def moved_on(
    version: ModelVersion, alias: str, *, old: int | None, at: float, by: str, reasons: Sequence[str]
) -> AliasMove:
    """A move to a version that was named; *reasons* are those against which it was forced."""
    return AliasMove(name=version.name, alias=alias, old=old, new=version.number, at=at, by=by, reasons=tuple(reasons))


def rolled_back(version: ModelVersion, alias: str, *, old: int, at: float, by: str) -> AliasMove:
    """A move back to the version before."""
    return AliasMove(
        name=version.name,
        alias=alias,
        old=old,
        new=version.number,
        kind=MoveKind.ROLLED_BACK,
        at=at,
        by=by,
        reasons=(),
    )


def before(moves: Iterable[AliasMove], *, alias: str) -> int | None:
    """
    The version that *alias* stood for before the present one; None where there is none.

    A roll-back undoes the promotion that it came from, so another one goes further back and never forth again.
    """
    path: list[int] = []
    for move in moves:
        if move.alias != alias:
            continue
        if move.kind is MoveKind.ROLLED_BACK:
            path.pop()
        else:
            path.append(move.new)
    return path[-2] if len(path) > 1 else None
