"""Tokens and callbacks on the command line."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from limner.app.app import App
from limner.app.outbox import Outbox
from limner.app.projects import project_of
from limner.app.redelivering import Alone
from limner.app.secrets import ServerKey
from limner.app.tokens import Tokens
from limner.domain.jobs import Job, JobState
from limner.errors import Unauthorized
from limner.settings import load_project
from limner.store.callbacks import Callback
from limner.testing.listener import CallbackListener
from tests.cli.cases import limner


def test_token_is_printed_alone(project: Path) -> None:
    """Standard output holds the token and nothing else, so that a script can take it; what to know goes beside."""
    made = limner("token", "create", "--name", "web", "--scope", "submit", "--scope", "read", project=project)

    token = made.out.strip()
    assert made.status == 0
    assert token.startswith("lim_")
    assert "shown again" in made.err
    assert token not in made.err
    with App(load_project(project)) as app:
        assert Tokens(app.store, app.clock).check(token).scopes == {"submit", "read"}


def test_listing_shows_everything_but_the_token(project: Path) -> None:
    """A token is told by its id, with its scopes, its end and whether it holds."""
    made = limner("token", "create", "--scope", "work:detect", "--days", "1", "--json", project=project).document()

    (listed,) = limner("token", "list", "--json", project=project).document()["tokens"]
    shown = limner("token", "list", project=project).out

    assert (listed["id"], listed["scopes"], listed["state"]) == (made["id"], ["work:detect"], "valid")
    assert listed["expires"] - listed["created"] == 86_400
    assert made["id"] in shown
    assert made["token"].removeprefix("lim_") not in shown + repr(listed)


def test_first_listing_says_how_to_begin(project: Path) -> None:
    """Without a token the sentence says what that means."""
    assert "limner token create" in limner("token", "list", project=project).out


def test_token_of_a_new_project_makes_it(project: Path) -> None:
    """The folder of the project is there; of all projects there is none to make."""
    limner("token", "create", "--project", "site-b", "--scope", "submit", project=project)
    limner("token", "create", "--project", "*", "--scope", "admin", project=project)

    assert [path.name for path in (project / ".limner" / "projects").iterdir()] == ["site-b"]


def test_revoked_token_holds_no_longer(project: Path) -> None:
    """Its id revokes it; a second time does no harm; an id that is not there is a mistake."""
    made = limner("token", "create", "--scope", "read", "--json", project=project).document()

    first = limner("token", "revoke", made["id"], project=project)
    again = limner("token", "revoke", made["id"], "--json", project=project)
    wrong = limner("token", "revoke", "token-x", project=project)

    assert (first.status, first.out) == (0, f"{made['id']} is revoked.\n")
    assert again.document() == {"token": made["id"], "state": "revoked"}
    assert (wrong.status, wrong.out) == (2, "")
    assert "token list" in wrong.err
    with App(load_project(project)) as app, pytest.raises(Unauthorized):
        Tokens(app.store, app.clock).check(made["token"])


@pytest.mark.parametrize(
    "words",
    [
        ["--scope", "write"],
        [],
        ["--scope", "read", "--project", "../up"],
        ["--scope", "read", "--project", "*"],
        ["--scope", "read", "--days", "-1"],
        ["--scope", "read", "--days", "0"],
    ],
)
def test_token_that_cannot_be_is_a_mistake(project: Path, words: list[str]) -> None:
    """Status 2, a sentence, and nothing on standard output."""
    made = limner("token", "create", *words, project=project)

    assert (made.status, made.out) == (2, "")
    assert made.err


def test_token_is_in_no_file_of_the_project(project: Path) -> None:
    """Neither the log nor the database holds it."""
    token = limner("token", "create", "--scope", "read", project=project).out.strip()
    limner("token", "list", project=project)

    files = [path for path in (project / ".limner").rglob("*") if path.is_file()]
    assert any(path.name == "limner.log" for path in files)
    assert all(token.removeprefix("lim_").encode() not in path.read_bytes() for path in files)


def delivered(project: Path, listener: CallbackListener, *, name: str = "default") -> str:
    """A job without records, of the project *name* in the folder, whose callback was tried once."""
    root = load_project(project, environment={})
    with App(root if name == "default" else project_of(root, name)) as app:
        key = ServerKey.of(app.project, clock=app.clock)
        with app.store.transaction() as tx:
            tx.jobs.add(Job(id="job-1", pipeline="words", state=JobState.WAITING, created=1.0))
            tx.callbacks.add(Callback(job="job-1", url=listener.url, token=key.seal("t")))
            tx.jobs.move("job-1", JobState.RUNNING, at=1.0)
            tx.jobs.move("job-1", JobState.DONE, at=2.0)
        outbox = Outbox(Alone(name=name, app=app, store=app.store, clock=app.clock), key=key)
        outbox.collect("job-1")
        outbox.deliver("job-1")
        outbox.stop(timedelta())
    return "job-1"


def test_callback_is_sent_again_without_a_server(project: Path) -> None:
    """The same body under the same id; where nobody accepts it the status says so, and when it is tried again."""
    with CallbackListener(token="t") as listener:
        (project / "limner.toml").write_text(f'allow_hosts = ["{listener.host}"]\n', encoding="utf-8")
        job = delivered(project, listener)

        well = limner("redeliver", job, project=project)
        document = limner("redeliver", job, "--json", project=project)
        listener.answer(500)
        refused = limner("redeliver", job, project=project)

        assert (well.status, document.status, refused.status) == (0, 0, 1)
        assert "delivered, in 1 page." in well.out
        assert document.document()["callback"]["state"] == "delivered"
        assert "The receiver answered 500." in refused.out
        assert len(listener.received) == 4
        assert len({(one.webhook_id, one.body) for one in listener.received}) == 1
        assert [one.problems for one in listener.received] == [[]] * 4


def test_job_of_another_project_is_found(project: Path) -> None:
    """A job is looked for in every project of the folder, and its token is opened with the one key of the server."""
    limner("token", "create", "--project", "site-b", "--scope", "submit", project=project)
    with CallbackListener(token="t") as listener:
        (project / "limner.toml").write_text(f'allow_hosts = ["{listener.host}"]\n', encoding="utf-8")
        job = delivered(project, listener, name="site-b")

        again = limner("redeliver", job, project=project)

        assert (again.status, [one.problems for one in listener.received]) == (0, [[], []])


def test_job_without_a_callback_has_none_to_send(project: Path) -> None:
    """A mistake, with a sentence."""
    limner("run", "words", project / "words.jsonl", project=project)
    job = limner("jobs", "--json", project=project).document()["jobs"][0]["id"]

    none, unknown = limner("redeliver", job, project=project), limner("redeliver", "job-x", project=project)

    assert (none.status, unknown.status) == (2, 2)
    assert "asked for no callback" in none.err
    assert "no job job-x" in unknown.err
    assert stat.S_IMODE((project / ".limner" / "server.key").stat().st_mode) == 0o600
