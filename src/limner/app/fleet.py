"""As many workers as the backlog asks for: started, drained before they go, replaced when they are lost."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from limner.app.backlog import Backlog
from limner.app.far_offer import wanted_of
from limner.app.ray_actor import Ended, Told
from limner.app.scaling import Bounds, Recent, asked_for, pause_after, surplus
from limner.bus.connect import connect_server
from limner.errors import ServerRefused, ServerUnavailable, UsageError
from limner.server_client import worker_name

if TYPE_CHECKING:
    from limner.app.ray_cluster import News, RayCluster

_log = structlog.get_logger(__name__)

#: How often it is looked what became of workers.
_LOOK = timedelta(seconds=0.25)
#: Before a server that could not be reached is asked again, in seconds.
_AGAIN = 5.0
#: A worker that lived for so long, in seconds, was no failure from the start.
_SETTLED = 30.0
#: What a worker takes to end besides its grace, which batches and answers each have.
_ENDING = timedelta(seconds=10)
#: The exit status of a worker that cannot work as it was started.
_CANNOT_WORK = 2
#: So many lost ones in a row, the last of which cannot work, and none at work: the next would be no better.
_ENOUGH = 3


class Scale(Struct, frozen=True, kw_only=True):
    """How many workers there are to be."""

    bounds: Bounds
    backlog: Backlog
    #: How often the backlog is asked for.
    poll: timedelta = timedelta(seconds=15)


class _Member:
    """One worker, from the moment that it is asked for until it is gone."""

    def __init__(self) -> None:
        #: When it began; None while it waits for a machine.
        self.since: float | None = None
        #: When it is ended if it has not drained by then; None while it is to stay.
        self.until: float | None = None


class Fleet:
    """Workers on a cluster; each is *told* the same but for its name."""

    def __init__(
        self, told: Told, scale: Scale, *, connect: "Callable[[], RayCluster]", say: Callable[[str], None]
    ) -> None:
        """*connect* is called once the server takes the token; *say* is told what a person should know."""
        self._told = told
        self._scale = scale
        self._connect = connect
        self._say = say
        self._name = told.worker.name or worker_name()
        self._made = 0
        self._members: dict[str, _Member] = {}
        self._recent = Recent()
        self._ask_at = 0.0
        self._busy = 0.0
        self._losses = 0
        self._start_at = 0.0
        self._failed: UsageError | None = None
        #: Set: drain every worker, and end.
        self.stopping = threading.Event()

    def run(self) -> None:
        """
        Keep workers until there is a reason to stop, then drain them all.

        Raises:
            UsageError: the server refuses, no cluster takes workers, or none of them can work as it was started.
        """
        ends = self._ends()
        if not self._welcome():
            return
        cluster = self._connect()
        try:
            self._say(f"Keeps {self._scale.bounds.least} to {self._scale.bounds.most} workers on Ray.")
            self._busy = time.monotonic()
            why = self._until_over(cluster, ends=ends)
            self._say(f"Stopping: {why}.")
            self._drain_all(cluster)
        finally:
            cluster.close()
        if self._failed is not None:
            raise self._failed

    @property
    def _leave(self) -> timedelta:
        """What a worker may take to drain."""
        return 2 * self._told.worker.grace + _ENDING

    def _ends(self) -> float | None:
        """When all are drained at the latest, so that they have gone before the walltime is over."""
        limit = self._told.worker.walltime
        if limit is None:
            return None
        if limit <= self._leave:
            raise UsageError(
                f"--walltime leaves no time for work: to drain may take {self._leave.total_seconds():g} s, "
                "twice the --grace and ten seconds."
            )
        return time.monotonic() + (limit - self._leave).total_seconds()

    def _welcome(self) -> bool:
        """Whether the server knows what is to be served and takes the token, once it answers; not if it is to stop."""
        asked = self._told.worker
        client = connect_server(asked.url, token=asked.token or None, worker=self._name)
        try:
            while True:
                try:
                    wanted_of(client, stages=asked.stages, implementations=asked.implementations)
                except ServerUnavailable as error:
                    self._say(f"Waiting for the server: {error}")
                except ServerRefused as refused:
                    raise UsageError(str(refused)) from refused
                else:
                    return not self.stopping.is_set()
                if self.stopping.wait(_AGAIN):
                    return False
        finally:
            client.close()

    # While it works

    def _until_over(self, cluster: "RayCluster", *, ends: float | None) -> str:
        """Keep as many as are wanted until there is a reason to stop; which one it is."""
        idle = self._told.worker.idle_exit
        while not self.stopping.wait(_LOOK.total_seconds()):
            now = time.monotonic()
            self._hear(cluster.news(), now=now)
            if self._failed is not None:
                return "no worker can work"
            if now >= self._ask_at:
                self._ask(now=now)
            if ends is not None and now >= ends:
                return "the walltime is nearly over"
            if idle is not None and now - self._busy >= idle.total_seconds():
                return f"nothing was to do for {idle.total_seconds():g} s"
            self._adjust(cluster, now=now)
        return "it was asked to"

    def _ask(self, *, now: float) -> None:
        """Ask for the backlog; where it cannot be had there are as many workers as before."""
        self._ask_at = now + self._scale.poll.total_seconds()
        try:
            records = self._scale.backlog.ask()
        except ServerUnavailable as error:
            _log.warning("backlog_unknown", reason=str(error))
            # Whether there was nothing to do in the meantime nobody knows.
            self._busy = now
            return
        if records:
            self._busy = now
        bounds, before = self._scale.bounds, self._recent.wanted
        self._recent = self._recent.heard(asked_for(records, bounds), now=now, cooldown=bounds.cooldown)
        if self._recent.wanted != before:
            _log.info("workers_wanted", workers=self._recent.wanted, backlog=records)
            self._say(f"{records} records are open: {self._recent.wanted} workers in place of {before}.")

    def _adjust(self, cluster: "RayCluster", *, now: float) -> None:
        """Start what is missing, and let go what is too much."""
        self._end_the_late(cluster, now=now)
        staying = [name for name, member in self._members.items() if member.until is None]
        wanted = self._recent.wanted
        if now >= self._start_at:
            for _ in range(wanted - len(staying)):
                self._start(cluster)
        for at in surplus([self._members[name].since is not None for name in staying], wanted=wanted):
            self._let_go(cluster, staying[at], now=now)

    def _start(self, cluster: "RayCluster") -> None:
        self._made += 1
        name = f"{self._name}-{self._made}"
        self._members[name] = _Member()
        # The fleet as a whole has a walltime and is idle, not each worker.
        worker = replace(self._told.worker, name=name, walltime=None, idle_exit=None)
        cluster.start(name, msgspec.json.encode(replace(self._told, worker=worker)))

    def _let_go(self, cluster: "RayCluster", name: str, *, now: float) -> None:
        """Drain a worker; one that has not begun has nothing to finish."""
        if self._members[name].since is None:
            del self._members[name]
            cluster.kill(name)
            return
        self._members[name].until = now + self._leave.total_seconds()
        cluster.drain(name)

    def _end_the_late(self, cluster: "RayCluster", *, now: float) -> None:
        for name in [name for name, member in self._members.items() if member.until and now >= member.until]:
            _log.warning("worker_did_not_drain", worker=name)
            del self._members[name]
            cluster.kill(name)

    def _drain_all(self, cluster: "RayCluster") -> None:
        for name in [name for name, member in self._members.items() if member.until is None]:
            self._let_go(cluster, name, now=time.monotonic())
        while self._members:
            self._hear(cluster.news(within=_LOOK), now=time.monotonic())
            self._end_the_late(cluster, now=time.monotonic())

    # What becomes of them

    def _hear(self, news: "list[News]", *, now: float) -> None:
        for one in news:
            if one.host is not None:
                self._members[one.name].since = now
                _log.info("worker_began", worker=one.name, host=one.host)
                self._say(f"Worker {one.name} begins on {one.host}.")
                continue
            member = self._members.pop(one.name)
            if member.until is not None:
                self._say(f"Worker {one.name} is gone.")
            elif one.ended is not None and one.ended.status == 0:
                self._say(f"Worker {one.name} ended by itself.")
            else:
                self._lost(one, member, now=now)

    def _lost(self, news: "News", member: _Member, *, now: float) -> None:
        """Another one comes in its place, later and later where they are lost from the start."""
        settled = member.since is not None and now - member.since >= _SETTLED
        self._losses = 1 if settled else self._losses + 1
        pause = pause_after(self._losses)
        self._start_at = now + pause.total_seconds()
        why = _words(news.ended) if news.ended else news.lost
        _log.warning("worker_lost", worker=news.name, reason=why)
        self._say(f"Worker {news.name} was lost: {why} Another one comes in {pause.total_seconds():g} s.")
        working = any(other.since is not None for other in self._members.values())
        refused = news.ended is not None and news.ended.status == _CANNOT_WORK
        if refused and not working and self._losses >= _ENOUGH:
            self._failed = UsageError(f"Workers on Ray cannot work as they were started. The last one said: {why}")


def _words(ended: Ended) -> str:
    return f"it ended with status {ended.status}. {ended.said}".strip()
