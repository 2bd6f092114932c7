"""Folders whose files may be read because a command named them."""

from collections.abc import Iterable

from sqlalchemy import select

from limner.store.base import Noun
from limner.store.dialect import insert_missing
from limner.store.work_tables import roots


class Roots(Noun):
    """Named folders, within one transaction."""

    def add(self, paths: Iterable[str]) -> None:
        """Remember folders."""
        for path in paths:
            self.connection.execute(insert_missing(roots, key=("path",), connection=self.connection).values(path=path))

    def listing(self) -> list[str]:
        """All that were named."""
        return list(self.connection.execute(select(roots.c.path).order_by(roots.c.path)).scalars())
