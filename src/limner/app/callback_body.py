"""The platform's own form of a callback: a job, its counts, and its records with what every stage said."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from limner.app.submitting import OWN_NOTES
from limner.clock import Clock
from limner.domain.failures import Failure, FailureCode
from limner.domain.jobs import Fate, Job, JobState
from limner.domain.nodes import Node
from limner.domain.pipelines import StageKind
from limner.domain.tasks import Status
from limner.domain.values import Value, decode, plain
from limner.engine.views import View
from limner.store.progress import Said
from limner.store.records import StoredRecord
from limner.store.store import Store, Transaction

if TYPE_CHECKING:
    from limner.app.app import App


class Hosting(Protocol):
    """One project at work, as far as callbacks need it."""

    @property
    def name(self) -> str:
        """The project's name."""
        ...

    @property
    def app(self) -> "App":
        """The application over it."""
        ...

    @property
    def store(self) -> Store:
        """Its store."""
        ...

    @property
    def clock(self) -> Clock:
        """Its clock."""
        ...


def body(host: Hosting, job: Job, keys: Sequence[int]) -> dict[str, Value]:
    """
    What is known of the root records *keys* of a job, each followed by its descendants.

    Of a stage that ran in several implementations each has an entry of its own, ``stage/implementation``.
    """
    engine = host.app.engine(job.pipeline)
    with host.store.reading() as tx:
        view = engine.view(tx, job.pipeline, {stage: list(ways) for stage, ways in job.choices.items()})
        told = _Told(tx, view, job, keys)
        counts = {**msgspec.structs.asdict(tx.ledger.counts(job.id)), "set_aside": job.set_aside}
        rows = [row for key in keys for row in told.family(key)]
    return {
        "job": job.id,
        "project": host.name,
        "pipeline": job.pipeline,
        "round": job.round,
        "state": job.state.value,
        "counts": counts,
        "detail": {name: value for name, value in job.detail.items() if name not in OWN_NOTES},
        # The outbox fills it in.
        "page": None,
        "records": rows,
    }


def split(whole: Mapping[str, Value], max_bytes: int) -> list[dict[str, Value]]:
    """
    *whole* in several bodies, for one root that alone is too large: its records apart, and where one of them is
    still too large, what the stages said of it apart; its id, status and error stand in each.
    """
    frame = len(_encoded({**whole, "records": []}))
    bodies: list[list[dict[str, Value]]] = [[]]
    size = frame
    for row in _pieces(whole["records"], room=max_bytes - frame):
        grown = len(_encoded(row)) + 1
        if bodies[-1] and size + grown > max_bytes:
            bodies.append([])
            size = frame
        bodies[-1].append(row)
        size += grown
    return [{**whole, "records": rows} for rows in bodies]


def _pieces(rows: Iterable[Mapping[str, Value]], *, room: int) -> Iterable[dict[str, Value]]:
    """The rows; one that is larger than *room* once for each stage that said something of it."""
    for row in rows:
        if len(_encoded(row)) < room or len(row["values"]) < 2:
            yield dict(row)
            continue
        for stage, value in row["values"].items():
            yield {**row, "values": {stage: value}, "versions": {stage: row["versions"][stage]}}


def _encoded(value: Value) -> bytes:
    return msgspec.json.encode(value)


class _Error(Struct, frozen=True, kw_only=True):
    """Why a record failed, as a callback has it."""

    code: str
    message: str
    reason: str | None = None
    stage: str | None = None
    implementation: str | None = None
    attempt: int | None = None
    worker: str | None = None
    retryable: bool = False


class _Told:
    """What the store holds of some root records of a job and of their descendants."""

    def __init__(self, tx: Transaction, view: View, job: Job, keys: Sequence[int]) -> None:
        self._view = view
        self._job = job
        self._fates = tx.ledger.fates(job.id, keys)
        self._families: dict[int, list[int]] = defaultdict(list)
        for root, _, key in sorted(tx.records.descendants(keys)):
            self._families[root].append(key)
        everybody = [*keys, *(key for family in self._families.values() for key in family)]
        self._records = {
            key: record for key, record in tx.records.load(everybody).items() if record.made_by not in view.others
        }
        self._names = {key: name for name, key in view.collections.items()}
        self._titles = _titles(view)
        self._errors = self._failed(tx)
        self._values: dict[int, dict[str, Value]] = defaultdict(dict)
        self._versions: dict[int, dict[str, Value]] = defaultdict(dict)
        self._load_values(tx)

    def family(self, root: int) -> Iterable[dict[str, Value]]:
        """The row of a root, and those of its descendants."""
        members = [key for key in self._families.get(root, ()) if key in self._records]
        failed = next((self._errors[key] for key in (root, *members) if key in self._errors), None)
        fate = self._fates.get(root, Fate.OPEN)
        yield self._row(root, status=fate.name.lower(), error=self._error_of(fate, failed))
        for key in members:
            failed = self._errors.get(key)
            yield self._row(key, status="failed" if failed else "done", error=failed)

    def _error_of(self, fate: Fate, failed: _Error | None) -> _Error | None:
        if fate is Fate.CANCELLED:
            expired = self._job.state is JobState.EXPIRED
            code = FailureCode.EXPIRED if expired else FailureCode.CANCELLED
            said = "The job's time ran out first." if expired else "The job was stopped first."
            return _Error(code=code.value, message=said, retryable=True)
        return failed if fate is Fate.FAILED else None

    def _row(self, key: int, *, status: str, error: _Error | None) -> dict[str, Value]:
        record = self._records[key]
        parent = self._records.get(record.parent) if record.parent is not None else None
        row = {
            "collection": self._name(record),
            "id": record.id,
            "status": status,
            "error": None if error is None else msgspec.structs.asdict(error),
            "values": self._values.get(key, {}),
            "versions": self._versions.get(key, {}),
        }
        if parent is not None:
            row["parent"] = {"collection": self._name(parent), "id": parent.id}
        return row

    def _name(self, record: StoredRecord) -> str:
        return self._names.get(record.collection, str(record.collection))

    def _failed(self, tx: Transaction) -> dict[int, _Error]:
        """Why records failed, by key: by the first stage that failed, which the others only follow."""
        said = tx.progress.said(list(self._records), versions=self._view.versions)
        order = {node.pk: at for at, node in enumerate(self._view.nodes)}
        found: dict[int, _Error] = {}
        for one in sorted(said, key=lambda one: order[one.node]):
            node = self._view.node(one.node)
            if one.status is Status.FAILED and one.failure is not None and node is not None:
                found.setdefault(one.record, _error(node, one, one.failure))
        return found

    def _load_values(self, tx: Transaction) -> None:
        stored = tx.nodes.versions(list(self._view.versions.values()))
        for node in self._view.nodes:
            if node.version is None:
                continue
            over = self._view.collections[node.collection]
            keys = [key for key, record in self._records.items() if record.collection == over]
            version = stored[node.version].version
            model = None if version.model is None else f"{version.model.name}@{version.model.number}"
            said = {
                "implementation": node.implementation,
                "version": version.digest,
                "code": version.code,
                "model": model,
            }
            title = self._titles[node.pk]
            for key, value in tx.results.values(keys, node=node.pk, version=node.version).items():
                self._values[key][title] = _shown(node, decode(value))
                self._versions[key][title] = said


def _error(node: Node, said: Said, failure: Failure) -> _Error:
    return _Error(
        code=failure.code.value,
        message=failure.message,
        reason=failure.reason,
        stage=node.stage.name,
        implementation=node.implementation,
        attempt=said.tried,
        worker=said.worker,
        retryable=node.stage.retry.attempts.get(failure.code, 1) > 1,
    )


def _shown(node: Node, value: Value) -> Value:
    """A value in JSON's types; the children of an expansion are rows of their own."""
    return plain({"count": value["count"]} if node.stage.kind is StageKind.EXPAND else value)


def _titles(view: View) -> dict[int, str]:
    """What the entry of each node is called: its stage, with the implementation where the stage ran in several."""
    times: dict[str, int] = defaultdict(int)
    for node in view.nodes:
        times[node.stage.name] += 1
    return {
        node.pk: node.stage.name if times[node.stage.name] == 1 else f"{node.stage.name}/{node.implementation}"
        for node in view.nodes
    }
