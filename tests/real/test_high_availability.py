"""A session cluster with ZooKeeper: its JobManager dies, another leads, and the same attempt goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from processes.flink import Flink
from processes.supervised import Port, Spec, free_port, listens
from stack.parts import StackParts
from tests.real.conftest import SQL, Stack

pytestmark = pytest.mark.real


class HighlyAvailable(Stack):
    """Two JobManagers and a ZooKeeper; the scripts of all come with Flink."""

    def __init__(self, parts: StackParts, home: Path):
        super().__init__(parts, home)
        self.zookeeper_port, self.standby_port = free_port(), free_port()
        plain = self.local.flink()
        extra = {
            "high-availability.type": "zookeeper",
            "high-availability.zookeeper.quorum": f"127.0.0.1:{self.zookeeper_port}",
            "high-availability.zookeeper.client.session-timeout": "8000",
            "high-availability.storageDir": (home / "ha").as_uri(),
            "high-availability.cluster-id": "/penstock",
            "high-availability.jobmanager.port": "0",
            "jobmanager.memory.process.size": "900m",
        }
        self.first: Flink = dataclasses.replace(plain, extra=extra)
        self.second: Flink = dataclasses.replace(
            plain, extra=extra, folder=home / "standby", rest_port=self.standby_port
        )

    def _zookeeper(self) -> Spec:
        conf = self.first.write()
        lines = [f"dataDir={self.home / 'zookeeper'}", f"clientPort={self.zookeeper_port}", "tickTime=2000"]
        (conf / "zoo.cfg").write_text(
            "\n".join([*lines, "initLimit=10", "syncLimit=5", "admin.enableServer=false", ""])
        )
        spec = self.first._spec(
            "zookeeper",
            [str(self.first.home / "bin" / "zookeeper.sh"), "start-foreground", "1"],
            [Port(self.zookeeper_port, "")],
            None,
        )
        return dataclasses.replace(spec, ready=listens(self.zookeeper_port))

    def specs(self) -> dict[str, Spec]:
        standby = dataclasses.replace(self.second.jobmanager(), name="standby", ports=[Port(self.standby_port, "")])
        leader = dataclasses.replace(self.first.jobmanager(), ports=[Port(self.first.rest_port, "")])
        made = [
            self._zookeeper(),
            self.local.temporal(),
            leader,
            standby,
            self.first.taskmanager(),
            self.first.gateway(),
            self.local.api_process(),
            self.local.worker(),
        ]
        return {spec.name: spec for spec in made}

    def asked(self) -> list[dict]:
        """The jobs as any JobManager that answers tells."""
        for port in (self.first.rest_port, self.standby_port):
            try:
                answer = httpx.get(f"http://127.0.0.1:{port}/jobs/overview", timeout=5, trust_env=False).json()
                return answer["jobs"]
            except (httpx.HTTPError, KeyError, ValueError):
                continue
        return []


@pytest.fixture(scope="module")
def ha(parts: StackParts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HighlyAvailable]:
    parts.temporal()
    parts.flink("2.3.0")
    made = HighlyAvailable(parts, tmp_path_factory.mktemp("ha"))
    try:
        made.start()
        made.add_cluster("local", standby_urls=[f"http://127.0.0.1:{made.standby_port}"])
        made.until(lambda: made.flink.get("/overview").json()["slots-total"] > 0, "the TaskManager has registered")
        yield made
    finally:
        made.down()


def test_the_same_attempt_is_found_again_at_the_new_leader(ha: HighlyAvailable):
    job = ha.create(SQL)
    ha.do(job, "start")
    ha.checkpointed(job, more_than=1)
    before = ha.job(job)["current_attempt"]
    ha.kill("jobmanager")
    ha.until(lambda: ha.job(job)["unreachable_since"] or ha.asked(), "it is noticed, or another leads already")
    ha.until(
        lambda: [j for j in ha.asked() if j["jid"] == before["flink_job_id"] and j["state"] == "RUNNING"],
        "the new leader runs the job",
    )
    shown = ha.until(
        lambda: (
            (s := ha.job(job))["state"] == "RUNNING"
            and s["unreachable_since"] is None
            and s["current_attempt"]["engine_state"] == "RUNNING"
            and s
        ),
        "the same attempt is seen running",
    )
    assert shown["current_attempt"]["flink_job_id"] == before["flink_job_id"]
    assert len(ha.items(job, "attempts")) == 1, "no restart by us"
    assert not [e for e in ha.items(job, "timeline") if e["kind"] == "restart"]
    # Commands work at the new address, and what they leave is good to go on from.
    ha.do(job, "pause")
    ha.do(job, "start")
    assert "/savepoints/1-" in ha.job(job)["current_attempt"]["restored_from"]
    assert [j["jid"] for j in ha.asked() if j["name"] == job and j["state"] == "RUNNING"] == [
        ha.job(job)["current_attempt"]["flink_job_id"]
    ]


def test_6_the_leader_dies_in_the_middle_of_a_savepoint(ha: HighlyAvailable):
    """Whatever became of the savepoint, the job is never lost, and what it goes on from is complete."""
    job = ha.create(SQL)
    ha.do(job, "start")
    ha.until(lambda: ha.items(job, "restore-points"), "it has completed a checkpoint")
    leader = "jobmanager" if ha.local.processes.find("jobmanager") else "standby"
    ha.start("jobmanager", "standby")
    number = ha.send(job, "pause").json()["number"]
    ha.kill(leader)
    ended = ha.ended(job, number)
    shown = ha.state(job, "RUNNING", "PAUSED", "FAILED", "BLOCKED")
    assert shown["state"] in ("PAUSED", "RUNNING"), (ended, shown["reason"])
    if shown["state"] == "PAUSED":
        ha.do(job, "start")
    else:
        assert ended["state"] == "FAILED"
        assert ended["error"]
    shown = ha.state(job, "RUNNING")
    alive = [j["jid"] for j in ha.asked() if j["name"] == job and j["state"] not in ("FINISHED", "CANCELED", "FAILED")]
    assert alive == [shown["current_attempt"]["flink_job_id"]]

    def are_there() -> bool:
        points = [Path(point["path"].removeprefix("file://")) for point in ha.items(job, "restore-points")]
        return bool(points) and all((point / "_metadata").exists() for point in points)

    # Not at each moment: it runs, and a checkpoint is deleted by Flink soon after another one has completed.
    ha.until(are_there, "the points that are shown are there", patience=30)
