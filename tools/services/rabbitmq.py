"""RabbitMQ for tests: Debian's, with a name server and a folder of its own."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.services.base import PATIENCE, Service, Unavailable, end, free_port, greets, wait_for

#: Debian's script that starts a broker as whoever calls it; the one on the path wants to be root or a user of its own.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


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
            wait_for(lambda: greets(self._epmd_port, b""), process=self._epmd, told=self._told)
        self._server = self._begin([str(_RABBITMQ)])
        wait_for(lambda: greets(self.port, b"AMQP\x00\x00\x09\x01"), process=self._server, told=self._told)

    def control(self, *words: str) -> None:
        """
        Have ``rabbitmqctl`` do something.

        Raises:
            Unavailable: it did not.
        """
        self.told(*words)

    def told(self, *words: str) -> str:
        """
        What ``rabbitmqctl`` answers.

        Raises:
            Unavailable: it did nothing.
        """
        command = [str(_RABBITMQ.with_name("rabbitmqctl")), "-q", *words]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"rabbitmqctl {words[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def stop(self) -> None:
        """
        End it in good order.

        A queue that was made within the last moments may have no leader for ever after a kill: that is tested by those
        who make the broker.
        """
        if self._server is not None:
            self._server.terminate()
            self._server.wait(PATIENCE)
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._server is not None:
            end(self._server)
            self._server = None

    def close(self) -> None:
        """End it and its name server."""
        self.kill()
        if self._epmd is not None:
            end(self._epmd)
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
