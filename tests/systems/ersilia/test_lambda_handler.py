"""The function behind the gateway: events in, the original's answers out, over the table that the template makes."""

import base64
import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from limner.domain.values import Value
from limner.systems.ersilia.columns import Column, ColumnType
from limner.systems.ersilia.door import handler as door
from limner.systems.ersilia.predictions.connect import connect_predictions
from tests.conftest import REPOSITORY
from tests.systems.ersilia.asked import CASES, FAILED, Case, request, told
from tests.systems.ersilia.shelved import failed, key_of, predicted, release_of, shelve, weight_of
from tests.systems.ersilia.stacked import TABLE, Cloud, made_cloud

#: The stack, and some thousand items in its table.
pytestmark = pytest.mark.slow
#: As many as the cases ask for.
STORED = range(5_000)
WIDE = "eos5axz"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """The template's cloud with predictions in its table, and the function's own environment."""
    with made_cloud(REPOSITORY / "deploy" / "aws" / "ersilia.yaml") as found, pytest.MonkeyPatch.context() as own:
        own.setenv(door.TABLE, TABLE)
        door._table.cache_clear()
        table = connect_predictions(f"dynamodb://{TABLE}")
        shelve(table, [*(predicted(number) for number in STORED), failed(FAILED)])
        columns = [Column(name=f"bit_{place}", type=ColumnType.FLOAT) for place in range(2048)]
        wide = [predicted(number, *(number + place / 7 for place in range(2048))) for number in range(2)]
        shelve(table, wide, release=release_of(model=WIDE, columns=columns))
        table.close()
        yield found
        door._table.cache_clear()


def event(body: bytes | None, **more: Value) -> dict[str, Value]:
    """An event as the gateway makes it of a request."""
    text = None if body is None else body.decode(errors="surrogateescape")
    return {"httpMethod": "GET", "path": "/predictions", "headers": {"x-api-key": "…"}, "body": text, **more}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_e26_lambda_handler(cloud: Cloud, case: Case) -> None:
    """Every request is answered through the function as it is through the server."""
    # given
    asked = event(case.body)
    if case.name == "no text":
        asked |= {"isBase64Encoded": True, "body": base64.b64encode(case.body or b"").decode()}

    # when
    answer = door.handler(asked, None)

    # then
    assert set(answer) == {"isBase64Encoded", "statusCode", "headers", "body"}
    assert answer["statusCode"] == case.status, answer
    assert answer["isBase64Encoded"] is False
    if case.holds is None:
        assert answer["body"] == ""
    else:
        assert case.holds(json.loads(answer["body"])), answer["body"][:500]
        kind = "application/problem+json" if case.status >= 400 else "application/json"
        assert answer["headers"]["Content-Type"] == kind


def test_e26_lambda_handler_by_query(cloud: Cloud) -> None:
    """The gateway's own form of a query is understood."""
    query = {"modelId": ["eos3b5e"], "inputKeyArray": [key_of(3), key_of(4)]}
    answer = door.handler(event(None, multiValueQueryStringParameters=query), None)
    assert json.loads(answer["body"]) == told(3, 4)


def test_e26_lambda_handler_asks_a_hundred_keys_a_call(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys go to the service a hundred in a call, none twice; what it leaves out is asked for again."""
    # given
    calls: list[list[str]] = []
    client = door._table()._client  # type: ignore[attr-defined]  # what is sent is what is looked at
    real = client.batch_get_item

    def leaving(**asked: Value) -> Value:
        keys = asked["RequestItems"][TABLE]["Keys"]
        calls.append([key["PK"]["S"] for key in keys])
        kept, left = keys[: len(keys) // 2 + 1], keys[len(keys) // 2 + 1 :]
        found = real(RequestItems={TABLE: {**asked["RequestItems"][TABLE], "Keys": kept}})
        return {**found, "UnprocessedKeys": {TABLE: {"Keys": left}} if left else {}}

    monkeypatch.setattr(client, "batch_get_item", leaving)

    # when
    numbers = [*range(250), 7, 7]
    answer = door.handler(event(request(*numbers)), None)

    # then
    assert json.loads(answer["body"]) == told(*numbers)
    assert max(map(len, calls)) <= 100
    assert all(len(set(keys)) == len(keys) for keys in calls)
    assert len(calls) > 3


def test_e14_numbers_leave_the_function_as_numbers(cloud: Cloud) -> None:
    """What the service keeps as decimals arrives as the same floats, bit for bit."""
    answer = door.handler(event(request(4_999)), None)
    (value,) = json.loads(answer["body"], parse_float=Decimal)["output"][0]["value"]
    assert isinstance(value, Decimal)
    assert float(value) == weight_of(4_999)


def test_e26_lambda_handler_bounds_its_answer(cloud: Cloud) -> None:
    """An answer that the service would not carry is refused with what to do."""
    answer = door.handler(event(request(*[0, 1] * 120, model=WIDE)), None)
    assert answer["statusCode"] == 413
    assert "fewer keys" in json.loads(answer["body"])["detail"]


def test_e26_lambda_handler_without_its_table(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is gone is 503 with the time after which to ask again."""
    # given
    monkeypatch.setenv(door.TABLE, "no-such-table")
    door._table.cache_clear()

    # when
    answer = door.handler(event(request(1)), None)
    door._table.cache_clear()

    # then
    assert answer["statusCode"] == 503
    assert int(answer["headers"]["retry-after"]) > 0
