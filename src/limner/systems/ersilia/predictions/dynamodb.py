"""Predictions in a table of DynamoDB: of each model the version that was written last, one item a key."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from msgspec import structs

from limner.clock import Clock, SystemClock
from limner.domain.failures import FailureCode
from limner.errors import ConfigurationError, UsageError
from limner.systems.ersilia.nouns import Failed, KeyScheme, Prediction, Release
from limner.systems.ersilia.predictions import cells
from limner.systems.ersilia.predictions import dynamodb_items as items
from limner.systems.ersilia.predictions.base import PredictionTable, Shelf, Written
from limner.systems.ersilia.predictions.dynamodb_calls import Calls
from limner.systems.ersilia.reasons import Reason

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from limner.systems.ersilia.predictions.dynamodb_items import Item

_KNOWN = ("region", "endpoint_url")
#: What holds for the whole table, and how many versions were begun.
_FACTS: "Item" = {"PK": {"S": "LIMNER"}, "SK": {"S": "FACTS"}}
#: The partition of the versions.
_SHELVES = "LIMNER#SHELVES"


class DynamoPredictions(PredictionTable):
    """
    Items ``INPUTKEY#<key>``, ``MODELID#<model>`` as the original's readers know them, and a few that they never ask.

    There is one item for a key and a model, so a version that is written takes the place of the one before it, key by
    key; each answers from its own items alone.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        clock: Clock | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._table = table
        self._clock = clock or SystemClock()
        self._calls = Calls(client, table, pause=pause)
        self._releases: dict[tuple[str, str], Release] = {}

    def describe(self) -> str:
        """``predictions in dynamodb://table``."""
        return f"predictions in dynamodb://{self._table}"

    def scheme(self) -> KeyScheme | None:
        """The scheme of its keys, from the first version that was begun."""
        with self._calls.told():
            found = self._client.get_item(TableName=self._table, Key=_FACTS, ConsistentRead=True).get("Item")
        return None if found is None else KeyScheme(found["Scheme"]["S"])

    def begin(self, release: Release, *, scheme: KeyScheme) -> None:
        """Note the version as incomplete; its predictions, where there are some, stay."""
        held = self.scheme()
        if held is not None and held is not scheme:
            raise self._of_another(held, scheme)
        with self._calls.told():
            known = self._change(release, "SET #r = :r, Complete = :c", {":r": _packed(release), ":c": {"BOOL": False}})
            if not known:
                self._add(release, scheme)
        self._releases.pop((release.model, release.version), None)

    def write(self, release: Release, predictions: Sequence[Prediction]) -> Written:
        """Compare with what is there, and put what is new or changed."""
        self._begun(release)
        scheme = self.scheme()
        assert scheme is not None, "a version was begun, and its scheme noted with it"
        refused: dict[str, Failed] = {}
        asked: dict[str, Prediction] = {}
        for prediction in predictions:
            if prediction.key not in asked and prediction.key not in refused:
                why = cells.refusal(prediction, release=release, scheme=scheme)
                if why is None:
                    asked[prediction.key] = prediction
                else:
                    refused[prediction.key] = why
        held = self.read(release.model, release.version, list(asked))
        fresh = [one for key, one in asked.items() if key not in held or _differ(one, held[key])]
        refused |= self._put(fresh, release)
        put = [one for one in fresh if one.key not in refused]
        if put:
            self._change(release, "SET Updated = :u", {":u": {"N": repr(self._clock.now())}})
        changed = sum(one.key in held for one in put)
        return Written(new=len(put) - changed, changed=changed, same=len(asked) - len(fresh), refused=refused)

    def complete(self, release: Release) -> None:
        """Note that the version is complete."""
        if not self._change(release, "SET Complete = :c", {":c": {"BOOL": True}}):
            raise self._not_begun(release)

    def read(self, model: str, version: str, keys: Sequence[str]) -> dict[str, Prediction]:
        """Ask for a hundred keys in a call, each once; what is of another version is not there."""
        asked = [key for key in dict.fromkeys(keys) if items.is_key(key)]
        release = self._release(model, version) if asked else None
        if release is None:
            return {}
        found = self._calls.get([items.place_of(key, model) for key in asked])
        return {
            items.key_of(item): items.prediction_of(item, columns=release.columns)
            for item in found
            if items.version_of(item) == version
        }

    def count(self, model: str, version: str) -> int:
        """Count the items that hold values, through every page of the table: it takes as long as the table is large."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._table,
            Select="COUNT",
            ConsistentRead=True,
            FilterExpression="SK = :m AND Version = :v AND attribute_not_exists(Failure)",
            ExpressionAttributeValues={":m": {"S": f"MODELID#{model}"}, ":v": {"S": version}},
        )
        with self._calls.told():
            return sum(page["Count"] for page in pages)

    def shelves(self, model: str | None = None) -> list[Shelf]:
        """The versions, in the order of their numbers."""
        found = sorted(self._shelf_items(model), key=lambda item: int(item["Number"]["N"]))
        return [
            Shelf(
                release=items.unpack_release(bytes(item["Release"]["B"])),
                complete=item["Complete"]["BOOL"],
                updated=float(item["Updated"]["N"]),
            )
            for item in found
        ]

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _put(self, predictions: Sequence[Prediction], release: Release) -> dict[str, Failed]:
        """Write them; those that could not be, and why."""
        refused: dict[str, Failed] = {}
        made: list[Item] = []
        for prediction in predictions:
            try:
                item = items.item_of(prediction, release=release, moment=self._clock.now())
                why = items.too_large(item)
            except OverflowError as error:
                why = error.args[0]
            if why is None:
                made.append(item)
            else:
                refused[prediction.key] = why
        refused |= {items.key_of(item): _throttled(self._table) for item in self._calls.put(made)}
        return refused

    def _add(self, release: Release, scheme: KeyScheme) -> None:
        """List a version that is not listed yet."""
        try:
            counted = self._client.update_item(
                TableName=self._table,
                Key=_FACTS,
                UpdateExpression="SET Scheme = :s ADD Shelves :one",
                ConditionExpression="attribute_not_exists(Scheme) OR Scheme = :s",
                ExpressionAttributeValues={":s": {"S": scheme.value}, ":one": {"N": "1"}},
                ReturnValues="UPDATED_NEW",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise self._of_another(self.scheme(), scheme) from error
        number = counted["Attributes"]["Shelves"]["N"]
        self._client.put_item(
            TableName=self._table,
            Item={
                **_shelf_place(release),
                "Number": {"N": number},
                "Release": _packed(release),
                "Complete": {"BOOL": False},
                "Updated": {"N": "0"},
            },
        )

    def _change(self, release: Release, expression: str, values: "Item") -> bool:
        """Change what is listed of a version; False where it is not listed."""
        names: dict[str, Any] = {"ExpressionAttributeNames": {"#r": "Release"}} if "#r" in expression else {}
        with self._calls.told():
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=_shelf_place(release),
                    UpdateExpression=expression,
                    ConditionExpression="attribute_exists(PK)",
                    ExpressionAttributeValues=values,
                    **names,
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _release(self, model: str, version: str) -> Release | None:
        """The release of a version; None where it was never begun."""
        known = self._releases.get((model, version))
        if known is None:
            for shelf in self.shelves(model) if items.is_key(model) else ():
                self._releases[model, shelf.release.version] = shelf.release
            known = self._releases.get((model, version))
        return known

    def _begun(self, release: Release) -> None:
        if self._release(release.model, release.version) is None:
            raise self._not_begun(release)

    def _shelf_items(self, model: str | None) -> "Iterator[Item]":
        values: dict[str, AttributeValueTypeDef] = {":p": {"S": _SHELVES}}
        condition = "PK = :p"
        if model is not None:
            values[":m"] = {"S": f"MODELID#{model}#"}
            condition += " AND begins_with(SK, :m)"
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            KeyConditionExpression=condition,
            ExpressionAttributeValues=values,
            ConsistentRead=True,
        )
        with self._calls.told():
            for page in pages:
                yield from page["Items"]

    def _of_another(self, held: KeyScheme | None, scheme: KeyScheme) -> UsageError:
        return UsageError(f"{self.describe()} are by {held}, so predictions by {scheme} need another table.")

    def _not_begun(self, release: Release) -> UsageError:
        return UsageError(f"{release.model} {release.version} was not begun in the {self.describe()}.")


def open_dynamodb(url: str, *, clock: Clock | None = None) -> DynamoPredictions:
    """
    The table behind ``dynamodb://table?region=eu-central-1&endpoint_url=https://server``.

    What is not said stands where boto3 looks for it, the keys always.

    Raises:
        ConfigurationError: the address is not understood.
    """
    import boto3
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    if not parts.netloc or "@" in parts.netloc or parts.path.strip("/") or set(asked) - set(_KNOWN):
        raise ConfigurationError(
            f"{url} names no table; write dynamodb://TABLE?region=REGION&endpoint_url=https://SERVER."
        )
    try:
        client = boto3.client(
            "dynamodb",
            region_name=asked.get("region"),
            endpoint_url=asked.get("endpoint_url"),
            config=Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3}),
        )
    except NoRegionError as error:
        raise ConfigurationError(f"{url} names no region; write ?region=REGION, or set AWS_REGION.") from error
    return DynamoPredictions(client, parts.netloc, clock=clock)


def _packed(release: Release) -> "AttributeValueTypeDef":
    return {"B": items.pack_release(release)}


def _shelf_place(release: Release) -> "dict[str, AttributeValueTypeDef]":
    return {"PK": {"S": _SHELVES}, "SK": {"S": f"MODELID#{release.model}#{release.version}"}}


def _differ(one: Prediction, other: Prediction) -> bool:
    """Whether two say different things of a key; which job published them does not matter."""
    return structs.replace(one, job="") != structs.replace(other, job="")


def _throttled(table: str) -> Failed:
    told = f"The table {table} took no more for long; publish it again later, or allow the table more."
    return Failed(
        code=FailureCode.ATTEMPTS_EXHAUSTED,
        reason=Reason.THROTTLED.value,
        message=f"{Reason.THROTTLED.value}: {told}",
    )
