"""A server from its start to its end: projects at work, a socket, and a graceful stop."""

import gc
import ipaddress
import logging
import signal
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import structlog
import uvicorn
from fastapi import FastAPI

from limner.api.app import create
from limner.api.doors import Doors
from limner.app.online import Online
from limner.app.projects import Projects
from limner.app.tokens import Tokens
from limner.errors import ConfigurationError, LimnerError, UsageError
from limner.settings import Project

_log = structlog.get_logger(__name__)
#: Connections that wait to be taken.
_BACKLOG = 2048
#: Seconds for which a connection is kept without a question: longer than clients keep theirs, so that none is cut off.
KEEP_ALIVE = 75
#: The part of the grace in which requests are answered to their end; the rest is for workers.
_ANSWERING = 0.6


class Serving:
    """One server over one project folder."""

    def __init__(
        self,
        project: Project,
        *,
        host: str,
        port: int,
        role: Literal["all", "api", "engine"] = "all",
        own_workers: bool = True,
        grace: timedelta = timedelta(seconds=3),
    ) -> None:
        """*own_workers*: this process infers too; *grace* is the time that what is under way has at the end."""
        self._host = host
        self._port = port
        self._role = role
        self._grace = grace
        self._public = not is_loopback(host)
        self.projects = Projects(project, leads=role != "api", own_workers=own_workers and role != "api")

    def run(self, started: Callable[[str | None], None]) -> None:
        """
        Serve until a signal comes; *started* is told the address once it can be reached.

        Raises:
            UsageError: the address cannot be listened on, or others would reach it without a token.
            ConfigurationError: a setting does not fit, or another process runs the engine here.
        """
        try:
            if self._role == "engine":
                self._work(started)
            else:
                self._answer(started)
        finally:
            self.projects.root.close()

    def _work(self, started: Callable[[str | None], None]) -> None:
        """The engine alone, without a door."""
        self.projects.start()
        try:
            started(None)
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            self.projects.stop(self._grace)

    def _answer(self, started: Callable[[str | None], None]) -> None:
        _log_as_data()
        self._refuse_open_door()
        app = create(self.projects, public=self._public)
        listening = listen(self._host, self._port)
        url = _url(self._host, listening.getsockname()[1])
        try:
            self.projects.start()
            self._load(app)
            settle_memory()
            server = _Server(self._config(app), started=lambda: started(url))
            server.run_until_stopped(listening)
        finally:
            listening.close()
            self.projects.stop(self._grace * (1 - _ANSWERING))

    def _config(self, app: FastAPI) -> uvicorn.Config:
        return uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=KEEP_ALIVE,
            # uvicorn waits so long, a float of seconds as well as an int.
            timeout_graceful_shutdown=self._grace.total_seconds() * _ANSWERING,  # type: ignore[arg-type]  # see above
        )

    def _refuse_open_door(self) -> None:
        """Others than this machine reach the server only with tokens, and not as often as they like."""
        if not self._public:
            return
        root = self.projects.root
        if not Tokens(root.store, root.clock).exist():
            raise UsageError(
                f"At {self._host} others would reach this server, and no token exists yet. Make one first: "
                "limner token create --scope read --scope submit; or listen on 127.0.0.1."
            )
        if not root.settings.rate_limit:
            raise ConfigurationError(
                f"At {self._host} others would reach this server, and the setting `rate_limit` is 0, which is no "
                "limit; set how many requests a second one token or address may send."
            )

    def _load(self, app: FastAPI) -> None:
        """Load the inferrers that the setting ``online`` names, beside the start."""
        doors: Doors = app.state.doors
        host = self.projects.host("default")
        for stage in self.projects.root.settings.online:
            threading.Thread(target=_load, args=(doors.of(host), stage), name=f"load {stage}", daemon=True).start()


def _load(online: Online, stage: str) -> None:
    """Load one stage's inferrer; one that cannot be loaded is tried again when it is asked."""
    try:
        online.load(online.target(stage))
    except LimnerError as error:
        _log.warning("online_stage_not_ready", stage=stage, reason=str(error))


class _Server(uvicorn.Server):
    """uvicorn's server; says when it can be reached, and ends without raising its signal again."""

    def __init__(self, config: uvicorn.Config, *, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._told()

    def run_until_stopped(self, listening: socket.socket) -> None:
        """Serve until SIGTERM or SIGINT."""
        before = {sign: signal.getsignal(sign) for sign in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.run(sockets=[listening])
        except KeyboardInterrupt:
            # What it caught, it raises again when it has stopped; by then all is done.
            pass
        finally:
            for sign, handler in before.items():
                signal.signal(sign, handler)


def settle_memory() -> None:
    """
    Look for garbage in cycles seldom, and never again among what a started server holds for good.

    Requests make many objects and hardly a cycle; looking through all of them as often as Python does by itself took a
    tenth of the time of short requests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


class _AsData(logging.Handler):
    """Hands the web server's own warnings on as log lines, without tracebacks of requests that were cut off."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        _log.warning("web_server", said=record.getMessage().partition("\n")[0])


def _log_as_data() -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers = [_AsData(level=logging.WARNING)]
    logger.propagate = False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """
    A socket that listens at *host* and *port*.

    Raises:
        UsageError: it cannot; the sentence says why.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"{host}:{port} cannot be listened on: {error.strerror or error}; name another --port."
        ) from error


def _url(host: str, port: int) -> str:
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{port}"
