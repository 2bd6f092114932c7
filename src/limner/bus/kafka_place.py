"""Where a cluster of Kafka is, as its URL says, and what things are called there."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from msgspec import Struct

from limner.bus.letters import REPLIES
from limner.errors import ConfigurationError

_PREFIX = "limner"
#: As many members of a group can work at the same time.
_PARTITIONS = 12
_PORT = 9092
#: Bytes of the largest message: a task carries the inputs of all its records.
MAX_MESSAGE = 64_000_000
#: What was taken is of no more use; what nobody took for so long is sent again by the store. In milliseconds.
_RETENTION = 86_400_000


class Place(Struct, frozen=True, kw_only=True):
    """A cluster, and the part of it that is one project's."""

    #: ``host:port`` of some brokers, by commas.
    servers: str
    user: str = ""
    #: How everything that belongs to the project begins.
    prefix: str = _PREFIX
    #: Partitions of a topic of tasks.
    partitions: int = _PARTITIONS
    #: Copies of each; None leaves it to the cluster.
    replication: int | None = None
    #: What librdkafka is told besides, by its own names.
    options: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The address without its password."""
        return f"kafka://{self.user + '@' if self.user else ''}{self.servers}"

    def topic(self, topic: str) -> str:
        """The name of a topic: ``limner.tasks.<pipeline>.<stage>.<implementation>``, ``limner.answers``, …"""
        stage, slash, implementation = topic.partition("/")
        if not slash:
            return f"{self.prefix}.{_encoded(topic)}"
        kind = "" if stage == REPLIES else "tasks."
        stage = ".".join(_encoded(part) for part in stage.split("."))
        return f"{self.prefix}.{kind}{stage}.{_encoded(implementation)}"

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

    With a user, the connection is encrypted and says user and password (``SASL_SSL``, ``PLAIN``) unless parameters
    name other ways; a parameter with a dot in its name is one of librdkafka's (``ssl.ca.location=/etc/ca.pem``).
    *password* is that of a URL that names a user alone.

    Raises:
        ConfigurationError: it is no address of a cluster.
    """
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        access, _, hosts = parts.netloc.rpartition("@")
        user, _, own = access.partition(":")
        options = {name: value for name, value in given.items() if "." in name}
        if user:
            options = {**_access(unquote(user), unquote(own) or password or ""), **options}
        prefix, project = given.get("prefix", _PREFIX), given.get("project", "default")
        replication = given.get("replication")
        unknown = given.keys() - options.keys() - {"prefix", "project", "replication", "partitions"}
        if unknown:
            raise ValueError(f"it has no parameter {sorted(unknown)[0]}")
        return Place(
            servers=",".join(_server(host) for host in hosts.split(",")),
            user=unquote(user),
            prefix=prefix if project == "default" else f"{prefix}-{project}",
            partitions=_positive(given.get("partitions", str(_PARTITIONS)), name="partitions"),
            replication=None if replication is None else _positive(replication, name="replication"),
            options=options,
        )
    except ValueError as error:
        raise ConfigurationError(
            f"The bus is no address of Kafka: {error}; write kafka://user:password@host:9092,other:9092."
        ) from error


def _access(user: str, password: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": password,
    }


def _server(host: str) -> str:
    """*host* with its port."""
    found = urlsplit(f"//{host}")
    if not found.hostname:
        raise ValueError("it names no host")
    return f"{found.hostname}:{found.port or _PORT}"


def _positive(text: str, *, name: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name} is no number above zero: {text!r}")
    return int(text)


def _encoded(name: str) -> str:
    """*name* in the characters that Kafka allows in a name, still another one for each."""
    return quote(name, safe="-").replace("_", "%5F").replace(".", "%2E").replace("~", "%7E").replace("%", "_")
