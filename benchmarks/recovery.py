"""What a run of the recovery with nothing to do costs at ten thousand jobs: rows and parked workflows are real."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from datetime import UTC, datetime

from benchmarks.simulated import SimulatedFlink
from core.jobs.restore import Basis
from core.jobs.snapshot import AttemptSnapshot, JobSnapshot
from core.jobs.states import JobState
from core.names import job_workflow_id
from services import Services
from settings import Settings
from store import clusters
from store.database import Database
from store.tables import Attempt, Job, Version
from temporal.client import connect
from temporal.delivery import start_job
from tests.real.conftest import Stack

AT_ONCE = 40


async def fill(stack: Stack, flink: SimulatedFlink, cluster: str, many: int) -> None:
    """`many` RUNNING jobs: rows in the database, jobs on the simulated cluster, and a parked workflow each."""
    now = datetime.now(UTC)
    settings = Settings(home=stack.home, temporal_address=f"127.0.0.1:{stack.ports['temporal']}")
    database = Database(settings.url_of_database())
    snapshots, rows = [], []
    async with database.write() as session:
        for number in range(many):
            jid, job_id = uuid.uuid4().hex, str(uuid.uuid4())
            snapshot = JobSnapshot(
                job_id=job_id,
                project="default",
                name=f"parked-{number}",
                type="sql",
                cluster=cluster,
                state_dir="file:///nowhere",
                state=JobState.RUNNING,
                basis=Basis.NEWEST,
                attempts=1,
                revision=1,
                attempt=AttemptSnapshot(number=1, flink_job_id=jid, version=1, running_since=now),
            )
            snapshots.append(snapshot)
            flink._add(jid, snapshot.label)
            rows.append(
                Job(
                    id=job_id,
                    workflow_id=job_workflow_id("default", snapshot.name, job_id),
                    project="default",
                    name=snapshot.name,
                    type="sql",
                    cluster=cluster,
                    state="RUNNING",
                    reason="",
                    version=1,
                    current_attempt=1,
                    labels={},
                    policy={},
                    config={},
                    actions=[],
                    revision=1,
                    snapshot=snapshot.model_dump(mode="json"),
                    created_at=now,
                    updated_at=now,
                )
            )
        session.add_all(rows)
        await session.flush()
        row = await clusters.get(session, cluster)
        for snapshot in snapshots:
            assert snapshot.attempt is not None
            jid = snapshot.attempt.flink_job_id
            session.add(Version(job_id=snapshot.job_id, number=1, spec={"type": "sql", "sql": ""}, created_at=now))
            session.add(
                Attempt(
                    job_id=snapshot.job_id,
                    number=1,
                    flink_job_id=jid,
                    handle=jid,
                    cluster=cluster,
                    version=1,
                    state="RUNNING",
                    cause="bench",
                    config={},
                    seen="RUNNING",
                    sequence=1,
                    started_at=now,
                )
            )
    await database.close()
    services = await Services.make(settings, await connect(settings)).ready()
    slots = asyncio.Semaphore(AT_ONCE)

    async def start(job: Job) -> None:
        async with slots:
            await start_job(services, job, row)

    await asyncio.gather(*(start(job) for job in rows))
    await services.close()


def measure(stack: Stack, runs: int) -> tuple[float, float]:
    """(median seconds of a run by hand, seconds of worker CPU per run)."""
    process = stack.local.processes.find("worker")
    assert process is not None
    stack.http.post("/recovery", json={"dry_run": False})
    before, took = process.cpu_times(), []
    for _ in range(runs):
        began = time.monotonic()
        answer = stack.http.post("/recovery", json={"dry_run": False}).json()
        took.append(time.monotonic() - began)
        assert [f for f in answer["findings"] if f["kind"] != "orphan"] == [], answer["findings"][:3]
    after = process.cpu_times()
    return statistics.median(took), (after.user + after.system - before.user - before.system) / runs
