"""The ledger: one byte for what became of each record of a job or a standing pipeline; counts exact in every read."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import func, insert, literal, select, update

from limner.domain.jobs import Counts, Fate
from limner.domain.packing import pack, unpack
from limner.store.base import Noun
from limner.store.work_tables import ledger

#: Records in one row.
PART = 2048
_FATES = tuple(Fate)
_COUNTS = ("open", "done", "failed", "skipped", "cancelled")


def standing(pipeline: str) -> str:
    """The ledger's owner for everything that a standing pipeline wants."""
    return f"standing:{pipeline}"


class Ledger(Noun):
    """Fates of records, within one transaction."""

    def enter(self, owner: str, fates: Mapping[int, Fate]) -> None:
        """Append records with their fates; the caller sees to it that none is there already."""
        keys = sorted(fates)
        if not keys:
            return
        part = self.connection.execute(
            select(func.coalesce(func.max(ledger.c.part), -1) + 1).where(ledger.c.owner == owner)
        ).scalar_one()
        part = self._fill_last(owner, part - 1, keys, fates) if part else 0
        rows = []
        for start in range(0, len(keys), PART):
            chunk = keys[start : start + PART]
            packed = bytes(fates[key] for key in chunk)
            rows.append((owner, part, chunk[0], chunk[-1], pack(chunk), packed, *_count(packed)))
            part += 1
        columns = ("owner", "part", "first", "last", "records", "fates", *_COUNTS)
        self.insert_all("enter ledger", lambda: insert(ledger), columns=columns, rows=rows)

    def _fill_last(self, owner: str, part: int, keys: list[int], fates: Mapping[int, Fate]) -> int:
        """Put what fits into the last part, if the keys follow on it; takes it out of *keys*; the next free part."""
        row = self.connection.execute(
            select(ledger.c.last, ledger.c.records, ledger.c.fates).where(
                ledger.c.owner == owner, ledger.c.part == part
            )
        ).one()
        room = PART - len(row.fates)
        if room > 0 and keys[0] > row.last:
            taken, keys[:] = keys[:room], keys[room:]
            packed = row.fates + bytes(fates[key] for key in taken)
            values = dict(zip(_COUNTS, _count(packed), strict=True))
            self.connection.execute(
                update(ledger)
                .where(ledger.c.owner == owner, ledger.c.part == part)
                .values(last=taken[-1], records=row.records + pack(taken), fates=packed, **values)
            )
        return part + 1

    def settle(self, owner: str, fates: Mapping[int, Fate], *, only_open: bool = False) -> None:
        """
        Write fates of those records that the owner holds.

        With *only_open* a record that has ended keeps its fate: the progress of a job never falls.
        """
        if not fates:
            return
        keys = sorted(fates)
        rows = []
        for part, records, packed in self._parts(owner, keys[0], keys[-1]):
            held = unpack(records)
            now = bytearray(packed)
            dense = held[-1] - held[0] + 1 == len(held)
            for key in keys[bisect_left(keys, held[0]) : bisect_right(keys, held[-1])]:
                place = key - held[0] if dense else bisect_left(held, key)
                if held[place] == key and not (only_open and now[place]):
                    now[place] = fates[key]
            if now != packed:
                rows.append((bytes(now), *_count(bytes(now)), owner, part))
        self.update_all(
            "settle ledger",
            lambda given: (
                update(ledger)
                .where(ledger.c.owner == given("own"), ledger.c.part == given("number"))
                .values(fates=given("f"), **{name: given("c_" + name) for name in _COUNTS})
            ),
            columns={
                "f": ledger.c.fates,
                **{"c_" + name: ledger.c[name] for name in _COUNTS},
                "own": ledger.c.owner,
                "number": ledger.c.part,
            },
            rows=rows,
        )

    def fates(self, owner: str, keys: Sequence[int]) -> dict[int, Fate]:
        """Fates of those of *keys* that the owner holds."""
        if not keys:
            return {}
        wanted = set(keys)
        found: dict[int, Fate] = {}
        for _, records, packed in self._parts(owner, min(wanted), max(wanted)):
            found.update(
                (key, _FATES[fate]) for key, fate in zip(unpack(records), packed, strict=True) if key in wanted
            )
        return found

    def pages(self, owner: str, *, having: Fate | None = None) -> Iterator[dict[int, Fate]]:
        """All records of the owner with their fates, a part at a time; only parts with a fate if asked."""
        after = -1
        while True:
            query = select(ledger.c.part, ledger.c.records, ledger.c.fates).where(
                ledger.c.owner == owner, ledger.c.part > after
            )
            if having is not None:
                query = query.where(ledger.c[having.name.lower()] > 0)
            row = self.connection.execute(query.order_by(ledger.c.part).limit(1)).first()
            if row is None:
                return
            after = row.part
            yield {key: _FATES[fate] for key, fate in zip(unpack(row.records), row.fates, strict=True)}

    def counts(self, owner: str) -> Counts:
        """How many records have which fate."""
        columns = [func.coalesce(func.sum(ledger.c[name]), 0) for name in _COUNTS]
        row = self.connection.execute(select(*columns).where(ledger.c.owner == owner)).one()
        counts = dict(zip(_COUNTS, map(int, row), strict=True))
        return Counts(records=sum(counts.values()), **counts)

    def copy(self, owner: str, *, to: str) -> None:
        """Give *to* the records and fates of *owner*."""
        columns = [c for c in ledger.c if c.name != "owner"]
        source = select(literal(to), *columns).where(ledger.c.owner == owner)
        self.connection.execute(insert(ledger).from_select(["owner", *(c.name for c in columns)], source))

    def _parts(self, owner: str, first: int, last: int) -> list[tuple[int, bytes, bytes]]:
        query = select(ledger.c.part, ledger.c.records, ledger.c.fates).where(
            ledger.c.owner == owner, ledger.c.last >= first, ledger.c.first <= last
        )
        return [(row[0], row[1], row[2]) for row in self.connection.execute(query)]


def _count(packed: bytes) -> tuple[int, ...]:
    """How often each fate stands in *packed*, in the order of the columns."""
    return tuple(packed.count(bytes([fate])) for fate in Fate)
