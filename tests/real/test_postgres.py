"""The whole stack on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from processes.supervised import Spec, free_port
from stack.parts import StackParts
from tests.conftest import connect, with_database
from tests.real.conftest import Stack

pytestmark = pytest.mark.real


class BesideAnother(Stack):
    """A Penstock of its own, on the Flink of another stack."""

    def __init__(self, other: Stack, parts: StackParts, home: Path, database_url: str):
        super().__init__(parts, home, database_url=database_url)
        self.flink_url, self.gateway_url, self.state_dir = other.flink_url, other.gateway_url, other.state_dir
        self.flink = httpx.Client(base_url=self.flink_url, timeout=30, trust_env=False)

    def specs(self) -> dict[str, Spec]:
        made = [self.local.temporal(), self.local.api_process(), self.local.worker()]
        return {spec.name: spec for spec in made}


@pytest.fixture
async def on_postgres(stack: Stack, parts: StackParts, postgres_url: str, tmp_path_factory) -> Iterator[Stack]:
    name = f"s{os.getpid()}_{free_port()}"
    server = await connect(postgres_url)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()
    made = BesideAnother(stack, parts, tmp_path_factory.mktemp("pg-stack"), with_database(postgres_url, name))
    try:
        made.up()
        yield made
    finally:
        made.down()


async def test_a_job_from_start_to_pause_and_on_with_a_worker_killed_between(on_postgres: Stack):
    job = on_postgres.create()
    on_postgres.do(job, "start")
    on_postgres.checkpointed(job)
    number = on_postgres.send(job, "pause").json()["number"]
    on_postgres.kill("worker")
    on_postgres.start("worker")
    assert on_postgres.ended(job, number)["state"] == "SUCCEEDED"
    assert on_postgres.job(job)["state"] == "PAUSED"
    on_postgres.do(job, "start")
    assert "/savepoints/1-" in on_postgres.job(job)["current_attempt"]["restored_from"]
    assert len(on_postgres.alive(job)) == 1
    page = on_postgres.http.get("/jobs", params={"sort": "-updated_at", "limit": 1}).json()
    assert page["items"][0]["state"] == "RUNNING"
