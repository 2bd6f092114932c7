"""A connection to a broker that is opened again whenever it is lost, on one thread that belongs to it."""

import logging
import threading
from collections.abc import Callable
from time import monotonic

import pika
import structlog
from pika.adapters.select_connection import IOLoop

from limner.bus.rabbitmq_place import Place

_log = structlog.get_logger(__name__)

#: First and longest wait before a broker that could not be reached is tried again, in seconds.
_AGAIN = (0.1, 5.0)
#: A connection that lived shorter, in seconds, counts as one that could not be had.
_LIVED = 1.0


class Loop:
    """One thread in which everything that concerns the broker happens, one after the other."""

    def __init__(self, name: str) -> None:
        # pika tells its log of every attempt that failed, as errors with their tracebacks; ours is told once, in words.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._io = IOLoop()
        self._over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def io(self) -> IOLoop:
        """What pika's connections run on."""
        return self._io

    def do(self, call: Callable[[], None]) -> None:
        """Have *call* called on the thread, soon, in the order in which it was asked."""
        self._io.add_callback_threadsafe(call)

    def later(self, seconds: float, call: Callable[[], None]) -> object:
        """Have *call* called in so many seconds, unless that is taken back; asked for on the thread."""
        return self._io.call_later(seconds, call)

    def never(self, timer: object) -> None:
        """Take back what was asked for later."""
        self._io.remove_timeout(timer)

    def stop(self) -> None:
        """End the thread."""
        self._over = True
        self.do(self._io.stop)
        self._thread.join(5.0)

    def _run(self) -> None:
        while not self._over:
            try:
                self._io.start()
            except Exception:  # noqa: BLE001  without this thread nothing would move, in silence
                _log.exception("broker_thread_broke")
        self._io.close()


class Link:
    """One connection; all but the constructor is called on the loop."""

    def __init__(
        self,
        loop: Loop,
        place: Place,
        *,
        opened: Callable[[pika.SelectConnection], None],
        lost: Callable[[], None],
        failed: Callable[[str], None],
    ) -> None:
        """
        Report to the three functions.

        *opened*: there is a connection. *lost*: there is none any more, and another one is being opened. *failed*:
        it cannot be had at the moment, for a reason in words; it is tried again and again.
        """
        self._loop = loop
        self._place = place
        self._opened = opened
        self._lost = lost
        self._failed = failed
        self._connection: pika.SelectConnection | None = None
        self._closing: Callable[[], None] | None = None
        self._pause = _AGAIN[0]
        self._since = 0.0
        #: Why there is no connection, once it was tried in vain; empty while there is one, or one is being opened.
        self.away = ""
        #: Why the broker takes nothing in at the moment, if so.
        self.blocked = ""

    def open(self) -> None:
        """Begin to connect."""
        if self._closing is not None:
            return
        self.away = ""
        connection = pika.SelectConnection(
            self._place.parameters(),
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_error,
            on_close_callback=self._on_close,
            custom_ioloop=self._loop.io,
        )
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._connection = connection

    def close(self, done: Callable[[], None]) -> None:
        """Hang up, and call *done* once that is so."""
        self._closing = done
        if self._connection is None or self._connection.is_closed:
            done()
        elif self.blocked:
            # A broker with an alarm reads nothing from this connection, a goodbye neither.
            self.abandon()
        elif not self._connection.is_closing:
            self._connection.close()

    def abandon(self) -> None:
        """Hang up without a goodbye, which would not be answered."""
        if self._connection is not None and not self._connection.is_closed:
            # pika has no public way to let go of a connection whose other end is silent.
            self._connection._terminate_stream(ConnectionAbortedError("the broker is silent"))

    def _on_open(self, connection: pika.SelectConnection) -> None:
        self._since = monotonic()
        self._opened(connection)

    def _on_error(self, _: pika.SelectConnection, error: BaseException) -> None:
        self._again(_reason(error))

    def _on_close(self, _: pika.SelectConnection, error: BaseException) -> None:
        self._connection, self.blocked = None, ""
        if self._closing is not None:
            self._closing()
            return
        _log.warning("broker_lost", broker=self._place.shown, reason=_reason(error))
        self._lost()
        if monotonic() - self._since < _LIVED:
            self._again(_reason(error))
        else:
            self._pause = _AGAIN[0]
            self.open()

    def _again(self, reason: str) -> None:
        """Say that there is no connection, and try again after a while."""
        self._connection = None
        if self._closing is not None:
            self._closing()
            return
        self.away = f"{self._place.shown} cannot be reached: {reason}"
        self._failed(self.away)
        self._loop.later(self._pause, self.open)
        self._pause = min(_AGAIN[1], 2 * self._pause)

    def _on_blocked(self, _: pika.SelectConnection, frame: pika.frame.Method) -> None:
        self.blocked = f"{self._place.shown} has an alarm and takes nothing in: {frame.method.reason}"
        _log.warning("broker_alarm", broker=self._place.shown, reason=frame.method.reason)
        self._failed(self.blocked)

    def _on_unblocked(self, *_: object) -> None:
        self.blocked = ""
        _log.info("broker_alarm_over", broker=self._place.shown)


def _reason(error: BaseException) -> str:
    """What went wrong, as a short text: pika wraps errors in errors."""
    inner = error
    while True:
        held = (getattr(inner, "exception", None), *getattr(inner, "exceptions", ()), *inner.args)
        wrapped = [one for one in held if isinstance(one, BaseException)]
        if not wrapped:
            break
        inner = wrapped[-1]
    text = getattr(inner, "reply_text", "") or getattr(inner, "strerror", "") or str(inner) or type(inner).__name__
    return "it does not accept the user and the password" if "Login was refused" in str(text) else str(text)
