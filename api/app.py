"""The application: routers, errors, metrics, start and end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import local_token, pages, system
from api.accounts.router import door as door_router
from api.accounts.router import router as accounts_router
from api.catalogs.router import router as catalogs_router
from api.clusters.router import router as clusters_router
from api.commands.router import router as commands_router
from api.defaults.router import router as defaults_router
from api.deps import SqlRuntime, whole_characters
from api.diagnostics.router import router as diagnostics_router
from api.history.router import router as history_router
from api.inference.router import router as inference_router
from api.jobs.router import router as jobs_router
from api.libraries.router import router as libraries_router
from api.limits import BodyLimit
from api.lineage.router import router as lineage_router
from api.output.router import router as output_router
from api.previews.router import router as previews_router
from api.problems import Problem, install, responses
from api.projects.router import router as projects_router
from api.recovery.router import router as recovery_router
from api.resources.router import router as resources_router
from api.rules import DOORS, GUARDED, OPEN, PREFIX
from api.security import Authentication, KnownTokens, caller, check_address, not_from_elsewhere
from api.sessions.router import router as sessions_router
from api.sql.router import router as sql_router
from api.testing.router import router as testing_router
from core import __version__
from observation.observer import Observer, keep_forgetting
from services import Services
from settings import ApiSettings, Settings, clock, garbage, waits
from sql.completer import Completer
from sql.run_registry import Runs
from sql.sessions import Sessions
from store import jobs
from store.database import noting
from temporal.client import connect

ROUTERS = (
    accounts_router,
    jobs_router,
    commands_router,
    history_router,
    diagnostics_router,
    output_router,
    clusters_router,
    projects_router,
    recovery_router,
    lineage_router,
    sql_router,
    previews_router,
    sessions_router,
    testing_router,
    inference_router,
    resources_router,
    catalogs_router,
    libraries_router,
    defaults_router,
)
log = structlog.get_logger()

DESCRIPTION = """Keeps Apache Flink jobs running with their state.

A **job** has immutable **versions**. A **command** (start, pause, kill, restart, resubmit, savepoint, adopt) is
sent to a job and followed by its number. Each submission to a cluster is an **attempt** with a Flink job
id of its own. A **restore point** is a completed savepoint or retained checkpoint.

Errors are problem+json (RFC 9457). Lists are `{"items": [...], "next_cursor": ...}`.
"""


def make_app(services_of: Callable[[], Awaitable[Services]]) -> FastAPI:
    """`services_of` is called once, at start-up."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = await (await services_of()).ready()
        app.state.services, app.state.observer = services, Observer(services)
        runs = Runs()
        app.state.bench = SqlRuntime(runs, Sessions(services, runs), Completer(services))
        await _default_project(services)
        await local_token.keep(services)
        app.state.bench.sessions.begin()
        forgetting = asyncio.create_task(keep_forgetting(services, app.state.observer))
        yield
        forgetting.cancel()
        await app.state.bench.sessions.close()
        await app.state.bench.completer.close()
        await runs.close()
        await services.close()

    app = FastAPI(
        title="Penstock",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.tokens = KnownTokens()
    app.state.metrics = system.PrometheusMetrics()
    install(app)
    for router in ROUTERS:
        # Samples are shown as they are found in a topic: inference marks what cannot be sent.
        checks = [] if router is inference_router else [Depends(whole_characters)]
        app.include_router(router, prefix=PREFIX, dependencies=[Depends(caller), *checks])
    app.include_router(door_router, dependencies=[Depends(whole_characters), Depends(not_from_elsewhere)])
    app.include_router(system.router)
    pages.install(app)
    app.add_middleware(BodyLimit)
    app.add_middleware(Authentication)
    app.add_middleware(_Counting)
    _describe(app)
    return app


async def _default_project(services: Services) -> None:
    async with services.database.write() as session:
        row = await jobs.find_project(session, "default")
        if row is None or row.deleted_at is not None:
            await jobs.add_project(session, "default", {}, clock.now())


class _Counting:
    """Counts requests, and notes what each of them writes: an error tells it."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, began = Request(scope), time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics: system.PrometheusMetrics = request.app.state.metrics
                metrics.count(request, message["status"], time.perf_counter() - began)
            await send(message)

        with noting() as request.state.written:
            await self._app(scope, receive, answer)


def _describe(app: FastAPI) -> None:
    """Our own OpenAPI description: problems instead of FastAPI's validation errors."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema:
            return app.openapi_schema
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(problem.pop("$defs", {}))
        schemas["Problem"] = problem
        for path, operation in ((path, o) for path, all_ in schema["paths"].items() for o in all_.values()):
            # Answered before any endpoint is asked: a body that is no JSON text; who calls, and whether they may.
            early = responses(400, 413) if "requestBody" in operation else {}
            early |= responses(401, 421) if path not in OPEN else {}
            early |= responses(403) if path.removeprefix(PREFIX) in GUARDED else {}
            operation["responses"].update({str(status): described for status, described in early.items()})
            if path in OPEN or path in DOORS:
                operation["security"] = []
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        app.openapi_schema = schema
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def serve(settings: Settings, api: ApiSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises `InvalidInput` for an address other than loopback without
    authentication."""
    check_address(api.api_host, authentication=settings.authentication)

    async def services_of() -> Services:
        garbage.settle()
        return Services.make(settings, await connect(settings, lazy=True))

    uvicorn.run(
        make_app(services_of),
        host=api.api_host,
        port=api.api_port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=waits.LAST_ANSWERS_SECONDS,
    )
