"""Events to RabbitMQ: a durable topic exchange, persistent messages, each confirmed."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from time import monotonic
from urllib.parse import parse_qsl, urlencode, urlsplit

import pika
from pika.adapters.select_connection import IOLoop

from limner.errors import ConfigurationError, EventsUnavailable
from limner.events.base import Message, Publisher
from limner.events.cloud_events import CONTENT_TYPE

EXCHANGE = "limner.events"
#: Seconds to connect, for the whole greeting, and for the broker to confirm what was published together.
_CONNECT, _GREET, _CONFIRM = 5.0, 15.0, 30.0
_HANG_UP = 1.0


class RabbitPublisher(Publisher):
    """
    Publishes to the exchange ``limner.events`` (``?exchange=`` names another) by ``project.collection.kind``.

    pika's loop runs in the caller's thread, for as long as something is waited for, and in :meth:`rest`.

    Raises:
        ConfigurationError: *url* is no address of a broker.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))
        self._exchange = asked.pop("exchange", EXCHANGE)
        try:
            self._parameters = pika.URLParameters(parts._replace(query=urlencode(asked)).geturl())
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ConfigurationError(
                f"The setting `events` is no address of a broker: {error}; write amqp://user:password@host:port/vhost."
            ) from error
        self._parameters.socket_timeout = _CONNECT
        self._parameters.stack_timeout = _GREET
        self._parameters.connection_attempts = 1
        self._shown = f"{parts.scheme}://{parts.hostname}:{self._parameters.port}"
        self._loop = IOLoop()
        self._connection: pika.SelectConnection | None = None
        self._channel: pika.channel.Channel | None = None
        #: By the channel's own number: what is published and not confirmed.
        self._flying: set[int] = set()
        self._number = 0
        #: Why the connection, or what was published, is lost; empty while nothing is.
        self._broken = ""

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish *messages*, in one go, until each is confirmed; with none, see whether the broker is there."""
        channel = self._ready_channel()
        for message in messages:
            properties = pika.BasicProperties(
                content_type=CONTENT_TYPE, delivery_mode=2, message_id=message.id, type=message.topic.split(".", 2)[2]
            )
            self._number += 1
            self._flying.add(self._number)
            try:
                channel.basic_publish(self._exchange, message.topic, message.body, properties)
            except pika.exceptions.AMQPError as error:
                self._broken = str(error) or type(error).__name__
                break
        self._wait(lambda: not self._flying, seconds=_CONFIRM)

    def rest(self, pause: timedelta) -> None:
        """Let pika answer the broker's heartbeats for *pause*."""
        self._turn(pause.total_seconds())

    def close(self) -> None:
        """Hang up, and let go of the loop."""
        self._drop()
        self._loop.close()

    def _ready_channel(self) -> pika.channel.Channel:
        """A channel that confirms, on which the exchange was declared; opened first where there is none."""
        if self._channel is None or self._broken:
            self._drop()
            self._broken = ""
            self._connection = pika.SelectConnection(
                self._parameters,
                on_open_callback=lambda connection: connection.channel(on_open_callback=self._declare),
                on_open_error_callback=lambda _, error: self._lose(error),
                on_close_callback=lambda _, error: self._lose(error),
                custom_ioloop=self._loop,
            )
            self._wait(lambda: self._channel is not None, seconds=_GREET)
        assert self._channel is not None, "a wait ends with what was waited for, or an error"
        return self._channel

    def _declare(self, channel: pika.channel.Channel) -> None:
        channel.add_on_close_callback(lambda _, error: self._lose(error))

        def confirming(_: object) -> None:
            channel.confirm_delivery(self._on_confirm, callback=lambda _: self._have(channel))

        channel.exchange_declare(self._exchange, "topic", durable=True, callback=confirming)

    def _have(self, channel: pika.channel.Channel) -> None:
        self._channel, self._number = channel, 0

    def _on_confirm(self, frame: pika.frame.Method) -> None:
        last = frame.method.delivery_tag
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            self._broken = "a queue did not take an event in"
        self._flying -= {number for number in self._flying if number <= last} if frame.method.multiple else {last}

    def _lose(self, error: BaseException) -> None:
        self._broken = self._broken or str(error) or type(error).__name__
        self._channel = None

    def _wait(self, done: Callable[[], bool], *, seconds: float) -> None:
        """Run the loop until *done*, or until the connection is lost, or for too long."""
        self._turn(seconds, until=lambda: done() or bool(self._broken))
        if self._broken or not done():
            reason = self._broken or f"it has not answered for {seconds:g} s"
            self._drop()
            raise EventsUnavailable(f"The broker of events, {self._shown}, does not take them: {reason}.")

    def _turn(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Run the loop until *until*, at most so long."""
        ends = monotonic() + seconds
        timer = self._loop.call_later(seconds, lambda: None)
        self._loop.activate_poller()
        try:
            while not until() and monotonic() < ends:
                self._loop.poll()
                self._loop.process_timeouts()
        finally:
            self._loop.deactivate_poller()
            self._loop.remove_timeout(timer)

    def _drop(self) -> None:
        """Forget the connection, in good order where there is one."""
        connection, self._connection, self._channel = self._connection, None, None
        self._flying.clear()
        if connection is None:
            return
        if connection.is_open:
            connection.close()
        self._turn(_HANG_UP, until=lambda: bool(connection.is_closed))
        # The socket is closed by what pika leaves to the next turn.
        self._turn(0.01)
