"""Two Flinks: what one says of the jobs of the other is no answer, and nothing is started beside itself for it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processes.flink import Flink
from processes.supervised import Port, free_port
from tests.faults.proxy import Mode, Proxy
from tests.real.conftest import SQL, Stack

pytestmark = pytest.mark.real

QUIET_SECONDS = 12.0


@pytest.fixture(scope="module")
def stranger(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    """A Flink of somebody else: another JobManager on other ports. It could run jobs, had it task managers."""
    folder: Path = tmp_path_factory.mktemp("stranger")
    made = dataclasses.replace(
        stack.local.flink(), folder=folder, rest_port=free_port(), rpc_port=free_port(), gateway_port=free_port()
    )
    spec = dataclasses.replace(made.jobmanager(), name="stranger", ports=[Port(made.rest_port, "")])
    stack.local.processes.start(spec, timeout=240)
    yield made
    stack.local.processes.stop("stranger", grace=10)


class Place:
    """A cluster of its own at an address that can be turned from one Flink to the other."""

    def __init__(self, stack: Stack, name: str):
        self.name, self.stack = name, stack
        self.proxy = Proxy(free_port(), stack.ports["flink"])
        stack.add_cluster(name, jobmanager_url=f"http://127.0.0.1:{self.proxy.port}")

    def turn_to(self, port: int) -> None:
        self.proxy._target = port
        self.proxy.set(Mode.REFUSE)  # connections that are open are of the one before
        self.proxy.set(Mode.PASS)

    def shown(self) -> dict[str, Any]:
        return self.stack.http.get(f"/clusters/{self.name}").json()

    def patch(self, **changes: Any) -> tuple[int, dict[str, Any]]:
        response = self.stack.http.patch(f"/clusters/{self.name}", json=changes)
        return response.status_code, response.json()

    def runs(self) -> str:
        job = self.stack.create(SQL, cluster=self.name)
        self.stack.do(job, "start")
        self.stack.checkpointed(job)
        return job


@pytest.fixture
def place(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Place]:
    made = Place(stack, f"place-{free_port()}")
    yield made
    made.turn_to(stack.ports["flink"])
    for job in stack.http.get("/jobs", params={"cluster": made.name}).json()["items"]:
        stack.send(job["id"], "kill")
    stack.until(
        lambda: not made.stack.http.get("/jobs", params={"cluster": made.name, "state": "RUNNING"}).json()["items"],
        "its jobs have ended",
    )
    made.proxy.close()


def attempts(stack: Stack, job: str) -> int:
    return len(stack.items(job, "attempts"))


def test_a_stranger_at_a_reused_port_is_not_the_cluster(stack: Stack, stranger: Flink, place: Place):
    job = place.runs()
    identity = place.shown()["identity"]
    assert str(stack.ports["rpc"]) in identity
    place.turn_to(stranger.rest_port)
    stack.until(lambda: stack.job(job)["unreachable_since"], "it is said that the cluster cannot be asked")
    assert "is another Flink" in place.shown()["health"]["why"]
    number = stack.send(job, "restart").json()["number"]
    time.sleep(QUIET_SECONDS)
    assert stack.alive(job), "it runs where it ran"
    assert attempts(stack, job) == 1, "and is not started anew"
    place.turn_to(stack.ports["flink"])
    stack.ended(job, number)
    stack.until(lambda: stack.job(job)["unreachable_since"] is None, "it answers again")
    assert len(stack.alive(job)) == 1
    assert place.shown()["identity"] == identity


def test_a_job_manager_that_is_started_again_is_the_same_cluster(stack: Stack, place: Place):
    stack.until(lambda: place.shown()["identity"], "it has answered")
    identity = place.shown()["identity"]
    stack.kill("jobmanager")
    stack.start("jobmanager")
    stack.until(lambda: place.shown()["health"]["reachable"], "it answers again")
    assert place.shown()["identity"] == identity
    stack.until(lambda: stack.flink.get("/overview").json()["slots-total"] > 0, "the TaskManager has registered")


def test_an_address_is_not_changed_under_jobs(stack: Stack, stranger: Flink, place: Place):
    job = place.runs()
    status, problem = place.patch(jobmanager_url=stranger.url)
    assert (status, problem["code"]) == (409, "cluster_in_use")
    assert job in problem["detail"]
    assert place.patch(standby_urls=[stranger.url])[0] == 409
    assert place.patch(gateway_url="http://127.0.0.1:9")[0] == 409
    assert place.patch(identity=None)[0] == 409
    time.sleep(QUIET_SECONDS)
    assert (attempts(stack, job), len(stack.alive(job))) == (1, 1)
    # Another address of the same Flink is no other Flink.
    assert place.patch(jobmanager_url=stack.flink_url)[0] == 200
    assert stack.job(job)["state"] == "RUNNING"
    stack.do(job, "pause")
    status, changed = place.patch(jobmanager_url=stranger.url)
    assert status == 200, changed
    stack.until(lambda: str(stranger.rpc_port) in (place.shown()["identity"] or ""), "it is the stranger from now on")
    assert place.patch(jobmanager_url=f"http://127.0.0.1:{place.proxy.port}", identity=None)[0] == 200


def test_one_that_was_moved_by_force_and_goes_on_writing_is_alive(stack: Stack, stranger: Flink, place: Place):
    job = place.runs()
    status, problem = place.patch(jobmanager_url=stranger.url, force=True)
    assert status == 200, problem
    shown = stack.until(
        lambda: (s := stack.job(job)) and "still grows" in s["reason"] and s, "it is said that it is alive elsewhere"
    )
    assert "chk-" in shown["reason"]
    time.sleep(QUIET_SECONDS)
    assert (attempts(stack, job), len(stack.alive(job))) == (1, 1), "nothing is started beside it"
    assert place.patch(jobmanager_url=f"http://127.0.0.1:{place.proxy.port}", force=True)[0] == 200
    stack.until(lambda: (s := stack.job(job))["state"] == "RUNNING" and not s["reason"], "it is found again")


def test_a_flink_has_one_name(stack: Stack):
    body = {
        "name": "second-name",
        "jobmanager_url": stack.flink_url,
        "flink_version": "2.3.0",
        "state_dir": stack.state_dir,
    }
    response = stack.http.post("/clusters", json=body)
    assert (response.status_code, response.json()["code"]) == (409, "cluster_known"), response.text
    assert "second-name" not in [c["name"] for c in stack.http.get("/clusters").json()["items"]]


def test_a_cluster_that_had_a_job_is_removed_and_its_name_is_free(stack: Stack):
    stack.add_cluster("had-a-job")
    job = stack.create(SQL, cluster="had-a-job")
    stack.do(job, "start")
    assert stack.http.delete("/clusters/had-a-job").json()["code"] == "cluster_in_use"
    stack.do(job, "kill")
    assert stack.http.delete("/clusters/had-a-job").json()["code"] == "cluster_in_use"
    assert stack.http.delete(f"/jobs/{job}").status_code == 204
    assert stack.http.delete("/clusters/had-a-job").status_code == 204
    assert stack.http.get("/clusters/had-a-job").status_code == 404
    assert "had-a-job" not in [c["name"] for c in stack.http.get("/clusters").json()["items"]]
    assert (
        stack.http.post(
            "/jobs", json={"name": "x", "cluster": "had-a-job", "spec": {"type": "sql", "sql": SQL}}
        ).status_code
        == 404
    )
    stack.add_cluster("had-a-job")
    again = stack.create(SQL, cluster="had-a-job")
    stack.do(again, "start")
    stack.until(lambda: stack.http.get("/clusters/had-a-job").json()["health"]["reachable"], "it is asked")
    stack.do(again, "kill")
