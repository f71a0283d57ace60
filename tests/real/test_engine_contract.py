"""What every kind of cluster must do: one suite for all engines, on real clusters of two Flink versions.

A test of what only some kinds can do begins with what it `needs`, and is skipped for the others. A new kind is another
`Subject`, with what it submits."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clusters import state_files
from clusters.flink.session import FlinkSession
from clusters.local.hosted import HostedClusters, stop_all
from clusters.protocol import (
    AnotherFlink,
    Checkpoints,
    ClusterProgram,
    Course,
    Engine,
    Identified,
    Metrics,
    Ref,
    Savepoints,
    SqlProgram,
    SqlSessions,
    Submission,
    TriggerState,
    Unreachable,
)
from core.effects import Rejected
from core.jobs.observations import ENDED, EngineState, Trouble
from core.sql.plan import Plan, read
from core.sql.script import parse_script
from core.sql.verdict import Verdict, compare, from_one
from processes.flink import Flink
from processes.supervised import Processes, free_port
from stack.parts import StackParts
from tests.real.conftest import PRINT, SOURCE, Stack

pytestmark = pytest.mark.real
SQL = f"{SOURCE.format('')}\n{PRINT}\nINSERT INTO sink SELECT id FROM src;"
VERSIONS = ["2.3.0", "1.20.5"]


class Subject:
    """An engine under test, and a folder that it keeps state in."""

    def __init__(self, engine: Engine, state: Path):
        self.engine = engine
        self.state = state.as_uri()

    def needs(self, *capabilities: type) -> None:
        """Skips the test where the kind does not claim one of them."""
        for capability in capabilities:
            if not isinstance(self.engine, capability):
                pytest.skip(f"this kind has no {capability.__name__}")

    async def ref(self) -> Ref:
        flink_job_id = uuid.uuid4().hex
        return Ref(flink_job_id, await self.engine.reserve(flink_job_id))

    async def submit(self, ref: Ref, sql: str = SQL, **more: object) -> None:
        config = {
            "execution.checkpointing.interval": "500 ms",
            "execution.checkpointing.dir": f"{self.state}/checkpoints",
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        }
        planner = more.pop("planner", None)
        program = SqlProgram(parse_script(sql), planner=planner, scratch=f"{self.state}/sql" if planner else None)
        values = {"restore_path": None, "allow_non_restored_state": False, "parallelism": None, **more}
        submission = Submission(ref=ref, name="contract", program=program, config=config, **values)
        await self.engine.submit(submission, lambda _: None)

    async def until(self, ref: Ref, *states: EngineState) -> None:
        for _ in range(1200):
            if (await self.engine.look(ref)).state in states:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"never {states}: {await self.engine.look(ref)}")

    async def done(self, ref: Ref, trigger: str) -> tuple[TriggerState, str | None]:
        for _ in range(1200):
            status = await self.engine.trigger_status(ref, trigger)
            if status.state is not TriggerState.IN_PROGRESS:
                return status.state, status.path or status.why
            await asyncio.sleep(0.1)
        raise AssertionError("the trigger is still in progress")


class Machine(Subject):
    """Where an attempt is a session cluster."""

    def __init__(self, root: Path, parts: StackParts):
        super().__init__(HostedClusters(root / "clusters", "here", "here", parts.flink_home, [], 180), root)

    async def submit(self, ref: Ref, sql: str = "", **_: object) -> None:
        at = self.engine.found_at(None, keep=False)  # type: ignore[attr-defined]
        program = ClusterProgram("2.3.0", at.rest_port, at.gateway_port, self.state, 1, 1, "1100m", "1728m")
        submission = Submission(ref, "contract", program, {}, None, None, False)
        await self.engine.submit(submission, lambda _: None)


@pytest.fixture(scope="module", params=[*VERSIONS, "processes"])
async def subject(request: pytest.FixtureRequest, parts: StackParts, tmp_path_factory) -> AsyncIterator[Subject]:
    folder = tmp_path_factory.mktemp("contract")
    if request.param == "2.3.0":
        stack: Stack = request.getfixturevalue("stack")
        engine = FlinkSession(stack.flink_url, [stack.gateway_url])
        yield Subject(engine, folder)
        await engine.close()
        return
    if request.param == "processes":
        parts.flink("2.3.0")
        yield Machine(folder, parts)
        stop_all(folder / "clusters")
        return
    flink = Flink(
        home=parts.flink(request.param),
        folder=folder / "flink",
        rest_port=free_port(),
        rpc_port=free_port(),
        gateway_port=free_port(),
        slots=8,
        jobmanager_memory="1g",
        taskmanager_memory="1500m",
    )
    processes = Processes(folder)
    specs = [flink.jobmanager(), flink.taskmanager(), flink.gateway()]
    try:
        for spec in specs:
            processes.start(spec, timeout=240)
        engine = FlinkSession(flink.url, [flink.gateway_url])
        yield Subject(engine, folder)
        await engine.close()
    finally:
        for spec in specs:
            processes.stop(spec.name)


async def test_it_runs_under_the_reserved_id(subject: Subject):
    ref = await subject.ref()
    await subject.submit(ref)
    await subject.until(ref, EngineState.RUNNING)
    assert (await subject.engine.overview()).jobs[ref.handle].ref == ref
    seen = await subject.engine.look(ref)
    assert (seen.name, seen.ref) == ("contract", ref)
    assert await subject.engine.ref_of(ref.flink_job_id) == ref
    await subject.engine.cancel(ref)


async def test_the_same_id_twice_or_six_times_at_once_is_one_job(subject: Subject):
    ref = await subject.ref()
    await asyncio.gather(*(subject.submit(ref) for _ in range(6)))
    await subject.submit(ref)
    jobs = (await subject.engine.overview()).jobs
    assert sum(handle == ref.handle for handle in jobs) == 1
    await subject.engine.cancel(ref)


async def test_what_it_does_not_take_is_a_clear_no_and_leaves_nothing(subject: Subject):
    subject.needs(SqlSessions)
    ref = await subject.ref()
    with pytest.raises(Rejected, match=r"Statement 3, line \d+"):
        await subject.submit(ref, SQL.replace("SELECT id", "SELECT nothing"))
    assert (await subject.engine.look(ref)).state is EngineState.MISSING


async def test_a_changed_query_goes_on_with_its_state_by_its_aligned_plan(subject: Subject):
    """The gateway gives other operator ids each time; aligned, the plan of the changed query takes the state."""
    subject.needs(SqlSessions, Savepoints, Metrics)
    kept: dict[str, Plan] = {}
    sql = SQL.replace("SELECT id", "SELECT COUNT(*)")

    async def first(body, why):
        kept["old"] = from_one(read(body))
        return kept["old"].body

    async def second(body, why):
        found = compare(kept["old"], read(body))
        assert found.verdict.verdict is Verdict.COMPATIBLE, found.verdict
        return found.aligned.body

    ref, trigger = await subject.ref(), uuid.uuid4().hex
    await subject.submit(ref, sql, planner=first)
    await subject.until(ref, EngineState.RUNNING)
    assert [t.name for t in kept["old"].reads] == ["src"]
    assert kept["old"].sources[0].options["connector"] == "datagen"
    await subject.engine.stop_with_savepoint(ref, trigger_id=trigger, directory=f"{subject.state}/plan-{trigger}")
    state, path = await subject.done(ref, trigger)
    assert state is TriggerState.COMPLETED, path
    again = await subject.ref()
    changed = sql.replace("FROM src", "FROM src WHERE id > -1")
    await subject.submit(again, changed, planner=second, restore_path=path)
    await subject.until(again, EngineState.RUNNING)
    for _ in range(600):
        progress = await subject.engine.progress(again)
        if progress is not None and progress.completed:
            break
        await asyncio.sleep(0.1)
    assert progress is not None
    assert progress.completed
    assert progress.restarts == 0
    await subject.engine.cancel(again)


async def test_an_id_that_nobody_knows(subject: Subject):
    ref = Ref("0" * 32, "0" * 32)
    assert (await subject.engine.look(ref)).state is EngineState.MISSING
    assert await subject.engine.ref_of(ref.flink_job_id) in (None, ref)
    await subject.engine.cancel(ref)
    if isinstance(subject.engine, Checkpoints):
        assert await subject.engine.checkpoints(ref) == []
        assert await subject.engine.takes_checkpoints(ref) is None
    if isinstance(subject.engine, Savepoints):
        assert (await subject.engine.trigger_status(ref, "0" * 32)).state is TriggerState.UNKNOWN


async def test_stop_with_savepoint_and_go_on_from_it(subject: Subject):
    subject.needs(Savepoints)
    ref, trigger = await subject.ref(), uuid.uuid4().hex
    await subject.submit(ref)
    await subject.until(ref, EngineState.RUNNING)
    directory = f"{subject.state}/savepoints/{trigger}"
    for _ in range(2):  # the same trigger asks for the same
        await subject.engine.stop_with_savepoint(ref, trigger_id=trigger, directory=directory)
    state, path = await subject.done(ref, trigger)
    assert state is TriggerState.COMPLETED
    await subject.until(ref, EngineState.FINISHED)
    assert await state_files.is_complete(str(path))
    second = await subject.ref()
    await subject.submit(second, restore_path=path)
    await subject.until(second, EngineState.RUNNING)
    await subject.engine.cancel(second)


async def test_a_savepoint_while_it_runs_on(subject: Subject):
    subject.needs(Savepoints, Checkpoints)
    ref, trigger = await subject.ref(), uuid.uuid4().hex
    await subject.submit(ref)
    await subject.until(ref, EngineState.RUNNING)
    await subject.engine.savepoint(ref, trigger_id=trigger, directory=f"{subject.state}/savepoints/{trigger}")
    assert (await subject.done(ref, trigger))[0] is TriggerState.COMPLETED
    assert (await subject.engine.look(ref)).state is EngineState.RUNNING
    assert await subject.engine.takes_checkpoints(ref) is True
    await subject.engine.cancel(ref)


async def test_cancelling_twice_is_fine(subject: Subject):
    ref = await subject.ref()
    await subject.submit(ref)
    await subject.engine.cancel(ref)
    await subject.until(ref, EngineState.CANCELED)
    await subject.engine.cancel(ref)
    assert (await subject.engine.look(ref)).state is EngineState.CANCELED


async def test_a_restore_point_that_cannot_be_read_fails_the_attempt_with_a_reason(subject: Subject, tmp_path: Path):
    subject.needs(Checkpoints)
    (tmp_path / "_metadata").write_bytes(b"nonsense")
    ref = await subject.ref()
    try:
        await subject.submit(ref, restore_path=tmp_path.as_uri())
    except Rejected:
        return  # a clear no is as good
    await subject.until(ref, *ENDED)
    failure = await subject.engine.failure(ref)
    assert failure is not None
    assert failure.message
    assert failure.trouble is Trouble.UNREADABLE


async def test_what_is_held_by_an_attempt_and_what_it_has_completed(subject: Subject):
    subject.needs(Metrics)
    ref = await subject.ref()
    assert await subject.engine.progress(ref) is None
    assert await subject.engine.slot_holders(ref) == []
    await subject.submit(ref)
    await subject.until(ref, EngineState.RUNNING)
    assert len(await subject.engine.slot_holders(ref)) == 1
    for _ in range(300):
        progress = await subject.engine.progress(ref)
        if progress is not None and progress.completed:
            break
        await asyncio.sleep(0.1)
    assert progress is not None
    assert progress.completed > 0
    assert progress.restarts == 0
    assert await subject.engine.failure(ref) is None
    await subject.engine.cancel(ref)
    await subject.until(ref, EngineState.CANCELED)
    for _ in range(300):
        if not await subject.engine.slot_holders(ref):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("its slots are still held")


async def test_the_leader_has_an_identity(subject: Subject):
    subject.needs(Identified)
    leader = await subject.engine.leader()
    assert leader.identity
    assert leader == await subject.engine.leader()
    assert leader.ha is False
    assert leader.heartbeat_timeout == 20
    assert leader.cluster, "it can be told from another Flink"
    assert (await subject.engine.health()).cluster == leader.cluster


async def test_a_stranger_is_no_answer(subject: Subject):
    subject.needs(Identified)
    leader = await subject.engine.leader()
    subject.engine.expect("another one")  # type: ignore[attr-defined]
    try:
        for question in (subject.engine.leader, subject.engine.health):
            with pytest.raises(AnotherFlink):
                await question()
        ref = await subject.ref()
        with pytest.raises(Unreachable) as refused:
            await subject.submit(ref)
        assert not refused.value.sent
    finally:
        subject.engine.expect(leader.cluster)  # type: ignore[attr-defined]
    assert (await subject.engine.look(ref)).state is EngineState.MISSING
    assert await subject.engine.leader() == leader


async def test_how_an_attempt_has_fared(subject: Subject):
    subject.needs(Metrics)
    ref = await subject.ref()
    await subject.submit(ref)
    await subject.until(ref, EngineState.RUNNING)
    assert await subject.engine.course(ref, whole=False) == Course(failures=[])
    course = await subject.engine.course(ref, whole=True)
    assert course is not None
    # Checkpoints that were due before all tasks ran count as failed.
    assert (course.failures, course.failure, course.restarts) == ([], None, 0)
    assert course.interval
    assert await subject.engine.course(await subject.ref(), whole=True) is None
    await subject.engine.cancel(ref)


async def test_a_savepoint_is_deleted_with_all_that_belongs_to_it(subject: Subject):
    subject.needs(Savepoints)
    ref, trigger = await subject.ref(), uuid.uuid4().hex
    await subject.submit(ref)
    await subject.until(ref, EngineState.RUNNING)
    await subject.engine.savepoint(ref, trigger_id=trigger, directory=f"{subject.state}/savepoints/{trigger}")
    _, path = await subject.done(ref, trigger)
    await subject.engine.dispose(str(path))
    assert not await state_files.is_complete(str(path))
    with pytest.raises(Rejected):
        await subject.engine.dispose(str(path))
    await subject.engine.cancel(ref)


async def test_the_health_names_version_and_slots(subject: Subject):
    subject.needs(Metrics, SqlSessions)
    health = await subject.engine.health()
    assert health.flink_version in VERSIONS
    assert health.slots_total
    assert health.gateway is True


@pytest.mark.parametrize("answer", ["refused", "html", "503"])
async def test_what_is_no_answer_of_a_leader_is_unreachable(answer: str):
    """A double: no real Flink can be made to answer with a proxy's HTML page."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<html>hello</html>" if answer == "html" else b'{"errors": ["leader election"]}'
        status = b"200 OK" if answer == "html" else b"503 Service Unavailable"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if answer == "refused":
        server.close()
    engine = FlinkSession(f"http://127.0.0.1:{port}", [])
    with pytest.raises(Unreachable):
        await engine.look(Ref("a" * 32, "a" * 32))
    with pytest.raises(Unreachable):
        await engine.overview()
    await engine.close()
    server.close()


class TestFence:
    async def test_an_id_that_was_never_sent_is_spent(self, subject: Subject):
        ref = await subject.ref()
        assert await subject.engine.fence(ref)
        assert await subject.engine.fence(ref), "doing it again is safe"
        overview = await subject.engine.overview()
        assert ref.handle in overview.fenced
        assert ref.handle not in overview.jobs
        assert (await subject.engine.look(ref)).state is EngineState.MISSING
        with pytest.raises(Rejected):
            await subject.submit(ref)
        assert (await subject.engine.look(ref)).state is EngineState.MISSING

    async def test_an_attempt_that_the_cluster_has_is_left_alone(self, subject: Subject):
        ref = await subject.ref()
        await subject.submit(ref)
        assert not await subject.engine.fence(ref)
        await subject.until(ref, EngineState.RUNNING)
        await subject.engine.cancel(ref)
        await subject.until(ref, EngineState.CANCELED)
        assert not await subject.engine.fence(ref), "also when it is at its end"
