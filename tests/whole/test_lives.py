"""What becomes of a job by what people ask for and what its program, its cluster and the disk do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import git
import pytest

from activities.aftermath import aftermath_of
from store import attempts
from tests.whole.penstock import Penstock, commit, repository, sql


@pytest.fixture(scope="module")
def repo(penstock: Penstock) -> Path:
    return repository(penstock.home / "repo")


def jar(repo: Path, name: str, *args: str, **more: Any) -> dict[str, Any]:
    """A jar job that writes to a table of its own."""
    return {"type": "jar", "git": {"url": str(repo)}, "args": ["--output", name, *args], **more}


def version(penstock: Penstock, name: str, spec: dict[str, Any]) -> int:
    return int(penstock.ok("POST", f"/jobs/default:{name}/versions", json={"spec": spec})["number"])


def newest(penstock: Penstock, name: str) -> dict[str, Any]:
    found: dict[str, Any] = penstock.ok("GET", f"/jobs/default:{name}/restore-points")["items"][0]
    return found


def timeline(penstock: Penstock, name: str) -> str:
    return "\n".join(e["message"] for e in penstock.ok("GET", f"/jobs/default:{name}/timeline?limit=500")["items"])


QUICK = {"restart_policy": {"initial_backoff": 2, "max_restarts": 3, "jitter": 0}}
NEWEST = {"mode": "newest"}


class TestCommands:
    def test_a_life_from_start_to_deletion(self, penstock: Penstock):
        penstock.running("life")
        taken = penstock.done("life", "savepoint")
        assert taken["state"] == "SUCCEEDED"
        penstock.done("life", "pause")
        assert penstock.state("life") == "PAUSED"
        penstock.done("life", "start")
        assert penstock.job("life")["current_attempt"]["restored_from"]
        penstock.done("life", "restart")
        penstock.no("DELETE", "/jobs/default:life", 409)
        penstock.done("life", "kill")
        penstock.no("POST", "/jobs/default:life/commands", 422, json={"kind": "start"})
        penstock.done("life", "start", restore={"mode": "none"})
        assert penstock.job("life")["current_attempt"]["restored_from"] is None
        penstock.done("life", "kill")
        penstock.ok("DELETE", "/jobs/default:life")
        penstock.no("GET", "/jobs/default:life", 404)
        penstock.running("life")
        assert penstock.job("life")["current_attempt"]["number"] == 1

    def test_from_a_named_point(self, penstock: Penstock):
        penstock.running("named")
        penstock.done("named", "savepoint")
        penstock.wait(30)
        points = penstock.ok("GET", "/jobs/default:named/restore-points")["items"]
        savepoint = next(p for p in points if p["kind"] == "savepoint")
        penstock.done("named", "restart", restore={"mode": "point", "point": savepoint["id"]})
        assert penstock.job("named")["current_attempt"]["restored_from"] == savepoint["path"]
        before = penstock.job("named")["current_attempt"]["number"]
        nowhere = {"mode": "point", "point": "sim://state/nothing/savepoint-1"}
        penstock.no("POST", "/jobs/default:named/commands", 409, json={"kind": "restart", "restore": nowhere})
        done = penstock.do("named", "restart", restore={**nowhere, "accept_unknown_state": True})
        assert done["state"] == "FAILED"
        assert (penstock.state("named"), penstock.job("named")["current_attempt"]["number"]) == ("RUNNING", before)

    def test_the_same_key_is_the_same_command(self, penstock: Penstock):
        penstock.running("keyed")
        body, key = {"kind": "savepoint"}, {"Idempotency-Key": "once"}
        first = penstock.ok("POST", "/jobs/default:keyed/commands", json=body, headers=key)
        again = penstock.ok("POST", "/jobs/default:keyed/commands", json=body, headers=key)
        assert first["number"] == again["number"]
        penstock.no("POST", "/jobs/default:keyed/commands", 422, json={"kind": "kill"}, headers=key)

    def test_a_kill_does_not_wait_for_what_is_under_way(self, penstock: Penstock):
        penstock.create("hurry", sql("hurry"))
        penstock.world.gateways["flink-a"].slow = 60.0
        start = penstock.send("hurry", "start")
        penstock.wait(3)
        kill = penstock.send("hurry", "kill")
        penstock.world.gateways["flink-a"].slow = 0.0
        assert penstock.ended("hurry", start["number"])["state"] in ("FAILED", "CANCELLED")
        assert penstock.ended("hurry", kill["number"])["state"] == "SUCCEEDED"
        assert penstock.state("hurry") == "KILLED"

    def test_commands_of_a_state_only(self, penstock: Penstock):
        penstock.create("fresh")
        for kind in ("pause", "savepoint", "restart"):
            problem = penstock.no("POST", "/jobs/default:fresh/commands", 409, json={"kind": kind})
            assert "start" in problem["allowed"]
        penstock.no("POST", "/jobs/default:fresh/commands", 422, json={"kind": "start", "flink_job_id": "0" * 32})
        penstock.no("POST", "/jobs/default:fresh/commands", 404, json={"kind": "start", "version": 9})
        penstock.no("POST", "/jobs/default:fresh/commands", 422, json={"kind": "adopt"})


class TestVersions:
    def test_another_version_with_its_state(self, penstock: Penstock):
        penstock.running("grows", sql("grows"))
        version(penstock, "grows", sql("grows", "SUM(amt)"))
        penstock.wait(15)
        problem = penstock.no(
            "POST", "/jobs/default:grows/commands", 409, json={"kind": "resubmit", "version": 2, "restore": NEWEST}
        )
        assert problem["code"].startswith("state_")
        verdict = penstock.ok("GET", "/jobs/default:grows/versions/2/verdict")
        assert verdict["verdict"] == "INCOMPATIBLE"
        rows = {"sources": {"src": {"rows": [{"id": 1, "name": "a", "amt": 1.5}]}}}
        assert penstock.ok("POST", "/jobs/default:grows/versions/1/diff/2/rows", json=rows)["state"] == verdict
        penstock.done("grows", "resubmit", version=2, restore={**NEWEST, "accept_changed_state": True}, force=True)
        assert penstock.job("grows")["version"] == 2
        diff = penstock.ok("GET", "/jobs/default:grows/versions/1/diff/2")["diff"]
        assert "+INSERT INTO grows SELECT SUM(amt) FROM src;" in diff

    def test_one_that_is_healthy_stays(self, penstock: Penstock, repo: Path):
        penstock.running("better", jar(repo, "better"))
        penstock.wait(15)
        two = version(penstock, "better", jar(repo, "better", parallelism=2))
        penstock.done("better", "resubmit", version=two, restore=NEWEST, rollback_within=120)
        assert penstock.job("better")["version"] == 2
        assert "is healthy" in timeline(penstock, "better")

    def test_one_that_is_not_goes_back(self, penstock: Penstock, repo: Path):
        penstock.running("worse", jar(repo, "worse"), **QUICK)
        penstock.wait(15)
        two = version(penstock, "worse", jar(repo, "worse", "--fails-after", "3"))
        done = penstock.do("worse", "resubmit", version=two, restore=NEWEST, rollback_within=60)
        assert (done["state"], "was rolled back" in done["error"]) == ("FAILED", True)
        penstock.until(lambda: penstock.state("worse") == "RUNNING")
        assert penstock.job("worse")["version"] == 1

    def test_one_that_is_not_goes_back_from_a_pause(self, penstock: Penstock, repo: Path):
        penstock.running("paused-worse", jar(repo, "paused-worse"), **QUICK)
        penstock.wait(15)
        penstock.done("paused-worse", "pause")
        two = version(penstock, "paused-worse", jar(repo, "paused-worse", "--fails-after", "3"))
        done = penstock.do("paused-worse", "resubmit", version=two, restore=NEWEST, rollback_within=60)
        assert (done["state"], "was rolled back" in done["error"]) == ("FAILED", True)
        assert penstock.job("paused-worse")["version"] == 1

    def test_one_that_is_refused_goes_back(self, penstock: Penstock):
        penstock.running("refused", sql("refused"))
        penstock.wait(15)
        version(penstock, "refused", sql("refused", "SUM(amt)"))
        sent = penstock.send("refused", "resubmit", version=2, restore=NEWEST, rollback_within=60, force=True)
        refuses = penstock.world.gateways["flink-a"].refuses
        refuses["SUM"] = "no such function"  # since it was judged
        done = penstock.ended("refused", sent["number"])
        refuses.clear()
        assert done["state"] == "FAILED"
        assert "no such function" in done["error"]
        assert penstock.job("refused")["version"] == 1

    def test_it_waits_for_the_disk(self, penstock: Penstock, repo: Path):
        penstock.running("waits", jar(repo, "waits"), **QUICK)
        penstock.wait(15)
        two = version(penstock, "waits", jar(repo, "waits", "--fails-after", "3"))
        number = penstock.send("waits", "resubmit", version=two, restore=NEWEST, rollback_within=60)["number"]
        penstock.until(lambda: penstock.job("waits")["current_attempt"]["number"] == 2)
        penstock.world.disk.broken = "Input/output error"
        penstock.until(lambda: "It waits" in penstock.job("waits")["reason"])
        penstock.world.disk.broken = None
        assert "was rolled back" in penstock.ended("waits", number)["error"]
        assert (penstock.job("waits")["version"], penstock.state("waits")) == (1, "RUNNING")

    def test_there_has_to_be_a_way_back(self, penstock: Penstock):
        penstock.running("none", sql("none"), config={"execution.checkpointing.interval": "1 h"})
        penstock.done("none", "kill")
        done = penstock.do("none", "resubmit", restore={"mode": "none"}, rollback_within=60)
        assert done["state"] == "FAILED"


class TestPrograms:
    def test_one_that_fails_is_started_again_and_given_up_in_the_end(self, penstock: Penstock, repo: Path):
        penstock.create("throws", jar(repo, "throws", "--fails-after", "5"), **QUICK)
        penstock.do("throws", "start")
        penstock.until(lambda: penstock.state("throws") == "FAILED")
        assert "restart 1 of 3" in timeline(penstock, "throws")
        assert "failed for good" in timeline(penstock, "throws")
        penstock.done("throws", "start", restore={"mode": "none"})

    def test_one_that_ends(self, penstock: Penstock, repo: Path):
        penstock.create("bounded", jar(repo, "bounded", "--ends-after", "20"))
        penstock.done("bounded", "start")
        penstock.until(lambda: penstock.state("bounded") == "FINISHED")
        penstock.no("POST", "/jobs/default:bounded/commands", 422, json={"kind": "start"})

    def test_one_that_flink_restarts_for_ever(self, penstock: Penstock):
        penstock.running("loops", restart_policy={"max_engine_restarts": 3, "initial_backoff": 2})
        job = penstock.flink_job("loops")
        job.doomed = "java.lang.IllegalStateException: it cannot go on"
        job.flink.fail(job, job.doomed, restarts=True)
        penstock.until(lambda: penstock.job("loops")["current_attempt"]["number"] > 1)
        assert "the restart policy goes on" in timeline(penstock, "loops")

    def test_a_start_that_flink_restarts_all_the_time_says_why(self, penstock: Penstock, monkeypatch):
        penstock.create("doomed", sql("doomed"))
        flink = penstock.world.flinks[0]
        accept = flink.accept

        def doomed(job_id: str, *more: Any) -> Any:
            answer = accept(job_id, *more)
            flink.jobs[job_id].doomed = "java.net.ConnectException: Connection refused"
            return answer

        monkeypatch.setattr(flink, "accept", doomed)
        said = penstock.cli("jobs", "start", "doomed", "--wait")
        assert said.code == 1
        assert "it does not run" in said.err
        assert "Connection refused" in said.err

    def test_a_restart_that_is_waited_for_can_be_paused_and_killed(self, penstock: Penstock):
        for name, kind, state in (("wp", "pause", "PAUSED"), ("wk", "kill", "KILLED"), ("ws", "restart", "RUNNING")):
            penstock.running(name, restart_policy={"initial_backoff": 300, "max_backoff": 300})
            penstock.wait(15)
            job = penstock.flink_job(name)
            job.flink.fail(job, "java.lang.RuntimeException: once", restarts=False)
            penstock.until(lambda name=name: penstock.state(name) == "RESTARTING")
            penstock.done(name, kind)
            assert penstock.state(name) == state

    def test_a_restart_that_is_planned_stays_when_a_command_fails_before_it(self, penstock: Penstock, repo: Path):
        penstock.running("stays", jar(repo, "stays"), restart_policy={"initial_backoff": 300, "max_backoff": 300})
        penstock.wait(15)
        job = penstock.flink_job("stays")
        job.flink.fail(job, "java.lang.RuntimeException: once", restarts=False)
        penstock.until(lambda: penstock.state("stays") == "RESTARTING")
        done = penstock.do("stays", "restart", restore={"mode": "point", "point": "/typo"})
        assert (done["state"], penstock.state("stays")) == ("FAILED", "RESTARTING")
        spec = jar(repo, "stays")
        two = version(penstock, "stays", {**spec, "git": {**spec["git"], "ref": "nowhere"}})
        done = penstock.do("stays", "resubmit", version=two, restore=NEWEST)
        assert (done["state"], penstock.state("stays")) == ("FAILED", "RESTARTING")
        penstock.until(lambda: penstock.state("stays") == "RUNNING")
        assert penstock.job("stays")["version"] == 1

    def test_a_policy_that_is_switched_off_plans_nothing(self, penstock: Penstock):
        policy = {"initial_backoff": 300, "max_backoff": 300}
        penstock.running("off", restart_policy=policy)
        job = penstock.flink_job("off")
        job.flink.fail(job, "java.lang.RuntimeException: once", restarts=False)
        penstock.until(lambda: penstock.state("off") == "RESTARTING")
        penstock.ok("PATCH", "/jobs/default:off", json={"restart_policy": {**policy, "enabled": False}})
        penstock.until(lambda: penstock.state("off") == "FAILED")
        penstock.ok("PATCH", "/jobs/default:off", json={"restart_policy": policy})

    def test_somebody_cancels_it_on_the_cluster(self, penstock: Penstock):
        penstock.running("cancelled")
        job = penstock.flink_job("cancelled")
        job.flink.handle("PATCH", f"/jobs/{job.id}", {})
        penstock.until(lambda: penstock.state("cancelled") == "KILLED")

    def test_a_main_that_takes_long(self, penstock: Penstock, repo: Path):
        penstock.running("slow", jar(repo, "slow", "--main", "20"))

    def test_state_that_has_no_operator_any_more(self, penstock: Penstock, repo: Path):
        penstock.running("lossy", jar(repo, "lossy", "--operators", "count,sum"))
        penstock.wait(15)
        two = version(penstock, "lossy", jar(repo, "lossy", "--operators", "count"))
        done = penstock.do("lossy", "resubmit", version=two, restore=NEWEST)
        assert done["state"] == "FAILED"
        job = penstock.job("lossy")
        assert job["state"] == "BLOCKED"
        assert job["next_actions"]
        penstock.done("lossy", "resubmit", version=two, restore={**NEWEST, "allow_non_restored_state": True})
        assert penstock.state("lossy") == "RUNNING"


class TestPoints:
    def test_a_disk_that_is_full(self, penstock: Penstock):
        penstock.running("full")
        penstock.world.disk.full = True
        taken, paused = penstock.do("full", "savepoint"), penstock.do("full", "pause")
        penstock.world.disk.full = False
        assert (taken["state"], paused["state"]) == ("FAILED", "FAILED")
        assert penstock.state("full") == "RUNNING"

    def test_points_that_are_gone(self, penstock: Penstock):
        penstock.running("gone")
        penstock.wait(15)
        id_ = penstock.job("gone")["id"]
        penstock.done("gone", "pause")
        for path in [p for p in penstock.world.disk.files if id_ in p]:
            penstock.world.disk.remove(path)
        done = penstock.do("gone", "start")
        assert done["state"] == "FAILED"
        job = penstock.job("gone")
        assert (job["state"], job["blocked"]["code"]) == ("BLOCKED", "no_restore_point")
        assert "--restore none" in penstock.cli("jobs", "show", "gone").out
        penstock.done("gone", "start", restore={"mode": "none"})

    def test_a_disk_that_is_away(self, penstock: Penstock):
        penstock.running("unread")
        penstock.done("unread", "pause")
        penstock.world.disk.broken = "Input/output error"
        done = penstock.do("unread", "start")
        penstock.http.get("/jobs/default:unread/restore-points")
        penstock.world.disk.broken = None
        assert (done["state"], penstock.state("unread")) == ("FAILED", "DEPLOY_FAILED")
        penstock.done("unread", "start")

    def test_savepoints_are_taken_and_deleted_by_policy(self, penstock: Penstock):
        penstock.running("policy", savepoint_policy={"interval": 60, "keep_last": 1, "keep_for": 0})
        penstock.wait(400)
        points = penstock.ok("GET", "/jobs/default:policy/restore-points")["items"]
        assert sum(p["kind"] == "savepoint" for p in points) < 4
        assert "older than the policy keeps" in timeline(penstock, "policy")
        savepoint = next(p for p in points if p["kind"] == "savepoint")
        penstock.ok("PUT", f"/jobs/default:policy/restore-points/{savepoint['id']}/pin")
        penstock.world.disk.full = True
        penstock.wait(100)
        penstock.world.disk.full = False
        assert "the periodic savepoint failed" in timeline(penstock, "policy")
        penstock.wait(200)
        kept = penstock.ok("GET", "/jobs/default:policy/restore-points")["items"]
        assert savepoint["id"] in [p["id"] for p in kept]
        penstock.done("policy", "restart")
        penstock.wait(200)
        penstock.ok("PATCH", "/jobs/default:policy", json={"savepoint_policy": {"interval": None}})

    def test_a_point_that_cannot_be_restored_is_passed_over(self, penstock: Penstock):
        penstock.running("falls", restart_policy={"initial_backoff": 1, "max_restarts": 9, "jitter": 0})
        penstock.wait(25)
        penstock.done("falls", "pause")
        head = newest(penstock, "falls")["path"].removeprefix("sim://")
        files = penstock.world.disk.files
        data, at = files[f"{head}/_metadata"]
        files[f"{head}/_metadata"] = (data[:12] + b"damaged", at)
        penstock.do("falls", "start")
        penstock.wait(300)
        assert penstock.state("falls") in ("RUNNING", "BLOCKED")
        penstock.done("falls", "kill")


class TestBuilds:
    def test_a_class_that_is_not_in_the_jar_is_told_before_anything_is_stopped(self, penstock: Penstock, repo: Path):
        penstock.running("classy", jar(repo, "classy"))
        two = version(penstock, "classy", {**jar(repo, "classy"), "entry_class": "org.example.Absent"})
        done = penstock.do("classy", "resubmit", version=two, restore=NEWEST)
        assert (done["state"], done["error_code"]) == ("FAILED", "entry_class_not_found")
        assert "The class org.example.Absent is not in the jar that was built" in done["error"]
        assert penstock.state("classy") == "RUNNING"
        assert penstock.job("classy")["current_attempt"]["number"] == 1

    def test_a_commit_is_built_once(self, penstock: Penstock, repo: Path):
        penstock.create("twin-1", jar(repo, "twin-1"))
        penstock.create("twin-2", jar(repo, "twin-2"))
        commit(git.Repo(repo), "another")
        first, second = penstock.send("twin-1", "start"), penstock.send("twin-2", "start")
        assert penstock.ended("twin-1", first["number"])["state"] == "SUCCEEDED"
        assert penstock.ended("twin-2", second["number"])["state"] == "SUCCEEDED"
        log = penstock.ok("GET", "/jobs/default:twin-2/commands/1/log")
        assert "BUILD SUCCESS" in log
        commit(git.Repo(repo), "a third")
        penstock.done("twin-1", "restart")
        old = penstock.job("twin-1")["current_attempt"]["commit"]
        listed = penstock.ok("GET", "/jobs/default:twin-1/versions", params={"branches": "true"})["items"][0]
        assert (listed["commit"], listed["ref_error"]) == (old, None)
        assert f"moved to {listed['ref_commit'][:7]}" in penstock.cli("jobs", "versions", "twin-1", "--branches").out
        penstock.done("twin-1", "resubmit", restore=NEWEST)
        assert penstock.job("twin-1")["current_attempt"]["commit"] == listed["ref_commit"]
        assert "moved" not in penstock.cli("jobs", "versions", "twin-1", "--branches").out
        assert penstock.job("twin-1")["current_attempt"]["commit"] != old

    @pytest.mark.parametrize(
        ("name", "more", "words"),
        [
            ("broken", {"git": {"subdirectory": "broken"}}, "cannot find symbol"),
            ("nowhere", {"git": {"subdirectory": "nowhere"}}, "not in the repository"),
            ("no-branch", {"git": {"ref": "no-branch"}}, "no branch"),
            ("no-pom", {"git": {"subdirectory": "package"}}, "no pom.xml"),
            ("several", {"git": {"subdirectory": "two"}}, "first.jar"),
            ("chosen", {"git": {"subdirectory": "two"}, "build": {"artifact": "target/second.jar"}}, ""),
        ],
    )
    def test_what_cannot_be_built(self, penstock: Penstock, repo: Path, name: str, more: dict[str, Any], words: str):
        spec = jar(repo, name, build={"tool": "maven", **more.get("build", {})})
        spec["git"] = {**spec["git"], **more["git"]}
        penstock.create(f"build-{name}", spec)
        done = penstock.do(f"build-{name}", "start")
        assert done["state"] == ("FAILED" if words else "SUCCEEDED"), done
        assert words in (done["error"] or "")

    def test_a_version_that_cannot_be_built_stops_nothing(self, penstock: Penstock, repo: Path):
        penstock.running("safe", jar(repo, "safe"))
        spec = jar(repo, "safe")
        two = version(penstock, "safe", {**spec, "git": {**spec["git"], "subdirectory": "broken"}})
        assert penstock.do("safe", "resubmit", version=two, restore=NEWEST)["state"] == "FAILED"
        assert (penstock.state("safe"), penstock.job("safe")["version"]) == ("RUNNING", 1)

    def test_a_repository_that_may_not_be_built_from(self, penstock: Penstock, repo: Path):
        penstock.no("POST", "/jobs", 422, json={"name": "x", "spec": jar(Path("/etc"), "x"), "cluster": "a"})

    def test_what_was_built_is_gone(self, penstock: Penstock, repo: Path):
        penstock.running("rebuilt", jar(repo, "rebuilt"))
        for path in (penstock.home / "artifacts" / "jars").rglob("*.jar"):
            path.unlink()
        penstock.done("rebuilt", "restart")
        assert "once more" in penstock.ok("GET", "/jobs/default:rebuilt/commands/2/log")

    def test_and_cannot_be_built_again(self, penstock: Penstock, repo: Path):
        penstock.running("unbuilt", jar(repo, "unbuilt"))
        for path in (penstock.home / "artifacts" / "jars").rglob("*.jar"):
            path.unlink()
        repo.rename(repo.with_name("away"))
        before = penstock.job("unbuilt")["current_attempt"]["number"]
        done = penstock.do("unbuilt", "restart")
        repo.with_name("away").rename(repo)
        assert (done["state"], penstock.state("unbuilt")) == ("FAILED", "RUNNING"), "nothing was stopped for it"
        assert penstock.job("unbuilt")["current_attempt"]["number"] == before

    def test_nobody_waits_for_a_build_any_more(self, penstock: Penstock, repo: Path):
        commit(git.Repo(repo), "slow to build")
        penstock.create("left", jar(repo, "left"))
        penstock.world.programs.slow = 100.0
        start = penstock.send("left", "start")
        penstock.wait(5)
        penstock.done("left", "kill")
        assert penstock.ended("left", start["number"])["state"] in ("FAILED", "CANCELLED")
        penstock.world.programs.slow = 0.0
        penstock.wait(30)
        penstock.done("left", "start", restore={"mode": "none"})


class TestPython:
    def spec(self, repo: Path, **more: Any) -> dict[str, Any]:
        return {"type": "pyflink", "git": {"url": str(repo)}, "args": ["--output", str(more)], **more}

    def test_with_requirements(self, penstock: Penstock, repo: Path):
        spec = self.spec(repo, entry_file="job.py", requirements="requirements.txt", parallelism=2)
        penstock.running("py", spec)
        penstock.done("py", "savepoint")
        penstock.done("py", "restart")
        assert penstock.job("py")["current_attempt"]["restored_from"]
        penstock.running("py-module", self.spec(repo, module="package"))

    @pytest.mark.parametrize(
        ("name", "more", "words"),
        [
            ("throws", {"entry_file": "fails.py"}, "it does not work"),
            ("no-file", {"entry_file": "jobs.py"}, "Set entry_file to one of: job.py, "),
            ("no-module", {"module": "packages"}, "Set module to one of: package, "),
            ("no-pip", {"entry_file": "job.py", "requirements": ["missing==1"]}, "cannot be installed"),
        ],
    )
    def test_what_does_not_start(self, penstock: Penstock, repo: Path, name: str, more: dict[str, Any], words: str):
        penstock.create(f"py-{name}", self.spec(repo, **more))
        done = penstock.do(f"py-{name}", "start")
        assert (done["state"], words in done["error"]) == ("FAILED", True), done

    def test_a_worker_without_pyflink(self, penstock: Penstock, repo: Path):
        python = penstock.home / "cache" / "flink" / "2.3.0" / "bin" / "python"
        python.rename(python.with_name("away"))
        penstock.create("py-without", self.spec(repo, entry_file="job.py"))
        done = penstock.do("py-without", "start")
        python.with_name("away").rename(python)
        assert (done["state"], "penstock flink install" in done["error"]) == ("FAILED", True)

    def test_its_program_is_gone(self, penstock: Penstock, repo: Path):
        import shutil

        penstock.running("py-gone", self.spec(repo, entry_file="job.py"))
        shutil.rmtree(penstock.home / "artifacts" / "programs")
        penstock.done("py-gone", "restart")


class TestWhatAProgramLeftUndone:
    def test_one_whose_second_job_was_cancelled_is_not_simply_finished(self, penstock: Penstock, repo: Path):
        """Found by a public example, `async_scalar_function`: its second part never ran, and the list said FINISHED."""
        services, words = (
            penstock.world.api.services,
            "the program has started more than one Flink job: it was cancelled",
        )

        async def cancels_the_second_job(job_id: str) -> None:
            async with services.database.read() as session:
                attempt = await attempts.get(session, job_id, 1)
            assert attempt is not None
            await aftermath_of(services, attempt, None).trouble(words)

        penstock.create("two", jar(repo, "two", "--ends-after", "20"))
        penstock.done("two", "start")
        penstock.play(cancels_the_second_job(penstock.job("two")["id"]))
        assert penstock.job("two")["warning"] == words
        penstock.until(lambda: penstock.state("two") == "FINISHED")
        assert penstock.job("two")["warning"] == words
        assert words in penstock.cli("jobs", "show", "two").out
        listed = penstock.cli("jobs", "list").out
        assert "it came to its end; the program has started more than one Flink job" in listed
        penstock.done("two", "start", restore={"mode": "none"})
        assert penstock.job("two")["warning"] is None, "the next attempt has done nothing of that"
        penstock.done("two", "kill")
