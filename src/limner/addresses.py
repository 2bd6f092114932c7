"""The one guard for every address that Limner fetches or calls: what it may be, and where its name may lead."""

import contextlib
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from limner.errors import AddressRefused, ConfigurationError

_IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Options: TypeAlias = Iterable[tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]]

_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>\d{1,5}))?", re.IGNORECASE)
#: Where clouds answer with a machine's credentials; one of them is even a public address.
_METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
)
#: IPv6 networks whose addresses carry an IPv4 address in their last four bytes (RFC 6052, RFC 4291).
_CARRIES_IPV4 = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::/96"))
_MOST_REDIRECTS = 10
_SPEAKS = "Limner fetches and calls http:, https: and file: addresses only."


class AddressGuard:
    """
    Says which addresses may be fetched or called: http(s) at public addresses, and files inside given folders.

    *allow_hosts* lists what else may be reached: host names (``localhost``), host and port (``localhost:8080``),
    addresses and networks (``10.0.0.0/8``). *file_roots* lists the folders whose files may be read; none by default.
    *proxy* names, for an address, the proxy through which alone it can be reached; None means directly.
    """

    def __init__(
        self,
        *,
        allow_hosts: Iterable[str] = (),
        file_roots: Iterable[str | Path] = (),
        proxy: Callable[[httpx.URL], str | None] | None = None,
    ) -> None:
        self.proxy = proxy
        self._names: set[tuple[str, int | None]] = set()
        self._networks: list[_Network] = []
        for entry in allow_hosts:
            self._allow(entry.strip())
        self.file_roots = tuple(Path(root).expanduser().resolve() for root in file_roots)

    def check(self, url: str) -> None:
        """
        Look at *url* without fetching it: its scheme, its path, and every address that its host has now.

        Raises:
            AddressRefused: it may not be fetched or called; the sentence names the setting that would allow it.
        """
        if _is_file(url):
            self.path(url)
            return
        parsed = parse(url)
        with contextlib.suppress(OSError):  # a name without an address is no danger, and the call itself will say so
            self.addresses(parsed.host, port=parsed.port or (443 if parsed.scheme == "https" else 80))

    def addresses(self, host: str, *, port: int) -> list[str]:
        """
        The addresses of *host*, every one of them checked.

        Raises:
            AddressRefused: one of them is not public, and ``allow_hosts`` does not list it.
            OSError: the name has no address.
        """
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        texts = list(dict.fromkeys(str(address[0]) for *_, address in found))
        if not self._listed(host, port=port):
            for text in texts:
                self._check_address(text, host=host, port=port)
        return texts

    def path(self, url: str) -> Path:
        """
        The path behind a ``file:`` address or an absolute path, with every symbolic link and ``..`` resolved.

        Raises:
            AddressRefused: it lies outside ``file_roots``.
        """
        path = Path(_path_of(url)).resolve()
        if not any(path.is_relative_to(root) for root in self.file_roots):
            known = ", ".join(map(str, self.file_roots)) or "no folder"
            raise AddressRefused(
                f"{url} lies outside the folders that may be read: the setting file_roots lists {known}."
            )
        return path

    def client(
        self,
        *,
        connect: timedelta = timedelta(seconds=5),
        total: timedelta = timedelta(seconds=30),
        max_redirects: int = _MOST_REDIRECTS,
    ) -> httpx.Client:
        """
        An HTTP client, to be shared between threads, that connects only to addresses that were checked.

        A name is resolved once for a connection, so it cannot lead elsewhere after the check; redirects pass the same
        check. *total* limits a whole exchange, redirects and body included, however slowly it drips. A proxy is used
        only where the guard was given one: it resolves names itself, so of a name that has no address here only the
        text can be checked.
        """
        transport: httpx.BaseTransport = _GuardedTransport(self, total=total)
        if self.proxy is not None:
            transport = _ProxiedTransport(self, proxy=self.proxy, direct=transport, total=total)
        timeout = httpx.Timeout(total.total_seconds(), connect=connect.total_seconds())
        return httpx.Client(
            transport=transport,
            timeout=timeout,
            trust_env=False,
            follow_redirects=max_redirects > 0,
            max_redirects=max_redirects,
        )

    def _allow(self, entry: str) -> None:
        with contextlib.suppress(ValueError):
            self._networks.append(ipaddress.ip_network(entry, strict=False))
            return
        match = _HOST_AND_PORT.fullmatch(entry)
        if match is None:
            raise ConfigurationError(
                f"The setting allow_hosts lists {entry!r}; use a host name, host:port, or a network such as 10.0.0.0/8."
            )
        port = match["port"]
        self._names.add((match["host"].strip("[]").lower(), int(port) if port else None))

    def _listed(self, host: str, *, port: int) -> bool:
        name = host.strip("[]").rstrip(".").lower()
        return (name, None) in self._names or (name, port) in self._names

    def _check_address(self, text: str, *, host: str, port: int) -> None:
        address = ipaddress.ip_address(text.partition("%")[0])
        danger = danger_of(address)
        if danger is None or any(address in network for network in self._networks):
            return
        at = f"{host} is" if host == text else f"{host} has the address {text},"
        raise AddressRefused(
            f"{at} a {danger} address, which is neither fetched from nor called "
            f"unless the setting allow_hosts lists {host}, {host}:{port} or its network."
        )


def parse(url: str) -> httpx.URL:
    """
    *url* as an http(s) address.

    Raises:
        AddressRefused: it is none.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise AddressRefused(f"{url!r} is not an address: {error}. {_SPEAKS}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise AddressRefused(f"{url!r} cannot be fetched. {_SPEAKS}")
    return parsed


def danger_of(address: _IP) -> str | None:
    """What kind of address it is where it is not public; None for a public one."""
    inner = _carried(address)
    if inner is not None:
        return danger_of(inner)
    kinds = {
        "metadata": address in _METADATA,
        "multicast": address.is_multicast,
        "loopback": address.is_loopback,
        "link-local": address.is_link_local,
        "private": address.is_private and not address.is_unspecified,
        "reserved": not address.is_global,
    }
    return next((kind for kind, found in kinds.items() if found), None)


def _carried(address: _IP) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return None
    if any(address in network for network in _CARRIES_IPV4):
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def _is_file(url: str) -> bool:
    return url.startswith("/") or url[:5].lower() == "file:"


def _path_of(url: str) -> str:
    """The absolute path that *url* names."""
    if not _is_file(url):
        raise AddressRefused(f"{url!r} is not the address of a file; write file:///folder/name, or an absolute path.")
    if url.startswith("/"):
        path = url
    else:
        parts = urlsplit(url)
        path = unquote(parts.path)
        if parts.netloc not in ("", "localhost") or not path.startswith("/"):
            raise AddressRefused(f"{url!r} names a file of another machine; write file:///folder/name.")
    if "\0" in path:
        raise AddressRefused(f"{url!r} holds a character that no path has.")
    return path


class _Ends(threading.local):
    """When this thread's exchange must be over, on the monotonic clock."""

    at: float = float("inf")

    def within(self, timeout: float | None) -> float:
        """Seconds that one step may take: *timeout*, and no longer than the whole exchange has left."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the whole exchange took too long")
        return left if timeout is None else min(timeout, left)


class _GuardedTransport(httpx.HTTPTransport):
    """httpx's own transport over connections that the guard makes."""

    def __init__(self, guard: AddressGuard, *, total: timedelta) -> None:
        context = httpx.create_ssl_context()
        super().__init__(verify=context)
        self._ends = _Ends()
        self._total = total.total_seconds()
        # httpx offers no argument for this; its public transport is this pool and a translation of errors.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=100,
            keepalive_expiry=5.0,
            network_backend=_GuardedBackend(guard, ends=self._ends),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the first of a chain of redirects starts the time that all of them share."""
        self._ends.at = request.extensions.setdefault("limner.ends", time.monotonic() + self._total)
        return super().handle_request(request)


class _ProxiedTransport(httpx.BaseTransport):
    """Sends what a proxy is named for through that proxy, after the same check; the rest goes *direct*."""

    def __init__(
        self,
        guard: AddressGuard,
        *,
        proxy: Callable[[httpx.URL], str | None],
        direct: httpx.BaseTransport,
        total: timedelta,
    ) -> None:
        self._guard = guard
        self._proxy = proxy
        self._direct = direct
        self._total = total.total_seconds()
        self._lock = threading.Lock()
        self._through: dict[str, httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; each hop of a redirect is checked."""
        proxy = self._proxy(request.url)
        if proxy is None:
            return self._direct.handle_request(request)
        self._guard.check(str(request.url))
        ends = request.extensions.setdefault("limner.ends", time.monotonic() + self._total)
        left = ends - time.monotonic()
        if left <= 0:
            raise httpx.ReadTimeout("the whole exchange took too long", request=request)
        limits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {name: min(left, value or left) for name, value in limits.items()}
        response = self._transport(proxy).handle_request(request)
        if isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _EndingStream(response.stream, ends=ends)
        return response

    def close(self) -> None:
        """Hang up."""
        self._direct.close()
        for transport in self._through.values():
            transport.close()

    def _transport(self, proxy: str) -> httpx.HTTPTransport:
        with self._lock:
            if proxy not in self._through:
                self._through[proxy] = httpx.HTTPTransport(proxy=proxy)
            return self._through[proxy]


class _EndingStream(httpx.SyncByteStream):
    """A body that ends with the exchange that it belongs to, however slowly it drips."""

    def __init__(self, stream: httpx.SyncByteStream, *, ends: float) -> None:
        self._stream = stream
        self._ends = ends

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            if time.monotonic() > self._ends:
                raise httpx.ReadTimeout("the whole exchange took too long")
            yield chunk

    def close(self) -> None:
        """Let go of the connection."""
        self._stream.close()


def environment_proxy(url: httpx.URL) -> str | None:
    """The proxy that ``HTTPS_PROXY`` or ``HTTP_PROXY`` names for *url*, unless ``NO_PROXY`` lists its host."""
    proxies = getproxies()
    if proxy_bypass(url.host, proxies):
        return None
    return proxies.get(url.scheme) or proxies.get("all")


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to addresses that the guard has checked, and to nothing else."""

    def __init__(self, guard: AddressGuard, *, ends: _Ends) -> None:
        self._guard = guard
        self._ends = ends
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of *host* that answers; none of them is asked if one is refused."""
        try:
            addresses = self._guard.addresses(host, port=port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} has no address: {error}") from error
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                stream = self._plain.connect_tcp(
                    address, port, self._ends.within(timeout), local_address, socket_options
                )
                return _TimedStream(stream, ends=self._ends)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: _Options | None = None
    ) -> httpcore.NetworkStream:
        """Refuse: no address leads to a socket file."""
        raise AddressRefused(f"{path} is a socket file. {_SPEAKS}")


class _TimedStream(httpcore.NetworkStream):
    """A connection whose every step ends with the exchange that it belongs to."""

    def __init__(self, stream: httpcore.NetworkStream, *, ends: _Ends) -> None:
        self._stream = stream
        self._ends = ends

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, at most *max_bytes*."""
        return self._stream.read(max_bytes, self._ends.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of *buffer*."""
        self._stream.write(buffer, self._ends.within(timeout))

    def close(self) -> None:
        """Hang up."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Go on encrypted; the certificate is checked against the name, not the address."""
        inner = self._stream.start_tls(ssl_context, server_hostname, self._ends.within(timeout))
        return _TimedStream(inner, ends=self._ends)

    def get_extra_info(self, info: str) -> object:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)
