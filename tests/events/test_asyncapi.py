"""docs/asyncapi.yaml describes what is published, field by field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from msgspec import Struct

from limner.events.cloud_events import CloudEvent, Kind, RecordData, ResultData, ResultsData, VersionData
from limner.events.rabbitmq import EXCHANGE
from tests.conftest import REPOSITORY
from tests.events.listening import Listener
from tests.events.project import Words

DOCUMENT: dict[str, Any] = yaml.safe_load((REPOSITORY / "docs" / "asyncapi.yaml").read_text(encoding="utf-8"))
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]


def resolved(reference: dict[str, str]) -> dict[str, Any]:
    """What a reference within the document leads to."""
    found: Any = DOCUMENT
    for step in reference["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def channels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each topic's kind with its channel."""
    for channel in DOCUMENT["channels"].values():
        yield channel["address"].removeprefix("{project}.{collection}."), channel


def validator(schema: dict[str, Any]) -> jsonschema_rs.Draft7Validator:
    """Validates what *schema* of the document describes."""
    return jsonschema_rs.Draft7Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


def test_every_kind_has_a_channel_an_operation_and_a_message() -> None:
    """The document names each kind of event once, by the exchange that is used, and no other."""
    described = dict(channels())
    sent = [resolved(operation["channel"])["address"] for operation in DOCUMENT["operations"].values()]

    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert set(described) == {kind.value for kind in Kind}
    assert sorted(sent) == sorted(channel["address"] for channel in described.values())
    assert {operation["action"] for operation in DOCUMENT["operations"].values()} == {"send"}
    for kind, channel in described.items():
        (message,) = (resolved(one) for one in channel["messages"].values())
        assert message["name"] == f"limner.{kind}"
        assert channel["bindings"]["amqp"]["exchange"]["name"] == EXCHANGE


@pytest.mark.parametrize(
    ("schema", "struct"),
    [
        ("event", CloudEvent),
        ("record", RecordData),
        ("results", ResultsData),
        ("result", ResultData),
        ("versions", VersionData),
    ],
)
def test_every_field_is_described(schema: str, struct: type[Struct]) -> None:
    """The document names the fields that are published, and no other; those that are always there are required."""
    optional = {"subject", "dataref"} if struct is CloudEvent else set()

    assert set(SCHEMAS[schema]["properties"]) == set(struct.__struct_fields__)
    assert set(SCHEMAS[schema]["required"]) == set(struct.__struct_fields__) - optional


def test_real_events_are_as_described(words: Words, listener: Listener) -> None:
    """Events of every kind are valid by the schema of their channel, and by no other's."""
    words.run([("a", "moth"), ("b", "bee"), ("c", "")])
    words.run([("a", "mote"), ("b", "bee"), ("c", "")])
    validators = {
        f"limner.{kind}": validator(resolved(next(iter(channel["messages"].values())))["payload"])
        for kind, channel in channels()
    }

    events = listener.rest()

    assert {event["type"] for event in events} == set(validators)
    for event in events:
        for kind, one in validators.items():
            assert one.is_valid(event) == (kind == event["type"]), list(one.iter_errors(event))
    spoilt = {**events[0], "data": {**events[0]["data"], "more": 1}}
    assert not validators[events[0]["type"]].is_valid(spoilt)


def test_the_page_names_every_kind(repository: Path) -> None:
    """docs/events.md has a line for each kind."""
    page = (repository / "docs" / "events.md").read_text(encoding="utf-8")
    assert all(f"| `{kind}` |" in page for kind in Kind)
