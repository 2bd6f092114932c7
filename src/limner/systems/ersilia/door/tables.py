"""The prediction tables of a server's projects, and which version of a model each answers from."""

import threading
from collections.abc import Callable, Sequence

from limner.app.hosting import Host
from limner.systems.ersilia.door.looking_up import look_up, shelf_of
from limner.systems.ersilia.nouns import Prediction
from limner.systems.ersilia.pipeline import NAME, PREDICT
from limner.systems.ersilia.predictions.base import PredictionTable, Shelf
from limner.systems.ersilia.predictions.connect import connect_predictions, predictions_url


class Tables:
    """One prediction table for each project, opened when it is first asked."""

    def __init__(self) -> None:
        self._tables: dict[str, PredictionTable] = {}
        self._lock = threading.Lock()

    def of(self, host: Host) -> PredictionTable:
        """
        The table of a project.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        with self._lock:
            if host.name not in self._tables:
                self._tables[host.name] = connect_predictions(predictions_url(host.app.project), clock=host.clock)
            return self._tables[host.name]

    def shelf(self, host: Host, model: str, *, version: str | None = None) -> Shelf | None:
        """
        The version of *model* that answers, see :func:`shelf_of`; its champion is the registry's.

        Raises:
            NotFound: *version* is named and not there.
        """
        return shelf_of(self.of(host), model, version=version, champion=champion_of(host, model))

    def knows(self, host: Host, model: str) -> bool:
        """Whether there is such a model here: a package, a registered model, or predictions."""
        pipeline = host.pipelines.get(NAME)
        packaged = pipeline is not None and model in pipeline.stage(PREDICT).implementations
        return packaged or champion_of(host, model) is not None or bool(self.of(host).shelves(model))

    def models(self, host: Host) -> list[str]:
        """Every model that there is here."""
        pipeline = host.pipelines.get(NAME)
        packaged = [] if pipeline is None else pipeline.stage(PREDICT).implementations
        return sorted({*packaged, *(shelf.release.model for shelf in self.of(host).shelves())})

    def look(self, host: Host) -> Callable[[str, Sequence[str]], list[Prediction | None]]:
        """What looks keys of a model up in a project."""
        return lambda model, keys: look_up(self.of(host), self.shelf(host, model), keys)

    def close(self) -> None:
        """Let go of every table."""
        with self._lock:
            tables, self._tables = list(self._tables.values()), {}
        for table in tables:
            table.close()


def champion_of(host: Host, model: str) -> str | None:
    """The digest of the package that serves as *model*; None where none is registered."""
    # What stands behind an @ would name another version of it.
    found = None if "@" in model else host.app.registry.champion(model)
    return None if found is None else found.sha256
