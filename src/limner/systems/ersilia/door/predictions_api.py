"""``/api/v1/predictions``: the better look-up, as JSON, CSV or Parquet."""

from collections.abc import Callable
from typing import Annotated, Protocol

from fastapi import APIRouter, Depends, Path, Query, Request
from msgspec import structs
from starlette.responses import Response

from limner.api.answers import answer
from limner.api.auth import Caller
from limner.api.problems import FieldError, Refused
from limner.api.schemas import model_of
from limner.errors import NotFound
from limner.systems.ersilia.door.asking import answered
from limner.systems.ersilia.door.forms import CSV, PARQUET, as_csv, as_parquet, form_of
from limner.systems.ersilia.door.tables import Tables
from limner.systems.ersilia.door.wanted import Block, Wanted, body_of

Needs = Callable[[str], Callable[[Request], Caller]]
_FILE = {"schema": {"type": "string", "format": "binary"}}


class Compute(Protocol):
    """Makes the job that computes what is missing of a model."""

    def __call__(self, caller: Caller, model: str, smiles: list[str]) -> str:
        """The id of the job."""
        ...


def router(tables: Tables, needs: Needs, *, compute: Compute) -> APIRouter:
    """The routes; *compute* makes the job of ``compute_missing``."""
    made = APIRouter(prefix="/api/v1/predictions", tags=["ersilia"])

    def predictions(request: Request, wanted: Wanted, caller: Annotated[Caller, Depends(needs("read"))]) -> Response:
        """Predictions of molecules by keys or SMILES, one to one; what is missing can be computed."""
        form = form_of(request.headers.get("accept", ""))
        blocks = answered(tables, caller, wanted)
        if wanted.compute_missing:
            submitter = needs("submit")(request)
            blocks = [_computed(submitter, block, compute=compute) for block in blocks]
        if form is not None:
            return _file(blocks, form)
        status = 202 if any(block.job for block in blocks) else 200
        return answer(body_of(blocks, several=not isinstance(wanted.model, str)), status=status)

    def single(
        model: Annotated[str, Path(max_length=200)],
        key: Annotated[str, Path(max_length=200)],
        caller: Annotated[Caller, Depends(needs("read"))],
        version: Annotated[str | None, Query(description="Release and digest; the one that serves if none.")] = None,
    ) -> Response:
        """One prediction by its key."""
        (block,) = answered(tables, caller, Wanted(model=model, version=version, keys=[key]))
        if block.missing:
            raise NotFound(f"There is no prediction of {model} for {key} in version {block.version or 'none'}.")
        return answer(block)

    made.add_api_route(
        "",
        predictions,
        methods=["POST"],
        summary="Predictions of molecules, one to one",
        responses={
            200: {"model": model_of(Block), "content": {CSV: _FILE, PARQUET: _FILE}},
            202: {"model": model_of(Block), "description": "What is missing is computed by the jobs that are named."},
        },
    )
    made.add_api_route(
        "/{model}/{key}",
        single,
        methods=["GET"],
        summary="One prediction by its key",
        responses={200: {"model": model_of(Block)}},
    )
    return made


def _computed(caller: Caller, block: Block, *, compute: Compute) -> Block:
    smiles = [one.smiles for one in block.results if one.status == "missing" and one.smiles]
    return structs.replace(block, job=compute(caller, block.model, smiles)) if smiles else block


def _file(blocks: list[Block], form: str) -> Response:
    if len(blocks) > 1:
        told = FieldError(field="model", message=f"A file of {form} holds one model; here are {len(blocks)}.")
        raise Refused(422, "The request is not right in: model.", errors=[told])
    (block,) = blocks
    headers = {"limner-version": block.version or "", "limner-missing": str(block.missing)}
    if block.job:
        headers["limner-job"] = block.job
    made = as_csv(block) if form == CSV else as_parquet(block)
    return Response(made, status_code=202 if block.job else 200, media_type=form, headers=headers)
