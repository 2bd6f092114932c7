"""The online door: one stage's inferrer asked now, in batches with whoever else asks, and nothing stored."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import timedelta

from limner.app.awaiting import Asking
from limner.app.collecting import Collector
from limner.app.online_files import OnlineFiles
from limner.app.online_finding import Targets
from limner.app.online_inputs import Input, allow, check, stored_row, without_files
from limner.app.online_target import Target
from limner.app.parts import Parts
from limner.domain.tasks import Outcome, Runtime
from limner.errors import UsageError
from limner.worker.calls import Load, Runner
from limner.worker.child import ChildRunner
from limner.worker.inline import InlineRunner
from limner.worker.models import ModelFiles

#: Seconds after which an inferrer of a version that is not served any more is let go.
_LEFT = 60.0


class Online:
    """The online door of one project; its inferrers are loaded when they are first asked for, and stay."""

    def __init__(self, parts: Parts, *, window: timedelta = timedelta(milliseconds=2)) -> None:
        self._parts = parts
        self._window = window
        self._lock = threading.RLock()
        self._targets = Targets(parts, found=self._let_go)
        self._files = OnlineFiles(parts)
        self._collectors: dict[tuple[str, str], Collector] = {}
        self._models: ModelFiles | None = None
        self._closed = False

    def stages(self) -> list[str]:
        """The addresses of all stages that can be asked for."""
        return self._targets.addresses()

    def target(self, address: str, *, version: str | None = None) -> Target:
        """
        The stage called ``pipeline.stage``, or ``stage`` where only one pipeline has it, in the version that is served.

        *version* is the beginning of another version's digest.

        Raises:
            NotFound: there is no such stage or version; the sentence names the known ones.
            UsageError: several pipelines have it, or it gathers.
            ConfigurationError: its inferrer or its model is not there.
        """
        return self._targets.find(address, version=version)

    def known(self, address: str, version: str | None) -> Target | None:
        """What :meth:`target` found not long ago; None where it would have to look into the store."""
        return self._targets.known(address, version)

    def allow(self, rows: Sequence[Mapping[str, Input]]) -> None:
        """
        Do nothing if the setting ``content`` lets *rows* be asked about.

        Raises:
            AddressRefused: it does not; the sentence names the setting.
        """
        allow(self._parts.settings, rows)

    def begin(self, target: Target, rows: Sequence[Mapping[str, Input]]) -> "Future[list[Outcome]]":
        """
        Have *rows* inferred: by input of the stage, what each record is.

        The future ends with one outcome for each of them, in their order; one that is wrong spares its neighbours.

        Raises:
            UsageError: an input is missing, or there is one that the stage does not read.
            Busy: too many wait already.
        """
        future: Future[list[Outcome]] = Future()

        def told(outcomes: list[Outcome]) -> None:
            # Whoever waited may have gone.
            if future.set_running_or_notify_cancel():
                future.set_result(outcomes)

        self.ask(target, rows, told=told)
        return future

    def ask(
        self, target: Target, rows: Sequence[Mapping[str, Input]], *, told: Callable[[list[Outcome]], None]
    ) -> None:
        """
        The same, where *told* is called with the outcomes, in a thread that must not be held up.

        Raises:
            UsageError: an input is missing, or there is one that the stage does not read.
            Busy: too many wait already.
        """
        check(target, rows)
        asking = Asking(self._collector(target), len(rows), told=told)
        if without_files(rows):
            asking.whole(rows)
            return
        for at, row in enumerate(rows):
            self._files.fetch(target, asking, at, row)
        asking.submit()

    def row_of(self, target: Target, collection: str | None, identity: str) -> Mapping[str, Input]:
        """
        What a stored record gives the stage to read.

        Raises:
            NotFound: there is no such record, or it lacks what the stage reads.
        """
        with self._parts.store.transaction() as tx:
            view = self._targets.view(tx, target.pipeline)
            return stored_row(tx, view, target, collection=collection, identity=identity)

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
        self._files.close()

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
