"""The whole stack on a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from processes.supervised import free_port
from stack.parts import Parts
from tests.conftest import _sql, with_database
from tests.real.conftest import Stack

pytestmark = pytest.mark.real


@pytest.fixture
async def on_postgres(parts: Parts, postgres_url: str, tmp_path_factory) -> Iterator[Stack]:
    name = f"s{os.getpid()}_{free_port()}"
    await _sql(postgres_url, f"CREATE DATABASE {name}")
    made = Stack(parts, tmp_path_factory.mktemp("pg-stack"), database_url=with_database(postgres_url, name))
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
