"""What may be published of a prediction: its values with all that is no number taken out, or why it has none."""

import math

from msgspec import structs

from limner.systems.ersilia.columns import Cell
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction
from limner.systems.ersilia.reasons import Reason


def settled(prediction: Prediction, *, scheme: KeyScheme, strict: bool = False) -> Prediction:
    """
    *prediction* as it may be published: NaN and infinities are "no value", and where there is nothing else it failed.

    A prediction without a key of *scheme* failed too, and if *strict* one that lacks a single value.
    """
    values = prediction.values
    if values is None:
        return prediction
    if not scheme.fits(prediction.key):
        return _failed(prediction, Reason.BAD_KEY, f"The key {prediction.key[:60]!r} is no {scheme}.")
    if _finite(values):
        return prediction
    values = tuple(None if isinstance(value, float) and not math.isfinite(value) else value for value in values)
    if values.count(None) == len(values):
        return _failed(prediction, Reason.NO_OUTPUT, "The model gave no value in any column.")
    if strict and None in values:
        told = f"The model gave no value in {values.count(None)} of {len(values)} columns."
        return _failed(prediction, Reason.NO_OUTPUT, told)
    return structs.replace(prediction, values=values)


def _finite(values: tuple[Cell, ...]) -> bool:
    """Whether there are values, all of them finite numbers, by one fast sum; False leaves the question open."""
    try:
        return bool(values) and math.isfinite(sum(values))  # type: ignore[arg-type]  # what is no number is told by the exception
    except (TypeError, OverflowError):
        return False


def _failed(prediction: Prediction, reason: Reason, told: str) -> Prediction:
    failed = Failed(code=reason.code, reason=reason.value, message=f"{reason.value}: {told}")
    return structs.replace(prediction, values=None, failed=failed)
