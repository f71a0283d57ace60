"""Clusters that go away, are others, are moved, are run by Penstock; Flink jobs that nobody owns; the recovery."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from clusters.local.hosted import HostedClusters
from core.effects import Rejected
from core.jobs.observations import EngineState
from settings import waits
from tests.simulation.network import Endpoint
from tests.whole.penstock import STATE, VERSION, Penstock, sql, the_app

A = "http://flink-a:8081"


@pytest.fixture(autouse=True)
def _well(penstock: Penstock) -> Iterator[None]:
    yield
    for endpoint in penstock.world.network.endpoints.values():
        endpoint.mode = "ok"
    penstock.world.network.endpoints[A].server = penstock.world.flinks[0]


@pytest.fixture(scope="module")
def machine(penstock: Penstock) -> Penstock:
    new = {"name": "machine", "kind": "processes", "flink_version": VERSION, "state_dir": STATE}
    penstock.ok("POST", "/clusters", json=new)
    return penstock


def network(penstock: Penstock, mode: str) -> None:
    penstock.world.network.endpoints[A].mode = mode


class TestAway:
    def test_nothing_is_sent_to_one_that_is_away(self, penstock: Penstock):
        penstock.create("early")
        network(penstock, "refuse")
        done = penstock.do("early", "start")
        assert (done["state"], penstock.state("early")) == ("FAILED", "DEPLOY_FAILED")
        network(penstock, "ok")
        penstock.done("early", "start")

    def test_what_was_perhaps_sent_is_found_out(self, penstock: Penstock):
        penstock.create("unclear", {"type": "sql", **{k: v for k, v in sql("unclear").items() if k == "sql"}})
        start = penstock.send("unclear", "start")
        penstock.wait(0.3)
        network(penstock, "drop")
        done = penstock.ended("unclear", start["number"])
        assert done["state"] == "FAILED"
        assert penstock.state("unclear") in ("BLOCKED", "DEPLOY_FAILED", "DEPLOYED")
        network(penstock, "ok")
        penstock.done("unclear", "kill")
        penstock.done("unclear", "start", restore={"mode": "none"})

    @pytest.mark.parametrize("kind", ["pause", "kill", "savepoint", "restart"])
    def test_a_command_that_the_cluster_does_not_answer(self, penstock: Penstock, kind: str):
        name = f"silent-{kind}"
        penstock.running(name)
        penstock.wait(15)
        network(penstock, "hang")
        done = penstock.do(name, kind)
        network(penstock, "ok")
        assert done["state"] == "FAILED"
        penstock.wait(120)
        assert penstock.state(name) in ("RUNNING", "PAUSED", "KILLED", "RESTARTING", "FAILED")

    def test_it_is_shown_and_mended(self, penstock: Penstock):
        penstock.running("shown")
        network(penstock, "503")
        penstock.until(lambda: penstock.job("shown")["unreachable_since"])
        assert "unreachable since" in penstock.cli("clusters", "list").out
        assert "unreachable since" in penstock.cli("jobs", "show", "shown").out
        assert not penstock.ok("GET", "/clusters/a")["health"]["reachable"]
        network(penstock, "ok")
        penstock.until(lambda: not penstock.job("shown")["unreachable_since"])
        assert b"penstock_cluster_reachable" in penstock.http.get("http://127.0.0.1:8000/metrics").content

    def test_a_jobmanager_that_dies(self, penstock: Penstock):
        penstock.running("survives", restart_policy={"initial_backoff": 2})
        penstock.wait(15)
        penstock.world.flinks[0].kill()
        penstock.until(lambda: penstock.job("survives")["current_attempt"]["number"] == 2)
        penstock.until(lambda: penstock.state("survives") == "RUNNING")
        assert penstock.job("survives")["current_attempt"]["restored_from"]

    def test_another_flink_answers_there(self, penstock: Penstock):
        penstock.running("mine")
        stranger = penstock.world.add_flink("flink-x")
        penstock.world.network.endpoints[A].server = stranger
        penstock.wait(60)
        assert "another Flink" in str(penstock.ok("GET", "/clusters/a")["health"])
        done = penstock.do("mine", "restart")
        assert done["state"] == "FAILED"
        penstock.world.network.endpoints[A].server = penstock.world.flinks[0]
        penstock.until(lambda: penstock.state("mine") in ("RUNNING", "DEPLOY_FAILED"))


class TestRegistered:
    def a_flink(self, penstock: Penstock, name: str) -> dict[str, Any]:
        penstock.world.add_flink(f"flink-{name}")
        url = f"http://flink-{name}:8081"
        return {"name": name, "jobmanager_url": url, "flink_version": VERSION, "state_dir": STATE}

    def test_one_without_slots_is_never_shown_as_well(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        """Its JobManager answers, and nothing can run on it."""
        monkeypatch.setattr(waits, "UNWATCHED_SECONDS", 1e12)  # the world's time is not this machine's
        penstock.ok("POST", "/clusters", json=self.a_flink(penstock, "empty"))
        flink = penstock.world.gateways["flink-empty"].flink

        def health(slots: int) -> dict[str, Any]:
            flink.slots = slots
            return penstock.until(
                lambda: (
                    (h := penstock.ok("GET", "/clusters/empty")["health"])
                    and (h["details"] or {}).get("slots_total") == slots
                    and h
                )
            )

        def row() -> str:
            return next(line for line in penstock.cli("clusters", "list").out.splitlines() if line.startswith("empty"))

        assert (health(4)["why"], "reachable" in row(), "4 of 4" in row()) == (None, True, True)
        assert "no task manager has registered" in health(0)["why"]
        for text in (row(), penstock.cli("clusters", "show", "empty").out):
            assert ("no task manager" in text, "0 of 0" in text, "reachable" in text) == (True, True, False), text
        checks = {c["name"]: c for c in json.loads(penstock.cli("doctor", "--json").out)}
        assert checks["cluster empty"]["state"] == "failed"
        assert "has no task manager" in checks["cluster empty"]["what"]
        assert (health(4)["why"], "reachable" in row()) == (None, True)
        penstock.ok("DELETE", "/clusters/empty")

    def test_one_is_moved_while_nothing_is_on_it(self, penstock: Penstock):
        new = self.a_flink(penstock, "moved")
        penstock.ok("POST", "/clusters", json=new)
        penstock.no("POST", "/clusters", 409, json=new)
        penstock.world.network.endpoints["http://other:8081"] = penstock.world.network.endpoints[new["jobmanager_url"]]
        moved = penstock.ok("PATCH", "/clusters/moved", json={"jobmanager_url": "http://other:8081", "identity": None})
        assert moved["jobmanager_url"] == "http://other:8081"
        penstock.no("PATCH", "/clusters/moved", 422, json={"jobmanager_url": "host://x"})
        penstock.no("POST", "/clusters", 422, json={**new, "name": "n", "jobmanager_url": "host://x"})
        penstock.ok("DELETE", "/clusters/moved")
        penstock.ok("POST", "/clusters", json=new)

    def test_one_is_moved_under_its_jobs(self, penstock: Penstock):
        new = self.a_flink(penstock, "under")
        new["gateway_url"] = "http://gateway-under:8083"
        penstock.ok("POST", "/clusters", json=new)
        penstock.running("on-it", cluster="under")
        elsewhere = {"jobmanager_url": "http://nowhere:8081"}
        penstock.no("PATCH", "/clusters/under", 409, json=elsewhere, code="cluster_in_use")
        penstock.no("PATCH", "/clusters/under", 409, json={"gateway_url": "http://nowhere:8083"})
        penstock.no("PATCH", "/clusters/under", 409, json={"identity": None})
        penstock.no("DELETE", "/clusters/under", 409)
        world = penstock.world
        world.network.endpoints["http://alias:8081"] = Endpoint(world.network.endpoints[new["jobmanager_url"]].server)
        penstock.ok("PATCH", "/clusters/under", json={"jobmanager_url": "http://alias:8081"})
        world.network.endpoints["http://alias:8081"].mode = "refuse"
        penstock.no("PATCH", "/clusters/under", 409, json=elsewhere, code="cluster_in_use")
        penstock.ok("PATCH", "/clusters/under", json={**elsewhere, "force": True})
        penstock.ok("PATCH", "/clusters/under", json={"jobmanager_url": new["jobmanager_url"], "force": True})
        penstock.until(lambda: penstock.state("on-it") == "RUNNING")
        penstock.done("on-it", "kill")
        penstock.ok("DELETE", "/jobs/default:on-it")
        penstock.ok("DELETE", "/clusters/under")


class TestHosted:
    def test_it_is_started_scaled_and_stopped_with_jobs_on_it(self, machine: Penstock):
        machine.running("studio", {"type": "session-cluster", "taskmanagers": 2, "slots": 1}, cluster="machine")
        machine.until(lambda: machine.ok("GET", "/clusters/studio")["health"]["reachable"])
        machine.ok("PATCH", "/clusters/studio", json={"config": {"a.b": "c"}})
        machine.no("PATCH", "/clusters/studio", 409, json={"flink_version": "1.20.5"})
        machine.no("DELETE", "/clusters/studio", 409)
        machine.running("tenant", cluster="studio")
        machine.running("tenant-2", cluster="studio")
        machine.no("POST", "/jobs/default:studio/commands", 409, json={"kind": "kill"}, code="cluster_in_use")
        machine.no("POST", "/clusters/studio/scale", 409, json={"taskmanagers": 1}, code="slots_in_use")
        scaled = machine.ok("POST", "/clusters/studio/scale", json={"taskmanagers": 3})
        assert machine.ended("studio", scaled["number"])["state"] == "SUCCEEDED"
        key = {"Idempotency-Key": "k"}
        again = machine.ok("POST", "/clusters/studio/scale", json={"taskmanagers": 3}, headers=key)
        same = machine.ok("POST", "/clusters/studio/scale", json={"taskmanagers": 3}, headers=key)
        assert again["number"] == same["number"]
        machine.no("POST", "/clusters/studio/scale", 422, json={"taskmanagers": 4}, headers=key)
        machine.ended("studio", again["number"])
        machine.done("studio", "restart", force=True)
        machine.until(lambda: machine.state("tenant") == "RUNNING")
        for name in ("tenant", "tenant-2"):
            machine.done(name, "kill")
        bigger = {"type": "session-cluster", "taskmanagers": 3, "slots": 2, "taskmanager_memory": "2g"}
        machine.ok("POST", "/jobs/default:studio/versions", json={"spec": bigger})
        machine.done("studio", "resubmit", version=machine.job("studio")["latest_version"])
        machine.done("studio", "kill")
        machine.no("POST", "/clusters/studio/scale", 409, json={"taskmanagers": 1}, code="cluster_not_up")
        assert machine.ok("GET", "/clusters/studio")["managed_by"]["state"] == "KILLED"
        machine.done("studio", "start")
        machine.done("studio", "kill")

    def test_a_scaling_that_failed_is_not_carried_out_by_the_next_resubmit(
        self, machine: Penstock, monkeypatch: pytest.MonkeyPatch
    ):
        """Its user was told that nothing has come of it."""

        async def refuses(*_: Any) -> None:
            raise Rejected("The cluster does not run.")

        machine.running("stays", {"type": "session-cluster", "taskmanagers": 2}, cluster="machine")
        machine.until(lambda: machine.ok("GET", "/clusters/stays")["health"]["reachable"])
        with monkeypatch.context() as patch:
            patch.setattr(HostedClusters, "scale", refuses)
            sent = machine.ok("POST", "/clusters/stays/scale", json={"taskmanagers": 4})
            done = machine.ended("stays", sent["number"])
        assert (sent["version"], done["version"], done["error_code"]) == (2, None, "not_scaled")
        assert [v["number"] for v in machine.ok("GET", "/jobs/default:stays/versions")["items"]] == [1]
        machine.done("stays", "resubmit")
        assert machine.job("stays")["version"] == 1

        sent = machine.ok("POST", "/clusters/stays/scale", json={"taskmanagers": 3})
        assert machine.ended("stays", sent["number"])["version"] == 2
        assert (machine.job("stays")["version"], machine.job("stays")["latest_version"]) == (2, 2)
        machine.done("stays", "kill")

    def test_nothing_of_it_is_kept_when_its_job_is_deleted(self, machine: Penstock):
        """Another one may have its name a moment later."""
        machine.running("gone", {"type": "session-cluster"}, cluster="machine")
        machine.until(lambda: machine.ok("GET", "/clusters/gone")["health"]["reachable"])
        kept = machine.world.api.services.engines, the_app().state.observer
        assert all("gone" in of.names() for of in kept)
        machine.done("gone", "kill")
        machine.ok("DELETE", "/jobs/default:gone")
        assert not any("gone" in of.names() for of in kept)

    def test_its_jobmanager_dies(self, machine: Penstock):
        policy = {"initial_backoff": 2, "max_restarts": 2}
        machine.running("mortal", {"type": "session-cluster"}, cluster="machine", restart_policy=policy)
        handle = machine.job("mortal")["current_attempt"]["flink_job_id"]
        keeper = next(k for folder, k in machine.world.programs.keepers.items() if folder.name == handle)
        keeper.end(EngineState.FAILED, "its JobManager died")
        machine.until(lambda: machine.job("mortal")["current_attempt"]["number"] == 2)
        machine.until(lambda: machine.state("mortal") == "RUNNING")
        machine.done("mortal", "kill")
        machine.ok("DELETE", "/jobs/default:mortal")
        machine.until(lambda: machine.http.get("/clusters/mortal").status_code == 404)

    def test_what_does_not_fit(self, machine: Penstock):
        cluster = {"type": "session-cluster"}
        for new, status in (
            ({"name": "x", "spec": cluster, "cluster": "a"}, 422),
            ({"name": "x", "spec": sql("x"), "cluster": "machine"}, 422),
            ({"name": "a", "spec": cluster, "cluster": "machine"}, 409),
            ({"name": "x", "spec": cluster, "cluster": "machine", "savepoint_policy": {"interval": 60}}, 422),
        ):
            machine.no("POST", "/jobs", status, json=new)
        machine.create("unfit", cluster, cluster="machine")
        body = {"kind": "start", "rollback_within": 60}
        machine.no("POST", "/jobs/default:unfit/commands", 422, json=body)
        machine.ok("POST", "/jobs/default:unfit/versions", json={"spec": {**cluster, "flink_version": "1.19.0"}})
        done = machine.do("unfit", "start", version=2)
        assert (done["state"], "not installed" in (done["error"] or "")) in (("FAILED", True), ("SUCCEEDED", False))
        machine.no("POST", "/sql/validate", 422, json={"sql": "SELECT 1", "cluster": "machine"})


class TestNobodysJobs:
    def orphan(self, penstock: Penstock, id_: str) -> None:
        penstock.world.judge.by_hand.add(id_)
        flink = penstock.world.flinks[0]
        flink.accept(id_, "by hand", penstock.world.program("", {}), {}, None, False)
        penstock.until(lambda: id_ in str(penstock.ok("GET", "/orphans")))

    def test_one_is_stopped_and_leaves(self, penstock: Penstock):
        self.orphan(penstock, "1" * 32)
        asked = penstock.ok("POST", f"/clusters/a/orphans/{'1' * 32}/stop", json={"mode": "stop"})
        assert asked["savepoint_directory"]
        penstock.until(lambda: "1" * 32 not in str(penstock.ok("GET", "/orphans")))

    def test_one_is_adopted_and_goes_on_as_a_job(self, penstock: Penstock):
        self.orphan(penstock, "2" * 32)
        penstock.create("adopts")
        assert penstock.do("adopts", "adopt", flink_job_id="9" * 32)["state"] == "FAILED"
        penstock.done("adopts", "adopt", flink_job_id="2" * 32)
        assert penstock.job("adopts")["current_attempt"]["flink_job_id"] == "2" * 32
        penstock.until(lambda: penstock.state("adopts") == "RUNNING")
        penstock.done("adopts", "pause")

    def test_an_adopted_one_goes_on_from_its_own_newest_checkpoint(self, penstock: Penstock):
        """Not from the savepoint that was taken long before its cluster was lost."""
        flink, id_ = penstock.world.flinks[0], "4" * 32
        penstock.world.judge.by_hand.add(id_)
        config = {"execution.checkpointing.dir": "sim://of-somebody", "execution.checkpointing.interval": "5 s"}
        flink.accept(id_, "by hand", penstock.world.program("", {}), config, None, False)
        penstock.until(lambda: id_ in str(penstock.ok("GET", "/orphans")))
        penstock.create("goes-on", restart_policy={"initial_backoff": 2})
        penstock.done("goes-on", "adopt", flink_job_id=id_)
        penstock.done("goes-on", "savepoint")
        penstock.wait(60)
        flink.kill()
        penstock.until(lambda: penstock.job("goes-on")["current_attempt"]["number"] == 2)
        assert f"of-somebody/{id_}/chk-" in penstock.job("goes-on")["current_attempt"]["restored_from"]
        penstock.done("goes-on", "kill")

    def test_nothing_is_adopted_from_a_cluster_that_is_away(self, penstock: Penstock):
        penstock.create("cannot-ask")
        endpoint = penstock.world.network.endpoints["http://flink-a:8081"]
        endpoint.mode = "refuse"
        done = penstock.do("cannot-ask", "adopt", flink_job_id="3" * 32)
        endpoint.mode = "ok"
        assert (done["state"], done["error_code"]) == ("FAILED", "cluster_unreachable")
        penstock.wait(30)

    def test_an_attempt_that_was_believed_to_have_ended(self, penstock: Penstock):
        penstock.running("revived", restart_policy={"initial_backoff": 2})
        old = penstock.flink_job("revived")
        penstock.done("revived", "kill")
        penstock.world.flinks[0].kill()
        penstock.wait(60)
        penstock.world.judge.by_hand.add(old.id)
        penstock.world.flinks[0].accept(old.id, old.name, old.program, old.config, None, True)
        penstock.wait(40)
        done = penstock.do("revived", "start", restore={"mode": "none"})
        assert (done["state"], penstock.state("revived")) == ("FAILED", "BLOCKED")
        penstock.done("revived", "adopt", flink_job_id=old.id)
        penstock.done("revived", "kill")


class TestRecovery:
    def recover(self, penstock: Penstock, **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = penstock.ok("POST", "/recovery", json=more)["findings"]
        return found

    def test_a_workflow_that_is_lost_is_begun_again(self, penstock: Penstock):
        penstock.running("lost")
        id_ = next(i for i in penstock.world.temporal.running if "default:lost" in i)
        for _ in range(2):  # the recovery that runs each minute may be faster than this test, but not twice
            penstock.world.temporal.lose(id_)
            penstock.wait(3)
            findings = [f for f in self.recover(penstock, dry_run=True) if "lost" in f["subject"]]
            if findings:
                break
        assert findings
        assert "would be" in penstock.cli("recover", "--dry-run").out
        self.recover(penstock)
        penstock.wait(5)
        assert id_ in penstock.world.temporal.running
        penstock.done("lost", "savepoint")

    def test_everything_that_temporal_knew_is_gone(self, penstock: Penstock):
        penstock.running("wiped")
        penstock.world.temporal.wipe()
        penstock.wait(200)
        self.recover(penstock)
        penstock.wait(10)
        penstock.done("wiped", "restart")

    def test_a_command_that_was_not_delivered(self, penstock: Penstock):
        penstock.running("late")
        penstock.world.temporal.stop()
        sent = penstock.send("late", "savepoint")
        assert sent["state"] == "PENDING"
        penstock.no("POST", "/recovery", 503, json={})
        penstock.no("PATCH", "/jobs/default:late", 503, json={"restart_policy": {"max_restarts": 1}})
        penstock.no("DELETE", "/jobs/default:late", 409)
        penstock.world.temporal.start()
        assert penstock.ended("late", sent["number"])["state"] == "SUCCEEDED"

    def test_a_deletion_that_was_cut_off(self, penstock: Penstock):
        penstock.running("cut")
        penstock.done("cut", "kill")
        penstock.world.temporal.stop()
        penstock.no("DELETE", "/jobs/default:cut", 503, code="deletion_unfinished")
        penstock.world.temporal.start()
        penstock.until(lambda: penstock.http.get("/jobs/default:cut").status_code == 404)
