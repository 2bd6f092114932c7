"""
Inferrer behind HTTP: Open Inference Protocol v2, or a plain JSON endpoint.

Parameters:

- ``url``: for ``json`` the address that is posted to; for ``v2`` the server's root, before ``/v2/models/…``.
- ``protocol``: ``json`` (default) or ``v2``; ``model``: the model's name there, which ``v2`` needs.
- ``files``: ``base64`` (default), or ``path``: a ``file://`` address, for a server that sees the same disk.
- ``token_env``: name of the environment variable that holds a bearer token.

``json``: ``POST url {"inputs": [{NAME: VALUE, …}, …]}`` answers ``{"outputs": [VALUE or {"error": TEXT}, …]}``, one for
each input; beside ``error`` may stand ``code`` and ``reason``. Files and bytes travel as ``{"b64": …}``.
"""

import json
import os
from collections.abc import Mapping
from datetime import timedelta

import httpx
import msgspec
from msgspec import Struct

from limner.domain.digests import digest
from limner.domain.failures import FailedRecord, FailureCode
from limner.domain.tasks import Runtime
from limner.domain.values import Value
from limner.domain.versions import Description
from limner.errors import InferrerBroken, LimnerError
from limner.inferrers.base import Inferrer, InferrerUnavailable, Want
from limner.inferrers.wire import from_json, from_v2, to_json, to_v2

_CODE = "http:1"
#: What a server says of a model that makes its answers others'.
_TELLING = ("version", "versions", "model_version", "platform", "digest", "model_digest", "sha256")
_BUSY = (408, 425, 429, 502, 503, 504)
_ASK_FOR = timedelta(seconds=10)


class HttpParams(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of the inferrer `http`."""

    url: str
    protocol: str = "json"
    model: str | None = None
    files: str = "base64"
    token_env: str | None = None


class RequestRefused(LimnerError):
    """A server refused a request for its content; with fewer records it may take it."""


class HttpInferrer(Inferrer):
    """Posts each batch to a server and reads as many outputs from its answer."""

    def __init__(self, runtime: Runtime, *, client: httpx.Client | None = None) -> None:
        """
        Take *client*, or make one with the stage's time limit.

        Raises:
            InferrerBroken: a parameter is unknown or missing.
        """
        self._params = read_params(runtime.params)
        self._owned = client is None
        self._client = client or httpx.Client(timeout=runtime.timeout.total_seconds())
        files = Want.PATH if self._params.files == "path" else Want.BYTES
        self._wants = {name: files if read else Want.VALUE for name, read in runtime.reads.items()}
        self._raw = runtime.params

    def describe(self) -> Description:
        """What the server says of its model; without that, the parameters in the version must do."""
        return describe_http(self._raw, client=self._client)

    def wants(self) -> Mapping[str, Want]:
        """Files as bytes, or as paths where the server sees the same disk."""
        return self._wants

    def infer(self, columns: Mapping[str, list[object]]) -> list[object]:
        """
        One request for the batch.

        Raises:
            InferrerUnavailable: no connection, no answer in time, busy (408, 425, 429, 502–504), or not allowed.
            RequestRefused: any other status; ask again with fewer records.
            OutputsMiscounted: the answer has another number of outputs.
        """
        count = len(next(iter(columns.values())))
        if self._params.protocol == "json":
            return from_json(self._ask(self._params.url, to_json(columns)), count=count)
        answer = self._ask(f"{_model_url(self._params)}/infer", to_v2(columns))
        return from_v2(answer, count=count)

    def close(self) -> None:
        """Close the client that was made here; an injected one is its owner's."""
        if self._owned:
            self._client.close()

    def _ask(self, url: str, body: Value) -> Value:
        headers = {"content-type": "application/json", **_authorization(self._params)}
        try:
            response = self._client.post(url, content=msgspec.json.encode(body), headers=headers)
        except httpx.TransportError as error:
            raise InferrerUnavailable(f"{url} cannot be reached: {type(error).__name__}: {error}") from error
        _refuse_status(response)
        try:
            # It takes NaN and Infinity, which servers write: they fail their own records, and not the whole batch.
            return json.loads(response.content)
        except ValueError as error:
            raise RequestRefused(f"{url} answered with something that is not JSON: {error}") from error


def read_params(params: Mapping[str, Value]) -> HttpParams:
    """
    The parameters, checked.

    Raises:
        InferrerBroken: one is unknown, missing or contradicts another.
    """
    try:
        found = msgspec.convert(dict(params), type=HttpParams)
    except msgspec.ValidationError as error:
        raise InferrerBroken(f"The parameters of the inferrer `http` are wrong: {error}") from error
    if found.protocol not in ("json", "v2"):
        raise InferrerBroken(f"The inferrer `http` speaks the protocols json and v2, not {found.protocol!r}.")
    if found.files not in ("base64", "path"):
        raise InferrerBroken(f"The inferrer `http` sends files as base64 or path, not {found.files!r}.")
    if found.protocol == "v2" and not found.model:
        raise InferrerBroken("The inferrer `http` with protocol v2 needs the parameter model, its name on the server.")
    return found


def describe_http(params: Mapping[str, Value], *, client: httpx.Client | None = None) -> Description:
    """
    The description of the model behind *params*.

    Its code is the digest of what ``GET url/v2/models/{model}`` says of version and digest; where no model is named
    or the server does not know that route it is always the same, and the parameters alone make the version.
    """
    try:
        found = read_params(params)
        if not found.model:
            return Description(code=_CODE)
        if client is not None:
            return _described(found, client=client)
        with httpx.Client(timeout=_ASK_FOR.total_seconds()) as own:
            return _described(found, client=own)
    except (InferrerBroken, InferrerUnavailable) as error:
        return Description(code=_CODE, problem=str(error))


def _described(params: HttpParams, *, client: httpx.Client) -> Description:
    url = _model_url(params)
    try:
        response = client.get(url, headers=_authorization(params))
    except httpx.TransportError as error:
        raise InferrerUnavailable(f"{url} cannot be reached: {type(error).__name__}: {error}") from error
    if response.status_code in (404, 405, 501):
        return Description(code=_CODE)
    if response.status_code != httpx.codes.OK:
        raise InferrerUnavailable(f"{url} answered {response.status_code}, so its model's version is not known.")
    try:
        said = msgspec.json.decode(response.content, type=dict[str, object])
    except msgspec.DecodeError:
        return Description(code=_CODE)
    telling = {key: said[key] for key in _TELLING if said.get(key)}
    if not telling:
        return Description(code=_CODE)
    return Description(code=f"v2:{digest(msgspec.json.encode(telling, order='deterministic')).hex()}")


def _model_url(params: HttpParams) -> str:
    return f"{params.url.rstrip('/')}/v2/models/{params.model}"


def _authorization(params: HttpParams) -> dict[str, str]:
    if params.token_env is None:
        return {}
    token = os.environ.get(params.token_env)
    if not token:
        raise InferrerBroken(f"The inferrer `http` takes its token from {params.token_env}, which is not set.")
    return {"authorization": f"Bearer {token}"}


def _refuse_status(response: httpx.Response) -> None:
    status = response.status_code
    if response.is_success:
        return
    url = response.request.url
    if status in _BUSY:
        raise InferrerUnavailable(f"{url} answered {status}.", retry_after=_seconds(response.headers))
    if status in (401, 403, 404, 405):
        raise InferrerUnavailable(f"{url} answered {status}; check its address, model and token.")
    problem = _problem(response)
    if problem:
        raise problem
    raise RequestRefused(f"{url} answered {status}: {response.text[:300]}")


def _problem(response: httpx.Response) -> FailedRecord | None:
    """The failure that problem details (RFC 9457) with a known ``code`` tell."""
    try:
        said = msgspec.json.decode(response.content, type=dict[str, object])
        code = FailureCode(str(said.get("code")))
    except (msgspec.DecodeError, ValueError):
        return None
    return FailedRecord(code, str(said.get("detail") or said.get("title") or code))


def _seconds(headers: httpx.Headers) -> float | None:
    asked = headers.get("retry-after", "")
    return float(asked) if asked.isdigit() else None
