"""Projects of one server, side by side: each has a store of its own, and sees nothing of the others."""

from pathlib import Path

import pytest

from limner.app.projects import project_of
from limner.errors import ConfigurationError, NotFound, UsageError
from limner.settings import load_project
from tests.app.hosts import Hands, ask, at_work, broken, counts_of, ended, job_of, things, values_of
from tests.app.test_hosting import BAD, together


def test_a_project_is_made_and_found(tmp_path: Path) -> None:
    """The folder's own is there; another one is made by its name, once; one that was never made is not opened."""
    with at_work(tmp_path) as projects:
        assert projects.names() == ["default"]
        projects.make("moths")
        projects.make("moths")

        assert projects.names() == ["default", "moths"]
        assert projects.host("moths") is projects.host("moths")
        with pytest.raises(NotFound, match="--project bees` makes it"):
            projects.host("bees")
        for name in ("../moths", "", "a/b", ".hidden"):
            with pytest.raises(UsageError):
                projects.make(name)


def test_projects_see_nothing_of_each_other(tmp_path: Path) -> None:
    """The same ids in two projects are two records each; jobs, values and failures stay where they are."""
    with at_work(tmp_path) as projects:
        projects.make("moths")
        ours, moths = projects.host("default"), projects.host("moths")
        mine = ours.submit(ask(things(5)))
        theirs = moths.submit(ask(things(7)))
        with Hands(ours), Hands(moths, say=lambda task: broken(task, BAD)):
            assert (ended(ours, mine), ended(moths, theirs)) == ("done", "failed")

        assert len(values_of(ours, mine)) == 5
        assert values_of(moths, theirs) == {}
        assert (counts_of(ours, mine).done, counts_of(moths, theirs).failed) == (5, 7)
        for host, stranger in ((ours, theirs), (moths, mine)):
            with pytest.raises(NotFound):
                job_of(host, stranger)
            with pytest.raises(NotFound):
                host.cancel(stranger.id)
            with pytest.raises(NotFound):
                host.retry(stranger.id)
        assert (projects.owner(mine.id), projects.owner(theirs.id), projects.owner("job-x")) == (
            "default",
            "moths",
            None,
        )


def test_files_of_one_project_are_not_those_of_another(tmp_path: Path) -> None:
    """What was put in one place is in no other."""
    with at_work(tmp_path) as projects:
        projects.make("moths")
        digest = projects.host("moths").app.artifacts.put(b"a moth")

        assert projects.host("moths").app.artifacts.has(digest)
        assert not projects.host("default").app.artifacts.has(digest)


def test_every_project_goes_on_with_the_next_start(tmp_path: Path) -> None:
    """What an earlier process left in any of them is done without anybody asking for the project."""
    with at_work(tmp_path) as projects:
        projects.make("moths")
        left = projects.host("moths").submit(ask(things(12)))
    with at_work(tmp_path) as projects:
        moths = projects._hosts["moths"]
        with Hands(moths):
            assert ended(moths, left) == "done"
        assert counts_of(moths, left).done == 12


def test_a_project_is_opened_once_however_many_ask(tmp_path: Path) -> None:
    """Requests that come at the same moment share one host."""
    with at_work(tmp_path) as projects:
        projects.make("moths")

        found = together(*([lambda: projects.host("moths")] * 6))

        assert len({id(host) for host in found}) == 1


def test_places_that_all_projects_would_share_are_refused(tmp_path: Path) -> None:
    """A store outside the folder of a project cannot be that of several."""
    root = load_project(tmp_path, environment={}, options={"store": "sqlite:////elsewhere/limner.db"})

    with pytest.raises(ConfigurationError, match="`store`"):
        project_of(root, "moths")


def test_a_second_server_moves_nothing_and_is_told_who_is_there(tmp_path: Path) -> None:
    """On the same store a second one is refused with the process that holds it; the first goes on."""
    with at_work(tmp_path) as first:
        host = first.host("default")
        job = host.submit(ask(things(3)))

        told = r"Process \d+ runs the engine of project default already"
        with pytest.raises(ConfigurationError, match=told), at_work(tmp_path, pipeline=RENAMED):
            raise AssertionError("it must not start")

        with host.store.reading() as tx:
            assert [(node.stage, node.retired) for node in tx.nodes.of("numbers")] == [("double", False)]
        with Hands(host):
            assert ended(host, job) == "done"


RENAMED = """
from limner import Implementation, Number, Pipeline, Stage

pipeline = Pipeline("numbers", collection="things", standing=False, stages=[
    Stage("triple", reads={"n": "n"}, implementations={"theirs": Implementation(infer="external")}),
])
"""
