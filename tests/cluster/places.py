"""Where a cluster keeps things: a store, a bus and artifacts of its own, each to be killed and started again."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pika
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from limner.domain.tasks import decode_task
from tests.cluster.hardware import SmallDisk
from tools.services import Broker, KafkaBroker, ObjectStore, PostgreSQLServer

_TASKS = "limner.tasks."
#: Messages of a partition that are kept aside.
_MOST = 2
_PARTITIONS = 4


class Bus(ABC):
    """A broker of the cluster's own."""

    url: str
    #: Where it listens at 127.0.0.1.
    port: int

    @abstractmethod
    def start(self) -> None:
        """Start it, as it was when it ended."""

    @abstractmethod
    def kill(self) -> None:
        """End it as a power cut would."""

    def stop(self) -> None:
        """End it in good order."""
        self.kill()

    @abstractmethod
    def close(self) -> None:
        """End it for good."""

    @abstractmethod
    def purge(self) -> None:
        """Empty every queue."""

    @abstractmethod
    def keep_aside(self) -> "Sequence[Kept]":
        """Some tasks that wait, or have been there; whoever takes messages from a queue finds them there no more."""

    @abstractmethod
    def deliver(self, kept: "Sequence[Kept]") -> None:
        """Deliver what was kept aside."""


class Kept(NamedTuple):
    """A message that was kept aside."""

    queue: str
    partition: int
    body: bytes
    properties: "pika.BasicProperties | None"

    @property
    def task(self) -> int:
        """The task that it is."""
        return decode_task(self.body).id


class RabbitMQ(Bus):
    """RabbitMQ."""

    def __init__(self, folder: Path) -> None:
        self._broker = Broker(folder)
        self.port = self._broker.port
        self.url = self._broker.url

    def start(self) -> None:
        """Start it."""
        self._broker.start()

    def kill(self) -> None:
        """
        End it in good order all the same.

        A single node whose queue was made within the last moments may never elect a leader for it again after a kill,
        which those who make the broker test.
        """
        self._broker.stop()

    def close(self) -> None:
        """End it and its name server."""
        self._broker.close()

    def purge(self) -> None:
        """Empty every queue of Limner's."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            for queue in self._queues():
                connection.channel().queue_purge(queue)

    def keep_aside(self) -> Sequence[Kept]:
        """Take all that waits: while some is left, the engine takes the rest to wait, too, and sends nothing again."""
        found: list[Kept] = []
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            for queue in (name for name in self._queues() if name.startswith(_TASKS)):
                while (one := channel.basic_get(queue, auto_ack=True))[0] is not None:
                    found.append(Kept(queue, 0, one[2], one[1]))
        return found

    def deliver(self, kept: Sequence[Kept]) -> None:
        """Publish them."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            for one in kept:
                channel.basic_publish("", one.queue, one.body, one.properties)

    def _queues(self) -> list[str]:
        return [line for line in self._broker.told("list_queues", "name").split() if line.startswith("limner.")]


class Kafka(Bus):
    """Kafka."""

    def __init__(self, folder: Path) -> None:
        self._broker = KafkaBroker(folder)
        self.port = self._broker.port
        self._servers: dict[str, str | int | float | bool] = {"bootstrap.servers": f"127.0.0.1:{self._broker.port}"}
        self.url = f"{self._broker.url}/?partitions={_PARTITIONS}"

    def start(self) -> None:
        """Start it."""
        self._broker.start()

    def kill(self) -> None:
        """Kill it."""
        self._broker.kill()

    def close(self) -> None:
        """Kill it."""
        self._broker.kill()

    def purge(self) -> None:
        """Delete every record of Limner's topics."""
        admin = AdminClient(self._servers)
        ends = {place: end for place, (_, end) in self._ends().items()}
        wanted = [TopicPartition(place.topic, place.partition, end) for place, end in ends.items() if end]
        for done in admin.delete_records(wanted).values() if wanted else ():
            done.result(30)

    def keep_aside(self) -> Sequence[Kept]:
        """Read the last tasks that the topics keep."""
        consumer = Consumer({**self._servers, "group.id": "somebody-else", "enable.auto.commit": False})
        found: list[Kept] = []
        for place, (begin, end) in self._ends().items():
            if not place.topic.startswith(_TASKS) or begin == end:
                continue
            first = max(begin, end - _MOST)
            consumer.assign([TopicPartition(place.topic, place.partition, first)])
            for message in consumer.consume(end - first, 5):
                if message.error() is None:
                    found.append(Kept(place.topic, place.partition, message.value() or b"", None))
        consumer.close()
        return found

    def deliver(self, kept: Sequence[Kept]) -> None:
        """Append them."""
        producer = Producer(self._servers)
        for one in kept:
            producer.produce(one.queue, one.body, partition=one.partition)
        producer.flush(30)

    def _ends(self) -> dict[TopicPartition, tuple[int, int]]:
        consumer = Consumer({**self._servers, "group.id": "somebody-else"})
        found = {}
        for name, topic in consumer.list_topics(timeout=30).topics.items():
            if name.startswith("limner."):
                for number in topic.partitions:
                    place = TopicPartition(name, number)
                    found[place] = consumer.get_watermark_offsets(place, timeout=30)
        consumer.close()
        return found


BUSES: Mapping[str, Callable[[Path], Bus]] = {"rabbitmq": RabbitMQ, "kafka": Kafka}


class Places:
    """The servers of one cluster; entered, they run until the block ends."""

    def __init__(self, folder: Path, *, bus: str, artifacts: str, small_disk: bool = False) -> None:
        """*small_disk*: artifacts, or what the object store keeps, lie on a file system that can be filled."""
        self._stack = ExitStack()
        for name in ("bus", "s3"):
            (folder / name).mkdir(parents=True)
        # PostgreSQL runs as a user of its own, who may not enter a test's folder.
        own = Path(self._stack.enter_context(TemporaryDirectory(prefix="limner-postgresql-")))
        own.chmod(0o755)
        self.postgresql = PostgreSQLServer(own)
        self.bus = BUSES[bus](folder / "bus")
        self._kept = folder / "s3" / "data" if artifacts == "s3" else folder / "artifacts"
        self.disk = SmallDisk(self._kept) if small_disk else None
        if self.disk is not None:
            self._stack.callback(self.disk.close)
        self.s3 = ObjectStore(folder / "s3") if artifacts == "s3" else None

    def __enter__(self) -> "Places":
        self.postgresql.start()
        self._stack.callback(self.postgresql.kill)
        self._stack.callback(self.bus.close)
        self.bus.start()
        if self.s3 is not None:
            self._stack.callback(self.s3.kill)
            self.s3.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def store(self) -> str:
        """The URL of the store."""
        return self.postgresql.url

    @property
    def files(self) -> Path:
        """The folder under which artifacts lie in the end, each by its digest."""
        return self._kept / ObjectStore.BUCKET if self.s3 is not None else self._kept

    @property
    def artifacts(self) -> str:
        """The URL of the artifacts."""
        return self.s3.url if self.s3 is not None else f"file:{self._kept}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach them."""
        return ObjectStore.environment() if self.s3 is not None else {}

    def settings(self, *, lease: float) -> str:
        """The lines of ``limner.toml`` that name them."""
        lines = {"store": self.store, "bus": self.bus.url, "artifacts": self.artifacts}
        named = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
        return f'{named}lease = {lease}\nin_flight = 16\nallow_hosts = ["127.0.0.1"]\n'
