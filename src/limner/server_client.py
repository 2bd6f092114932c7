"""Calls to a Limner server from afar: outbound only, through the proxy that the environment names."""

import os
import socket
import stat
import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from limner.errors import ConfigurationError, ServerRefused, ServerUnavailable

if TYPE_CHECKING:
    import httpx

JSON = "application/json"
#: Encoded messages of Limner's own workers, in a MessagePack list.
MESSAGES = "application/vnd.limner.messages"
#: Says, in the refusal of a body that is too large, how many bytes one may have.
LIMIT_HEADER = "limner-max-body-bytes"

_API = "/api/v1/"
#: A larger body is compressed.
_COMPRESS_ABOVE = 64_000
_PATIENCE = timedelta(seconds=30)
#: Too many at once, or the server (or a proxy on the way) is not well: asking again is safe.
_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_T = TypeVar("_T")


class Server(Protocol):
    """A server as a far worker sees it, whatever lies between them; its calls raise as those of a ServerClient."""

    #: How it is called in sentences.
    url: str
    #: Set: nobody waits for it any more.
    over: threading.Event

    def ask(self, path: str, *, type: type[_T]) -> _T:
        """What it answers to a question."""

    def tell(self, path: str, said: object, *, type: type[_T], patience: timedelta = _PATIENCE) -> _T:
        """What it answers to what it is told."""

    def exists(self, sha256: str) -> bool:
        """Whether it has an artifact."""

    def download(self, sha256: str, *, to: Path) -> None:
        """Write an artifact to a file."""

    def upload(self, sha256: str, file: Path) -> None:
        """Hand a file in as an artifact."""

    def close(self) -> None:
        """Wait for nothing more, and hang up."""


class ServerClient:
    """
    One server's API under ``/api/v1``; shared by threads.

    The address is the user's own, so it is not guarded; ``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` are honoured.
    Redirects are not followed: the token is for this server alone.
    """

    def __init__(self, url: str, *, token: str | None = None, connect: timedelta = timedelta(seconds=10)) -> None:
        import httpx

        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise ConfigurationError(f"{url!r} is no address of a server: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError(f"{url!r} is no address of a server; write https://host, or http://host:port.")
        self.url = str(parsed.copy_with(query=None, fragment=None)).rstrip("/")
        headers = {"User-Agent": "limner"} | ({"Authorization": f"Bearer {token}"} if token else {})
        #: Set: nobody waits for the server any more.
        self.over = threading.Event()
        self._client = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(_PATIENCE.total_seconds(), connect=connect.total_seconds()),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience: timedelta = _PATIENCE,
        allow: Iterable[int] = (),
    ) -> "httpx.Response":
        """
        The answer to one call of ``/api/v1/path``; statuses above 299 are errors, those of *allow* left out.

        Raises:
            ServerUnavailable: it cannot be reached, or is not well; asking again is safe.
            ServerRefused: the call itself is not accepted.
        """
        import httpx

        sent = dict(headers or {})
        if body is not None and len(body) > _COMPRESS_ABOVE and sent.get("Content-Type") in (JSON, MESSAGES):
            import gzip

            body = gzip.compress(body, compresslevel=1)
            sent["Content-Encoding"] = "gzip"
        try:
            answer = self._client.request(
                method,
                f"{self.url}{_API}{path}",
                content=body,
                headers=sent,
                timeout=httpx.Timeout(patience.total_seconds(), connect=self._client.timeout.connect),
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise ServerUnavailable(f"{self.url} cannot be reached: {str(error) or type(error).__name__}") from error
        if answer.is_success or answer.status_code in set(allow):
            return answer
        raise _refusal(self.url, answer)

    def ask(self, path: str, *, type: type[_T]) -> _T:
        """What a GET of *path* answers, as JSON of a type; raises as :meth:`call`."""
        return self._decoded(self.call("GET", path).content, type=type)

    def tell(self, path: str, said: object, *, type: type[_T], patience: timedelta = _PATIENCE) -> _T:
        """What a POST of *said* to *path* answers, both JSON; raises as :meth:`call`."""
        body = msgspec.json.encode(said)
        answer = self.call("POST", path, body=body, headers={"Content-Type": JSON}, patience=patience)
        return self._decoded(answer.content, type=type)

    def exists(self, sha256: str) -> bool:
        """Whether the server has an artifact; raises as :meth:`call`."""
        return self.call("HEAD", f"artifacts/{sha256}", allow=(404,)).status_code != 404

    def download(self, sha256: str, *, to: Path) -> None:
        """
        Write an artifact to the file *to*, chunk by chunk.

        Raises:
            ServerUnavailable: it cannot be reached, or hung up before the end.
            ServerRefused: the call itself is not accepted; its status is 404 where there is nothing.
        """
        import httpx

        try:
            with self._client.stream("GET", f"{self.url}{_API}artifacts/{sha256}") as answer, to.open("wb") as file:
                if not answer.is_success:
                    answer.read()
                    raise _refusal(self.url, answer)
                for chunk in answer.iter_bytes(1 << 20):
                    file.write(chunk)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerUnavailable(f"{self.url} cannot be reached: {str(error) or type(error).__name__}") from error

    def upload(self, sha256: str, file: Path) -> None:
        """Hand a file in as an artifact, chunk by chunk; raises as :meth:`call`."""
        import httpx

        try:
            with file.open("rb") as opened:
                answer = self._client.put(
                    f"{self.url}{_API}artifacts/{sha256}",
                    content=iter(lambda: opened.read(1 << 20), b""),
                    headers={"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)},
                )
        except httpx.HTTPError as error:
            raise ServerUnavailable(f"{self.url} cannot be reached: {str(error) or type(error).__name__}") from error
        if not answer.is_success:
            raise _refusal(self.url, answer)

    def close(self) -> None:
        """Wait for nothing more, and hang up."""
        self.over.set()
        self._client.close()

    def _decoded(self, content: bytes, *, type: type[_T]) -> _T:
        try:
            return msgspec.json.decode(content, type=type)
        except msgspec.DecodeError as error:
            raise ServerRefused(f"{self.url} does not answer as a Limner server does: {error}", status=0) from error


def worker_name() -> str:
    """A name for the worker in this process: its machine, its place in a SLURM array, its number."""
    job = os.environ.get("SLURM_JOB_ID")
    return "-".join(part for part in (socket.gethostname(), job and f"slurm{job}", str(os.getpid())) if part)


def token_from(given: str | None, *, file: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """
    The token: as given, else from *file*, else from ``LIMNER_TOKEN``, else from the file ``LIMNER_TOKEN_FILE`` names.

    Empty where there is none.

    Raises:
        ConfigurationError: the file is not there, or others may read it.
    """
    surroundings = os.environ if environment is None else environment
    if given:
        return given.strip()
    if file is None and surroundings.get("LIMNER_TOKEN"):
        return surroundings["LIMNER_TOKEN"].strip()
    named = file or (Path(surroundings["LIMNER_TOKEN_FILE"]) if surroundings.get("LIMNER_TOKEN_FILE") else None)
    if named is None:
        return ""
    try:
        mode = named.stat().st_mode
        token = named.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The token file {named} cannot be read: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"Others may read the token file {named}; run: chmod 600 {named}")
    return token


def _refusal(url: str, answer: "httpx.Response") -> ServerRefused | ServerUnavailable:
    """The error that an answer is."""
    try:
        problem = msgspec.json.decode(answer.content, type=dict[str, object])
    except msgspec.DecodeError:
        problem = {}
    detail = problem.get("detail") or problem.get("title") or answer.reason_phrase or "no reason was given"
    told = f"{url} answered {answer.status_code}: {detail}"
    if answer.status_code in _LATER:
        return ServerUnavailable(told)
    limit = answer.headers.get(LIMIT_HEADER, "")
    return ServerRefused(told, status=answer.status_code, limit=int(limit) if limit.isdecimal() else None)
