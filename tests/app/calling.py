"""What the tests of callbacks share: a project without work, jobs by hand, and an outbox whose clock is moved."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from limner.app.app import App
from limner.app.callback_body import Hosting
from limner.app.callback_pages import Format
from limner.app.outbox import Outbox
from limner.app.redelivering import Alone
from limner.app.secrets import ServerKey
from limner.clock import MovedClock
from limner.domain.jobs import Fate, Job, JobState
from limner.domain.values import Value
from limner.settings import load_project
from limner.store.callbacks import Callback, Standing
from limner.testing.listener import CallbackListener

TOKEN = "callback-token-that-nobody-sees"
SECOND = timedelta(seconds=1)
#: Longer than anything here takes; a test that waits this long has failed.
PATIENCE = timedelta(seconds=20)


def keys_of(host: Hosting, job: Job, keys: Sequence[int]) -> dict[str, Value]:
    """The keys of the records, and nothing else."""
    return {"job": job.id, "state": job.state.value, "page": None, "keys": list(keys)}


class Desk:
    """One project with its outbox."""

    def __init__(self, folder: Path, *listeners: CallbackListener, formats: dict[str, Format] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.clock = MovedClock()
        self.listeners = listeners
        self.formats = {"keys": Format(body=keys_of), **(formats or {})}
        self.settings: dict[str, object] = {}
        self.open()

    def open(self, *, at: float | None = None, **settings: object) -> None:
        """A process begins over the project, at another time or with other settings if asked."""
        if at is not None:
            self.clock = MovedClock(start=at)
        self.settings |= settings
        allowed = [one.host for one in self.listeners]
        project = load_project(self.folder, environment={}, options={"allow_hosts": allowed, **self.settings})
        self.app = App(project, clock=self.clock)
        self.key = ServerKey.of(project, clock=self.clock)
        self.host = Alone(name="default", app=self.app, store=self.app.store, clock=self.clock)
        self.outbox = Outbox(self.host, key=self.key, formats=self.formats, jitter=lambda: 0.0)

    def close(self) -> None:
        """The process ends."""
        self.outbox.stop(PATIENCE)
        self.app.close()

    def job(
        self,
        name: str = "j",
        *,
        to: CallbackListener | str,
        records: int = 3,
        mode: str = "end",
        token: str = TOKEN,
        format_: str = "keys",
        ended: bool = True,
        fate: Fate = Fate.DONE,
    ) -> str:
        """A job that asks for a callback; it ends unless told otherwise."""
        url = to if isinstance(to, str) else to.url
        now = self.clock.now()
        with self.app.store.transaction() as tx:
            tx.jobs.add(Job(id=name, pipeline="p", state=JobState.WAITING, created=now))
            tx.jobs.move(name, JobState.RUNNING, at=now)
            tx.ledger.enter(name, dict.fromkeys(range(1, records + 1), fate if ended else Fate.OPEN))
            tx.callbacks.add(Callback(job=name, url=url, token=self.key.seal(token), mode=mode, format=format_))
            if ended:
                tx.jobs.move(name, JobState.DONE, at=now)
        return name

    def end(self, job: str, state: JobState = JobState.DONE) -> None:
        """The job ends."""
        with self.app.store.transaction() as tx:
            if state is JobState.CANCELLED:
                tx.jobs.move(job, JobState.CANCELLING, at=self.clock.now())
            tx.jobs.move(job, state, at=self.clock.now())

    def settle(self, job: str, fates: dict[int, Fate]) -> None:
        """Records of a job end, or are opened again."""
        with self.app.store.transaction() as tx:
            tx.ledger.settle(job, fates)

    def tick(self) -> bool:
        """One look at what is due, until all that it began has ended; whether it began anything."""
        began = self.outbox.tick(self.clock.now())
        assert self.outbox.wait(PATIENCE)
        return began

    def work(self, *, rounds: int = 100) -> None:
        """Look until nothing is due now."""
        for _ in range(rounds):
            if not self.tick():
                return
        raise AssertionError("the outbox never comes to rest")

    def pass_time(self, time: timedelta) -> None:
        """Time passes, and what is due then is done."""
        self.clock.move(time)
        self.work()

    def standing(self, job: str = "j") -> Standing:
        """Where a callback stands."""
        with self.app.store.reading() as tx:
            return tx.deliveries.standing(job)

    def events(self, job: str = "j") -> list[str]:
        """What happened to a job and has to do with its callback."""
        with self.app.store.reading() as tx:
            return [event.kind for event in tx.jobs.events(job) if event.kind.startswith("callback")]


def keys_told(listener: CallbackListener) -> list[int]:
    """The records that a listener accepted, in order."""
    return sorted(key for one in listener.accepted for key in one.document["keys"])  # type: ignore[attr-defined]  # a list
