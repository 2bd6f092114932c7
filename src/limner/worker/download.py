"""One exchange with a source: the bytes into a file, or the failure that it ends with."""

import hashlib
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import httpx
from msgspec import Struct

from limner.clock import Clock
from limner.domain.failures import FailedRecord, FailureCode
from limner.errors import AddressRefused
from limner.worker.cache import Copy

_CHUNK = 1 << 16
#: What a status says; others of 400 to 499 say that there is nothing to be had at this address.
_STATUSES = {
    401: FailureCode.SOURCE_FORBIDDEN,
    402: FailureCode.SOURCE_FORBIDDEN,
    403: FailureCode.SOURCE_FORBIDDEN,
    407: FailureCode.SOURCE_FORBIDDEN,
    408: FailureCode.SOURCE_TIMEOUT,
    413: FailureCode.SOURCE_TOO_LARGE,
    425: FailureCode.SOURCE_UNAVAILABLE,
    429: FailureCode.SOURCE_UNAVAILABLE,
    451: FailureCode.SOURCE_FORBIDDEN,
}


class Received(Struct, frozen=True, kw_only=True):
    """A body that came whole."""

    sha256: str
    size: int
    etag: str | None
    last_modified: str | None


def download(
    client: httpx.Client,
    url: str,
    *,
    to: Path,
    cap: Callable[[], int],
    clock: Clock,
    known: Copy | None = None,
) -> Received | None:
    """
    Stream the body at *url* into the new file *to*; None where the source says that *known* is still right.

    *cap* tells how many bytes are wanted at most; it is asked again with every chunk, since somebody with more room
    may join who waits. Nothing is tried twice here: the engine does that by the stage's policy, as a new task.

    Raises:
        FailedRecord: why there is no such file; *to* may hold a part of it.
    """
    try:
        with client.stream("GET", url, headers=_headers(known)) as response:
            if response.status_code == httpx.codes.NOT_MODIFIED and known is not None:
                return None
            _refuse_status(response, url=url, clock=clock)
            return _receive(response, url=url, to=to, cap=cap)
    except AddressRefused as error:
        raise FailedRecord(FailureCode.SOURCE_REFUSED, str(error)) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _explained(error, url=url) from error


def _headers(known: Copy | None) -> dict[str, str]:
    """What a request says: who asks, that the bytes are wanted as they stand, and which ones are at hand."""
    headers = {"User-Agent": f"limner/{_version()}", "Accept-Encoding": "identity"}
    if known is not None and known.etag is not None:
        headers["If-None-Match"] = known.etag
    if known is not None and known.last_modified is not None:
        headers["If-Modified-Since"] = known.last_modified
    return headers


@cache
def _version() -> str:
    return metadata.version("limner")


def _refuse_status(response: httpx.Response, *, url: str, clock: Clock) -> None:
    """Raise the failure that a status other than success stands for."""
    status = response.status_code
    if response.is_success:
        return
    code = _STATUSES.get(status)
    if code is None:
        code = FailureCode.SOURCE_NOT_FOUND if status < 500 else FailureCode.SOURCE_UNAVAILABLE
    wait = retry_after(response.headers.get("Retry-After"), now=clock.now())
    raise FailedRecord(code, f"{url} answered {status} {response.reason_phrase}".rstrip() + ".", retry_after=wait)


def retry_after(header: str | None, *, now: float) -> float | None:
    """Seconds that the header ``Retry-After`` asks to wait: it holds seconds or a date; None if it says nothing."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)


def _receive(response: httpx.Response, *, url: str, to: Path, cap: Callable[[], int]) -> Received:
    """Read the body into *to*; stop as soon as it is, or says that it will be, too large."""
    declared = response.headers.get("Content-Length", "")
    if declared.isdigit() and int(declared) > cap():
        raise too_large(url, max_bytes=cap())
    digest, size = hashlib.sha256(), 0
    with to.open("xb") as file:
        try:
            for chunk in response.iter_bytes(_CHUNK):
                size += len(chunk)
                if size > cap():
                    raise too_large(url, max_bytes=cap())
                digest.update(chunk)
                file.write(chunk)
        except httpx.RemoteProtocolError as error:
            raise FailedRecord(FailureCode.SOURCE_TRUNCATED, f"{url} was cut off: {error}.") from error
    if not size:
        raise FailedRecord(FailureCode.SOURCE_TRUNCATED, f"{url} answered with no bytes.", reason="empty")
    return Received(
        sha256=digest.hexdigest(),
        size=size,
        etag=response.headers.get("ETag"),
        last_modified=response.headers.get("Last-Modified"),
    )


def too_large(url: str, *, max_bytes: int) -> FailedRecord:
    """The failure of a file that has more bytes than its stage reads."""
    return FailedRecord(FailureCode.SOURCE_TOO_LARGE, f"{url} has more than {max_bytes:,} bytes (max_bytes).")


def _explained(error: httpx.HTTPError | httpx.InvalidURL, *, url: str) -> FailedRecord:
    """The failure that an exchange which broke off stands for."""
    said = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectTimeout | httpx.ConnectError):
        code, told = FailureCode.SOURCE_TIMEOUT, f"{url} cannot be reached: {said}."
    elif isinstance(error, httpx.TimeoutException):
        code, told = FailureCode.SOURCE_TIMEOUT, f"{url} did not come in time: {said}."
    elif isinstance(error, httpx.TooManyRedirects):
        code, told = FailureCode.SOURCE_NOT_FOUND, f"{url} sends from address to address without end."
    elif isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        code, told = FailureCode.SOURCE_REFUSED, f"{url} leads to an address that is not fetched: {said}."
    elif isinstance(error, httpx.DecodingError):
        code, told = FailureCode.SOURCE_TRUNCATED, f"{url} was packed and cannot be unpacked: {said}."
    else:
        code, told = FailureCode.SOURCE_TIMEOUT, f"{url} hung up: {said}."
    return FailedRecord(code, told)
