"""From a URL to a search index; the only file that knows the backends' names."""

import re
from importlib.util import find_spec
from pathlib import Path

from limner.errors import ConfigurationError, MissingExtra
from limner.search.base import SearchIndex

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def connect_search(url: str, *, name: str) -> SearchIndex:
    """
    The index called *name* (``catalogue.images``) behind *url*: ``sqlite:FOLDER``, ``postgresql://USER@HOST/DATABASE``.

    Raises:
        ConfigurationError: no backend speaks this URL, or the name cannot be that of a folder.
        MissingExtra: the backend's libraries are not installed.
    """
    scheme, _, rest = url.partition(":")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot name an index; use letters, digits, dots, - and _.")
    try:
        if scheme == "sqlite":
            return _sqlite(rest, name=name)
        if scheme == "postgresql":
            return _postgresql(url, name=name)
    except ModuleNotFoundError as error:
        raise MissingExtra(extra="search", needs="Search") from error
    known = "sqlite:FOLDER, postgresql://USER@HOST/DATABASE"
    raise ConfigurationError(f"No search index speaks {scheme}: (setting `index`); known are: {known}")


def is_shared(url: str) -> bool:
    """Whether the indexes behind *url* are the same for servers on several machines, which keep copies of vectors."""
    return url.startswith("postgresql:")


def _sqlite(folder: str, *, name: str) -> SearchIndex:
    if not folder:
        raise ConfigurationError("The setting `index` names no folder; write for example sqlite:.limner/index")
    from limner.search.sqlite import SqliteSearch

    return SqliteSearch(Path(folder) / name)


def _postgresql(url: str, *, name: str) -> SearchIndex:
    if find_spec("psycopg") is None:
        raise MissingExtra(extra="postgresql", needs="A search index on PostgreSQL")
    from limner.search.postgresql import PostgresqlSearch

    return PostgresqlSearch(url, name=name)
