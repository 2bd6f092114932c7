"""Problem details (RFC 9457): what went wrong as a sentence, and which fields of the request are to be changed."""

from collections.abc import Mapping, Sequence

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.responses import Response

from limner.domain.failures import FailedRecord, Failure, FailureCode
from limner.errors import (
    AddressRefused,
    ArtifactsUnavailable,
    BusUnavailable,
    ChecksumMismatch,
    ConfigurationError,
    Forbidden,
    IllegalMove,
    InferrerBroken,
    LimnerError,
    MissingExtra,
    ModelRefused,
    NotFound,
    SearchUnavailable,
    StoreUnavailable,
    Unauthorized,
    UsageError,
    VersionConflict,
)

MEDIA_TYPE = "application/problem+json"
#: Seconds after which a request that met something unavailable may be sent again.
_SOON = "2"
_TITLES = {
    400: "Bad request",
    401: "Not authorised",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Too many requests",
    500: "Internal error",
    501: "Not installed",
    503: "Unavailable",
    504: "Took too long",
}
#: The status of each error, the first that fits; the core knows no status.
_STATUSES: tuple[tuple[type[LimnerError], int], ...] = (
    (Unauthorized, 401),
    (Forbidden, 403),
    (AddressRefused, 403),
    (MissingExtra, 501),
    (NotFound, 404),
    (IllegalMove, 409),
    (VersionConflict, 409),
    (ModelRefused, 409),
    (ConfigurationError, 409),
    (ArtifactsUnavailable, 503),
    (StoreUnavailable, 503),
    (BusUnavailable, 503),
    (SearchUnavailable, 503),
    (InferrerBroken, 503),
    (ChecksumMismatch, 422),
    (UsageError, 422),
)
#: The status of a record that failed while its sender waited.
_OF_CODES: Mapping[FailureCode, int] = {
    FailureCode.SOURCE_NOT_FOUND: 404,
    FailureCode.SOURCE_FORBIDDEN: 403,
    FailureCode.SOURCE_REFUSED: 403,
    FailureCode.SOURCE_TOO_LARGE: 413,
    FailureCode.OUTPUT_TOO_LARGE: 413,
    FailureCode.SOURCE_UNAVAILABLE: 503,
    FailureCode.SOURCE_TIMEOUT: 503,
    FailureCode.MODEL_UNAVAILABLE: 503,
    FailureCode.WORKER_LOST: 503,
    FailureCode.OUT_OF_MEMORY: 503,
    FailureCode.STAGE_TIMEOUT: 504,
}
#: Failures that another request with the same input may not meet.
_RETRYABLE = frozenset(
    {
        FailureCode.SOURCE_UNAVAILABLE,
        FailureCode.SOURCE_TIMEOUT,
        FailureCode.MODEL_UNAVAILABLE,
        FailureCode.WORKER_LOST,
        FailureCode.OUT_OF_MEMORY,
        FailureCode.STAGE_TIMEOUT,
    }
)


class FieldError(Struct, frozen=True, kw_only=True):
    """What is wrong with one field of a request."""

    #: Its whole path: ``records[3].fields.title``.
    field: str
    message: str


class Refused(LimnerError):
    """The request as such cannot be answered, whatever it asks for."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.code = code


def problem(
    status: int,
    detail: str,
    *,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    code: str | None = None,
    retryable: bool | None = None,
) -> Response:
    """The answer that tells a problem."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": _TITLES.get(status, "Problem"),
        "status": status,
        "detail": detail,
    }
    if code is not None:
        body["code"] = code
    if retryable is not None:
        body["retryable"] = retryable
    if errors:
        body["errors"] = errors
    told = dict(headers or {})
    if status == 503:
        told.setdefault("retry-after", _SOON)
    if status == 401:
        told.setdefault("www-authenticate", "Bearer")
    return Response(msgspec.json.encode(body), status_code=status, headers=told, media_type=MEDIA_TYPE)


def problem_of(error: LimnerError) -> Response:
    """The answer to a request that met *error*."""
    if isinstance(error, Refused):
        return problem(error.status, str(error), errors=error.errors, headers=error.headers, code=error.code)
    if isinstance(error, FailedRecord):
        return problem_of_failure(error.failure)
    return problem(status_of(error), str(error))


def status_of(error: LimnerError) -> int:
    """The status that tells *error*."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 422)


def problem_of_failure(failure: Failure) -> Response:
    """The answer to a request for one record that failed."""
    wait = {} if failure.retry_after is None else {"retry-after": str(max(1, round(failure.retry_after)))}
    return problem(
        status_of_code(failure.code),
        failure.message,
        code=failure.code.value,
        retryable=is_retryable(failure.code),
        headers=wait,
    )


def status_of_code(code: FailureCode) -> int:
    """The status that tells a record's failure."""
    return _OF_CODES.get(code, 422)


def is_retryable(code: FailureCode) -> bool:
    """Whether the same request may go well later."""
    return code in _RETRYABLE


def field_path(place: Sequence[str | int]) -> str:
    """``("body", "records", 3, "fields")`` as ``records[3].fields``."""
    parts = place[1:] if place and place[0] in ("body", "query", "path", "header") else place
    told = ""
    for part in parts:
        told += f"[{part}]" if isinstance(part, int) else f"{'.' if told else ''}{part}"
    return told


def install(app: FastAPI) -> None:
    """Have *app* tell every problem as problem details."""
    app.add_exception_handler(LimnerError, _limner)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _broken)


def _broken(_: Request, __: Exception) -> Response:
    """What nobody foresaw; the outermost layer writes it to the log."""
    return broken()


def broken() -> Response:
    """The answer where the server itself made a mistake."""
    return problem(500, "Something broke while this was answered; what is stored is unharmed. The log says more.")


def _limner(_: Request, error: Exception) -> Response:
    if not isinstance(error, LimnerError):
        raise error
    return problem_of(error)


def _http(request: Request, error: Exception) -> Response:
    """What the router itself refuses: an unknown address, a method that it does not take."""
    if not isinstance(error, HTTPException):
        raise error
    if isinstance(error.__cause__, LimnerError):
        # The body was refused while it was read.
        return problem_of(error.__cause__)
    told = {404: f"There is nothing at {request.url.path}.", 405: f"{request.method} is not taken here."}
    detail = told.get(error.status_code, str(error.detail))
    return problem(error.status_code, detail, headers=error.headers)


def _invalid(request: Request, error: Exception) -> Response:
    """A request that does not fit its schema: 400 where it is no JSON at all, 415 where it says so itself."""
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        where = found[0]
        why = where.get("ctx", {}).get("error", where["msg"])
        return problem(400, f"The body is no JSON: {why} at character {where['loc'][-1]}.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    whole = any(tuple(one["loc"]) == ("body",) for one in found)
    if whole and kind and kind != "application/json" and not kind.endswith("+json"):
        return problem(415, f"The body is {kind}; send application/json.")
    errors = [FieldError(field=field_path(one["loc"]) or "body", message=str(one["msg"])) for one in found]
    listed = ", ".join(dict.fromkeys(one.field for one in errors))
    return problem(422, f"The request is not right in: {listed}.", errors=errors)
