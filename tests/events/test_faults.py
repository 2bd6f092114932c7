"""What is owed is told, whoever dies: the publisher, the broker, or both; and nobody waits for it."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from limner.app.projects import Projects
from limner.app.submitting import Submission
from limner.domain.records import RecordIn
from limner.events.cloud_events import Origin
from limner.events.connect import connect_events
from limner.events.follower import Announcer
from limner.settings import load_project
from tests.conftest import REPOSITORY
from tests.events.listening import Listener
from tests.events.project import Words
from tests.waiting import until
from tools.pages import split
from tools.services import Broker

MANY = [(f"w{n}", f"word {n}") for n in range(700)]

#: Publishes what is owed, and stops for ever when some of it is confirmed and not remembered yet.
_PUBLISHER = """
import sys, time
from limner.app.announcing import origin_of
from limner.events.follower import Announcer
from limner.events.rabbitmq import RabbitPublisher
import limner

class Slow(RabbitPublisher):
    published = 0

    def publish(self, messages):
        super().publish(messages)
        self.published += len(messages)
        if self.published > 600:
            print("published", flush=True)
            time.sleep(600)

app = limner.open(sys.argv[1])
Announcer(app.store, Slow(sys.argv[2]), origin=origin_of(app)).catch_up()
"""


def in_order(events: list[dict[str, Any]]) -> bool:
    """Whether what is new of each record came in the order of the commits; what is repeated is passed over."""
    last: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for event in events:
        if (event["source"], event["id"]) in seen:
            continue
        seen.add((event["source"], event["id"]))
        if event["sequence"] < last.get(event["partitionkey"], ""):
            return False
        last[event["partitionkey"]] = event["sequence"]
    return True


@pytest.mark.slow
def test_a_publisher_that_is_killed_loses_nothing(tmp_path: Path, url: str, listener: Listener) -> None:
    """It dies after the broker confirmed and before the store remembers: the same events come again, then the rest."""
    # given a publisher that is killed at that moment
    words = Words(tmp_path / "words")
    words.run(MANY)
    command = [sys.executable, "-c", _PUBLISHER, str(words.folder), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as publisher:
        assert publisher.stdout is not None
        assert publisher.stdout.readline() == "published\n"
        os.kill(publisher.pid, signal.SIGKILL)
    heard = len(listener.rest())
    assert heard > 600
    assert words.owed()

    # when another one goes on
    with closing(connect_events(url)) as again:
        Announcer(words.app.store, again, origin=Origin(project="default")).catch_up()

    # then all was told, some of it twice and alike, in order
    events = listener.rest()
    ids = [(event["source"], event["id"]) for event in events]
    told = {event["subject"] for event in events if event["type"] == "limner.results.changed"}
    assert words.owed() == 0
    assert {identity for identity, _ in MANY} <= told
    assert len(set(ids)) < len(ids)
    assert in_order(events)
    words.app.close()


@pytest.mark.slow
def test_a_broker_that_is_away_holds_nothing_up(tmp_path: Path, require_service: Callable[[str], str]) -> None:
    """A server's job ends while the broker is dead; when it is back all is told, without a restart of the server."""
    require_service("rabbitmq")
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker")
    broker.start()
    events = f"{broker.url}?exchange=test"
    Words(tmp_path / "words").app.close()
    project = load_project(tmp_path / "words", environment={}, options={"events": events, "parallel": 1})
    projects = Projects(project)
    try:
        projects.start()
        # given somebody who hears of a first job
        with Listener(events, durable="kept") as listener:
            finish(projects, {"a": "moth"})
            listener.hear(2)

        # when the broker dies, then a second job ends all the same
        broker.stop()
        finish(projects, {"b": "bee"})

        # when it is back, then all of it is told
        broker.start()
        until(lambda: not owed(projects))
        with Listener(events, durable="kept") as again:
            heard = [*listener.heard, *again.rest()]
    finally:
        projects.stop(timedelta(seconds=10))
        projects.root.close()
        broker.close()
    said = {event["subject"] for event in heard if event["type"] == "limner.results.changed"}
    assert {"a", "b"} <= said
    assert in_order(heard)


def finish(projects: Projects, texts: dict[str, str]) -> None:
    """Submit words and wait until they are inferred."""
    host = projects.host("default")
    rows = [RecordIn(collection="my.words", id=one, fields={"text": text}) for one, text in texts.items()]
    job = host.submit(Submission(pipeline="words", rows=rows))

    def ended() -> bool:
        with host.store.reading() as tx:
            return tx.jobs.get(job.id).state.ended

    until(ended)


def owed(projects: Projects) -> int:
    """How many entries of the journal were not published."""
    with projects.host("default").store.reading() as tx:
        return len(tx.journal.read(after=tx.journal.taken("events")))


@pytest.mark.slow
def test_a_process_that_stands_by_tells_nothing(tmp_path: Path, url: str, listener: Listener) -> None:
    """Only the process that leads publishes, so that events of a record stay in order."""
    words = Words(tmp_path / "words")
    words.run(MANY[:3])
    words.app.close()

    standing_by = Projects(
        load_project(words.folder, environment={}, options={"events": url}), leads=False, own_workers=False
    )
    standing_by.start()
    standing_by.stop(timedelta(seconds=10))
    standing_by.root.close()

    assert listener.rest() == []


def test_the_consumer_of_the_page_works(words: Words, url: str) -> None:
    """The program in docs/events.md, as it stands there, hears of a collection."""
    # given the page's program, told another exchange and collection
    (program,) = (one.code for one in split(REPOSITORY / "docs" / "events.md")[1] if one.words == ("python",))
    exchange = url.rpartition("=")[2]
    code = program.replace("limner.events", exchange).replace("default.images.#", "default.letters.#")
    code = code.replace("my-program", f"{exchange}-program")
    with subprocess.Popen(
        [sys.executable, "-c", code + "\n"],
        env={**os.environ, "BROKER": url.partition("?")[0]},
        stdout=subprocess.PIPE,
        text=True,
    ) as consumer:
        with Listener(url) as other:
            until(lambda: other.bound(f"{exchange}-program"), during=consumer)

            # when
            words.run([("a", "moth")])

            # then it says each
            assert consumer.stdout is not None
            kinds: Counter[str] = Counter()
            while kinds["limner.results.changed"] < len(set("moth")):
                line = consumer.stdout.readline()
                assert line, "the program ended"
                kinds[line.split()[0]] += 1
            other.forget(f"{exchange}-program")
        consumer.kill()
    assert kinds["limner.record.changed"] == len(set("moth"))
