"""Which version of a model answers, and what it says of keys, in the order in which they were asked."""

from collections.abc import Sequence

from limner.errors import NotFound
from limner.systems.ersilia.nouns import Prediction
from limner.systems.ersilia.predictions.base import PredictionTable, Shelf


def shelf_of(
    table: PredictionTable, model: str, *, version: str | None = None, champion: str | None = None
) -> Shelf | None:
    """
    The version of *model* that answers: *version*, if one is named; else the newest of package *champion*.

    *champion* is the digest of the package that serves now; where none does, the newest complete version answers, or
    the newest. None where the table knows nothing of it.

    Raises:
        NotFound: *version* is named and not there; the sentence names those that are.
    """
    shelves = table.shelves(model)
    if version is not None:
        found = [shelf for shelf in shelves if shelf.release.version == version]
        if not found:
            known = ", ".join(shelf.release.version for shelf in shelves) or "none"
            raise NotFound(f"There are no predictions of {model} in version {version}; known are: {known}.")
        return found[-1]
    if champion is not None:
        shelves = [shelf for shelf in shelves if shelf.release.package == champion]
    # What is being filled gives way to what is full, so that a new environment answers once it can.
    best = [shelf for shelf in shelves if shelf.complete] or shelves
    return best[-1] if best else None


def look_up(table: PredictionTable, shelf: Shelf | None, keys: Sequence[str]) -> list[Prediction | None]:
    """What *shelf* says of *keys*, one to one; None where it says nothing. A key that is asked twice is read once."""
    if shelf is None or not keys:
        return [None] * len(keys)
    known = table.read(shelf.release.model, shelf.release.version, list(dict.fromkeys(keys)))
    return [known.get(key) for key in keys]
