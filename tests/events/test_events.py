"""Every result and every change of a record is told to whoever subscribed, as a CloudEvent."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from limner.app.doctor import State, examine
from limner.errors import ConfigurationError, EventsUnavailable
from limner.events.cloud_events import MOST_BYTES
from limner.events.connect import connect_events
from tests.events.listening import Listener
from tests.events.project import Words
from tools.services import free_port

WORDS = [("a", "moth"), ("b", "bee"), ("c", "")]


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The events of one type."""
    return [event for event in events if event["type"] == f"limner.{kind}"]


def last_by_record(events: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """What the last event of each record says."""
    return {(event["data"]["collection"], event["data"]["id"]): event["data"] for event in events}


def test_everything_is_told(words: Words, listener: Listener) -> None:
    """The last events say what the store holds, of every record: values, failures, children."""
    # when
    words.run(WORDS)
    events = listener.rest()

    # then every record was told
    stored = {(name, row.record.id): row for name in ("my.words", "letters") for row in words.app.records(name)}
    assert set(last_by_record(of_kind(events, "record.changed"))) == set(stored)

    # and everything that is said of them
    said = last_by_record(of_kind(events, "results.changed"))
    for key, row in stored.items():
        done = {one["stage"]: one for one in said[key]["results"] if one["status"] == "done"}
        assert set(done) == set(row.values)
        for stage, one in done.items():
            if stage != "letters":
                assert one["value"] == row.values[stage]
            assert (one["version"], one["read"]) == (row.provenance[stage].version, row.provenance[stage].input)
    (failed,) = (one for one in said["my.words", "c"]["results"] if one["status"] == "failed")
    assert failed["failure"]["code"] == "MODEL_ERROR"
    assert "no text" in failed["failure"]["message"]
    assert words.owed() == 0


def test_only_what_changed_is_told(words: Words, listener: Listener) -> None:
    """A second run tells nothing; a changed record tells of itself, of its new letters and of those that are gone."""
    words.run(WORDS)
    before = len(listener.rest())

    words.run(WORDS)
    assert len(listener.rest()) == before

    words.run([("a", "mote"), *WORDS[1:]])
    events = listener.rest()[before:]
    letters = {row.record.id: row.record.fields["letter"] for row in words.app.records("letters")}
    assert [event["subject"] for event in of_kind(events, "record.changed") if "text" in event["data"]["fields"]] == [
        "a"
    ]
    assert [event["data"]["fields"]["letter"] for event in of_kind(events, "record.retired")] == ["h"]
    told = last_by_record(of_kind(events, "results.changed"))
    assert {key[0] for key in told} == {"my.words", "letters"}
    assert {one for collection, one in told if collection == "my.words"} == {"a"}
    assert "e" in {letters.get(one) for collection, one in told if collection == "letters"}


def test_a_version_that_moves_is_told(words: Words, listener: Listener) -> None:
    """Who keeps values by version hears that another one is served, and then each result of it."""
    words.run(WORDS)
    before = len(listener.rest())
    inferrers = words.folder / "work.py"
    inferrers.write_text(inferrers.read_text().replace('version = "1"', 'version = "2"'))

    words.run(WORDS)

    events = listener.rest()[before:]
    moved = [one for one in of_kind(events, "version.changed") if one["data"]["collection"] == "my.words"][-1]
    assert "subject" not in moved
    told = last_by_record(of_kind(events, "results.changed"))
    (length,) = (one for one in told["my.words", "a"]["results"] if one["stage"] == "length")
    assert length["version"] == moved["data"]["versions"]["words.length/default"]


def test_events_are_cloud_events(words: Words, listener: Listener) -> None:
    """Another library reads them; ids are unique within their source, and commits are numbered in order."""
    words.run(WORDS)
    events = listener.rest()

    for event in events:
        read = JSONFormat().read(CloudEvent, json.dumps(event))
        assert read.get_specversion() == "1.0"
        assert read.get_data() == event["data"]
        assert read.get_time() is not None
        assert read.get_extension("sequence") == event["sequence"]
    assert len({(event["source"], event["id"]) for event in events}) == len(events)
    assert [event["sequence"] for event in events] == sorted(event["sequence"] for event in events)
    assert {event["source"] for event in events} == {
        "/projects/default/collections/my.words",
        "/projects/default/collections/letters",
    }


def test_there_is_a_topic_for_each_collection(words: Words, url: str) -> None:
    """Who listens to one collection hears of that alone; a dot in its name is no part of its own."""
    with Listener(url, topics="default.my%2Ewords.#") as some, Listener(url, topics="*.*.record.*") as others:
        words.run(WORDS)

        some.hear(3)
        some.rest()
        others.hear(3)
        others.rest()

    assert {event["data"]["collection"] for event in some.heard} == {"my.words"}
    assert set(others.topics) == {"default.my%2Ewords.record.changed", "default.letters.record.changed"}
    assert {one.content_type for one in some.properties} == {"application/cloudevents+json"}
    assert {one.delivery_mode for one in some.properties} == {2}


def test_a_value_that_is_too_large_is_read_over_the_api(words: Words, listener: Listener) -> None:
    """The event says so, and where; all else of it is there."""
    words.run([("long", "x" * MOST_BYTES)])

    (record,) = (event for event in of_kind(listener.rest(), "record.changed") if event["subject"] == "long")
    assert record["data"]["fields"] is None
    assert record["dataref"] == "/api/v1/collections/my.words/records/long"
    small = of_kind(listener.heard, "results.changed")
    assert all("dataref" not in event for event in small)


def test_a_run_does_not_need_its_broker(tmp_path: Path, url: str, listener: Listener) -> None:
    """Where the broker is away a run ends well; what is owed is told by the next one."""
    away = Words(tmp_path / "words", events=f"amqp://guest:guest@127.0.0.1:{free_port()}")
    away.run(WORDS)
    assert away.owed()
    away.app.close()

    again = Words(tmp_path / "words", events=url)
    again.run(WORDS)
    again.app.close()

    assert set(last_by_record(of_kind(listener.rest(), "record.changed"))) >= {("my.words", "a"), ("my.words", "c")}


def test_without_the_setting_nobody_is_told(tmp_path: Path) -> None:
    """Nothing is published unless it is asked for."""
    words = Words(tmp_path / "words")
    words.run(WORDS)

    assert words.owed()
    words.app.close()


@pytest.mark.parametrize("there", [True, False], ids=["there", "away"])
def test_doctor_looks_at_the_broker(there: bool, url: str, tmp_path: Path) -> None:
    """`limner doctor` connects, and says why it cannot."""
    events = url if there else f"amqp://guest:guest@127.0.0.1:{free_port()}"

    found = [one for one in examine(tmp_path, options={"events": events}) if one.part == "events"]

    assert [one.state for one in found] == [State.SOUND if there else State.WRONG]


def test_a_wrong_password_is_said(url: str) -> None:
    """The sentence names the broker, and not the password."""
    publisher = connect_events(url.replace("guest:guest", "guest:hush"))

    with pytest.raises(EventsUnavailable, match="does not take them") as refused:
        publisher.publish([])
    publisher.close()
    assert "hush" not in str(refused.value)


def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the setting, or the extra that is missing."""
    for url in ("carrier-pigeon://loft", "amqp://host:port/"):
        with pytest.raises(ConfigurationError, match="`events`"):
            connect_events(url)
    monkeypatch.setitem(sys.modules, "pika", None)
    with pytest.raises(ConfigurationError, match=r"limner\[rabbitmq\]"):
        connect_events("amqp://host/")
