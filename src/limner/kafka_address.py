"""Where a cluster of Kafka is, and how one comes in, as a URL says."""

from collections.abc import Collection, Mapping
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from msgspec import Struct

_PORT = 9092


class Cluster(Struct, frozen=True, kw_only=True):
    """A cluster, as librdkafka is told of it."""

    #: ``host:port`` of some brokers, by commas.
    servers: str
    user: str = ""
    #: How to come in, and what the URL says besides, by librdkafka's own names.
    options: Mapping[str, str]
    #: The parameters of the URL that are not librdkafka's.
    own: Mapping[str, str]

    @property
    def shown(self) -> str:
        """The address without its password."""
        return f"kafka://{self.user + '@' if self.user else ''}{self.servers}"

    def number(self, name: str, otherwise: int) -> int:
        """
        One of the parameters, a number above zero.

        Raises:
            ValueError: it is none.
        """
        text = self.own.get(name, str(otherwise))
        if not text.isdigit() or int(text) < 1:
            raise ValueError(f"{name} is no number above zero: {text!r}")
        return int(text)


def cluster_of(url: str, *, password: str | None = None, parameters: Collection[str]) -> Cluster:
    """
    The cluster of ``kafka://user:password@host:9092,other:9092/?…``; *parameters* are those that its user knows.

    With a user, the connection is encrypted and says user and password (``SASL_SSL``, ``PLAIN``) unless parameters
    name other ways; a parameter with a dot in its name is one of librdkafka's (``ssl.ca.location=/etc/ca.pem``).
    *password* is that of a URL that names a user alone.

    Raises:
        ValueError: it is no address of a cluster; the text says why, and holds no password.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    access, _, hosts = parts.netloc.rpartition("@")
    user, _, own = access.partition(":")
    options = {name: value for name, value in given.items() if "." in name}
    if user:
        options = {**_access(unquote(user), unquote(own) or password or ""), **options}
    unknown = given.keys() - options.keys() - set(parameters)
    if unknown:
        raise ValueError(f"it has no parameter {sorted(unknown)[0]}")
    return Cluster(
        servers=",".join(_server(host) for host in hosts.split(",")),
        user=unquote(user),
        options=options,
        own={name: given[name] for name in parameters if name in given},
    )


def name_of(part: str) -> str:
    """*part* of a name in the characters that Kafka allows there, still another one for each; dots divide parts."""
    return quote(part, safe="-").replace("_", "%5F").replace(".", "%2E").replace("~", "%7E").replace("%", "_")


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
