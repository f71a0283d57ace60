"""A plan that is said to be COMPATIBLE is taken by Flink: for every kind of operator that keeps state.

Each query runs from its plan, is stopped with a savepoint, and goes on in a script that also does something else,
from the aligned plan. Compiled anew its operators have other ids, so without the alignment Flink would refuse.
PENSTOCK_TEST_ALL_QUERIES=1 does it with all queries of lineage_queries.py.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator

import pytest

from clusters.flink.session import FlinkSession
from clusters.protocol import Ref, SqlProgram, Submission, TriggerState
from core.jobs.observations import EngineState
from core.sql.plan import Plan, read
from core.sql.script import parse_script
from core.sql.verdict import Verdict, compare, from_one
from tests.real.conftest import Stack
from tests.real.lineage_queries import QUERIES, TABLES

KINDS = [
    "aggregate",
    "left join",
    "interval join",
    "temporal join",
    "tumble",
    "window join",
    "over rows",
    "top n",
    "deduplicate",
    "match recognize",
]
NAMES = list(QUERIES) if os.environ.get("PENSTOCK_TEST_ALL_QUERIES") else KINDS
SLOW = "'connector'='datagen','rows-per-second'='20'"


@pytest.fixture
async def engine(stack: Stack) -> AsyncIterator[FlinkSession]:
    made = FlinkSession(stack.flink_url, [stack.gateway_url])
    yield made
    await made.close()


async def script(engine: FlinkSession, name: str) -> tuple[str, str]:
    """The query as a job, and the same beside another INSERT."""
    tables = [t.replace("'connector'='datagen'", SLOW) for t in TABLES if "'filesystem'" not in t]
    query = QUERIES[name][0]
    gateway, session = await engine.open_session({})
    for table in TABLES:
        await gateway.execute(session, table)
    await gateway.execute(session, f"CREATE TEMPORARY VIEW v AS {query}")
    columns = await gateway.rows(session, "DESCRIBE v")
    await gateway.close(session)
    fields = ", ".join(
        f"`{c[0]}` " + c[1].replace("*ROWTIME*", "").replace("*PROCTIME*", "").replace(" NOT NULL", "") for c in columns
    )
    sinks = [
        f"CREATE TABLE s ({fields}) WITH ('connector'='blackhole')",
        "CREATE TABLE ids (id BIGINT) WITH ('connector'='blackhole')",
    ]
    one = ";\n".join([*tables, *sinks, f"INSERT INTO s {query}"])
    return one, f"{one};\nINSERT INTO ids SELECT id FROM users WHERE id > 7"


async def run(engine: FlinkSession, state: str, sql: str, planner, restore: str | None) -> Ref:
    flink_job_id = uuid.uuid4().hex
    ref = Ref(flink_job_id, flink_job_id)
    config = {
        "execution.checkpointing.interval": "500 ms",
        "execution.checkpointing.dir": f"{state}/restored",
        "restart-strategy.type": "disable",
    }
    program = SqlProgram(parse_script(sql), planner=planner, scratch=f"{state}/restored-plans")
    submission = Submission(
        ref=ref,
        name="restored",
        program=program,
        config=config,
        parallelism=None,
        restore_path=restore,
        allow_non_restored_state=False,
    )
    await engine.submit(submission, lambda line: None)
    return ref


async def checkpointed(engine: FlinkSession, ref: Ref) -> None:
    for _ in range(1200):
        progress = await engine.progress(ref)
        if progress is not None and progress.completed > 1:
            return
        seen = await engine.look(ref)
        if seen.state in (EngineState.FAILED, EngineState.FINISHED):
            failure = await engine.failure(ref)
            raise AssertionError(f"{seen.state}: {failure.message if failure else ''}")
        await asyncio.sleep(0.1)
    raise AssertionError("no checkpoint")


@pytest.mark.parametrize("name", NAMES)
async def test_state_goes_on(stack: Stack, engine: FlinkSession, name: str):
    if name in ("values", "join with a file"):
        pytest.skip("it comes to its end before it can be stopped")
    kept: dict[str, Plan] = {}

    async def first(body, why):
        assert body is not None, why
        kept["old"] = from_one(read(body))
        return kept["old"].body

    async def second(body, why):
        found = compare(kept["old"], read(body))
        assert found.verdict.verdict is Verdict.COMPATIBLE, found.verdict
        return found.aligned.body

    one, two = await script(engine, name)
    ref = await run(engine, stack.state_dir, one, first, None)
    await checkpointed(engine, ref)
    trigger = uuid.uuid4().hex
    await engine.stop_with_savepoint(ref, trigger_id=trigger, directory=f"{stack.state_dir}/restored/{trigger}")
    while (status := await engine.trigger_status(ref, trigger)).state is TriggerState.IN_PROGRESS:
        await asyncio.sleep(0.1)
    assert status.path, status.why
    again = await run(engine, stack.state_dir, two, second, status.path)
    await checkpointed(engine, again)
    assert stack.flink.get(f"/jobs/{again.flink_job_id}/checkpoints").json()["counts"]["restored"] == 1
    await engine.cancel(again)
