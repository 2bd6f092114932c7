"""Where a broker is, as its URL says, and what things are called there."""

import ssl
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import pika
from msgspec import Struct

from limner.bus.letters import REPLIES, WORKERS
from limner.domain.tasks import ANSWERS
from limner.errors import ConfigurationError

_PREFIX = "limner"
#: RabbitMQ's own default of ``consumer_timeout``.
_CONSUMER_TIMEOUT = 1800.0
_HEARTBEAT = 30
#: Seconds to connect, and for the whole greeting.
_CONNECT, _GREET = 5.0, 15.0
#: How often a task may come back before the broker drops it: by then something is wrong with it, and the store sends
#: it again, halved. Answers may come back as often as the store is out of reach.
_TASK_LIMIT, _NO_LIMIT = 50, 1_000_000
#: A letter that was not read in this time, in milliseconds, is of no use: whoever wrote it has written again.
_LETTER_LIVES = 60_000
#: The answers to a worker that has gone are forgotten after so long, in milliseconds.
_REPLIES_LIVE = 600_000


class Place(Struct, frozen=True, kw_only=True):
    """A broker, and the part of it that is one project's (``?project=NAME``, ``?prefix=limner``)."""

    #: Without our own parameters; holds the password.
    url: str
    #: How everything that belongs to the project begins.
    prefix: str = _PREFIX
    #: What the broker's ``consumer_timeout`` is: longer it leaves a message with nobody.
    hold_limit: timedelta = timedelta(seconds=_CONSUMER_TIMEOUT)

    @property
    def shown(self) -> str:
        """The URL without its password."""
        parts = urlsplit(self.url)
        user = f"{parts.username}@" if parts.username else ""
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{user}{parts.hostname or ''}{port}{parts.path}"

    @property
    def exchange(self) -> str:
        """What answers and letters are sent to, so that a user may be allowed these and nothing else."""
        return self.prefix

    def parameters(self) -> pika.ConnectionParameters:
        """
        What pika connects by.

        Raises:
            ConfigurationError: the URL cannot be understood.
        """
        try:
            found = pika.URLParameters(self.url)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ConfigurationError(f"{self.shown} is no address of a broker: {error}") from error
        if self.url.startswith("amqps") and "ssl_options" not in self.url:
            context = ssl.create_default_context()
            found.ssl_options = pika.SSLOptions(context, server_hostname=found.host)
        if "heartbeat" not in self.url:
            found.heartbeat = _HEARTBEAT
        found.connection_attempts = 1
        found.socket_timeout = _CONNECT
        found.stack_timeout = _GREET
        return found

    def queue(self, topic: str) -> str:
        """The queue of a topic: ``limner.tasks.<pipeline>.<stage>.<implementation>``, ``limner.answers``, …"""
        stage, slash, implementation = topic.partition("/")
        if not slash:
            return f"{self.prefix}.{topic}"
        if stage == REPLIES:
            return f"{self.prefix}.{stage}.{_encoded(implementation)}"
        return f"{self.prefix}.tasks.{stage}.{_encoded(implementation)}"

    def by_exchange(self, topic: str) -> bool:
        """Whether messages of *topic* go by the exchange; others go to their queue."""
        return topic in (ANSWERS, WORKERS)

    def arguments(self, topic: str) -> Mapping[str, object]:
        """What a queue is declared with, always the same."""
        if topic.startswith(f"{REPLIES}/"):
            # What is asked is asked again, so nothing here is worth three copies.
            return {"x-queue-type": "classic", "x-expires": _REPLIES_LIVE}
        limit = _TASK_LIMIT if "/" in topic else _NO_LIMIT
        found: dict[str, object] = {"x-queue-type": "quorum", "x-delivery-limit": limit}
        return found | ({"x-message-ttl": _LETTER_LIVES} if topic == WORKERS else {})


def place_of(url: str, *, password: str | None = None) -> Place:
    """
    The place that ``amqp://user:password@host:port/vhost?project=default&consumer_timeout=1800`` names.

    *password* is that of a URL that names a user alone.

    Raises:
        ConfigurationError: it is no address of a broker.
    """
    try:
        parts = urlsplit(url)
        known = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        prefix = known.pop("prefix", _PREFIX)
        project = known.pop("project", "default")
        prefix = prefix if project == "default" else f"{prefix}-{project}"
        hold = float(known.pop("consumer_timeout", _CONSUMER_TIMEOUT))
        netloc = parts.netloc
        if password and parts.username and parts.password is None:
            host = f"{parts.hostname}" + (f":{parts.port}" if parts.port else "")
            netloc = f"{quote(unquote(parts.username), safe='')}:{quote(password, safe='')}@{host}"
        if not parts.hostname:
            raise ValueError("it names no host")
    except ValueError as error:
        raise ConfigurationError(
            f"The bus is no address of a broker: {error}; write amqp://user:password@host:port/vhost."
        ) from error
    kept = parts._replace(netloc=netloc, query=urlencode(known)).geturl()
    place = Place(url=kept, prefix=prefix, hold_limit=timedelta(seconds=hold))
    place.parameters()
    return place


def _encoded(name: str) -> str:
    """*name* as the last part of a queue's name: a dot would begin another one."""
    return quote(name, safe="-_#").replace(".", "%2E")
