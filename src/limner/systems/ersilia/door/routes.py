"""All routes of the system on one router; mounted where the setting ``facades`` names ``ersilia``."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request

from limner.api.auth import Caller
from limner.app.projects import Projects
from limner.systems.ersilia.door import facade, predictions_api
from limner.systems.ersilia.door.settings import ersilia_settings
from limner.systems.ersilia.door.tables import Tables


def routes(projects: Projects, needs: Callable[[str], Callable[[Request], Caller]]) -> APIRouter:
    """The routes; *needs* makes the dependency that asks for a token with a scope."""
    told = ersilia_settings(projects.project.settings)
    tables = Tables()

    @asynccontextmanager
    async def living(_: object) -> AsyncIterator[None]:
        yield
        tables.close()

    made = APIRouter(lifespan=living)
    made.include_router(facade.router(tables, needs, prefix=told.prefix))
    made.include_router(predictions_api.router(tables, needs, compute=_compute))
    return made


def _compute(caller: Caller, model: str, smiles: list[str]) -> str:
    raise NotImplementedError
