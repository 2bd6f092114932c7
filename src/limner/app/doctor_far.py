"""Looks from a worker's machine at the ways to a server: which of them a site lets through."""

import socket
from collections.abc import Iterator
from datetime import timedelta

import httpx
from msgspec import Struct

from limner.addresses import environment_proxy
from limner.app.doctor import Finding, State
from limner.bus.connect import connect_bus, connect_server, is_broker, places_of
from limner.errors import LimnerError, ServerRefused
from limner.server_client import ServerClient

#: A way that lets nothing through in this time is closed.
_PATIENCE = timedelta(seconds=5)
#: A server behind a broker may take longer: both ends may have to join first.
_ANSWER = timedelta(seconds=15)
#: Ports of the broker: with encryption, without.
_BROKER = (5671, 5672)


class _Any(Struct):
    """An answer whose fields do not matter."""


class _Limited(Struct):
    """One implementation, as far as it matters how long a task of it may take."""

    address: str
    time_limit_s: float


class _Wanted(Struct):
    """What a server's pipelines want served."""

    implementations: list[_Limited]


def examine_ways(url: str, *, token: str) -> list[Finding]:
    """What is found on the way to the server, or the broker, at *url*; one way that works is enough."""
    if is_broker(url):
        return list(_by_broker(url, token=token))
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        return [_finding("address", State.WRONG, f"{url} is no address: {error}", "Write https://host")]
    if parsed.scheme not in ("http", "https") or not parsed.host:
        told = f"{url} is no address of a server"
        return [_finding("address", State.WRONG, told, "Write https://host, or http://host:port")]
    direct = list(_direct(parsed))
    proxied = list(_proxied(parsed))
    served = list(_served(url, token=token))
    works = any(one.state is State.SOUND for one in (*direct, *proxied))
    # What does not work is no fault where another way does.
    softened = [one if not works or one.state is not State.WRONG else _softer(one) for one in (*direct, *proxied)]
    return [*softened, *served, *(_broker(parsed.host, port, needed=False) for port in _BROKER)]


def _by_broker(url: str, *, token: str) -> Iterator[Finding]:
    """The ways to a broker, one of which is enough, then what it says."""
    try:
        places = places_of(url)
    except LimnerError as error:
        yield _finding("address", State.WRONG, str(error), "Write amqps://user@host/vhost, or kafka://user@host")
        return
    reached = [_broker(host, port, needed=True) for host, port in places]
    works = any(one.state is State.SOUND for one in reached)
    yield from (one if not works or one.state is State.SOUND else _softer(one) for one in reached)
    if works:
        yield from _by_letter(url, token=token)


def _direct(url: httpx.URL) -> Iterator[Finding]:
    """The way without a proxy: the name, then the port."""
    port = url.port or (443 if url.scheme == "https" else 80)
    part = f"port {port}, direct"
    try:
        socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield _finding(part, State.WRONG, f"The name {url.host} has no address here: {error}", _ASK)
        return
    yield _port(part, url.host, port)


def _proxied(url: httpx.URL) -> Iterator[Finding]:
    """The way through the proxy of the environment, if it names one."""
    proxy = environment_proxy(url)
    if proxy is None:
        names = "HTTPS_PROXY" if url.scheme == "https" else "HTTP_PROXY"
        yield _finding(
            "proxy", State.NOTE, f"The environment names none for {url.host}", f"Set {names} if there is one"
        )
        return
    place = httpx.URL(proxy)
    shown = f"{place.host}:{place.port or 80}"
    reached = _port(f"proxy {shown}", place.host, place.port or 80)
    if reached.state is State.WRONG:
        yield reached
        return
    try:
        with httpx.Client(proxy=proxy, trust_env=False, timeout=_PATIENCE.total_seconds()) as client:
            answer = client.get(url.copy_with(path="/healthz"))
    except httpx.HTTPError as error:
        told = f"It lets nothing through to {url.host}: {str(error) or type(error).__name__}"
        yield _finding(f"proxy {shown}", State.WRONG, told, _ASK)
        return
    good = answer.is_success
    told = f"answers for {url.host} with {answer.status_code}"
    yield _finding(f"proxy {shown}", State.SOUND if good else State.WRONG, told, "" if good else _ASK)


def _served(url: str, *, token: str) -> Iterator[Finding]:
    """Whether a Limner server answers there, and takes the token."""
    try:
        client = ServerClient(url, token=token or None, connect=_PATIENCE)
        try:
            client.ask("work/implementations", type=_Any)
        finally:
            client.close()
    except ServerRefused as refused:
        remedy = {
            401: "Name a token: LIMNER_TOKEN, or --token-file FILE; limner token create makes one on the server",
            403: "The token needs the scope work, or work:STAGE",
        }
        told = str(refused)
        yield _finding("server", State.WRONG, told, remedy.get(refused.status, "Is that the address of the server?"))
    except LimnerError as error:
        yield _finding("server", State.WRONG, str(error), "Use a way that works, or see whether the server runs")
    else:
        yield _finding("server", State.SOUND, f"{url} answers, and takes {'the token' if token else 'no token'}")


def _broker(host: str, port: int, *, needed: bool) -> Finding:
    """The way to a broker at a port of *host*."""
    found = _port(f"port {port}, broker", host, port)
    return found if needed or found.state is State.SOUND else _softer(found, remedy="Only workers by amqp need it")


def _by_letter(url: str, *, token: str) -> Iterator[Finding]:
    """Whether the broker takes messages in from this user, a server answers behind it, and its limits fit."""
    try:
        bus = connect_bus(url, password=token or None, far=True)
    except LimnerError as error:
        yield _finding("address", State.WRONG, str(error), "Write amqps://user@host/vhost, or kafka://user@host")
        return
    try:
        trouble = bus.trouble()
        if trouble:
            remedy = next((what for word, what in _TROUBLES.items() if word in trouble), _NO_WORK)
            yield _finding("broker", State.WRONG, trouble, remedy)
            return
        yield _finding("broker", State.SOUND, "It takes messages in")
        yield from _answered(url, token=token, hold=bus.hold_limit)
    finally:
        bus.close()


_NO_WORK = "Ask whoever runs it; it accepts no work as it is"
#: What helps, by a word of what is wrong.
_TROUBLES = {
    "user and the password": "Name the password: LIMNER_TOKEN, or --token-file FILE; is the user the right one?",
    "has an alarm": "Free memory or disk on the broker's machine; what waits goes on by itself then",
    "refuses": "The user lacks a right, or the server never ran: see Rights in docs/rabbitmq.md",
    "has no queue": "Does `limner serve` run with this broker as its `bus`? It makes the queues",
    "authentication": "Name the password: LIMNER_TOKEN, or --token-file FILE; is the user the right one?",
    "certificate": "Name the authority of its certificate in the file that SSL_CERT_FILE names",
}


def _answered(url: str, *, token: str, hold: timedelta | None) -> Iterator[Finding]:
    """Whether a server answers by the broker, and whether its stages' limits fit the broker's."""
    client = connect_server(url, token=token or None, worker="doctor")
    try:
        found = client.tell("work/implementations", {}, type=_Wanted, patience=_ANSWER)
    except LimnerError as error:
        yield _finding("server", State.WRONG, str(error), "Does `limner serve` run with this broker as its `bus`?")
        return
    finally:
        client.close()
    yield _finding("server", State.SOUND, "A server answers by the broker")
    for one in found.implementations:
        if hold is not None and one.time_limit_s >= hold.total_seconds():
            told = (
                f"One call of {one.address} may take {one.time_limit_s:g} s, and the broker takes a task away that is "
                f"held for {hold.total_seconds():g} s (consumer_timeout)"
            )
            remedy = "Have it raised there, and say so in the address (?consumer_timeout=SECONDS), or lower the timeout"
            yield _finding("broker", State.WRONG, told, remedy)


def _port(part: str, host: str, port: int) -> Finding:
    """Whether a connection to a port is let through."""
    try:
        socket.create_connection((host, port), timeout=_PATIENCE.total_seconds()).close()
    except OSError as error:
        return _finding(part, State.WRONG, f"{host}:{port} cannot be reached: {error.strerror or error}", _ASK)
    return _finding(part, State.SOUND, f"{host}:{port} can be reached")


_ASK = "Ask the site to let it through, or use another way"


def _softer(found: Finding, *, remedy: str = "Another way works") -> Finding:
    return _finding(found.part, State.NOTE, found.said, remedy)


def _finding(part: str, state: State, said: str, remedy: str = "") -> Finding:
    return Finding(part=part, state=state, said=said, remedy=remedy)
