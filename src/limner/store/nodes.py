"""Nodes (implementations of stages) and their versions."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import insert, select, update

from limner.domain.versions import Version
from limner.store.base import Noun
from limner.store.work_tables import nodes, versions


class StoredNode(Struct, frozen=True):
    """One node as it stands in the store."""

    pk: int
    pipeline: str
    stage: str
    implementation: str
    variant: str
    collection: int
    active: int | None
    planned: int | None
    planned_spec: bytes | None
    retired: int


class StoredVersion(Struct, frozen=True, kw_only=True):
    """One version of one implementation, and how fast it was measured to be."""

    pk: int
    stage: str
    implementation: str
    version: Version
    created: float
    records: int
    seconds: float

    @property
    def seconds_per_record(self) -> float | None:
        """Measured seconds of inferring a record; None before the first."""
        return self.seconds / self.records if self.records else None


_COLUMNS = tuple(StoredNode.__struct_fields__)
_decoder = msgspec.msgpack.Decoder(Version)


class Nodes(Noun):
    """Nodes and versions, within one transaction."""

    def of(self, pipeline: str) -> list[StoredNode]:
        """The nodes of a pipeline, retired ones included."""
        query = select(*(nodes.c[name] for name in _COLUMNS)).where(nodes.c.pipeline == pipeline).order_by(nodes.c.pk)
        return [StoredNode(*row) for row in self.connection.execute(query)]

    def all(self) -> list[StoredNode]:
        """Every node."""
        query = select(*(nodes.c[name] for name in _COLUMNS)).order_by(nodes.c.pk)
        return [StoredNode(*row) for row in self.connection.execute(query)]

    def add(self, pipeline: str, stage: str, implementation: str, *, variant: str, collection: int) -> StoredNode:
        """Insert a node."""
        values = {
            "pipeline": pipeline,
            "stage": stage,
            "implementation": implementation,
            "variant": variant,
            "collection": collection,
        }
        pk = self.connection.execute(insert(nodes).values(**values).returning(nodes.c.pk)).scalar_one()
        return StoredNode(pk, pipeline, stage, implementation, variant, collection, None, None, None, 0)

    def set_retired(self, keys: Sequence[int], *, retired: bool) -> None:
        """Say that the declaration no longer holds these nodes, or holds them again."""
        if keys:
            self.connection.execute(
                update(nodes).where(nodes.c.pk.in_(keys)).values(retired=int(retired), planned=None)
            )

    def activate(self, pk: int, version: int | None) -> None:
        """Make *version* the one that is served."""
        self.connection.execute(update(nodes).where(nodes.c.pk == pk).values(active=version))

    def set_planned(self, pk: int, version: int | None, *, spec: bytes) -> None:
        """Remember what the last pass over the collection planned for; None asks for a new pass."""
        self.connection.execute(update(nodes).where(nodes.c.pk == pk).values(planned=version, planned_spec=spec))

    def needs_pass(self, keys: Sequence[int]) -> None:
        """Ask for a new pass over the collections of these nodes."""
        if keys:
            self.connection.execute(update(nodes).where(nodes.c.pk.in_(keys)).values(planned=None))

    def register(self, pipeline: str, stage: str, implementation: str, *, version: Version, now: float) -> int:
        """The key of *version*, which is inserted if it is new."""
        found = self.find_version(pipeline, stage, implementation, digest=version.digest)
        if found is not None:
            return found
        values = {
            "pipeline": pipeline,
            "stage": stage,
            "implementation": implementation,
            "digest": version.digest,
            "detail": msgspec.msgpack.encode(version),
            "created": now,
        }
        return int(self.connection.execute(insert(versions).values(**values).returning(versions.c.pk)).scalar_one())

    def find_version(self, pipeline: str, stage: str, implementation: str, *, digest: str) -> int | None:
        """The key of the version with this digest; None if it was never registered."""
        query = select(versions.c.pk).where(
            versions.c.pipeline == pipeline,
            versions.c.stage == stage,
            versions.c.implementation == implementation,
            versions.c.digest == digest,
        )
        return self.connection.execute(query).scalar_one_or_none()

    def versions_of(self, pipeline: str, stage: str, implementation: str) -> list[StoredVersion]:
        """Every version of an implementation, the newest first."""
        query = select(versions.c.pk).where(
            versions.c.pipeline == pipeline, versions.c.stage == stage, versions.c.implementation == implementation
        )
        found = self.versions(list(self.connection.execute(query).scalars()))
        return [found[pk] for pk in sorted(found, reverse=True)]

    def newest(self, pipeline: str, stage: str, implementation: str) -> Version | None:
        """The version of an implementation that is active somewhere; else the one that was registered last."""
        at = [n for n in self.of(pipeline) if (n.stage, n.implementation) == (stage, implementation)]
        active = [node.active for node in at if node.active is not None]
        query = select(versions.c.detail).order_by(versions.c.pk.desc()).limit(1)
        if active:
            query = query.where(versions.c.pk.in_(active))
        else:
            mine = (pipeline, stage, implementation)
            columns = (versions.c.pipeline, versions.c.stage, versions.c.implementation)
            query = query.where(*(column == value for column, value in zip(columns, mine, strict=True)))
        found = self.connection.execute(query).scalar_one_or_none()
        return None if found is None else _decoder.decode(found)

    def speed(self, pipeline: str, stage: str, implementation: str) -> float | None:
        """Measured seconds of inferring a record, by the newest version that was measured."""
        query = (
            select(versions.c.seconds, versions.c.records)
            .where(
                versions.c.pipeline == pipeline,
                versions.c.stage == stage,
                versions.c.implementation == implementation,
                versions.c.records > 0,
            )
            .order_by(versions.c.pk.desc())
            .limit(1)
        )
        row = self.connection.execute(query).first()
        return None if row is None else float(row.seconds) / int(row.records)

    def versions(self, keys: Sequence[int]) -> dict[int, StoredVersion]:
        """The versions with these keys."""
        query = select(versions).where(versions.c.pk.in_(keys))
        return {
            row.pk: StoredVersion(
                pk=row.pk,
                stage=row.stage,
                implementation=row.implementation,
                version=_decoder.decode(row.detail),
                created=row.created,
                records=row.records,
                seconds=row.seconds,
            )
            for row in self.connection.execute(query)
        }

    def measure(self, spent: Mapping[int, tuple[int, float]]) -> None:
        """Add records and seconds to what was measured, by version."""
        for pk, (count, seconds) in spent.items():
            grown = {"records": versions.c.records + count, "seconds": versions.c.seconds + seconds}
            self.connection.execute(update(versions).where(versions.c.pk == pk).values(**grown))
