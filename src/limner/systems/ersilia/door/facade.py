"""The routes that the original's clients call: the look-up of predictions, and whether there is a model."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from limner.api.auth import Auth, Caller, address_of
from limner.domain.values import Value
from limner.errors import Forbidden, Unauthorized
from limner.systems.ersilia.door.original import FORBIDDEN, Asked, Reply, reply_to
from limner.systems.ersilia.door.tables import Tables

Needs = Callable[[str], Callable[[Request], Caller]]
_TAG = "ersilia, as the original"


def router(tables: Tables, needs: Needs, *, prefix: str) -> APIRouter:
    """The routes; ``/predictions`` is there below *prefix* too."""
    made = APIRouter(tags=[_TAG])

    async def predictions(request: Request) -> Response:
        """Look predictions up by key: in the order of the request, and what is missing."""
        body = await request.body()
        return await run_in_threadpool(lambda: _response(_reply(tables, request, body)))

    def model(caller: Annotated[Caller, Depends(needs("read"))], modelid: Annotated[str, Query()]) -> bool:
        """Whether there is such a model here."""
        return tables.knows(caller.host, modelid)

    for path in dict.fromkeys(("/predictions", f"{prefix}/predictions")):
        for method in ("GET", "POST"):
            made.add_api_route(
                path,
                predictions,
                methods=[method],
                summary="Predictions by key",
                operation_id=f"ersilia_predictions_{method.lower()}",
                include_in_schema=path == "/predictions",
                openapi_extra=_DOCUMENTED,
            )
    made.add_api_route("/model", model, methods=["GET"], summary="Whether there is a model")
    return made


def _reply(tables: Tables, request: Request, body: bytes) -> Reply:
    try:
        caller = caller_by_key(request)
    except (Unauthorized, Forbidden):
        return Reply(status=403, body=msgspec.json.encode(FORBIDDEN))
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    return reply_to(body, query=query, look=tables.look(caller.host))


def caller_by_key(request: Request, *, scope: str = "read") -> Caller:
    """
    Who asks, by the header ``x-api-key``, which holds a token; ``Authorization`` is taken as well.

    Raises:
        Unauthorized: there is none, or it is none of ours.
        Forbidden: it has not this *scope*.
    """
    auth: Auth = request.app.state.auth
    headers = dict(request.headers)
    if "x-api-key" in headers:
        headers["authorization"] = f"Bearer {headers['x-api-key']}"
    return auth.caller(headers, scope=scope, address=address_of(request.scope))


def _response(reply: Reply) -> Response:
    if not reply.body:
        return Response(status_code=reply.status)
    return Response(reply.body, status_code=reply.status, media_type=reply.kind, headers=dict(reply.headers))


_DOCUMENTED: dict[str, Value] = {
    "requestBody": {"content": {"application/json": {"schema": Asked.model_json_schema()}}},
    "parameters": [
        {
            "name": "x-api-key",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "A token with the scope read.",
        }
    ],
}
