"""Where a cluster keeps things: a store, a bus and artifacts of its own, each to be killed and started again."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pika
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from tools.services import Broker, KafkaBroker, ObjectStore, PostgreSQLServer

_TASKS = "limner.tasks."


class Bus(ABC):
    """A broker of the cluster's own."""

    url: str

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
    def repeat(self) -> int:
        """Deliver the tasks that wait, or have been there, once more; how many those are."""


class RabbitMQ(Bus):
    """RabbitMQ."""

    def __init__(self, folder: Path) -> None:
        self._broker = Broker(folder)
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

    def repeat(self) -> int:
        """Take what waits, and publish each twice."""
        count = 0
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = connection.channel()
            for queue in self._queues():
                if not queue.startswith(_TASKS):
                    continue
                while (found := channel.basic_get(queue, auto_ack=True))[0] is not None:
                    for _ in range(2):
                        channel.basic_publish("", queue, found[2], found[1])
                    count += 1
                    if count > 1000:
                        return count
        return count

    def _queues(self) -> list[str]:
        return [line for line in self._broker.told("list_queues", "name").split() if line.startswith("limner.")]


class Kafka(Bus):
    """Kafka."""

    def __init__(self, folder: Path) -> None:
        self._broker = KafkaBroker(folder)
        self._servers: dict[str, str | int | float | bool] = {"bootstrap.servers": f"127.0.0.1:{self._broker.port}"}
        self.url = f"{self._broker.url}/?partitions=4"

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

    def repeat(self) -> int:
        """Read every task that the topics keep, and publish each once more."""
        consumer = Consumer({**self._servers, "group.id": "somebody-else", "enable.auto.commit": False})
        producer = Producer(self._servers)
        count = 0
        for place, (begin, end) in self._ends().items():
            if not place.topic.startswith(_TASKS) or begin == end:
                continue
            consumer.assign([TopicPartition(place.topic, place.partition, begin)])
            for message in consumer.consume(end - begin, 5):
                if message.error() is None:
                    producer.produce(place.topic, message.value(), partition=place.partition)
                    count += 1
        producer.flush(30)
        consumer.close()
        return count

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

    def __init__(self, folder: Path, *, bus: str, artifacts: str) -> None:
        self._stack = ExitStack()
        for name in ("bus", "s3"):
            (folder / name).mkdir(parents=True)
        # PostgreSQL runs as a user of its own, who may not enter a test's folder.
        own = Path(self._stack.enter_context(TemporaryDirectory(prefix="limner-postgresql-")))
        own.chmod(0o755)
        self.postgresql = PostgreSQLServer(own)
        self.bus = BUSES[bus](folder / "bus")
        self.s3 = ObjectStore(folder / "s3") if artifacts == "s3" else None
        self._folder = folder

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
    def environment(self) -> dict[str, str]:
        """What a process needs to reach them."""
        return ObjectStore.environment() if self.s3 is not None else {}

    def settings(self, *, lease: float) -> str:
        """The lines of ``limner.toml`` that name them."""
        artifacts = self.s3.url if self.s3 is not None else f"file:{self._folder / 'artifacts'}"
        lines = {"store": self.store, "bus": self.bus.url, "artifacts": artifacts}
        named = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
        return f'{named}lease = {lease}\nin_flight = 16\nallow_hosts = ["127.0.0.1"]\n'
