"""Session clusters that Penstock runs, as real processes: started, scaled, stopped, and kept up when parts die."""

from __future__ import annotations

import asyncio
import re
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from clusters.local.hosted import HostedClusters
from clusters.protocol import ClusterProgram, Ref, Submission, Unreachable
from core.jobs.observations import ENDED, EngineState
from processes.supervised import Processes, free_port
from tests.real import lookups
from tests.real.conftest import SQL, Stack, printed
from tests.real.sse import rows, whole
from tests.real.test_sessions import SOURCE, open_session, run

NAME = "atelier"
JOB = f"default:{NAME}"
# Jobs that lost their JobManager are started again when no old task manager can run any more: not after 20 s here.
CONFIG = {"heartbeat.interval": "1000", "heartbeat.timeout": "5000"}
SPEC = {"type": "session-cluster", "slots": 2, "config": CONFIG}


class Studio:
    """The cluster `atelier`, as Penstock shows it and as it is."""

    def __init__(self, stack: Stack):
        self.stack = stack

    @property
    def row(self) -> dict[str, Any]:
        return self.stack.http.get(f"/clusters/{NAME}").json()

    @property
    def flink(self) -> httpx.Client:
        return httpx.Client(base_url=self.row["jobmanager_url"], timeout=30, trust_env=False)

    def folder(self) -> Path:
        return self.stack.home / "clusters" / self.stack.job(JOB)["current_attempt"]["flink_job_id"]

    def process(self, name: str) -> psutil.Process:
        found = Processes(self.folder()).find(name)
        assert found is not None, name
        return found

    def processes(self) -> list[psutil.Process]:
        """All processes of all attempts, by what they were started with and not by what was written down."""
        found = []
        for process in psutil.process_iter(["cmdline", "environ"]):
            words = " ".join(process.info["cmdline"] or []) + str((process.info["environ"] or {}).get("FLINK_CONF_DIR"))
            if str(self.stack.home / "clusters") in words and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found

    def keepers(self) -> list[psutil.Process]:
        return [p for p in self.processes() if "clusters.local.keeper" in p.cmdline()]

    def restarts(self, flink_job: str) -> int:
        """How often Flink has restored it; it takes checkpoints."""
        return int(self.flink.get(f"/jobs/{flink_job}/checkpoints").json()["counts"]["restored"])

    def runs(self, attempt: int | None = None) -> dict[str, Any]:
        """Wait until it runs, as attempt `attempt`, with all that it should have."""

        def look() -> Any:
            job = self.stack.job(JOB)
            now = job["current_attempt"]
            right = attempt is None or now["number"] == attempt
            return job if right and job["state"] == "RUNNING" and now["engine_state"] == "RUNNING" else None

        return self.stack.until(look, f"{NAME} runs: {self.stack.job(JOB)}")


@pytest.fixture(scope="module")
def place(stack: Stack) -> str:
    body = {"name": "here", "kind": "processes", "flink_version": "2.3.0", "state_dir": stack.state_dir}
    response = stack.http.post("/clusters", json=body)
    assert response.status_code == 201, response.text
    assert response.json()["jobmanager_url"] == "host://local"
    return "here"


@pytest.fixture(scope="module")
def studio(stack: Stack, place: str) -> Iterator[Studio]:
    policy = {"initial_backoff": 1, "max_restarts": 100}
    response = stack.http.post("/jobs", json={"name": NAME, "cluster": place, "spec": SPEC, "restart_policy": policy})
    assert response.status_code == 201, response.text
    assert response.json()["allowed_commands"] == ["start"]
    assert stack.http.get(f"/clusters/{NAME}").status_code == 404
    stack.do(JOB, "start")
    yield Studio(stack)
    stack.send(JOB, "kill", force=True)


@pytest.fixture
def job(stack: Stack, studio: Studio) -> Iterator[str]:
    """A job on it, with a checkpoint."""
    made = stack.create(SQL, cluster=NAME, restart_policy={"initial_backoff": 1})
    stack.do(made, "start")
    _checkpointed(stack, studio, made)
    yield made
    if stack.job(made)["state"] not in ("PAUSED", "KILLED"):
        stack.do(made, "kill")


def _checkpointed(stack: Stack, studio: Studio, job: str) -> None:
    flink_job = stack.job(job)["current_attempt"]["flink_job_id"]
    path = f"/jobs/{flink_job}/checkpoints"
    stack.until(lambda: studio.flink.get(path).json()["counts"]["completed"] > 0, f"{job} has a checkpoint")


def test_it_is_a_cluster_to_work_on(stack: Stack, studio: Studio, job: str):
    row = studio.row
    assert row["managed_by"] == {"job": JOB, "state": "RUNNING"}
    assert row["health"]["reachable"]
    assert NAME in [c["name"] for c in stack.http.get("/clusters").json()["items"]]
    session = open_session(stack, cluster=NAME)
    run(stack, session, SOURCE)
    made = run(stack, session, "SELECT id FROM src")
    assert [f for _, f in rows(whole(stack.http, made["preview"]))] == [[1], [2], [3]]
    assert [j["name"] for j in studio.flink.get("/jobs/overview").json()["jobs"] if j["state"] == "RUNNING"] == [job]
    assert stack.job(job)["cluster"] == NAME
    assert stack.job(JOB)["allowed_commands"] == ["kill", "restart", "resubmit"]


def test_it_is_scaled_as_it_runs(stack: Stack, studio: Studio, job: str):
    jobmanager, flink_job = studio.process("jobmanager").pid, stack.job(job)["current_attempt"]["flink_job_id"]

    def scale(count: int, status: int = 202, key: str | None = None) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        response = stack.http.post(f"/clusters/{NAME}/scale", json={"taskmanagers": count}, headers=headers)
        assert response.status_code == status, response.text
        if status == 202:
            ended = stack.ended(JOB, response.json()["number"])
            assert ended["state"] == "SUCCEEDED", ended
        return response.json()

    first = scale(3, key="scale-1")
    assert scale(3, key="scale-1")["number"] == first["number"]
    assert scale(2, 422, key="scale-1")["code"] == "idempotency_key_reused"
    assert studio.flink.get("/overview").json()["taskmanagers"] == 3
    shown = stack.job(JOB)
    assert (shown["version"], shown["current_attempt"]["number"], shown["current_attempt"]["version"]) == (2, 1, 2)
    wide = stack.create(SQL.replace("SET", "SET 'parallelism.default' = '4';\nSET", 1), cluster=NAME)
    stack.do(wide, "start")
    refused = scale(2, 409)
    assert refused["code"] == "slots_in_use"
    assert "5 task slots of atelier are taken, and 4 would be left" in refused["detail"]
    assert stack.job(JOB)["latest_version"] == 2
    stack.do(wide, "kill")

    def taken() -> int:
        overview = studio.flink.get("/overview").json()
        return int(overview["slots-total"] - overview["slots-available"])

    stack.until(lambda: taken() == 1, "Flink has its slots back, which it has a moment after a job has ended")
    # The one that runs the job stays, whichever it is.
    scale(1)
    stack.until(lambda: studio.flink.get("/overview").json()["taskmanagers"] == 1, "two have gone")
    assert studio.process("jobmanager").pid == jobmanager
    assert studio.restarts(flink_job) == 0
    assert stack.job(job)["current_attempt"]["flink_job_id"] == flink_job
    assert stack.job(JOB)["current_attempt"]["number"] == 1


@pytest.mark.parametrize("name", ["taskmanager", "gateway"])
def test_a_process_that_dies_is_started_again(stack: Stack, studio: Studio, job: str, name: str):
    studio.runs()
    attempt, flink_job = stack.job(JOB)["current_attempt"]["number"], stack.job(job)["current_attempt"]["flink_job_id"]
    before, restored = studio.process(name), studio.restarts(flink_job)
    before.send_signal(signal.SIGKILL)

    def another() -> bool:
        found = Processes(studio.folder()).find(name)
        return found is not None and found.pid != before.pid

    stack.until(another, f"there is another {name}")
    if name == "taskmanager":
        stack.until(lambda: studio.restarts(flink_job) > restored, "Flink has restored its job on the new one")
    studio.runs(attempt)
    path, body = "/sql/sessions", {"cluster": NAME}
    stack.until(lambda: stack.http.post(path, json=body).status_code == 201, "it has a gateway")
    session = open_session(stack, cluster=NAME)
    assert run(stack, session, "SELECT 1 AS n")["preview"]
    stack.until(lambda: stack.job(job)["current_attempt"]["engine_state"] == "RUNNING", "its job runs")
    assert stack.job(job)["current_attempt"]["number"] == 1


def test_a_cluster_that_dies_comes_back_with_its_jobs(stack: Stack, studio: Studio, job: str):
    _dies(stack, studio, "jobmanager", signal.SIGKILL, "its JobManager died")
    stack.until(lambda: stack.job(job)["current_attempt"]["number"] == 2, "its job has another attempt")
    again = stack.state(job, "RUNNING")
    assert "/chk-" in again["current_attempt"]["restored_from"]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGKILL, "its keeper was killed"),
        (signal.SIGTERM, "stopped on its machine (SIGTERM), not by Penstock"),
    ],
)
def test_a_keeper_that_dies_leaves_nothing_behind(stack: Stack, studio: Studio, number: signal.Signals, why: str):
    _dies(stack, studio, "keeper", number, why)


def _dies(stack: Stack, studio: Studio, name: str, number: signal.Signals, why: str) -> None:
    """It comes back at its address, as one, as another attempt."""
    address, attempt = studio.row["jobmanager_url"], stack.job(JOB)["current_attempt"]["number"]
    was = {p.pid for p in studio.processes()}
    studio.process(name).send_signal(number)
    studio.runs(attempt + 1)
    assert studio.row["jobmanager_url"] == address
    assert not was & {p.pid for p in studio.processes()}
    assert len(studio.keepers()) == 1
    ended = next(a for a in stack.items(JOB, "attempts") if a["number"] == attempt)
    assert ended["state"] == "FAILED"
    assert why in ended["ended_because"]


def test_it_is_not_stopped_under_its_jobs(stack: Stack, studio: Studio, job: str):
    address = studio.row["jobmanager_url"]
    for kind in ("kill", "restart"):
        refused = stack.send(JOB, kind)
        assert (refused.status_code, refused.json()["code"]) == (409, "cluster_in_use")
        assert f"{job} (RUNNING)" in refused.json()["detail"]
    stack.do(job, "pause")
    stack.do(JOB, "kill")
    stopped = stack.job(JOB)
    assert (stopped["state"], stopped["reason"]) == ("KILLED", "stopped")
    stack.until(lambda: studio.processes() == [], "its processes have ended")
    assert studio.row["managed_by"]["state"] == "KILLED"
    assert stack.http.post(f"/clusters/{NAME}/scale", json={"taskmanagers": 2}).json()["code"] == "cluster_not_up"
    stack.do(JOB, "start")
    assert studio.row["jobmanager_url"] == address
    stack.do(job, "start")
    assert "savepoint" in stack.job(job)["current_attempt"]["restored_from"]


def test_another_version_that_is_more_than_task_managers_is_a_restart(stack: Stack, studio: Studio):
    attempt = stack.job(JOB)["current_attempt"]["number"]
    spec = {**SPEC, "slots": 3, "config": {**CONFIG, "taskmanager.network.retries": "2"}}
    made = stack.http.post(f"/jobs/{JOB}/versions", json={"spec": spec}).json()
    stack.do(JOB, "resubmit", version=made["number"])
    shown = studio.runs(attempt + 1)
    assert shown["current_attempt"]["version"] == made["number"]
    assert studio.flink.get("/overview").json()["slots-total"] == 3
    config = {c["key"]: c["value"] for c in studio.flink.get("/jobmanager/config").json()}
    assert config["taskmanager.network.retries"] == "2"


def test_the_worker_dies_in_the_middle_of_a_start(stack: Stack, studio: Studio):
    """Whenever that is, one cluster comes of it."""
    stack.do(JOB, "kill")
    command = stack.send(JOB, "start").json()
    stack.until(lambda: studio.processes(), "its processes are being started")
    stack.kill("worker")
    stack.start("worker")
    assert stack.ended(JOB, command["number"])["state"] == "SUCCEEDED"
    studio.runs()
    assert len(studio.keepers()) == 1
    assert len({p.environ()["FLINK_CONF_DIR"] for p in studio.processes() if "FLINK_CONF_DIR" in p.environ()}) == 1


def test_a_worker_that_is_stopped_with_all_it_started_takes_no_cluster_along(stack: Stack, studio: Studio):
    before = studio.process("keeper").pid, studio.process("jobmanager").pid
    stack.local.processes.stop("worker")
    stack.start("worker")
    assert (studio.process("keeper").pid, studio.process("jobmanager").pid) == before


def test_nothing_secret_of_the_worker_reaches_it(stack: Stack, studio: Studio):
    for process in studio.processes():
        assert not [name for name in process.environ() if name.startswith("PENSTOCK_")]


@pytest.mark.parametrize(
    ("kind", "more", "status", "code"),
    [
        ("pause", {}, 409, "command_not_allowed"),
        ("savepoint", {}, 409, "command_not_allowed"),
        ("resubmit", {"restore": {"mode": "newest"}}, 422, "field_unused"),
        ("resubmit", {"rollback_within": 60}, 422, "field_unused"),
    ],
)
def test_commands_that_have_no_meaning(stack: Stack, studio: Studio, kind: str, more: dict, status: int, code: str):
    refused = stack.send(JOB, kind, **more)
    assert (refused.status_code, refused.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"cluster": "local"}, 422, "wrong_cluster_kind"),
        ({"name": "local"}, 409, "cluster_exists"),
        ({"name": NAME, "project": "elsewhere"}, 409, "cluster_exists"),
        ({"spec": {"type": "sql", "sql": SQL}}, 422, "wrong_cluster_kind"),
        ({"savepoint_policy": {"interval": 60}}, 422, "field_unused"),
        ({"spec": {**SPEC, "taskmanagers": 0}}, 422, "invalid_input"),
        ({"spec": {**SPEC, "taskmanager_memory": "lots"}}, 422, "invalid_input"),
        ({"spec": {**SPEC, "flink_version": "../../x"}}, 422, "invalid_input"),
        ({"spec": {**SPEC, "config": {"rest.port": "1"}}}, 422, "forbidden_config_key"),
        ({"spec": {**SPEC, "config": {"taskmanager.numberOfTaskSlots": "1"}}}, 422, "forbidden_config_key"),
        ({"spec": {**SPEC, "config": {"env.java.opts.all": "-x"}}}, 422, "forbidden_config_key"),
    ],
)
def test_jobs_that_cannot_be(stack: Stack, studio: Studio, change: dict, status: int, code: str):
    stack.http.post("/projects", json={"name": "elsewhere"})
    body = {"name": "other-atelier", "cluster": "here", "spec": SPEC, **change}
    refused = stack.http.post("/jobs", json=body)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_what_penstock_runs_is_not_changed_by_hand(stack: Stack, studio: Studio):
    def refused(method: str, path: str, body: Any = None) -> str:
        response = stack.http.request(method, path, json=body)
        assert response.status_code in (409, 422), response.text
        return response.json()["code"]

    assert refused("PATCH", f"/clusters/{NAME}", {"gateway_url": None}) == "cluster_managed"
    assert refused("DELETE", f"/clusters/{NAME}") == "cluster_managed"
    assert refused("POST", "/clusters/local/scale", {"taskmanagers": 2}) == "cluster_not_managed"
    assert refused("PATCH", "/clusters/here", {"gateway_url": "http://127.0.0.1:1"}) == "field_unused"
    assert refused("PATCH", "/clusters/here", {"jobmanager_url": "http://127.0.0.1:1"}) == "bad_address"
    assert refused("PATCH", "/clusters/local", {"jobmanager_url": "host://x"}) == "bad_address"
    assert refused("POST", "/sql/sessions", {"cluster": "here"}) == "wrong_cluster_kind"
    assert stack.http.patch(f"/clusters/{NAME}", json={"config": {}}).status_code == 200


COUNTED = """SET 'execution.checkpointing.interval' = '1 s';
SET 'parallelism.default' = '1';
CREATE TABLE src (id BIGINT, ts AS TO_TIMESTAMP_LTZ(id, 3), WATERMARK FOR ts AS ts) WITH ('connector' = 'datagen',
  'rows-per-second' = '20', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '20000');
CREATE TABLE counted (id BIGINT, n BIGINT) WITH ('connector' = 'print', 'print-identifier' = 'counted');
INSERT INTO counted SELECT id, COUNT(*) OVER (PARTITION BY MOD(id, 1) ORDER BY ts) FROM src;
"""
BESIDE = """CREATE TABLE hole (id BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO hole SELECT id FROM src;
"""


def _counts(stack: Stack, cluster: str) -> list[tuple[int, int]]:
    """What the job has printed on the cluster's attempt of now: (id, how many rows there have been)."""
    attempt = stack.job(f"default:{cluster}")["current_attempt"]["flink_job_id"]
    text = printed(stack.home / "clusters" / attempt / "flink")
    return [(int(a), int(b)) for a, b in re.findall(r"counted> \+I\[(\d+), (\d+)\]", text)]


def test_flink_is_upgraded_under_a_job(stack: Stack, place: str, tmp_path: Path):
    """The plan that Flink 1.20 made runs on 2.3 as it is, with the state that it had, and so does a changed one. A row
    that was lost or counted anew would be seen. Before that: what is compiled here for 1.20 runs there."""
    stack.local.parts.flink("1.20.5")
    spec = {**SPEC, "flink_version": "1.20.5"}
    assert stack.http.post("/jobs", json={"name": "old", "cluster": place, "spec": spec}).status_code == 201
    stack.do("default:old", "start")
    assert lookups.found(stack, "1.20.5", tmp_path, "old") == lookups.EXPECTED
    job = stack.create(COUNTED, cluster="old")
    stack.do(job, "start")
    plan = stack.http.get(f"/jobs/{job}/versions/1/plan").json()
    assert plan["flink_version"] == "1.20.5"
    stack.until(lambda: len(_counts(stack, "old")) > 20, "it has counted")
    stack.do(job, "pause")
    assert all(a == b for a, b in _counts(stack, "old"))
    new = stack.http.post("/jobs/default:old/versions", json={"spec": {**spec, "flink_version": "2.3.0"}}).json()
    stack.do("default:old", "resubmit", version=new["number"])
    row = stack.http.get("/clusters/old").json()
    assert row["flink_version"] == "2.3.0"
    assert httpx.get(f"{row['jobmanager_url']}/overview", trust_env=False).json()["flink-version"] == "2.3.0"
    stack.do(job, "start")
    assert "savepoint" in stack.job(job)["current_attempt"]["restored_from"]
    assert stack.http.get(f"/jobs/{job}/versions/1/plan").json()["digest"] == plan["digest"]
    stack.until(lambda: len(_counts(stack, "old")) > 20, "it goes on counting")
    stack.http.post(f"/jobs/{job}/versions", json={"spec": {"type": "sql", "sql": COUNTED + BESIDE}})
    command = stack.do(job, "resubmit", restore={"mode": "newest"})
    changed = stack.http.get(f"/jobs/{job}/versions/2/plan").json()
    assert changed["flink_version"] == "2.3.0"
    seen = len(_counts(stack, "old"))
    stack.until(lambda: len(_counts(stack, "old")) > seen + 20, "it goes on counting, changed")
    found = _counts(stack, "old")
    assert found[0][0] > 20
    assert all(a == b for a, b in found), found
    assert command["version"] == 2
    stack.do(job, "kill")
    stack.do("default:old", "kill")


def test_a_flink_version_that_is_not_there_and_what_is_deleted(stack: Stack, place: str):
    spec = {**SPEC, "flink_version": "9.9.9"}
    assert stack.http.post("/jobs", json={"name": "mended", "cluster": place, "spec": spec}).status_code == 201
    assert "penstock flink install 9.9.9" in stack.do("default:mended", "start", "FAILED")["error"]
    stack.http.post("/jobs/default:mended/versions", json={"spec": SPEC})
    stack.do("default:mended", "resubmit")
    on_it = stack.create(SQL, cluster="mended")
    stack.do("default:mended", "kill")
    refused = stack.http.delete("/jobs/default:mended")
    assert (refused.status_code, refused.json()["code"]) == (409, "cluster_in_use")
    assert stack.http.delete(f"/jobs/{on_it}").status_code == 204
    assert stack.http.delete("/jobs/default:mended").status_code == 204
    # The record of a deleted job names it, so its row stays, out of sight; another job may have the name.
    assert stack.http.get("/clusters/mended").status_code == 404
    assert "mended" not in [c["name"] for c in stack.http.get("/clusters").json()["items"]]
    assert stack.http.post("/jobs", json={"name": "mended", "cluster": place, "spec": SPEC}).status_code == 201


async def test_however_often_it_is_submitted_it_is_one(stack: Stack, tmp_path: Path):
    """Also by workers that know nothing of each other; and only the machine that has it can tell of it."""

    def engine(host: str = "here") -> HostedClusters:
        return HostedClusters(tmp_path, "here", host, lambda v: stack.local.parts.flink_home(v), [], 180)

    program = ClusterProgram("2.3.0", free_port(), free_port(), tmp_path.as_uri(), 1, 1, "1100m", "1728m")
    ref = Ref(uuid.uuid4().hex, "")
    ref = Ref(ref.flink_job_id, await engine().reserve(ref.flink_job_id))
    submission = Submission(
        ref=ref,
        name="p:one",
        program=program,
        config={},
        parallelism=None,
        restore_path=None,
        allow_non_restored_state=False,
    )
    assert (await engine().look(ref)).state is EngineState.MISSING
    await asyncio.gather(*(engine().submit(submission, lambda _: None) for _ in range(6)))

    def keepers() -> list[psutil.Process]:
        found = [p for p in psutil.process_iter(["cmdline", "status"]) if p.info["status"] != psutil.STATUS_ZOMBIE]
        return [
            p
            for p in found
            if "clusters.local.keeper" in (p.info["cmdline"] or []) and str(tmp_path) in p.info["cmdline"][-1]
        ]

    stack.until(lambda: len(keepers()) == 1, "one of six keepers is left")
    for call in (lambda e: e.look(ref), lambda e: e.overview(), lambda e: e.cancel(ref), lambda e: e.slot_holders(ref)):
        with pytest.raises(Unreachable, match="kept by workers on here, and this is elsewhere"):
            await call(engine("elsewhere"))
    with pytest.raises(Unreachable):
        await engine("elsewhere").submit(submission, lambda _: None)
    await engine().cancel(ref)
    while (seen := await engine().look(ref)).state not in ENDED:
        await asyncio.sleep(0.1)
    assert seen.state is EngineState.CANCELED
    stack.until(lambda: not keepers(), "its keeper has gone")
    async with asyncio.timeout(60):  # a process that ends has no command line any more, and is there for a moment yet
        while await engine().slot_holders(ref):
            await asyncio.sleep(0.1)
    # An attempt that has ended is not begun again.
    await engine().submit(submission, lambda _: None)
    assert (await engine().look(ref)).state is EngineState.CANCELED
