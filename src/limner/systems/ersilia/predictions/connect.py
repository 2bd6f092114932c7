"""From a URL to a prediction table, or to another place of predictions; the only file that knows the kinds."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from limner.clock import Clock
from limner.errors import ConfigurationError, MissingExtra
from limner.settings import Project
from limner.systems.ersilia.predictions.base import PredictionTable

if TYPE_CHECKING:
    from limner.systems.ersilia.predictions.cursor import Cursor
    from limner.systems.ersilia.predictions.files import Files
    from limner.systems.ersilia.predictions.places import Place
    from limner.systems.ersilia.predictions.sql import SqlPredictions

#: Not the store's own schema: a publisher that writes would hold up the engine there.
_BESIDE = "_predictions"
#: The longest name of a schema.
_NAME = 63


def connect_predictions(url: str, *, clock: Clock | None = None) -> PredictionTable:
    """
    The table behind *url*: ``sqlite:///path``, ``sqlite://`` in memory, ``postgresql://user@host/db?schema=name``, or
    ``dynamodb://table?region=…&endpoint_url=…``.

    Raises:
        ConfigurationError: the URL is not understood.
        StoreUnavailable: it cannot be opened.
    """
    kind = urlsplit(url).scheme
    if kind in ("sqlite", "postgresql"):
        return connect_own(url, clock=clock)
    if kind == "dynamodb":
        if find_spec("boto3") is None:
            raise MissingExtra(extra="ersilia", needs="A prediction table in DynamoDB")
        from limner.systems.ersilia.predictions.dynamodb import open_dynamodb

        return open_dynamodb(url, clock=clock)
    raise ConfigurationError(
        f"No prediction table speaks {kind}:; known are sqlite:///PATH, postgresql://USER@HOST/DATABASE and "
        "dynamodb://TABLE."
    )


def connect_own(url: str, *, clock: Clock | None = None) -> "SqlPredictions":
    """The project's own table behind *url*, which also notes what was published where."""
    from limner.systems.ersilia.predictions.sql import SqlPredictions

    return SqlPredictions(url, clock=clock)


def connect_files(url: str) -> "Files":
    """
    The files behind *url*: a path, ``file:///folder``, or ``s3://bucket/prefix``.

    Raises:
        ConfigurationError: the address is not understood.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        from limner.systems.ersilia.predictions.bucket import Bucket

        return Bucket(url)
    if "://" in url and parts.scheme != "file":
        raise ConfigurationError(
            f"Predictions do not go to {url}; known are folders, s3://BUCKET/PREFIX and dynamodb://TABLE."
        )
    from limner.systems.ersilia.predictions.files import Folder

    return Folder(Path(unquote(parts.path) if parts.scheme == "file" else url))


def connect_place(url: str, *, cursor: "Cursor", clock: Clock | None = None) -> "Place":
    """
    The place behind *url*: ``dynamodb://table``, or files as :func:`connect_files` knows them.

    Raises:
        ConfigurationError: the address is not understood.
    """
    if urlsplit(url).scheme == "dynamodb":
        from limner.systems.ersilia.predictions.table_place import TablePlace

        return TablePlace(connect_predictions(url, clock=clock))
    from limner.systems.ersilia.predictions.files_place import FilesPlace

    return FilesPlace(connect_files(url), cursor=cursor)


def is_far(url: str) -> bool:
    """Whether who writes to the place behind *url* waits for a network most of the time."""
    return urlsplit(url).scheme in ("s3", "dynamodb")


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
