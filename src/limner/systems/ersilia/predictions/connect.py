"""From a URL to a prediction table; the only file that knows the kinds."""

from urllib.parse import parse_qsl, urlencode, urlsplit

from limner.clock import Clock
from limner.errors import ConfigurationError
from limner.settings import Project
from limner.systems.ersilia.predictions.base import PredictionTable

#: Not the store's own schema: a publisher that writes would hold up the engine there.
_BESIDE = "_predictions"
#: The longest name of a schema.
_NAME = 63


def connect_predictions(url: str, *, clock: Clock | None = None) -> PredictionTable:
    """
    The table behind *url*: ``sqlite:///path``, ``sqlite://`` in memory, or ``postgresql://user@host/db?schema=name``.

    Raises:
        ConfigurationError: the URL is not understood.
        StoreUnavailable: it cannot be opened.
    """
    kind = urlsplit(url).scheme
    if kind in ("sqlite", "postgresql"):
        from limner.systems.ersilia.predictions.sql import SqlPredictions

        return SqlPredictions(url, clock=clock)
    raise ConfigurationError(
        f"No prediction table speaks {kind}:; known are sqlite:///PATH and postgresql://USER@HOST/DATABASE."
    )


def predictions_url(project: Project) -> str:
    """
    Where *project* keeps its predictions: on the server of its store, in a schema beside the store's; else in the
    file ``predictions.db`` of its folder.
    """
    store = project.url(project.settings.store)
    if not store.startswith("postgresql"):
        return f"sqlite:///{project.home / 'predictions.db'}"
    parts = urlsplit(store)
    options = dict(parse_qsl(parts.query))
    schema = options.get("schema", "limner")[: _NAME - len(_BESIDE)] + _BESIDE
    return parts._replace(query=urlencode({**options, "schema": schema})).geturl()
