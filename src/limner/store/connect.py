"""From a URL to the store."""

from limner.store.store import Store


def connect_store(url: str) -> Store:
    """
    The store behind *url*: ``sqlite:///path/to/file``, or ``sqlite://`` in memory.

    Raises:
        ConfigurationError: the URL is not understood.
        StoreUnavailable: the database cannot be opened, or a newer Limner made it.
    """
    return Store(url)
