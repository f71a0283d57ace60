"""A cluster that has forgotten a job: it ended there, and nobody saw how. Scenario 8."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from processes.flink import Flink
from processes.supervised import free_port
from tests.faults.proxy import Mode, Proxy
from tests.real.conftest import SQL, Stack

pytestmark = pytest.mark.real


@dataclasses.dataclass
class Forgetful:
    """A Flink of its own that forgets ended jobs after two seconds, behind a proxy, with the stack's gateway
    pointed at neither: its jobs are adopted."""

    flink: Flink
    proxy: Proxy
    http: httpx.Client


@pytest.fixture(scope="module")
def forgetful(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgetful]:
    folder: Path = tmp_path_factory.mktemp("forgetful")
    flink = Flink(
        home=stack.local.parts.flink_home("2.3.0"),
        folder=folder,
        rest_port=free_port(),
        rpc_port=free_port(),
        gateway_port=free_port(),
        slots=2,
        jobmanager_memory="900m",
        taskmanager_memory="1400m",
        extra={"jobstore.expiration-time": "2", "completed-application-store.expiration-time": "2 s"},
    )
    specs = {
        f"forgetful-{spec.name}": dataclasses.replace(spec, name=f"forgetful-{spec.name}", ports=[])
        for spec in (flink.jobmanager(), flink.taskmanager(), flink.gateway())
    }
    proxy = Proxy(free_port(), flink.rest_port)
    http = httpx.Client(base_url=flink.url, timeout=30, trust_env=False)
    try:
        for spec in specs.values():
            stack.local.processes.start(spec, timeout=240)
        stack.until(lambda: http.get("/overview").json()["slots-total"] > 0, "the TaskManager has registered")
        stack.add_cluster(
            "forgetful",
            jobmanager_url=f"http://127.0.0.1:{proxy.port}",
            gateway_url=flink.gateway_url,
            state_dir=flink.state_dir,
        )
        yield Forgetful(flink, proxy, http)
    finally:
        for name in specs:
            stack.local.processes.stop(name, grace=10)
        proxy.close()
        http.close()


def test_8_unknown_to_the_jobmanager_that_took_it_parks_the_job(stack: Stack, forgetful: Forgetful):
    """It ended while the cluster could not be reached, and was forgotten before it could be: restarting it would
    be a second run, had it finished."""
    job = stack.create(SQL, cluster="forgetful")
    stack.do(job, "start")
    jid = stack.job(job)["current_attempt"]["flink_job_id"]
    stack.until(
        lambda: forgetful.http.get(f"/jobs/{jid}/checkpoints").json()["counts"]["completed"] > 0, "a checkpoint"
    )
    forgetful.proxy.set(Mode.REFUSE)
    stack.until(lambda: stack.job(job)["unreachable_since"], "it is away")
    forgetful.http.patch(f"/jobs/{jid}", params={"mode": "cancel"})
    stack.until(
        lambda: jid not in [j["jid"] for j in forgetful.http.get("/jobs/overview").json()["jobs"]], "it is forgotten"
    )
    assert stack.job(job)["state"] == "RUNNING"
    forgetful.proxy.set(Mode.PASS)
    shown = stack.state(job, "BLOCKED")
    assert shown["blocked"]["code"] == "end_not_seen"
    assert any("the JobManager is the same that took it" in line for line in shown["blocked"]["evidence"])
    assert len(stack.items(job, "attempts")) == 1, "nothing was started by itself"
    action = shown["next_actions"][0]
    stack.do(job, action["kind"], restore=action["restore"])
    shown = stack.job(job)
    assert shown["state"] == "RUNNING"
    assert f"/{jid}/chk-" in shown["current_attempt"]["restored_from"]
    stack.do(job, "kill")
