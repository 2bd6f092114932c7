"""From a URL to the store."""

import hashlib
import re

from limner.store.store import Store


def connect_store(url: str) -> Store:
    """
    The store behind *url*: ``sqlite:///path/to/file``, ``sqlite://`` in memory, or ``postgresql://user@host/db``.

    Raises:
        ConfigurationError: the URL is not understood.
        StoreUnavailable: the database cannot be opened, or a newer Limner made it.
    """
    return Store(url)


def schema_of(url: str, project: str) -> str | None:
    """*url* with a schema of its own for *project*, on a database that has schemas; None on another."""
    if not url.startswith("postgresql"):
        return None
    plain = re.fullmatch(r"[a-z0-9_]{1,40}", project)
    name = f"limner_{project}" if plain else f"limner_{hashlib.sha256(project.encode()).hexdigest()[:24]}"
    return f"{url}{'&' if '?' in url else '?'}schema={name}"
