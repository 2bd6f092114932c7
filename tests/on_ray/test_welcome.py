"""What ``limner worker --ray`` finds out before it asks a cluster for anything: so it needs no Ray here."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from limner.app.backlog import Backlog
from limner.app.far_worker import FarSettings
from limner.app.fleet import Fleet, Scale
from limner.app.ray_actor import Told
from limner.app.scaling import Bounds
from limner.app.tokens import Tokens
from limner.errors import UsageError
from tests.far.rig import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that takes no worker without a token."""
    with Server(tmp_path / "project") as served:
        Tokens(served.host.store, clock=served.host.clock).create("work", scopes=["work"])
        yield served


def fleet(worker: FarSettings) -> Fleet:
    """Workers like *worker*, on a cluster that nobody gets as far as to ask."""

    def connect() -> NoReturn:
        raise AssertionError("no cluster was to be asked")

    scale = Scale(bounds=Bounds(), backlog=Backlog(url=worker.url))
    return Fleet(Told(folder=".", worker=worker), scale, connect=connect, say=lambda _: None)


def test_a_wrong_token_is_said_at_once(server: Server) -> None:
    """Although there may be no work for hours, for which a worker would be started that says so."""
    with pytest.raises(UsageError, match="401"):
        fleet(FarSettings(url=server.url, token="lim_wrong")).run()


def test_a_stage_that_nobody_wants_is_said_at_once(server: Server) -> None:
    """Its backlog would be nothing for ever, and so would the number of workers."""
    # given
    token = Tokens(server.host.store, clock=server.host.clock).create("ray", scopes=["work"]).token

    # then
    with pytest.raises(UsageError, match=r"The server has no doubel; it wants served: far\.double/default"):
        fleet(FarSettings(url=server.url, token=token, stages=["doubel"])).run()


def test_a_walltime_has_room_for_draining() -> None:
    """One that is over before the last worker has gone is refused."""
    with pytest.raises(UsageError, match="to drain may take 70 s, twice the --grace"):
        fleet(FarSettings(url="http://127.0.0.1:1", walltime=timedelta(seconds=70))).run()


def test_a_server_that_is_away_is_waited_for_until_it_is_to_stop() -> None:
    """SIGTERM ends the wait, without an error."""
    # given
    made = fleet(FarSettings(url="http://127.0.0.1:1"))
    made.stopping.set()

    # then
    made.run()
