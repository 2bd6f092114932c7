"""How long most of something takes: the value below which a share of the values lies."""

from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which *share* of the *ordered* values lie; None of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None
