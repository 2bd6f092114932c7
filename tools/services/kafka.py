"""Kafka for tests: one node without ZooKeeper, from Maven Central, with a log of its own."""

import base64
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

from tools.services.base import Daemon, Service, Unavailable, free_port, greets

_RELEASE = "4.1.1"
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
#: Maven keeps what it has fetched, so another try goes on where a broken connection left it.
_TRIES = 3
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>limner</groupId><artifactId>test-broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{_RELEASE}</version></dependency>
  </dependencies>
</project>
"""
#: Small and quick: one partition for offsets, no wait for members that may come.
_SETTINGS = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""
_JAVA = ("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class Kafka(Service):
    """One broker, whose programs Maven fetches once for every clone of this user."""

    name = "kafka"
    packages = ("maven", "default-jre-headless")

    def installed(self) -> bool:
        """Whether Java and Maven are here."""
        return shutil.which("java") is not None and shutil.which("mvn") is not None

    def running(self, folder: Path) -> Iterator[str]:
        """Start it in *folder*, give its address, and stop it."""
        broker = KafkaBroker(folder)
        broker.start()
        try:
            yield broker.url
        finally:
            broker.kill()


class KafkaBroker:
    """A broker in a folder: what was confirmed is there again when it is started again."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._daemon = Daemon(folder)
        self._programs = _programs()
        settings = _SETTINGS.format(port=self.port, controller=free_port(), folder=folder)
        (folder / "server.properties").write_text(settings)
        # As one word: an id may begin with a hyphen.
        words = ("format", f"--cluster-id={_cluster()}", "-c", str(folder / "server.properties"))
        self._java("kafka.tools.StorageTool", *words)

    @property
    def url(self) -> str:
        """Its address."""
        return f"kafka://127.0.0.1:{self.port}"

    def start(self) -> None:
        """
        Start it, and wait until it takes connections.

        Raises:
            Unavailable: it does not; the text says what it wrote.
        """
        words = [*_JAVA, "-cp", f"{self._programs}/*", "kafka.Kafka", str(self._folder / "server.properties")]
        self._daemon.start(words, answers=lambda: greets(self.port, b""))

    def kill(self) -> None:
        """End it as a power cut would."""
        self._daemon.kill()

    def _java(self, *words: str) -> None:
        command = [*_JAVA, "-cp", f"{self._programs}/*", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self._folder)
        if done.returncode:
            raise Unavailable(f"{words[0]} of Kafka failed: {done.stderr.strip() or done.stdout.strip()}")


def _programs() -> Path:
    """
    The folder of its programs, fetched by Maven where they are not there yet.

    Raises:
        Unavailable: they cannot be fetched; the text says what Maven wrote.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "limner"
    found = cache / f"kafka-{_RELEASE}"
    if found.is_dir():
        return found
    making = cache / f"kafka-{_RELEASE}.{os.getpid()}"
    making.mkdir(parents=True)
    (making / "pom.xml").write_text(_POM)
    command = ["mvn", "-q", "-B", f"{_PLUGIN}:copy-dependencies", f"-DoutputDirectory={making / 'programs'}"]
    for _ in range(_TRIES):
        done = subprocess.run(command, capture_output=True, text=True, cwd=making)
        if done.returncode == 0:
            break
    else:
        raise Unavailable(f"Maven fetched no Kafka: {(done.stdout + done.stderr).strip()[-500:]}")
    if not found.is_dir():
        (making / "programs").rename(found)
    shutil.rmtree(making, ignore_errors=True)
    return found


def _cluster() -> str:
    """An id as Kafka writes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
