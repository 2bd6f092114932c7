"""A service of DynamoDB that is not well: it throttles, leaves items, and refuses what the real one refuses."""

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from limner.systems.ersilia.predictions.dynamodb import DynamoPredictions
from tests.systems.ersilia.simulated_cloud import client_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class Unwell:
    """
    The service's own client, but for what it does to batches: throttles calls, leaves items, and counts.

    Like the service and unlike its simulator it refuses a batch that names a key twice.
    """

    def __init__(
        self, url: str, *, throttled: float = 0.3, left: float = 0.3, never: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        self._client: Any = client_of(url)
        self._luck = random.Random(7)
        self._throttled, self._left, self._never = throttled, left, never
        self.calls: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  what a client has is its own
        return getattr(self._client, name)

    def batch_write_item(self, *, RequestItems: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
        """Write some of the items."""
        ((table, asked),) = RequestItems.items()
        taken, left = self._some("write", asked, lambda one: one["PutRequest"]["Item"])
        if taken:
            self._client.batch_write_item(RequestItems={table: taken})
        return {"UnprocessedItems": {table: left} if left else {}}

    def batch_get_item(self, *, RequestItems: Mapping[str, Any]) -> dict[str, Any]:
        """Read some of the items."""
        ((table, asked),) = RequestItems.items()
        taken, left = self._some("read", asked["Keys"], lambda one: one)
        answer = self._client.batch_get_item(RequestItems={table: {"Keys": taken}}) if taken else {}
        found = answer.get("Responses", {}).get(table, [])
        return {"Responses": {table: found}, "UnprocessedKeys": {table: {"Keys": left}} if left else {}}

    def _some(
        self, kind: str, asked: list[dict[str, Any]], item_of: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        keys = [(item_of(one)["PK"]["S"], item_of(one)["SK"]["S"]) for one in asked]
        self.calls.append((kind, len(keys)))
        if len(keys) > {"write": 25, "read": 100}[kind] or len(set(keys)) < len(keys):
            raise _refusal("ValidationException", kind, status=400)
        if self._luck.random() < self._throttled:
            raise _refusal("ProvisionedThroughputExceededException", kind, status=400)
        stays = [self._luck.random() < self._left or (kind, key) in self._never for key, _ in keys]
        return [one for one, out in zip(asked, stays, strict=True) if not out], [
            one for one, out in zip(asked, stays, strict=True) if out
        ]


def _refusal(code: str, kind: str, *, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(cast("Any", answer), kind)


def unwell_table(url: str, client: Unwell, *, pauses: list[float]) -> DynamoPredictions:
    """A table over an unwell service; it notes its pauses in the place of making them."""
    return DynamoPredictions(cast("DynamoDBClient", client), urlsplit(url).netloc, pause=pauses.append)
