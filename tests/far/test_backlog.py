"""The backlog that workers are scaled on: the figures of a server, counted as a cluster's autoscaler counts them."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from limner.app.backlog import Backlog
from limner.errors import ServerUnavailable
from tests.far.rig import Server
from tools.services import free_port

FIGURES = """
# HELP limner_backlog_records Records in tasks that have not ended
# TYPE limner_backlog_records gauge
limner_backlog_records{implementation="a",pipeline="p",project="default",stage="detect"} 7.0
limner_backlog_records{implementation="b",pipeline="p",project="default",stage="detect"} 20.0
limner_backlog_records{implementation="a",pipeline="q",project="default",stage="detect"} 300.0
limner_backlog_records{implementation="a",pipeline="q",project="museum",stage="crop"} 4000.0
# HELP limner_backlog_tasks Tasks that have not ended
# TYPE limner_backlog_tasks gauge
limner_backlog_tasks{implementation="a",pipeline="p",project="default",stage="detect"} 50000.0
"""


@pytest.mark.parametrize(
    ("counted", "records"),
    [
        ({}, 4327),
        ({"stages": ["detect"]}, 327),
        ({"stages": ["p.detect"]}, 27),
        ({"stages": ["p.detect", "crop"]}, 4027),
        ({"stages": ["detect"], "implementations": ["b"]}, 20),
        ({"project": "museum"}, 4000),
        ({"stages": ["never_planned"]}, 0),
    ],
)
def test_only_what_is_served_counts(counted: dict[str, list[str]], records: int) -> None:
    """Stages by either name, implementations and a project narrow it; what has no figure has no backlog."""
    assert Backlog(url="http://server", **counted).count(FIGURES) == records  # type: ignore[arg-type]  # one is a text


def test_a_server_tells_its_backlog(server: Server) -> None:
    """The figure of a real server is what stands open, work in hand included, and nothing once it is cancelled."""
    # given
    backlog = Backlog(url=f"{server.url}/", stages=["double"])
    before = backlog.ask()

    # when
    job = server.submit([{"number": n} for n in range(30)])

    # then
    assert (before, backlog.ask()) == (0, 30)
    server.host.cancel(job.id)
    assert backlog.ask() == 0


def test_the_figures_are_those_of_prometheus(server: Server) -> None:
    """What is counted of all stages is the sum of the figures that Prometheus scrapes and KEDA asks it for."""
    # given
    server.submit([{"number": n} for n in range(12)])

    # when
    families = text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text)
    samples = [one for family in families for one in family.samples if one.name == "limner_backlog_records"]

    # then
    assert Backlog(url=server.url).ask() == sum(one.value for one in samples) == 12


def test_a_server_that_is_away_says_so() -> None:
    """The sentence names the address, so that a wrong one is seen."""
    # given
    url = f"http://127.0.0.1:{free_port()}"

    # then
    with pytest.raises(ServerUnavailable, match=rf"{url}/metrics cannot be reached"):
        Backlog(url=url).ask()


def test_another_page_tells_no_figures() -> None:
    """A proxy's page in place of figures is no backlog of nothing."""
    with pytest.raises(ServerUnavailable, match="tells no figures"):
        Backlog(url="http://server").count("<html>{ Please sign in </html>")
