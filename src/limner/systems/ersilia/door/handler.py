"""The function behind an API gateway: an event comes in, the original's look-up over a DynamoDB table goes out."""

import base64
import os
from collections.abc import Mapping, Sequence
from functools import cache

from limner.domain.values import Value
from limner.errors import ConfigurationError
from limner.systems.ersilia.door.looking_up import look_up, shelf_of
from limner.systems.ersilia.door.original import Reply, problem, reply_to
from limner.systems.ersilia.nouns import Prediction
from limner.systems.ersilia.predictions.base import PredictionTable
from limner.systems.ersilia.predictions.connect import connect_predictions

#: The environment variable that names the table.
TABLE = "TABLE"
#: Bytes that a function may answer with, as its service has it; some are left for the envelope.
_MOST_BYTES = 5_800_000


def handler(event: Mapping[str, Value], context: object) -> dict[str, Value]:
    """What the gateway is told in answer to *event*; the gateway itself has looked at the key of the request."""
    reply = reply_to(_body(event), query=_query(event), look=_look)
    if len(reply.body) > _MOST_BYTES:
        told = (
            f"The answer has more than {_MOST_BYTES:,} bytes, which this door cannot send; ask for fewer keys at once."
        )
        reply = problem(413, told)
    return _told(reply)


def _look(model: str, keys: Sequence[str]) -> list[Prediction | None]:
    table = _table()
    return look_up(table, shelf_of(table, model), keys)


@cache
def _table() -> PredictionTable:
    """The table, opened when it is first asked: a function is kept between events, and its connections with it."""
    name = os.environ.get(TABLE)
    if not name:
        raise ConfigurationError(f"The environment variable {TABLE} names no table.")
    return connect_predictions(f"dynamodb://{name}")


def _body(event: Mapping[str, Value]) -> bytes:
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else str(body).encode()


def _query(event: Mapping[str, Value]) -> Mapping[str, Sequence[str]]:
    several = event.get("multiValueQueryStringParameters") or {}
    single = event.get("queryStringParameters") or {}
    return {**{name: [value] for name, value in single.items()}, **several}


def _told(reply: Reply) -> dict[str, Value]:
    return {
        "isBase64Encoded": False,
        "statusCode": reply.status,
        "headers": {"Content-Type": reply.kind, **reply.headers},
        "body": reply.body.decode(),
    }
