"""The page: runs, shards, rows set aside, and molecules with what is predicted of them; plain HTML, no scripts."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs, quote, unquote, urlsplit

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from limner.api.auth import Auth, Caller, address_of
from limner.api.problems import Refused, status_of
from limner.domain.values import Value
from limner.errors import Forbidden, LimnerError, Unauthorized
from limner.systems.ersilia.door.drawing import drawn
from limner.systems.ersilia.door.page_views import job_shown, molecule_shown, runs_shown
from limner.systems.ersilia.door.precalc_api import PrecalcBody, ask_of
from limner.systems.ersilia.door.runs import RUNNING, Runs
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.library.rows import MAX_SMILES

if TYPE_CHECKING:
    from jinja2 import Environment

HOME = "/ersilia"
#: Holds the token of whoever looks, as long as the browser is open.
_COOKIE = "limner-token"
_FOLDER = "pages"
#: Nothing is loaded from elsewhere, nothing runs, and nobody shows it inside of a page of theirs.
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
#: A drawing brings its own styles.
_OF_DRAWINGS = {**_HEADERS, "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
_MOST_FORM_BYTES = 10_000


def router(runs: Runs, tables: Tables) -> APIRouter:
    """The pages."""
    made = APIRouter(prefix=HOME, include_in_schema=False)
    pages = _Pages(runs, tables)
    made.add_api_route("", pages.index, methods=["GET"])
    made.add_api_route("/runs", pages.begin, methods=["POST"])
    made.add_api_route("/jobs/{job}", pages.job, methods=["GET"])
    made.add_api_route("/molecule", pages.molecule, methods=["GET"])
    made.add_api_route("/drawing.svg", pages.drawing, methods=["GET"])
    made.add_api_route("/token", pages.token, methods=["GET"])
    made.add_api_route("/token", pages.enter, methods=["POST"])
    made.add_api_route("/style.css", _style, methods=["GET"])
    return made


class _Pages:
    """What the routes show."""

    def __init__(self, runs: Runs, tables: Tables) -> None:
        self._runs = runs
        self._tables = tables

    def index(self, asked: Request) -> Response:
        """All runs, and a form for another."""
        return _shown(asked, "read", lambda caller: self._index(caller))

    async def begin(self, asked: Request) -> Response:
        """Begin a run, as the form says."""
        _check_origin(asked)
        form = await _form(asked)
        return await run_in_threadpool(_shown, asked, "submit", lambda caller: self._begun(caller, form))

    def job(self, asked: Request, job: Annotated[str, Path(max_length=200)]) -> Response:
        """One job, its shards and the rows set aside."""
        return _shown(asked, "read", lambda caller: _page("job.html", job_shown(caller.host, job)))

    def molecule(self, asked: Request, q: Annotated[str, Query(max_length=MAX_SMILES)]) -> Response:
        """One molecule with its predictions."""
        text = q.strip()
        return _shown(asked, "read", lambda caller: _page("molecule.html", molecule_shown(caller, self._tables, text)))

    def drawing(self, asked: Request, smiles: Annotated[str, Query(max_length=MAX_SMILES)]) -> Response:
        """The structure of a molecule."""
        _caller(asked, "read")
        return Response(drawn(smiles), media_type="image/svg+xml", headers=_OF_DRAWINGS)

    def token(self) -> Response:
        """Ask who is there."""
        return _page("token.html", {})

    async def enter(self, asked: Request) -> Response:
        """Remember a token as long as the browser is open, if it is one."""
        _check_origin(asked)
        given = (await _form(asked)).get("token", "").strip()
        try:
            await run_in_threadpool(_caller, asked, "read", given)
        except (Unauthorized, Forbidden) as error:
            return _page("token.html", {"problem": str(error)}, status=403)
        answer = RedirectResponse(HOME, status_code=303, headers=_HEADERS)
        secure = asked.url.scheme == "https"
        answer.set_cookie(_COOKIE, quote(given), httponly=True, samesite="strict", secure=secure, path=HOME)
        return answer

    def _index(
        self, caller: Caller, *, problem: str | None = None, chosen: str | None = None, status: int = 200
    ) -> Response:
        host = caller.host
        lines = runs_shown(host, self._runs)
        shown = {
            "runs": lines,
            "models": self._tables.models(host),
            "problem": problem,
            "chosen": chosen,
            # What is typed into the form would be lost, were it refused and shown anew.
            "refresh": problem is None and any(line.state in (RUNNING, "waiting") for line in lines),
        }
        return _page("index.html", shown, status=status)

    def _begun(self, caller: Caller, form: Mapping[str, str]) -> Response:
        given = {name: value.strip() for name, value in form.items() if value.strip()}
        try:
            self._runs.ask(caller.host, ask_of(caller.host, PrecalcBody.model_validate(given)))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        except Refused as error:
            problem = "; ".join(one.message for one in error.errors)
        except LimnerError as error:
            problem = str(error)
        else:
            return RedirectResponse(HOME, status_code=303, headers=_HEADERS)
        return self._index(caller, problem=problem, chosen=form.get("model"), status=422)


def _shown(asked: Request, scope: str, show: Callable[[Caller], Response]) -> Response:
    """The page, if whoever looks may see it; a page that asks for a token, if not."""
    try:
        return show(_caller(asked, scope))
    except Unauthorized:
        return RedirectResponse(f"{HOME}/token", status_code=303, headers=_HEADERS)
    except Forbidden as error:
        return _page("token.html", {"problem": str(error)}, status=403)
    except LimnerError as error:
        return _page("molecule.html", {"q": "", "problem": str(error), "blocks": []}, status=status_of(error))


def _caller(asked: Request, scope: str, token: str | None = None) -> Caller:
    auth: Auth = asked.app.state.auth
    given = unquote(asked.cookies.get(_COOKIE, "")) if token is None else token
    headers = {"authorization": f"Bearer {given}"} if given else {}
    return auth.caller(headers, scope=scope, address=address_of(asked.scope))


def _check_origin(asked: Request) -> None:
    """
    Do nothing if a form comes from a page of this server; browsers say where it comes from.

    Raises:
        Refused: it does not.
    """
    origin = asked.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != asked.headers.get("host"):
        raise Refused(403, "The form comes from a page of another server.")


async def _form(asked: Request) -> dict[str, str]:
    body = await asked.body()
    if len(body) > _MOST_FORM_BYTES:
        raise Refused(413, "The form is larger than anybody types.")
    return {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}


def _page(name: str, shown: Mapping[str, Value], *, status: int = 200) -> Response:
    text = _templates().get_template(name).render(shown)
    return Response(text, status_code=status, media_type="text/html", headers=_HEADERS)


def _style() -> Response:
    text = files(__package__).joinpath(_FOLDER, "style.css").read_bytes()
    return Response(text, media_type="text/css", headers=_HEADERS)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, select_autoescape

    loader = PackageLoader(__package__ or "", _FOLDER)
    return Environment(loader=loader, autoescape=select_autoescape(), trim_blocks=True)
