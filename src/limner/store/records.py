"""Collections and records."""

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import IntEnum
from typing import TypeVar

from msgspec import Struct, field
from sqlalchemy import Connection, func, insert, or_, select, true, update

from limner.domain.digests import digest
from limner.domain.records import RecordIn
from limner.domain.values import decode, encode
from limner.store.base import Noun
from limner.store.statements import Statements
from limner.store.work_tables import collections, records

T = TypeVar("T")


class RecordState(IntEnum):
    """Whether a record is there."""

    LIVE = 0
    #: Named as a parent or as a group's holder, not described by any source.
    STUB = 1
    RETIRED = 2


#: As a plain number, which drivers take faster than an enumeration.
_LIVE = RecordState.LIVE.value


class StoredRecord(Struct, frozen=True):
    """One record as it stands in the store."""

    pk: int
    collection: int
    id: str
    state: int
    parent: int | None
    root: int | None
    made_by: int | None
    source_version: int | None
    revision: str | None
    digest: bytes
    fields: bytes

    @property
    def stamp(self) -> bytes:
        """Revision and source version: what says that the bytes at the record's addresses may have changed."""
        if self.revision is None and self.source_version is None:
            return b""
        return f"{self.revision}@{self.source_version}".encode()

    def values(self) -> Mapping[str, object]:
        """The fields, decoded."""
        found: Mapping[str, object] = decode(self.fields)
        return found


class Intaken(Struct, frozen=True, kw_only=True):
    """What taking in some records did."""

    #: Key of each record, in the order given; a superseded one has the key of the stored record.
    keys: list[int]
    #: Keys of records that are new or differ from what was stored.
    changed: list[int]
    #: Keys among them that were not stored before.
    added: list[int]
    #: Records older than what is stored; left as they were.
    superseded: int
    #: Keys of the parents that changed records had before, where they have another one now.
    left: Sequence[int] = ()
    #: By collection: keys of parents that are not stored yet, and were made because they are named.
    named: Mapping[int, Sequence[int]] = field(default_factory=dict)


class Child(Struct, frozen=True, kw_only=True):
    """A record that an expansion made."""

    id: str
    parent: int
    root: int
    fields: bytes


_COLUMNS = (
    "pk",
    "collection",
    "id",
    "state",
    "parent",
    "root",
    "made_by",
    "source_version",
    "revision",
    "digest",
    "fields",
)


#: What another row of a source may change.
_CHANGING = ("state", "parent", "source_version", "revision", "digest", "fields")

#: Key, state, source version, digest and parent of a record that is not stored yet.
_NEW: tuple[int, int, int | None, bytes, int | None] = (0, RecordState.STUB, None, b"", None)


class Records(Noun):
    """Collections and records, within one transaction; a record is loaded once in it."""

    def __init__(self, connection: Connection, statements: Statements) -> None:
        super().__init__(connection, statements)
        self._loaded: dict[int, StoredRecord] = {}

    def collection(self, name: str) -> int:
        """The key of the collection called *name*, which is made if it is new."""
        found = self.find_collection(name)
        if found is not None:
            return found
        return int(
            self.connection.execute(insert(collections).values(name=name).returning(collections.c.pk)).scalar_one()
        )

    def find_collection(self, name: str) -> int | None:
        """The key of the collection called *name*; None if there is none."""
        query = select(collections.c.pk).where(collections.c.name == name)
        return self.connection.execute(query).scalar_one_or_none()

    def collection_names(self) -> dict[int, str]:
        """The collections' names by key."""
        rows = self.connection.execute(select(collections.c.pk, collections.c.name))
        return {row.pk: row.name for row in rows}

    def take_in(self, given: Sequence[RecordIn]) -> Intaken:
        """
        Insert or update *given*, the last one winning where an id is given twice.

        A record whose source version is older than the stored one changes nothing.
        """
        parents, named = self._parents(given)
        known = {name: self.collection(name) for name in {record.collection for record in given}}
        stored = self._stored(given, known)
        adding: dict[tuple[int, str], tuple[object, ...]] = {}
        changing: dict[int, tuple[object, ...]] = {}
        superseded, left = 0, set[int]()
        for record in given:
            place = (known[record.collection], record.id)
            parent = parents.get(record.parent) if record.parent else None
            packed = encode(record.fields)
            mark = _digest(packed, record.revision, record.source_version, parent)
            row = (_LIVE, parent, record.source_version, record.revision, mark, packed)
            pk, old_state, old_version, old_mark, old_parent = stored.get(place, _NEW)
            if _older(record.source_version, old_version):
                superseded += 1
                continue
            if pk == _NEW[0]:
                adding[place] = row
            elif old_mark != mark or old_state != RecordState.LIVE:
                changing[pk] = row
                if old_parent is not None and old_parent != parent:
                    left.add(old_parent)
            stored[place] = (pk, RecordState.LIVE, record.source_version, mark, parent)
        added = self._insert(adding)
        self._update(changing)
        keys = [added.get(place) or stored[place][0] for place in ((known[r.collection], r.id) for r in given)]
        return Intaken(
            keys=keys,
            changed=[*added.values(), *changing],
            added=list(added.values()),
            superseded=superseded,
            left=sorted(left),
            named=named,
        )

    def _stored(
        self, given: Sequence[RecordIn], known: Mapping[str, int]
    ) -> dict[tuple[int, str], tuple[int, int, int | None, bytes, int | None]]:
        """Key, state, source version, digest and parent of the given records that are stored."""
        found: dict[tuple[int, str], tuple[int, int, int | None, bytes, int | None]] = {}
        for name, pk in known.items():
            ids = [record.id for record in given if record.collection == name]
            for chunk in chunks(ids):
                columns = [records.c[name] for name in ("pk", "id", "state", "source_version", "digest", "parent")]
                query = select(*columns).where(records.c.collection == pk, records.c.id.in_(chunk))
                for row in self.rows(query):
                    found[(pk, row[1])] = (row[0], row[2], row[3], row[4], row[5])
        return found

    def _parents(self, given: Sequence[RecordIn]) -> tuple[dict[tuple[str, str], int], dict[int, list[int]]]:
        """Keys of the parents that are named; one that no source described yet is made as a stub: those again."""
        named = {record.parent for record in given if record.parent}
        keys: dict[tuple[str, str], int] = {}
        new: dict[int, list[int]] = {}
        for name in {collection for collection, _ in named}:
            ids = [identity for collection, identity in named if collection == name]
            found, made = self._stubs(name, ids)
            keys.update(((name, identity), pk) for identity, pk in (found | made).items())
            if made:
                new[self.collection(name)] = list(made.values())
        return keys, new

    def stubs(self, name: str, ids: Sequence[str]) -> dict[str, int]:
        """Keys of the records *ids* of collection *name*; those that are not stored are made as stubs."""
        found, made = self._stubs(name, ids)
        return found | made

    def _stubs(self, name: str, ids: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Keys of the records that are stored, and of those that were made."""
        collection = self.collection(name)
        found = self.keys(collection, ids)
        empty = encode({})
        rows: dict[tuple[int, str], tuple[object, ...]] = {
            (collection, identity): (RecordState.STUB.value, None, None, None, b"", empty)
            for identity in dict.fromkeys(ids)
            if identity not in found
        }
        made = self._insert(rows)
        return found, {identity: pk for (_, identity), pk in made.items()}

    def _insert(self, rows: Mapping[tuple[int, str], tuple[object, ...]]) -> dict[tuple[int, str], int]:
        """Insert new roots: by collection and id, state, parent, source version, revision, digest and fields."""
        first = self.allocate("records", len(rows))
        keys = {place: first + position for position, place in enumerate(rows)}
        full = [
            (keys[place], *place, state, parent, None, None, version, revision, mark, fields)
            for place, (state, parent, version, revision, mark, fields) in rows.items()
        ]
        self.insert_all("insert records", lambda: insert(records), columns=_COLUMNS, rows=full)
        return keys

    def _update(self, rows: Mapping[int, tuple[object, ...]]) -> None:
        self.update_all(
            "update records",
            lambda given: (
                update(records)
                .where(records.c.pk == given("key"))
                .values({name: given(f"n_{name}") for name in _CHANGING})
            ),
            columns={**{f"n_{name}": records.c[name] for name in _CHANGING}, "key": records.c.pk},
            rows=[(*row, pk) for pk, row in rows.items()],
        )
        for pk in rows:
            self._loaded.pop(pk, None)

    def make_children(self, collection: int, children: Sequence[Child], *, made_by: int) -> Intaken:
        """Insert or update what expansions made; a child that was retired lives again."""
        ids = [child.id for child in children]
        stored = {
            row.id: row
            for chunk in chunks(ids)
            for row in self.connection.execute(
                select(records.c.pk, records.c.id, records.c.state, records.c.digest).where(
                    records.c.collection == collection, records.c.id.in_(chunk)
                )
            )
        }
        new = [child for child in children if child.id not in stored]
        first = self.allocate("records", len(new))
        keys = {child.id: first + position for position, child in enumerate(new)}
        rows = [
            (
                keys[c.id],
                collection,
                c.id,
                RecordState.LIVE,
                c.parent,
                c.root,
                made_by,
                None,
                None,
                digest(c.fields),
                c.fields,
            )
            for c in new
        ]
        self.insert_all("insert records", lambda: insert(records), columns=_COLUMNS, rows=rows)
        changing = {
            stored[c.id].pk: (_LIVE, c.parent, None, None, digest(c.fields), c.fields)
            for c in children
            if c.id in stored and (stored[c.id].digest != digest(c.fields) or stored[c.id].state != RecordState.LIVE)
        }
        self._update(changing)
        keys |= {identity: row.pk for identity, row in stored.items()}
        added = [keys[child.id] for child in new]
        return Intaken(keys=[keys[i] for i in ids], changed=[*added, *changing], added=added, superseded=0)

    def retire(self, keys: Sequence[int]) -> None:
        """Mark records as gone; their results stay readable."""
        for chunk in chunks(list(keys)):
            self.connection.execute(update(records).where(records.c.pk.in_(chunk)).values(state=RecordState.RETIRED))
            for key in chunk:
                self._loaded.pop(key, None)

    def keys(self, collection: int, ids: Iterable[str]) -> dict[str, int]:
        """Keys of the records with these ids that are stored."""
        found: dict[str, int] = {}
        for chunk in chunks(list(ids)):
            query = select(records.c.id, records.c.pk).where(
                records.c.collection == collection, records.c.id.in_(chunk)
            )
            found.update((row[0], row[1]) for row in self.connection.execute(query))
        return found

    def load(self, keys: "Sequence[int] | array[int]") -> dict[int, StoredRecord]:
        """The records with these keys."""
        missing = [key for key in keys if key not in self._loaded]
        for clause in self.spans(records.c.pk, missing):
            for row in self.rows(select(*(records.c[name] for name in _COLUMNS)).where(clause)):
                self._loaded[row[0]] = StoredRecord(*row)
        return {key: self._loaded[key] for key in keys if key in self._loaded}

    def children(
        self, parents: Sequence[int], *, made_by: int | None = None, collection: int | None = None
    ) -> list[StoredRecord]:
        """Live children of *parents*, by one node or in one collection if asked, in order of their keys."""
        found: list[StoredRecord] = []
        for chunk in chunks(list(parents)):
            query = select(*(records.c[name] for name in _COLUMNS)).where(
                records.c.parent.in_(chunk), records.c.state == RecordState.LIVE
            )
            if made_by is not None:
                query = query.where(records.c.made_by == made_by)
            if collection is not None:
                query = query.where(records.c.collection == collection)
            found += [StoredRecord(*row) for row in self.connection.execute(query.order_by(records.c.pk))]
        return found

    def descendants(self, roots: Sequence[int], *, but_of: Collection[int] = ()) -> list[tuple[int, int, int]]:
        """Root, collection and key of every live descendant of *roots*; those that the nodes *but_of* made left out."""
        found: list[tuple[int, int, int]] = []
        made_here = or_(records.c.made_by.is_(None), records.c.made_by.not_in(list(but_of))) if but_of else true()
        for chunk in chunks(list(roots)):
            query = select(records.c.root, records.c.collection, records.c.pk).where(
                records.c.root.in_(chunk), records.c.state == RecordState.LIVE, made_here
            )
            found += [(row[0], row[1], row[2]) for row in self.connection.execute(query)]
        return found

    def page(self, collection: int, *, after: int = 0, limit: int = 2000, stubs: bool = False) -> list[int]:
        """Keys of the next records of a collection, in order; retired ones are left out."""
        states = [RecordState.LIVE, RecordState.STUB] if stubs else [RecordState.LIVE]
        query = (
            select(records.c.pk)
            .where(records.c.collection == collection, records.c.pk > after, records.c.state.in_(states))
            .order_by(records.c.pk)
            .limit(limit)
        )
        return list(self.connection.execute(query).scalars())

    def window(
        self, collection: int, *, since: int | None, until: int | None, after: int = 0, limit: int = 2000
    ) -> list[int]:
        """Keys of the next live records whose source version lies in [since, until); None leaves a side open."""
        query = select(records.c.pk).where(
            records.c.collection == collection, records.c.pk > after, records.c.state == RecordState.LIVE
        )
        if since is not None:
            query = query.where(records.c.source_version >= since)
        if until is not None:
            query = query.where(records.c.source_version < until)
        return list(self.connection.execute(query.order_by(records.c.pk).limit(limit)).scalars())

    def listing(
        self, collection: int, *, after: str = "", limit: int = 2000, stubs: bool = False
    ) -> Sequence[tuple[str, int]]:
        """Ids and keys of the next live records of a collection, in order of their ids by code point."""
        states = [RecordState.LIVE, RecordState.STUB] if stubs else [RecordState.LIVE]
        query = (
            select(records.c.id, records.c.pk)
            .where(records.c.collection == collection, records.c.id > after, records.c.state.in_(states))
            .order_by(records.c.id)
            .limit(limit)
        )
        return [(row[0], row[1]) for row in self.connection.execute(query)]

    def count(self, collection: int) -> int:
        """How many live records a collection has."""
        query = select(func.count()).select_from(records)
        query = query.where(records.c.collection == collection, records.c.state == RecordState.LIVE)
        return int(self.connection.execute(query).scalar_one())


def chunks(items: Sequence[T], *, size: int = 900) -> Iterable[Sequence[T]]:
    """*items* in runs of at most *size*."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _digest(fields: bytes, revision: str | None, version: int | None, parent: int | None) -> bytes:
    return digest(fields + f"\x00{revision}\x00{version}\x00{parent}".encode())


def _older(given: int | None, stored: int | None) -> bool:
    """Whether a given source version is older than the stored one."""
    return given is not None and stored is not None and given < stored
