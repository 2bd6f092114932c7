"""The online door: one stage's inferrer asked now, in batches with whoever else asks, and nothing stored."""

import hashlib
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from limner.app.awaiting import Asking, Files
from limner.app.collecting import Collector
from limner.app.described import version_now
from limner.app.parts import Parts
from limner.domain.assessment import Node
from limner.domain.pipelines import EXTERNAL, Pipeline, Stage, StageKind
from limner.domain.tasks import FileRef, LocalFile, Outcome, Runtime
from limner.domain.values import at_path, decode, encode
from limner.domain.versions import Version
from limner.engine.dispatcher import runtime_of
from limner.engine.views import View
from limner.errors import AddressRefused, LimnerError, NotFound, UsageError
from limner.store.store import Transaction
from limner.worker.cache import Hold
from limner.worker.calls import Load, Runner
from limner.worker.child import ChildRunner
from limner.worker.fetch import Fetcher
from limner.worker.inline import InlineRunner
from limner.worker.models import ModelFiles
from limner.worker.own_folder import OwnFolder

#: One input of a record: an encoded value, a file's bytes, or where a file is.
Input: TypeAlias = "bytes | FileBytes | FileRef"
#: Seconds for which a stage's active version is taken as known.
_FRESH = 1.0
#: Seconds for which it is taken as known until somebody has looked again.
_STALE = 10.0
#: Seconds after which an inferrer of a version that is not served any more is let go.
_LEFT = 60.0
_NOTHING = b"\xc0"


class FileBytes(Struct, frozen=True):
    """A file as its bytes."""

    data: bytes


class Target(Struct, frozen=True, kw_only=True):
    """One version of one stage, as the online door serves it."""

    pipeline: Pipeline
    stage: Stage
    implementation: str
    version: Version
    runtime: Runtime

    @property
    def address(self) -> str:
        """``pipeline.stage``, as it is asked for."""
        return f"{self.pipeline.name}.{self.stage.name}"

    @property
    def servable(self) -> bool:
        """Whether it can be served beside the server; what only outside workers hold gets a job."""
        return self.runtime.infer != EXTERNAL


class Online:
    """The online door of one project; its inferrers are loaded when they are first asked for, and stay."""

    def __init__(self, parts: Parts, *, window: timedelta = timedelta(milliseconds=2)) -> None:
        self._parts = parts
        self._window = window
        self._lock = threading.RLock()
        self._looking = threading.Lock()
        self._targets: dict[tuple[str, str | None], tuple[float, Target]] = {}
        self._collectors: dict[tuple[str, str], Collector] = {}
        self._fetcher: Fetcher | None = None
        self._models: ModelFiles | None = None
        self._scratch: OwnFolder | None = None
        self._numbers = 0
        self._closed = False

    def stages(self) -> list[str]:
        """The addresses of all stages that can be asked for."""
        return [
            f"{pipeline.name}.{stage.name}"
            for pipeline in self._pipelines().values()
            for stage in pipeline.stages
            if stage.kind is not StageKind.GATHER
        ]

    def target(self, address: str, *, version: str | None = None) -> Target:
        """
        The stage called ``pipeline.stage``, or ``stage`` where only one pipeline has it, in the version that is served.

        *version* is the beginning of another version's digest.

        Raises:
            NotFound: there is no such stage or version; the sentence names the known ones.
            UsageError: several pipelines have it, or it gathers.
            ConfigurationError: its inferrer or its model is not there.
        """
        known = self._targets.get((address, version))
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        with self._lock:
            known = self._targets.get((address, version))
            if known is None or time.monotonic() >= known[0]:
                known = (time.monotonic() + _FRESH, self._found(address, version))
                self._targets[address, version] = known
                self._let_go(known[1])
        return known[1]

    def known(self, address: str, version: str | None) -> Target | None:
        """
        What :meth:`target` found not long ago; None where it would have to look into the store.

        Where that was more than a moment ago it is looked again, in the background: nobody waits for that.
        """
        known = self._targets.get((address, version))
        if known is None:
            return None
        late = time.monotonic() - known[0]
        if late > _STALE:
            return None
        if late > 0 and self._looking.acquire(blocking=False):
            threading.Thread(target=self._look_again, args=(address, version), daemon=True).start()
        return known[1]

    def _look_again(self, address: str, version: str | None) -> None:
        try:
            self.target(address, version=version)
        except LimnerError:
            # Whoever asks next is told.
            self._targets.pop((address, version), None)
        finally:
            self._looking.release()

    def allow(self, rows: Sequence[Mapping[str, Input]]) -> None:
        """
        Do nothing if the setting ``content`` lets *rows* be asked about.

        Raises:
            AddressRefused: it does not; the sentence names the setting.
        """
        settings = self._parts.settings
        if settings.content == "any":
            return
        if settings.content == "ids":
            raise AddressRefused(
                "Only stored records may be asked about here, by their id: the setting content is ids."
            )
        for row in rows:
            for value in row.values():
                if isinstance(value, FileRef) and not value.url.startswith(tuple(settings.content_allow or ("\0",))):
                    told = f"{value.url} is not among what the setting content_allow lists."
                    raise AddressRefused(told)
                if isinstance(value, FileBytes):
                    raise AddressRefused("Files may not be sent along here: the setting content is allowlist.")

    def begin(self, target: Target, rows: Sequence[Mapping[str, Input]]) -> "Future[list[Outcome]]":
        """
        Have *rows* inferred: by input of the stage, what each record is.

        The future ends with one outcome for each of them, in their order; one that is wrong spares its neighbours.

        Raises:
            UsageError: an input is missing, or there is one that the stage does not read.
            Busy: too many wait already.
        """
        _check(target, rows)
        asking = Asking(self._collector(target), len(rows))
        for at, row in enumerate(rows):
            plain = {name: value for name, value in row.items() if isinstance(value, bytes)}
            if len(plain) == len(row):
                asking.ready(at, plain)
            else:
                self._fetch(target, asking, at, plain, row)
        asking.submit()
        return asking.future

    def row_of(self, target: Target, collection: str | None, identity: str) -> Mapping[str, Input]:
        """
        What a stored record gives the stage to read.

        Raises:
            NotFound: there is no such record, or it lacks what the stage reads.
        """
        with self._parts.store.transaction() as tx:
            view = self._view(tx, target.pipeline)
            node = _node(view, target.stage, target.implementation)
            name = collection or node.collection
            keys = tx.records.keys(view.collections.get(name, 0), [identity])
            if name != node.collection or identity not in keys:
                raise NotFound(f"{node.collection} has no record {identity}.")
            return _row(tx, view, node, keys[identity], target)

    def load(self, target: Target) -> None:
        """
        Load the inferrer of *target*, unless it is there already.

        Raises:
            InferrerBroken: it cannot be loaded, or its model is not what was added.
        """
        collector = self._collector(target)
        if not collector.loaded:
            collector.load().result()

    def loaded(self, target: Target) -> bool:
        """Whether the inferrer of *target* is at hand."""
        found = self._collectors.get((target.runtime.address, target.version.digest))
        return found is not None and found.loaded

    def close(self, *, grace: timedelta = timedelta(seconds=5)) -> None:
        """Do what waits, and let go of all inferrers."""
        with self._lock:
            self._closed = True
            collectors, self._collectors = list(self._collectors.values()), {}
        for collector in collectors:
            collector.close(grace=grace)
        if self._fetcher is not None:
            self._fetcher.close()
        if self._scratch is not None:
            self._scratch.close()

    def _pipelines(self) -> Mapping[str, Pipeline]:
        declared = self._parts.declared
        return declared.own or declared.pipelines

    def _found(self, address: str, version: str | None) -> Target:
        pipeline, stage = self._named(address)
        if stage.kind is StageKind.GATHER:
            raise UsageError(f"Stage {stage.name} gathers the values of a group; there is no one record to ask about.")
        with self._parts.store.transaction() as tx:
            view = self._view(tx, pipeline)
            node = _node(view, stage, stage.default)
            found = self._version(tx, view, node, version)
        return Target(
            pipeline=pipeline,
            stage=stage,
            implementation=stage.default,
            version=found,
            runtime=runtime_of(view, node, found),
        )

    def _named(self, address: str) -> tuple[Pipeline, Stage]:
        pipelines = self._pipelines()
        places = [
            (pipeline, stage)
            for pipeline in pipelines.values()
            for stage in pipeline.stages
            if address in (stage.name, f"{pipeline.name}.{stage.name}")
        ]
        if not places:
            raise NotFound(f"There is no stage {address}; known are: {', '.join(self.stages()) or 'none'}")
        if len(places) > 1:
            names = ", ".join(f"{pipeline.name}.{stage.name}" for pipeline, stage in places)
            raise UsageError(f"Several pipelines have a stage {address}; ask for one of: {names}")
        return places[0]

    def _view(self, tx: Transaction, pipeline: Pipeline) -> View:
        return self._parts.engine(pipeline.name).view(tx, pipeline.name, {})

    def _version(self, tx: Transaction, view: View, node: Node, wanted: str | None) -> Version:
        """The active version, or the one whose digest begins so; where nothing was ever run, the one there is now."""
        place = (view.pipeline.name, node.stage.name, node.implementation)
        if wanted is not None:
            stored = tx.nodes.versions_of(*place)
            found = [one.version for one in stored if one.version.digest.startswith(wanted)]
            if len(found) != 1:
                known = ", ".join(one.version.digest[:12] for one in stored) or "none"
                raise NotFound(f"Stage {node.stage.name} has no version {wanted}; known are: {known}")
            return found[0]
        if node.version is not None:
            return tx.nodes.versions([node.version])[node.version].version
        return version_now(tx, view, node, self._parts.project)

    def _collector(self, target: Target) -> Collector:
        key = (target.runtime.address, target.version.digest)
        found = self._collectors.get(key)
        if found is not None:
            return found
        with self._lock:
            if self._closed:
                raise UsageError("The server is stopping.")
            if key not in self._collectors:
                self._collectors[key] = Collector(
                    target.address,
                    make=lambda: self._runner(target.runtime),
                    inputs=list(target.runtime.reads),
                    batch=target.runtime.batch,
                    window=self._window,
                    artifacts=self._parts.artifacts,
                )
            return self._collectors[key]

    def _let_go(self, target: Target) -> None:
        """Let go of inferrers of other versions of a stage that nobody has asked for some time."""
        now = time.monotonic()
        for (address, version), collector in list(self._collectors.items()):
            other = address == target.runtime.address and version != target.version.digest
            if other and now - collector.used > _LEFT:
                del self._collectors[address, version]
                threading.Thread(target=collector.close, kwargs={"grace": timedelta(seconds=5)}, daemon=True).start()

    def _runner(self, runtime: Runtime) -> Runner:
        """What calls the inferrer; made in the thread that goes on using it."""
        parts = self._parts
        with self._lock:
            folder = parts.project.path(parts.settings.cache) / "models"
            self._models = self._models or ModelFiles(parts.artifacts, folder=folder)
        model = self._models.path(runtime.model) if runtime.model else None
        load = Load(
            runtime=runtime,
            model_path=str(model) if model else None,
            device=None,
            project=str(parts.project.folder),
            allow_hosts=tuple(parts.settings.allow_hosts),
        )
        if runtime.isolation == "thread":
            return InlineRunner(load)
        log = parts.project.home / "inferrers.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        return ChildRunner(load, log=log)

    def _fetch(
        self, target: Target, asking: Asking, at: int, plain: Mapping[str, bytes], row: Mapping[str, Input]
    ) -> None:
        """Have the files of one record at hand; it is asked about when all of them are."""
        fetcher = self._fetching()
        waiting = Files(asking, at, dict(plain))
        asking.holds.append(waiting.hold)
        for name, value in row.items():
            read = target.runtime.reads[name]
            if isinstance(value, FileBytes):
                waiting.have(name, self._written(value.data, waiting.hold))
            elif isinstance(value, FileRef) and read is not None:
                waiting.wait(name, fetcher.begin(value, read, hold=waiting.hold))
        waiting.begun()

    def _fetching(self) -> Fetcher:
        with self._lock:
            if self._fetcher is None:
                self._fetcher = self._parts.fetcher()
            return self._fetcher

    def _written(self, data: bytes, hold: Hold) -> LocalFile:
        """A file that was sent along, for as long as it is needed."""
        with self._lock:
            if self._scratch is None:
                folder = self._parts.project.path(self._parts.settings.cache)
                folder.mkdir(parents=True, exist_ok=True)
                self._scratch = OwnFolder(folder, prefix="online-")
            self._numbers += 1
            path = self._scratch.path / str(self._numbers)
        path.write_bytes(data)
        hold.add(path)
        return LocalFile(path=str(path), sha256=hashlib.sha256(data).hexdigest())


def _node(view: View, stage: Stage, implementation: str) -> Node:
    return next(n for n in view.nodes if n.stage.name == stage.name and n.implementation == implementation)


def _check(target: Target, rows: Sequence[Mapping[str, Input]]) -> None:
    """Refuse what is not what the stage reads, and nothing at all."""
    if not rows:
        raise UsageError("There is no record to infer; give each input at least one row.")
    reads = target.runtime.reads
    for row in rows:
        if row.keys() != reads.keys():
            missing, extra = sorted(reads.keys() - row.keys()), sorted(row.keys() - reads.keys())
            told = [f"lacks the input {', '.join(missing)}"] if missing else []
            told += [f"has {', '.join(extra)}, which is no input"] if extra else []
            raise UsageError(f"The request {' and '.join(told)}; {target.address} takes: {', '.join(reads)}")


def _row(tx: Transaction, view: View, node: Node, key: int, target: Target) -> Mapping[str, Input]:
    record = tx.records.load([key])[key]
    parent = None if record.parent is None else tx.records.load([record.parent]).get(record.parent)
    found: dict[str, Input] = {}
    for source in node.sources:
        owner = parent if source.of_parent else record
        value: object = None
        if owner is not None and source.node is not None:
            version = view.versions.get(source.node, 0)
            packed = tx.results.values([owner.pk], node=source.node, version=version).get(owner.pk)
            value = None if packed is None else at_path(decode(packed), source.path)
        elif owner is not None:
            fields = dict(owner.values())
            whole = fields.get(".".join(source.path))
            value = at_path(fields, source.path) if whole is None else whole
        if value is None and not source.read.optional:
            raise NotFound(f"{record.id} has no {source.read.path}, which {target.address} reads.")
        found[source.name] = encode(value) if source.read.file is None else file_ref(value)
    return found


def file_ref(value: object) -> FileRef:
    """Where a file is that a field or an earlier stage's value names."""
    sha256 = value.get("sha256") if isinstance(value, dict) else None
    return FileRef(url=f"artifact:{sha256}" if sha256 else str(value), checksum=sha256)


def local(path: Path) -> FileBytes:
    """
    A file of this machine that a command names.

    Raises:
        UsageError: there is none.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")
    return FileBytes(path.read_bytes())
