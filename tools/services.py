"""Starts the services that tests need, on ports and in folders of their own, runs a command, and stops them."""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

#: Seconds that a service may take to answer.
_PATIENCE = 60
#: The user that a server of PostgreSQL runs as where this process is root, whom it refuses.
_UNPRIVILEGED = "postgres"
#: Debian's script that starts a broker as whoever calls it; the one on the path wants to be root or a user of its own.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class Unavailable(Exception):
    """A service cannot be had here; the text says why and what helps."""


class Service(ABC):
    """One server: how it is had, and how it runs in a folder of its own."""

    #: As in ``LIMNER_TEST_<NAME>``.
    name: str
    #: Debian packages that bring it; none where the lock does.
    packages: tuple[str, ...] = ()

    @abstractmethod
    def installed(self) -> bool:
        """Whether its programs are here."""

    @abstractmethod
    def running(self, folder: Path) -> "Iterator[str]":
        """Start it in *folder*, give its address, and stop it."""


class PostgreSQL(Service):
    """A cluster that trusts whoever reaches its loopback port, without the syncs that a real one needs."""

    name = "postgresql"
    packages = ("postgresql", "postgresql-contrib")

    def installed(self) -> bool:
        """Whether Debian's versioned folder of programs, or the path, has its server."""
        return self._programs() is not None

    def running(self, folder: Path) -> Iterator[str]:
        """Start it in *folder*, give its address, and stop it."""
        programs, port = self._programs(), free_port()
        assert programs is not None
        if os.geteuid() == 0:
            shutil.chown(folder, _UNPRIVILEGED)
        data = folder / "data"
        self._run(programs / "initdb", "-D", data, "-A", "trust", "-U", "limner", "--locale=C.UTF-8", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
        control, log = programs / "pg_ctl", folder / "log"
        self._run(control, "-D", data, "-w", "-t", str(_PATIENCE), "-l", log, "-o", options, "start")
        try:
            yield f"postgresql://limner@127.0.0.1:{port}/postgres"
        finally:
            self._run(control, "-D", data, "-m", "immediate", "stop")

    def _run(self, *command: str | Path) -> None:
        words = [str(word) for word in command]
        if os.geteuid() == 0:
            words = ["runuser", "-u", _UNPRIVILEGED, "--", *words]
        done = subprocess.run(words, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise Unavailable(f"{words[-1]} of PostgreSQL failed: {done.stderr.strip() or done.stdout.strip()}")

    def _programs(self) -> Path | None:
        found = shutil.which("initdb")
        if found:
            return Path(found).parent
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[-3])
        return versions[-1].parent if versions else None


class RabbitMQ(Service):
    """One broker with one user; its name server (epmd) is its own too, so that nothing outlives it."""

    name = "rabbitmq"
    packages = ("rabbitmq-server",)

    def installed(self) -> bool:
        """Whether Debian's folder of scripts and Erlang's epmd are here."""
        return _RABBITMQ.is_file() and shutil.which("epmd") is not None

    def running(self, folder: Path) -> Iterator[str]:
        """Start it in *folder*, give its address, and stop it."""
        broker = Broker(folder)
        broker.start()
        try:
            yield broker.url
        finally:
            broker.close()


class Broker:
    """A RabbitMQ in a folder: what was durable is there again when it is started again."""

    def __init__(self, folder: Path, *, certificate: Path | None = None, key: Path | None = None) -> None:
        """With a *certificate* and its *key* it listens for encrypted connections, too."""
        self.port, epmd, distribution = free_port(), free_port(), free_port()
        self.encrypted_port = free_port() if certificate else None
        self._folder = folder
        self._epmd_port = epmd
        settings = {"listeners.tcp.1": f"127.0.0.1:{self.port}"}
        if certificate:
            settings["listeners.ssl.1"] = f"127.0.0.1:{self.encrypted_port}"
            settings |= {"ssl_options.certfile": f"{certificate}", "ssl_options.keyfile": f"{key}"}
        (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        (folder / "plugins").write_text("[].\n")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd),
            "RABBITMQ_NODENAME": f"limner{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self._epmd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, with the user that a new broker has."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        """
        Start it, and wait until it greets.

        Raises:
            Unavailable: it does not; the text says what it wrote.
        """
        if self._epmd is None:
            words = ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1"]
            self._epmd = self._begin(words)
            _wait_for(lambda: _greets(self._epmd_port, b""), process=self._epmd, told=self._told)
        self._server = self._begin([str(_RABBITMQ)])
        _wait_for(lambda: _greets(self.port, b"AMQP\x00\x00\x09\x01"), process=self._server, told=self._told)

    def control(self, *words: str) -> None:
        """
        Have ``rabbitmqctl`` do something.

        Raises:
            Unavailable: it did not.
        """
        command = [str(_RABBITMQ.with_name("rabbitmqctl")), "-q", *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"rabbitmqctl {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")

    def stop(self) -> None:
        """
        End it in good order.

        A queue that was made within the last moments may have no leader for ever after a kill: that is tested by those
        who make the broker.
        """
        if self._server is not None:
            self._server.terminate()
            self._server.wait(_PATIENCE)
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._server is not None:
            _end(self._server)
            self._server = None

    def close(self) -> None:
        """End it and its name server."""
        self.kill()
        if self._epmd is not None:
            _end(self._epmd)
            self._epmd = None

    def _begin(self, words: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start a program whose process group is its own."""
        with (self._folder / "said").open("ab") as said:
            return subprocess.Popen(
                words,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=self._folder,
                start_new_session=True,
            )

    def _told(self) -> str:
        return "\n".join((self._folder / "said").read_text(errors="replace").splitlines()[-10:])


class S3(Service):
    """An object store that speaks S3, over a folder, with one bucket and one key."""

    name = "s3"

    def installed(self) -> bool:
        """Whether rclone is here, which the lock brings."""
        return _rclone() is not None

    def running(self, folder: Path) -> Iterator[str]:
        """Start it in *folder*, give its address, and stop it."""
        server = ObjectStore(folder)
        server.start()
        try:
            yield server.url
        finally:
            server.kill()


class ObjectStore:
    """``rclone serve s3`` over a folder; what was put whole is there again when it is started again."""

    #: Whom it knows; it listens on this machine alone.
    KEY, SECRET = "LIMNERTESTKEY", "limner-test-secret"
    BUCKET = "limner"

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / "data" / self.BUCKET).mkdir(parents=True)
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Its bucket, as the setting `artifacts` takes it; the keys are told by :meth:`environment`."""
        return f"s3://{self.BUCKET}?endpoint_url={self.endpoint}"

    @classmethod
    def environment(cls) -> dict[str, str]:
        """The variables that hold its keys."""
        return {"AWS_ACCESS_KEY_ID": cls.KEY, "AWS_SECRET_ACCESS_KEY": cls.SECRET}

    def start(self) -> None:
        """
        Start it, and wait until it takes connections.

        Raises:
            Unavailable: it does not; the text says what it wrote.
        """
        program = _rclone()
        if program is None:
            raise Unavailable("rclone is missing; `make setup` installs it as locked.")
        words = [program, "serve", "s3", "--config", "", "--auth-key", f"{self.KEY},{self.SECRET}", "--addr"]
        with (self._folder / "said").open("ab") as said:
            self._server = subprocess.Popen(
                [*words, f"127.0.0.1:{self.port}", str(self._folder / "data")],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        _wait_for(lambda: _greets(self.port, b""), process=self._server, told=self._told)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._server is not None:
            _end(self._server)
            self._server = None

    def _told(self) -> str:
        return (self._folder / "said").read_text(errors="replace")[-1000:]


def _rclone() -> str | None:
    """Where rclone is: beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.is_file() else shutil.which("rclone")


def _greets(port: int, hello: bytes) -> bool:
    """Whether a server on *port* answers *hello*, or takes a connection where that is empty."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(hello)
            return not hello or bool(connection.recv(1))
    except OSError:
        return False


def _wait_for(true: Callable[[], bool], *, process: "subprocess.Popen[bytes]", told: Callable[[], str]) -> None:
    """Wait until a server that was started as *process* answers."""
    ends = time.monotonic() + _PATIENCE
    while not true():
        if process.poll() is not None or time.monotonic() > ends:
            _end(process)
            raise Unavailable(f"{Path(str(process.args)).name} does not answer: {told()}")
        # The pace of polling, nothing more.
        time.sleep(0.05)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


#: Every service that tests ask for.
SERVICES: tuple[Service, ...] = (PostgreSQL(), RabbitMQ(), S3())
#: Programs that tests call, and the Debian packages that bring them.
PROGRAMS = {"shellcheck": "shellcheck", "curl": "curl"}


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def install(packages: Sequence[str]) -> None:
    """
    Install Debian *packages*.

    Raises:
        Unavailable: this is no Debian, or nobody here may install.
    """
    if shutil.which("apt-get") is None:
        raise Unavailable(f"Install {', '.join(packages)} by the means of this system, then run this again.")
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        command = [*prefix, "apt-get", *words]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise Unavailable(f"Install {', '.join(packages)} as root, then run this again.") from error
        if done.returncode:
            raise Unavailable(f"`{' '.join(command)}` failed: {done.stderr.strip().splitlines()[-1:]}")


def wanted_packages() -> list[str]:
    """The Debian packages that are not here yet."""
    found = [package for service in SERVICES if not service.installed() for package in service.packages]
    return found + [package for program, package in PROGRAMS.items() if shutil.which(program) is None]


@contextmanager
def all_running() -> Iterator[dict[str, str]]:
    """Every service that can be had, running; the variables by which tests find them."""
    packages = wanted_packages()
    if packages:
        print(f"Installing {', '.join(packages)} …", flush=True)
        try:
            install(packages)
        except Unavailable as error:
            # Tests of what is missing are skipped, and fail in CI; all others run.
            print(f"NOT INSTALLED: {error}", file=sys.stderr)
    with ExitStack() as stack:
        found = {}
        for service in SERVICES:
            if service.installed():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"limner-{service.name}-")))
                folder.chmod(0o755)
                started = time.monotonic()
                address = stack.enter_context(contextmanager(service.running)(folder))
                found[f"LIMNER_TEST_{service.name.upper()}"] = address
                print(f"{service.name} answers at {address} after {time.monotonic() - started:.1f} s", flush=True)
        yield found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command with the services; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run while they answer")
    command = parser.parse_args(arguments).command
    command = command[1:] if command[:1] == ["--"] else command
    if not command:
        parser.error("name a command")
    try:
        with all_running() as variables:
            process = subprocess.Popen(command, env={**os.environ, **variables})
            while True:
                # Ctrl-C reaches the command too; its own status is what counts.
                with suppress(KeyboardInterrupt):
                    return process.wait()
    except Unavailable as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
