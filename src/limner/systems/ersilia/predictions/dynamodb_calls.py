"""Calls of DynamoDB for many keys: as many as one call takes, and again for what it left."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from limner.errors import ConfigurationError, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from limner.systems.ersilia.predictions.dynamodb_items import Item

#: Items of one call at most, as the service allows.
WRITES, READS = 25, 100
#: Calls in a row of which nothing comes, before those that are left are given up.
_TRIES = 12
#: First and longest pause before a call is repeated, in seconds.
_PAUSES = (0.05, 10.0)
_THROTTLED = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


class Calls:
    """Asks one table; what the service leaves undone is asked again after pauses that grow."""

    def __init__(self, client: "DynamoDBClient", table: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table
        self._pause = pause

    def put(self, items: Sequence["Item"]) -> "list[Item]":
        """Write *items*, whose keys differ; returns those that were throttled to the end."""
        left: list[Item] = []
        for start in range(0, len(items), WRITES):
            left += self._until_done(list(items[start : start + WRITES]), self._put_some)
        return left

    def get(self, keys: "Sequence[Item]") -> "list[Item]":
        """
        The items at *keys*, which differ.

        Raises:
            StoreUnavailable: it is throttled to the end.
        """
        found: list[Item] = []
        for start in range(0, len(keys), READS):
            left = self._until_done(list(keys[start : start + READS]), lambda some: self._get_some(some, found))
            if left:
                raise StoreUnavailable(f"The table {self._table} is throttled; ask again later, or allow it more.")
        return found

    @contextmanager
    def told(self) -> Iterator[None]:
        """
        Turn what boto3 raises in the block into errors of Limner.

        Raises:
            ConfigurationError: there is no such table, or the keys do not allow it.
            StoreUnavailable: the service cannot be reached or is not well.
        """
        try:
            yield
        except ClientError as error:
            raise self._answered(error) from error
        except (NoCredentialsError, NoRegionError) as error:
            told = f"{error} Set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION."
            raise ConfigurationError(f"The table {self._table} cannot be asked: {told}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"The table {self._table} cannot be reached: {error}") from error

    def _put_some(self, items: "list[Item]") -> "list[Item]":
        """Write some; those that are left."""
        answer = self._client.batch_write_item(
            RequestItems={self._table: [{"PutRequest": {"Item": item}} for item in items]}
        )
        return [one["PutRequest"]["Item"] for one in answer.get("UnprocessedItems", {}).get(self._table, ())]

    def _get_some(self, keys: "list[Item]", found: "list[Item]") -> "list[Item]":
        """Add to *found*; the keys that are left."""
        answer = self._client.batch_get_item(RequestItems={self._table: {"Keys": keys}})
        found += answer["Responses"].get(self._table, ())
        unprocessed = answer.get("UnprocessedKeys", {})
        left = unprocessed[self._table]["Keys"] if self._table in unprocessed else []
        return [dict(key) for key in left]

    def _until_done(self, items: "list[Item]", call: "Callable[[list[Item]], list[Item]]") -> "list[Item]":
        """Call for *items* until nothing is left, or for long nothing came of it; what is left then."""
        idle = 0
        while items:
            left = self._left_by(items, call)
            idle = idle + 1 if len(left) == len(items) else 0
            items = left
            if idle == _TRIES:
                return items
            if items:
                least, most = _PAUSES
                # Several writers that were throttled together do not come back together.
                self._pause(random.uniform(0.5, 1.0) * min(most, least * 2**idle))
        return []

    def _left_by(self, items: "list[Item]", call: "Callable[[list[Item]], list[Item]]") -> "list[Item]":
        with self.told():
            try:
                return call(items)
            except ClientError as error:
                if error.response["Error"].get("Code") in _THROTTLED:
                    return items
                raise

    def _answered(self, error: ClientError) -> ConfigurationError | StoreUnavailable:
        code = str(error.response["Error"].get("Code", ""))
        told = str(error.response["Error"].get("Message", "")) or code
        status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 0))
        if code == "ResourceNotFoundException":
            return ConfigurationError(
                f"There is no table {self._table}; deploy/aws/ersilia.yaml makes one, or name another."
            )
        if code in _THROTTLED or status >= 500 or not status:
            return StoreUnavailable(f"The table {self._table} is not well: {told} ({code}).")
        return ConfigurationError(f"The table {self._table} does not accept what was asked: {told} ({code}).")
