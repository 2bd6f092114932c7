"""What things of one project are called on a cluster of Kafka."""

from collections.abc import Mapping

from msgspec import Struct

from limner.bus.letters import REPLIES
from limner.errors import ConfigurationError
from limner.kafka_address import Cluster, cluster_of, name_of

_PREFIX = "limner"
#: As many members of a group can work at the same time.
_PARTITIONS = 12
#: Bytes of the largest message: a task carries the inputs of all its records.
MAX_MESSAGE = 64_000_000
#: What was taken is of no more use; what nobody took for so long is sent again by the store. In milliseconds.
_RETENTION = 86_400_000


class Place(Struct, frozen=True, kw_only=True):
    """A cluster, and the part of it that is one project's."""

    cluster: Cluster
    #: How everything that belongs to the project begins.
    prefix: str = _PREFIX
    #: Partitions of a topic of tasks.
    partitions: int = _PARTITIONS
    #: Copies of each; None leaves it to the cluster.
    replication: int | None = None

    @property
    def shown(self) -> str:
        """The address without its password."""
        return self.cluster.shown

    def topic(self, topic: str) -> str:
        """The name of a topic: ``limner.tasks.<pipeline>.<stage>.<implementation>``, ``limner.answers``, …"""
        stage, slash, implementation = topic.partition("/")
        if not slash:
            return f"{self.prefix}.{name_of(topic)}"
        kind = "" if stage == REPLIES else "tasks."
        stage = ".".join(name_of(part) for part in stage.split("."))
        return f"{self.prefix}.{kind}{stage}.{name_of(implementation)}"

    def group(self, topic: str) -> str:
        """The group of those who take a topic's messages: each topic has its own, so that few are disturbed by few."""
        return self.topic(topic)

    def partitions_of(self, topic: str) -> int:
        """Partitions of a topic: answers and letters have one reader at a time, and keep their order."""
        stage, slash, _ = topic.partition("/")
        return self.partitions if slash and stage != REPLIES else 1

    @property
    def topic_settings(self) -> Mapping[str, str]:
        """What topics are made with."""
        return {"max.message.bytes": str(MAX_MESSAGE), "retention.ms": str(_RETENTION)}


def place_of(url: str, *, password: str | None = None) -> Place:
    """
    The place of ``kafka://user:password@host:9092,other:9092/?project=default&partitions=12&replication=3``.

    :func:`limner.kafka_address.cluster_of` says what else may stand there. *password* is that of a URL that names a
    user alone.

    Raises:
        ConfigurationError: it is no address of a cluster.
    """
    try:
        parameters = ("prefix", "project", "partitions", "replication")
        cluster = cluster_of(url, password=password, parameters=parameters)
        prefix, project = cluster.own.get("prefix", _PREFIX), cluster.own.get("project", "default")
        return Place(
            cluster=cluster,
            prefix=prefix if project == "default" else f"{prefix}-{project}",
            partitions=cluster.number("partitions", _PARTITIONS),
            replication=cluster.number("replication", 1) if "replication" in cluster.own else None,
        )
    except ValueError as error:
        raise ConfigurationError(
            f"The bus is no address of Kafka: {error}; write kafka://user:password@host:9092,other:9092."
        ) from error
