"""Records by their ids and what is known of them: few statements, compiled once, for what is asked all the time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import Select, bindparam, literal_column, select

from limner.domain.tasks import Status
from limner.store.base import Noun
from limner.store.work_tables import nodes, records, results

#: Id, key, parent, revision, source version and encoded fields.
FoundRecord: TypeAlias = tuple[str, int, int | None, str | None, int | None, bytes]
#: Record, node, version, digest of what was read, and encoded value.
FoundResult: TypeAlias = tuple[int, int, int, bytes, bytes]
#: How many values one statement takes: what is asked for is filled up to the next of these, so few texts serve all.
_WIDTHS = (1, 4, 16, 64, 256, 900)


class LookUps(Noun):
    """Records and results by key, within one transaction."""

    def nodes(self) -> list[tuple[int, int | None, int]]:
        """Key, active version and whether it is retired of every node: while these stay, so does what is looked up."""
        return self._read(
            "look up nodes", lambda: select(nodes.c.pk, nodes.c.active, nodes.c.retired).order_by(nodes.c.pk), (), ()
        )

    def records(self, collection: int, ids: Sequence[str]) -> list[FoundRecord]:
        """The records with these ids that are stored, in any order."""
        found: list[FoundRecord] = []
        for width, chunk in _filled(ids):

            def make(width: int = width) -> "Select[Any]":
                columns = ("id", "pk", "parent", "revision", "source_version", "fields")
                return select(*(records.c[name] for name in columns)).where(
                    records.c.collection == bindparam("collection"), records.c.id.in_(_slots("id", width))
                )

            names = ("collection", *_names("id", width))
            found += self._read(f"look up {width} records", make, names, (collection, *chunk))
        return found

    def parents(self, keys: Sequence[int]) -> Mapping[int, tuple[int, str]]:
        """Collection and id of the records with these keys."""
        found: dict[int, tuple[int, str]] = {}
        for width, chunk in _filled(keys):

            def make(width: int = width) -> "Select[Any]":
                columns = (records.c.pk, records.c.collection, records.c.id)
                return select(*columns).where(records.c.pk.in_(_slots("key", width)))

            for key, collection, identity in self._read(
                f"look up {width} parents", make, _names("key", width), tuple(chunk)
            ):
                found[key] = (collection, identity)
        return found

    def results(self, keys: Sequence[int], *, versions: Sequence[int]) -> list[FoundResult]:
        """What these *versions* said of these records, where it is done, in any order."""
        found: list[FoundResult] = []
        if not versions:
            return found
        ((many, wanted),) = _filled(versions)
        for width, chunk in _filled(keys):

            def make(width: int = width) -> "Select[Any]":
                columns = (results.c.record, results.c.node, results.c.version, results.c.read, results.c.value)
                return select(*columns).where(
                    results.c.record.in_(_slots("key", width)),
                    results.c.version.in_(_slots("version", many)),
                    results.c.status == literal_column(str(Status.DONE.value)),
                )

            names = _names("key", width) + _names("version", many)
            found += self._read(f"look up {width} results of {many}", make, names, (*chunk, *wanted))
        return found

    def _read(
        self, name: str, make: "Callable[[], Select[Any]]", columns: tuple[str, ...], row: tuple[Any, ...]
    ) -> list[Any]:
        return self._statements.read(self.connection, name, make, columns=columns, row=row)


def _filled(values: Sequence[Any]) -> Iterator[tuple[int, Sequence[Any]]]:
    """*values* in runs that have one of the widths each, filled up with their last one."""
    for start in range(0, len(values), _WIDTHS[-1]):
        chunk = values[start : start + _WIDTHS[-1]]
        width = next(one for one in _WIDTHS if one >= len(chunk))
        yield width, [*chunk, *[chunk[-1]] * (width - len(chunk))]


@cache
def _names(name: str, width: int) -> tuple[str, ...]:
    return tuple(f"{name}{number}" for number in range(width))


def _slots(name: str, width: int) -> list[Any]:
    return [bindparam(one) for one in _names(name, width)]
