"""Results: what one version of one stage said about one record, and the attempts that failed."""

from array import array
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, and_, func, insert, or_, select, update

from limner.domain.assessment import Held
from limner.domain.failures import Failure
from limner.domain.tasks import Status
from limner.store.base import Noun
from limner.store.dialect import upsert
from limner.store.work_tables import attempts, results, tasks

#: Record, node, version, status, task, attempts charged, asked, read, value digest, value.
ResultRow: TypeAlias = tuple[int, int, int, int, int | None, int, bytes, bytes, bytes, bytes]
COLUMNS = ("record", "node", "version", "status", "task", "tried", "asked", "read", "value_digest", "value")


class StoredResult(Struct, frozen=True, kw_only=True):
    """One result with the task that made it: everything ``limner why`` says."""

    record: int
    node: int
    version: int
    status: Status
    tried: int
    asked: bytes
    read: bytes
    value_digest: bytes
    value: bytes
    task: int | None
    worker: str | None
    started: float | None
    ended: float | None
    #: Seconds of inferring, the task's share of one record.
    seconds: float | None

    @property
    def failure(self) -> Failure | None:
        """Why it failed, if it did."""
        return _failure.decode(self.value) if self.status is Status.FAILED else None


class BareResult(Struct, frozen=True):
    """One result alone."""

    record: int
    node: int
    version: int
    status: Status
    read: bytes
    value_digest: bytes
    value: bytes

    @property
    def failure(self) -> Failure | None:
        """Why it failed, if it did."""
        return _failure.decode(self.value) if self.status is Status.FAILED else None


class FailedAttempt(Struct, frozen=True, kw_only=True):
    """One attempt that failed, final or not."""

    record: int
    node: int
    version: int
    task: int
    job: str | None
    tried: int
    worker: str
    at: float
    final: bool
    failure: Failure


_failure = msgspec.msgpack.Decoder(Failure)


def encode_failure(failure: Failure) -> bytes:
    """*failure* as a failed result's value."""
    return msgspec.msgpack.encode(failure)


class Results(Noun):
    """Results and failed attempts, within one transaction."""

    def put(self, rows: Sequence[ResultRow]) -> None:
        """Insert results; one of the same record, node and version is overwritten."""
        self.insert_all(
            "put results",
            lambda: upsert(results, key=("record", "node", "version"), connection=self.connection),
            columns=COLUMNS,
            rows=rows,
        )

    def confirm(self, rows: Sequence[tuple[bytes, int, int, int]]) -> None:
        """Set the digest asked of results whose input was found unchanged: asked, record, node, version."""
        self.update_all(
            "confirm results",
            lambda given: (
                update(results)
                .where(results.c.record == given("r"), results.c.node == given("n"), results.c.version == given("v"))
                .values(asked=given("a"))
            ),
            columns={"a": results.c.asked, "r": results.c.record, "n": results.c.node, "v": results.c.version},
            rows=rows,
        )

    def held(
        self,
        keys: "Sequence[int] | array[int]",
        *,
        versions: Mapping[int, int],
        with_value: frozenset[int] = frozenset(),
    ) -> dict[int, dict[int, Held]]:
        """
        What the store holds of records, by node and record, in the given version of each node.

        Values are loaded only for the nodes *with_value*.
        """
        found: dict[int, dict[int, Held]] = {node: {} for node in versions}
        if not versions:
            return found
        # A version belongs to one implementation of one stage, so it implies the node but for variants.
        wanted = and_(results.c.version.in_(set(versions.values())), results.c.node.in_(list(versions)))
        columns = (
            results.c.record,
            results.c.node,
            results.c.version,
            results.c.status,
            results.c.asked,
            results.c.value_digest,
        )
        for clause in self.spans(results.c.record, keys):
            for record, node, version, status, asked, value_digest in self.rows(select(*columns).where(clause, wanted)):
                if versions[node] == version:
                    found[node][record] = Held(_STATUS[status], asked, value_digest)
        for node in with_value & set(versions):
            for record, value in self.values(keys, node=node, version=versions[node]).items():
                old = found[node].get(record)
                if old is not None:
                    found[node][record] = Held(old.status, old.asked, old.value_digest, value)
        return found

    def values(self, keys: "Sequence[int] | array[int]", *, node: int, version: int) -> dict[int, bytes]:
        """Encoded values of the results that are done, by record."""
        found: dict[int, bytes] = {}
        for clause in self.spans(results.c.record, keys):
            query = select(results.c.record, results.c.value).where(
                clause, results.c.node == node, results.c.version == version, results.c.status == Status.DONE
            )
            found.update(self.rows(query))
        return found

    def reads(self, keys: "Sequence[int] | array[int]", *, node: int, version: int) -> dict[int, bytes]:
        """Read digests of the results that are done, by record."""
        found: dict[int, bytes] = {}
        for clause in self.spans(results.c.record, keys):
            query = select(results.c.record, results.c.read).where(
                clause, results.c.node == node, results.c.version == version, results.c.status == Status.DONE
            )
            found.update(self.rows(query))
        return found

    def known(self, keys: Sequence[int], *, node: int) -> set[int]:
        """The records among *keys* of which any version of *node* said something."""
        found: set[int] = set()
        for clause in self.spans(results.c.record, keys):
            query = select(results.c.record).where(clause, results.c.node == node)
            found.update(self.connection.execute(query).scalars())
        return found

    def scan(self, *, node: int, version: int, first: int, last: int) -> list[tuple[int, int, bytes]]:
        """Record, status and value of the results of one version for records *first* to *last*, in order."""
        query = (
            select(results.c.record, results.c.status, results.c.value)
            .where(
                results.c.record >= first,
                results.c.record <= last,
                results.c.node == node,
                results.c.version == version,
            )
            .order_by(results.c.record)
        )
        return [(row[0], row[1], row[2]) for row in self.connection.execute(query)]

    def of_record(self, record: int) -> list[StoredResult]:
        """Every result of a record, superseded versions included, with the task that made it."""
        columns = [results.c[name] for name in COLUMNS if name != "task"]
        share = [results.c.task, tasks.c.worker, tasks.c.started, tasks.c.ended, tasks.c.seconds, tasks.c.done]
        query = (
            select(*columns, *share)
            .select_from(results.outerjoin(tasks, results.c.task == tasks.c.pk))
            .where(results.c.record == record)
        )
        return [
            StoredResult(
                record=row.record,
                node=row.node,
                version=row.version,
                status=_STATUS[row.status],
                tried=row.tried,
                asked=row.asked,
                read=row.read,
                value_digest=row.value_digest,
                value=row.value,
                task=row.task,
                worker=row.worker,
                started=row.started,
                ended=row.ended,
                seconds=None if row.seconds is None else row.seconds / max(1, row.done),
            )
            for row in self.connection.execute(query.order_by(results.c.pk))
        ]

    def of_records(self, keys: Sequence[int]) -> list[BareResult]:
        """Every result of some records, superseded versions included, without the tasks that made them."""
        columns = [results.c[name] for name in BareResult.__struct_fields__]
        found: list[BareResult] = []
        for clause in self.spans(results.c.record, keys):
            for row in self.rows(select(*columns).where(clause).order_by(results.c.record, results.c.node)):
                record, node, version, status, read, value_digest, value = row
                found.append(BareResult(record, node, version, _STATUS[status], read, value_digest, value))
        return found

    def failed(
        self, *, versions: Mapping[int, int], after: int = 0, limit: int = 1000, span: tuple[int, int] | None = None
    ) -> list[tuple[int, int, int, int, Failure]]:
        """Record, node, task, attempts and failure of the current failed results, in order of the records."""
        query = select(results.c.record, results.c.node, results.c.task, results.c.tried, results.c.value).where(
            results.c.record > after, results.c.status == Status.FAILED, _versions(versions)
        )
        if span:
            query = query.where(results.c.record >= span[0], results.c.record <= span[1])
        rows = self.connection.execute(query.order_by(results.c.record, results.c.node).limit(limit))
        return [(r[0], r[1], r[2] or 0, r[3], _failure.decode(r[4])) for r in rows]

    def forget_asked(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """Make results stale so that they are asked again: record, node, version."""
        self.confirm([(b"", *row) for row in rows])

    def delete(self, *, record: int, node: int) -> None:
        """Delete what any version of a node said about a record."""
        self.connection.execute(results.delete().where(results.c.record == record, results.c.node == node))

    def count(self, *, versions: Mapping[int, int]) -> dict[tuple[int, Status], int]:
        """How many results of the given versions stand, by node and status."""
        if not versions:
            return {}
        query = (
            select(results.c.node, results.c.status, func.count())
            .where(_versions(versions))
            .group_by(results.c.node, results.c.status)
        )
        return {(row[0], _STATUS[row[1]]): row[2] for row in self.connection.execute(query)}

    def log_attempts(self, given: Sequence[FailedAttempt]) -> None:
        """Append failed attempts to the history."""
        columns = ("record", "node", "version", "task", "job", "tried", "worker", "at", "code", "final", "failure")
        rows = [
            (
                a.record,
                a.node,
                a.version,
                a.task,
                a.job,
                a.tried,
                a.worker,
                a.at,
                a.failure.code.value,
                int(a.final),
                encode_failure(a.failure),
            )
            for a in given
        ]
        self.insert_all("log attempts", lambda: insert(attempts), columns=columns, rows=rows)

    def attempts(self, record: int) -> list[FailedAttempt]:
        """Every failed attempt of a record, oldest first."""
        query = select(attempts).where(attempts.c.record == record).order_by(attempts.c.pk)
        return [
            FailedAttempt(
                record=row.record,
                node=row.node,
                version=row.version,
                task=row.task,
                job=row.job,
                tried=row.tried,
                worker=row.worker,
                at=row.at,
                final=bool(row.final),
                failure=_failure.decode(row.failure),
            )
            for row in self.connection.execute(query)
        ]


def _versions(versions: Mapping[int, int]) -> ColumnElement[bool]:
    return or_(*(and_(results.c.node == node, results.c.version == version) for node, version in versions.items()))


_STATUS = {status.value: status for status in Status}
