"""The OpenAPI document: whole, with examples, and true of every answer that schemathesis can provoke."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.api.served import Served, serving, write_project

#: What streams, or waits for somebody, or needs a body of another kind, is asked by tests of its own.
LEFT_OUT = ("/api/v1/tasks:", "/api/v1/workers:", "/events", "/docs", "/api/v1/artifacts")


@schemathesis.serializer("application/x-ndjson", "application/octet-stream")
def _as_bytes(_: schemathesis.SerializationContext, value: object) -> bytes:
    """What is no JSON travels as it is, text as UTF-8."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that holds records, jobs and an index."""
    with serving(write_project(tmp_path_factory.mktemp("schema"))) as up:
        up.put("words", {"id": "a", "text": "a"}, {"id": "b", "text": "b"})
        yield up


def operations(document: dict[str, object]) -> list[tuple[str, str]]:
    """Method and path of every operation."""
    paths = document["paths"]
    assert isinstance(paths, dict)
    return [(method, path) for path, item in paths.items() for method in item]


def test_every_operation_is_described(served: Served) -> None:
    """Every operation has a sentence, tags, and an answer for mistakes."""
    # given
    document = served.client.get("/openapi.json").json()

    # then
    for method, path in operations(document):
        one = document["paths"][path][method]
        assert one["summary"], path
        assert "422" in one["responses"], path
    assert (
        "example" in document["paths"]["/v2/models/{stage}/infer"]["post"]["requestBody"]["content"]["application/json"]
    )
    assert served.client.get("/docs").status_code == 200


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_answer_is_a_server_error(busy: Served) -> None:
    """Whatever is sent, no answer is a 5xx but for what cannot be ready, and every answer fits its schema."""
    # given
    schema = schemathesis.openapi.from_url(f"{busy.url}/openapi.json", config=SchemathesisConfig())
    asked: set[str] = set()
    wrong: list[str] = []

    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if any(part in operation.path for part in LEFT_OUT):
            continue
        asked.add(operation.path)

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case[Any]) -> None:
            # when
            answer = case.call(timeout=30)

            # then
            if answer.status_code == 503 and "retry-after" in answer.headers:
                return
            case.validate_response(
                answer, checks=[not_a_server_error, content_type_conformance, response_schema_conformance]
            )

        try:
            ask()
        except Exception as error:  # noqa: BLE001  all that is wrong is told together
            wrong.append(f"{operation.label}: {_told(error)}")
    assert wrong == []
    assert len(asked) > 25


def _told(error: BaseException) -> str:
    """What is wrong, without the traceback."""
    inner = getattr(error, "exceptions", None)
    return "; ".join(_told(one) for one in inner) if inner else f"{type(error).__name__}: {error}"
