"""All routes of the system on one router; mounted where the setting ``facades`` names ``ersilia``."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from limner.api.auth import Caller
from limner.app.projects import Projects
from limner.systems.ersilia.door import facade, later_client, page, precalc_api, predictions_api, requests_api
from limner.systems.ersilia.door.finishing import Finishing
from limner.systems.ersilia.door.on_request import predict_smiles
from limner.systems.ersilia.door.runs import Runs
from limner.systems.ersilia.door.settings import ersilia_settings
from limner.systems.ersilia.door.tables import Tables


def routes(projects: Projects, needs: Callable[[str], Callable[[Request], Caller]]) -> APIRouter:
    """The routes; *needs* makes the dependency that asks for a token with a scope."""
    told = ersilia_settings(projects.project.settings)
    tables = Tables()
    finishing = Finishing(projects, tables)
    runs = Runs(projects)

    @asynccontextmanager
    async def living(_: object) -> AsyncIterator[None]:
        finishing.start()
        await run_in_threadpool(runs.start)
        yield
        await run_in_threadpool(runs.stop)
        await run_in_threadpool(finishing.stop)
        tables.close()

    def compute(caller: Caller, model: str, smiles: list[str]) -> str:
        job = predict_smiles(caller.host, tables, model=model, smiles=smiles)
        finishing.watch(caller.host, job)
        return job.id

    made = APIRouter(lifespan=living)
    made.include_router(facade.router(tables, needs, prefix=told.prefix))
    made.include_router(predictions_api.router(tables, needs, compute=compute))
    made.include_router(requests_api.router(projects, tables, finishing=finishing, days=told.request_days))
    made.include_router(later_client.router(projects, tables, finishing=finishing, days=told.request_days))
    made.include_router(precalc_api.router(runs))
    made.include_router(page.router(runs, tables))
    return made
