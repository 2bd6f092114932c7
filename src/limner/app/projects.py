"""The projects of one server: a store each, opened when somebody first asks for it."""

import threading
from datetime import timedelta
from pathlib import Path

from msgspec import structs

from limner.app.announcing import Announcing
from limner.app.app import App
from limner.app.callback_pages import Format, formats_of
from limner.app.hosting import Host
from limner.app.outbox import Outbox
from limner.app.secrets import ServerKey
from limner.app.tokens import check_project_name
from limner.artifacts.connect import artifacts_of_project
from limner.bus.connect import bus_of_project
from limner.clock import Clock
from limner.errors import ConfigurationError, NotFound
from limner.settings import DEFAULT, HOME, Project
from limner.store.connect import schema_of


class Projects:
    """Every project of one server."""

    def __init__(
        self, project: Project, *, clock: Clock | None = None, leads: bool = True, own_workers: bool = True
    ) -> None:
        """*leads*: this process runs the engines; *own_workers*: it infers too."""
        self.project = project
        self.root = App(project, clock=clock)
        self.key = ServerKey.of(project, clock=self.root.clock)
        self._leads = leads
        self._own_workers = own_workers
        self._hosts: dict[str, Host] = {}
        self._outboxes: list[Outbox] = []
        self._announcing: list[Announcing] = []
        self._lock = threading.Lock()
        self._formats: dict[str, Format] | None = None

    def names(self) -> list[str]:
        """The projects that there are."""
        folder = self._folder()
        made = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        return [DEFAULT, *made]

    def make(self, name: str) -> None:
        """
        Make a project, unless it is there.

        Raises:
            UsageError: the name cannot be one.
        """
        if check_project_name(name) != DEFAULT:
            (self._folder() / name).mkdir(parents=True, exist_ok=True)

    def host(self, name: str) -> Host:
        """
        The project at work; it is opened when it is first asked for.

        Raises:
            NotFound: it was never made.
        """
        with self._lock:
            if name not in self._hosts:
                if name not in self.names():
                    raise NotFound(f"There is no project {name}; `limner token create --project {name}` makes it.")
                self._hosts[name] = self._opened(name)
            return self._hosts[name]

    def in_trouble(self) -> list[str]:
        """The projects at work whose messages do not move at the moment."""
        with self._lock:
            hosts = list(self._hosts.values())
        return [host.name for host in hosts if host.bus_trouble]

    def owner(self, job: str) -> str | None:
        """The project that has a job; None where none has."""
        for name in self.names():
            with self.host(name).store.reading() as tx:
                if tx.jobs.exists(job):
                    return name
        return None

    def start(self) -> None:
        """Put every project to work, so that what an earlier process left goes on."""
        for name in self.names():
            self.host(name)

    def stop(self, grace: timedelta) -> None:
        """Stop them all; what is not done by then goes on with the next start."""
        for outbox in self._outboxes:
            outbox.stop(grace)
        for announcing in self._announcing:
            announcing.stop(grace)
        for host in self._hosts.values():
            host.stop(grace)

    def _opened(self, name: str) -> Host:
        app = self.root if name == DEFAULT else App(project_of(self.project, name), clock=self.root.clock)
        host = Host(app, key=self.key, leads=self._leads, own_workers=self._own_workers)
        if self._formats is None:
            self._formats = formats_of(self.root.declared.systems)
        host.callback_formats = {"limner", *self._formats}
        host.start()
        if self._leads:
            outbox = Outbox(host, key=self.key, formats=self._formats)
            self._outboxes.append(outbox)
            host.followers.append(lambda: _tick(outbox, host))
            if app.settings.events:
                self._announcing.append(Announcing(host))
        return host

    def _folder(self) -> Path:
        return self.project.folder / HOME / "projects"


def _tick(outbox: Outbox, host: Host) -> None:
    outbox.tick(host.clock.now())


def project_of(root: Project, name: str) -> Project:
    """The project *name* of the folder: the same settings, and places of its own."""
    settings = root.settings
    places = {field: getattr(settings, field) for field in ("store", "artifacts", "index", "cache")}
    own = schema_of(places["store"], name)
    if own is not None:
        places.pop("store")
    index = schema_of(places["index"], name)
    if index is not None:
        places.pop("index")
    artifacts = artifacts_of_project(places["artifacts"], name)
    if artifacts is not None:
        places.pop("artifacts")
    for field, place in places.items():
        if f"{HOME}/" not in place:
            raise ConfigurationError(
                f"The setting `{field}` names {place}, which all projects would share; leave it below {HOME}/."
            )
    moved = {field: place.replace(f"{HOME}/", f"{HOME}/projects/{name}/", 1) for field, place in places.items()}
    if own is not None:
        moved["store"] = own
    if index is not None:
        moved["index"] = index
    if artifacts is not None:
        moved["artifacts"] = artifacts
    moved["bus"] = bus_of_project(settings.bus, name)
    return Project(folder=root.folder, settings=structs.replace(settings, **moved), name=name)
