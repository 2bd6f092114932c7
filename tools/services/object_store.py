"""An object store for tests that speaks S3: rclone over a folder."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.services.base import Daemon, Service, Unavailable, free_port, greets


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
        self._daemon = Daemon(folder)

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
        words += [f"127.0.0.1:{self.port}", str(self._folder / "data")]
        self._daemon.start(words, answers=lambda: greets(self.port, b""))

    def kill(self) -> None:
        """End it as a power cut would."""
        self._daemon.kill()


def _rclone() -> str | None:
    """Where rclone is: beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("rclone")
    return str(beside) if beside.is_file() else shutil.which("rclone")
