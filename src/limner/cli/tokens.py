"""Verbs of the server's doors: token create, list and revoke, and redeliver."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import typer

from limner.cli.options import AsJson
from limner.cli.output import document, moment, patience, say, table, warn
from limner.cli.root import SOME_FAILED
from limner.cli.session import opened

token = typer.Typer(help="Tokens of the server. Bound to a project, scoped, shown once.", no_args_is_help=True)


@token.command()
def create(
    ctx: typer.Context,
    scopes: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help="submit, read, work, work:STAGE or admin; several times."),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What you call it; its project if left out.")
    ] = "",
    project: Annotated[
        str,
        typer.Option("--project", metavar="PROJECT", help="The one project that it reaches; * with scope admin: all."),
    ] = "default",
    days: Annotated[
        float | None,
        typer.Option("--days", min=0, max=36_500, metavar="NUMBER", help="Days that it holds; for good if left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, this once. A project that is new is made with it."""
    from limner.app.projects import Projects
    from limner.app.tokens import ANY_PROJECT, Tokens

    with opened(ctx) as app:
        lifetime = None if days is None else timedelta(days=days)
        made = Tokens(app.store, app.clock).create(name, project=project, scopes=scopes, lifetime=lifetime)
        if project != ANY_PROJECT:
            Projects(app.project, clock=app.clock).make(project)
    if as_json:
        document(made)
        return
    say(made.token)
    until = f", until {moment(made.expires)}" if made.expires is not None else ""
    warn(f"Keep it: it is not shown again. {made.id} may {', '.join(made.scopes)} in project {made.project}{until}.")


@token.command("list")
def list_tokens(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The tokens of all projects, without what would let anybody use them."""
    from limner.app.tokens import Tokens

    with opened(ctx) as app:
        found = Tokens(app.store, app.clock).listing()
    if as_json:
        document({"tokens": found})
        return
    if not found:
        say("There are no tokens yet, so the server listens on this machine only; make one: limner token create")
        return
    rows = [
        (t.id, t.name, t.project, " ".join(t.scopes), t.state, moment(t.created), moment(t.expires), moment(t.used))
        for t in found
    ]
    table(("token", "name", "project", "scopes", "state", "created", "expires", "last used"), rows)


@token.command()
def revoke(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="TOKEN", help="Id of a token, from limner token list.")],
    as_json: AsJson = False,
) -> None:
    """Let a token hold no longer, at once."""
    from limner.app.tokens import Tokens

    with opened(ctx) as app:
        Tokens(app.store, app.clock).revoke(identity)
    if as_json:
        document({"token": identity, "state": "revoked"})
    else:
        say(f"{identity} is revoked.")


def redeliver(
    ctx: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job that asked for a callback.")],
    as_json: AsJson = False,
) -> None:
    """Send the callback of a job again. The same bodies under the same ids; exit status 1 where it is not accepted."""
    from limner.app.redelivering import redeliver as send_again

    with opened(ctx) as app, patience(f"Calling back for {job}"):
        found = send_again(app, job)
    if as_json:
        document({"job": job, "callback": found})
    elif found.state == "delivered":
        say(f"The callback of {job} is delivered, in {found.pages} page{'s' if found.pages != 1 else ''}.")
    else:
        say(f"The callback of {job} is {found.state}: {found.last_error or 'a server is sending it.'}")
        if found.next_try_at is not None:
            say(f"A server tries it again at {moment(found.next_try_at)} UTC; so does the same command.")
    if found.state != "delivered":
        raise typer.Exit(SOME_FAILED)


VERBS: tuple[Callable[..., None], ...] = (redeliver,)
