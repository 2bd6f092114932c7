"""One pipeline of a synchronous model service, asked over HTTP; a cold start is waited for."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from limner.domain.values import Value
from limner.systems.antenna.process_wire import (
    GivenDetection,
    ProcessAnswer,
    ProcessRequest,
    Ready,
    ServiceInfo,
    SourceImage,
    declared_algorithms,
    decoded,
)

if TYPE_CHECKING:
    import httpx

#: What a caller of the service keeps to itself among the keys of ``config``.
_OURS = "request_"
_AT_ONCE = "request_source_image_batch_size"
_LONGEST = 500
#: The service is there, but cannot be asked now.
_COLD = 503


class ServiceUnavailable(Exception):
    """The service cannot be asked, or did not answer in time; asking again may go well."""

    code = "MODEL_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ServiceRefused(Exception):
    """The service refused the request, or told of errors; the text is its own."""

    code = "MODEL_ERROR"


class Time(Protocol):
    """A clock to wait by; handed in, so that tests need not wait."""

    def now(self) -> float:
        """Seconds that only grow."""
        ...

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass."""
        ...


class MachineTime:
    """The machine's own."""

    def now(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass."""
        time.sleep(seconds)


class Service:
    """One pipeline of one model service."""

    def __init__(
        self,
        url: str,
        *,
        pipeline: str,
        client: "httpx.Client",
        release: int | None,
        token_env: str | None,
        config: Mapping[str, Value] | None,
        timeout: float,
        cold_start: float,
        poll: float,
        clock: Time,
    ) -> None:
        """
        Wait until the service is ready, and ask what it declares.

        Raises:
            ServiceUnavailable: it was not ready within *cold_start* seconds.
            ValueError: it has no such pipeline, or not in this *release*.
        """
        self._url = url.rstrip("/")
        self._slug = pipeline
        self._client = client
        self._headers = {"content-type": "application/json", **_authorization(token_env)}
        settings = dict(config or {})
        self.at_once = _at_once(settings)
        self._config = {key: value for key, value in settings.items() if not key.startswith(_OURS)} or None
        self._timeout = timeout
        self._cold_start = cold_start
        self._poll = poll
        self._clock = clock
        self.wait_until_ready()
        info = decoded(self._get("/info").content, type=ServiceInfo, of="The service's /info")
        self._check(info, release=release)
        #: By key: the algorithms that may speak in its answers.
        self.algorithms = declared_algorithms(info, slug=pipeline)

    def process(
        self, images: Sequence[SourceImage], *, detections: Sequence[GivenDetection] | None = None
    ) -> ProcessAnswer:
        """
        What the service says of *images*; a cold start is waited for and is no failure.

        Raises:
            ServiceUnavailable: no connection, no answer in time, or a status from 500 on.
            ServiceRefused: a status from 400 to 499, or errors in its answer; in its own words.
            NotUnderstood: its answer is not of the agreed form.
        """
        asked = ProcessRequest(
            pipeline=self._slug,
            source_images=list(images),
            detections=None if detections is None else list(detections),
            config=self._config,
        )
        body = msgspec.json.encode(asked)
        response = self._post(body)
        if response.status_code == _COLD:
            self.wait_until_ready()
            response = self._post(body)
        _refuse_status(response, url=f"{self._url}/process")
        answer = decoded(response.content, type=ProcessAnswer, of="The service's answer")
        if answer.told_errors:
            raise ServiceRefused(f"The service told of errors: {answer.told_errors[:_LONGEST]}")
        return answer

    def wait_until_ready(self) -> None:
        """
        Ask again and again whether the service is ready for the pipeline.

        Raises:
            ServiceUnavailable: it was not within the time that a cold start may take.
        """
        ends = self._clock.now() + self._cold_start
        while True:
            state = self._readiness()
            if state is None:
                return
            if self._clock.now() + self._poll > ends:
                lives = "lives" if self._lives() else "does not answer"
                told = f"{self._url} {lives}, and was not ready within {self._cold_start:g} s: {state}"
                raise ServiceUnavailable(told)
            self._clock.wait(self._poll)

    def _readiness(self) -> str | None:
        """Why the service cannot be asked now; None where it can."""
        try:
            response = self._get("/readyz")
        except ServiceUnavailable as error:
            return str(error)
        if not response.is_success:
            return f"/readyz answered {response.status_code}"
        ready = decoded(response.content, type=Ready, of="The service's /readyz").status
        return None if self._slug in ready else f"/readyz names {', '.join(ready) or 'no pipeline'}, not {self._slug}"

    def _lives(self) -> bool:
        try:
            return self._get("/livez").is_success
        except ServiceUnavailable:
            return False

    def _check(self, info: ServiceInfo, *, release: int | None) -> None:
        offered = {pipeline.slug: pipeline for pipeline in info.pipelines}
        if self._slug not in offered:
            known = ", ".join(sorted(offered)) or "none"
            raise ValueError(f"{self._url} has no pipeline {self._slug}; it has: {known}")
        now = offered[self._slug].version
        if release is not None and now != release:
            raise ValueError(
                f"{self._url} serves release {now} of {self._slug}, and the stage names {release}: "
                "change its parameter release, and what the other made becomes stale"
            )

    def _get(self, path: str) -> "httpx.Response":
        import httpx

        try:
            return self._client.get(f"{self._url}{path}", headers=self._headers)
        except httpx.TransportError as error:
            raise _unreached(f"{self._url}{path}", error) from error

    def _post(self, body: bytes) -> "httpx.Response":
        import httpx

        url = f"{self._url}/process"
        try:
            return self._client.post(url, content=body, headers=self._headers, timeout=self._timeout)
        except httpx.TransportError as error:
            raise _unreached(url, error) from error


def _at_once(config: Mapping[str, Value]) -> int:
    number = config.get(_AT_ONCE, 1)
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"{_AT_ONCE} is a whole number from 1 on, not {number!r}")
    return number


def _authorization(token_env: str | None) -> dict[str, str]:
    if token_env is None:
        return {}
    token = os.environ.get(token_env)
    if not token:
        raise ValueError(f"the service's token is to stand in {token_env}, which is not set")
    return {"authorization": f"Bearer {token}"}


def _unreached(url: str, error: Exception) -> ServiceUnavailable:
    return ServiceUnavailable(f"{url} cannot be reached, or does not answer: {type(error).__name__}: {error}")


def _refuse_status(response: "httpx.Response", *, url: str) -> None:
    if response.is_success:
        return
    told = f"{url} answered {response.status_code}: {response.text[:_LONGEST]}"
    if response.status_code >= 500 or response.status_code in (408, 425, 429):
        after = response.headers.get("retry-after", "")
        raise ServiceUnavailable(told, retry_after=float(after) if after.isdigit() else None)
    raise ServiceRefused(told)
