"""The API over a real database, with a Temporal whose address refuses: no JVM, nothing to wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from api.app import make_app
from api.jobs import schemas
from api.jobs import service as job_service
from builds.artifacts import Artifacts
from observation.observer import Observer
from services import Services
from settings import Settings
from store.database import Database
from tests.recovery.conftest import SQL, services_of

REFUSES = "127.0.0.1:1"


async def refused_client() -> Client:
    return await Client.connect(REFUSES, lazy=True, data_converter=pydantic_data_converter)


@pytest.fixture
async def services(sqlite: Database, tmp_path: Path) -> Services:
    settings = Settings(home=tmp_path, authentication=False, secret_key="x" * 43 + "=", plan_timeout=0.1)  # type: ignore[arg-type]
    made = await services_of(await refused_client(), sqlite, settings)
    return replace(made, artifacts=Artifacts(tmp_path / "artifacts"))


@pytest.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


def client_of(services: Services, bench: Any = None) -> httpx.AsyncClient:
    async def made() -> Services:
        return services

    app = make_app(made)
    app.state.services, app.state.observer, app.state.bench = services, Observer(services), bench
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/api/v1", timeout=60)


async def create(services: Services, name: str = "j", **more: Any) -> schemas.JobOut:
    new = {"name": name, "spec": {"type": "sql", "sql": SQL}, "cluster": "local", **more}
    return await job_service.create(services, schemas.NewJob.model_validate(new))
