"""From a URL to a search index; the only file that knows the backends' names."""

import re
from pathlib import Path

from limner.errors import ConfigurationError, MissingExtra
from limner.search.base import SearchIndex

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def connect_search(url: str, *, name: str) -> SearchIndex:
    """
    The index called *name* (``catalogue.images``) behind *url*: ``sqlite:FOLDER``.

    Raises:
        ConfigurationError: no backend speaks this URL, or the name cannot be that of a folder.
        MissingExtra: the backend's libraries are not installed.
    """
    scheme, _, rest = url.partition(":")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} cannot name an index; use letters, digits, dots, - and _.")
    if scheme == "sqlite":
        if not rest:
            raise ConfigurationError("The setting `index` names no folder; write for example sqlite:.limner/index")
        try:
            from limner.search.sqlite import SqliteSearch
        except ModuleNotFoundError as error:
            raise MissingExtra(extra="search", needs="Search") from error
        return SqliteSearch(Path(rest) / name)
    raise ConfigurationError(f"No search index speaks {scheme}: (setting `index`); known are: sqlite:FOLDER")
