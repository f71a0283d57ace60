"""What Temporal, the database or a worker has lost, and what becomes of the jobs then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from activities.recovery import _Run
from core.jobs.states import JobState
from store import clusters
from tests.whole.penstock import Penstock, repository, sql
from tests.whole.test_lives import jar

EXPIRY = 3600.0


def timeline(penstock: Penstock, name: str) -> str:
    return "\n".join(e["message"] for e in penstock.ok("GET", f"/jobs/default:{name}/timeline?limit=500")["items"])


def recover(penstock: Penstock, subject: str, **more: Any) -> list[dict[str, Any]]:
    """What the recovery finds that has `subject` in what it is about."""
    found = penstock.ok("POST", "/recovery", json=more)["findings"]
    return [f for f in found if subject in f["subject"]]


def restore_points(penstock: Penstock, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = penstock.ok("GET", f"/jobs/default:{name}/restore-points")["items"]
    return found


def workflow(penstock: Penstock, name: str) -> str:
    return next(id_ for id_ in penstock.world.temporal.running if f"default:{name}" in id_)


def change(penstock: Penstock, statement: str, *values: Any) -> None:
    """Behind the back of everybody, as a restored backup does."""
    penstock.world.store.db.execute(statement, values)


_OF_A_JOB = ("state", "reason", "revision", "current_attempt", "snapshot")


def kept_of(penstock: Penstock, name: str) -> Any:
    """What a backup of the database has of a job after its first attempt: for `restored`."""
    return penstock.world.row(f"SELECT {', '.join(_OF_A_JOB)} FROM jobs WHERE name = ?", name)


def restored(penstock: Penstock, name: str, kept: Any) -> None:
    """The database is as it was when it was `kept`, and Temporal is empty: later attempts are written down nowhere."""
    penstock.world.temporal.lose(workflow(penstock, name))
    rolled_back(penstock, name, kept)
    recover(penstock, name)


def rolled_back(penstock: Penstock, name: str, kept: Any) -> None:
    """The database alone is as it was when it was `kept`: its workflow goes on, and knows more."""
    change(penstock, f"UPDATE jobs SET {' = ?, '.join(_OF_A_JOB)} = ? WHERE name = ?", *kept, name)
    change(penstock, "PRAGMA foreign_keys = OFF")
    for table, key in (("restore_points", "attempt"), ("attempts", "number")):
        change(penstock, f"DELETE FROM {table} WHERE {key} > 1 AND job_id = ?", penstock.job(name)["id"])


def killed_and_started(penstock: Penstock, name: str) -> tuple[Any, str]:
    """A job whose second attempt runs, from the newest point of the first: what a backup has of it from before that,
    and the Flink job of the second one."""
    penstock.running(name)
    penstock.wait(30)
    kept = kept_of(penstock, name)
    penstock.done(name, "kill")
    penstock.done(name, "start", restore={"mode": "newest"})
    penstock.wait(30)
    return kept, penstock.job(name)["current_attempt"]["flink_job_id"]


def without_version_two(penstock: Penstock, name: str, kept: Any) -> None:
    """As `rolled_back`, to before that was added."""
    rolled_back(penstock, name, kept)
    change(penstock, "DELETE FROM versions WHERE number = 2 AND job_id = ?", penstock.job(name)["id"])


def written_down(penstock: Penstock, name: str) -> None:
    """Let time go on until the attempt of a start is written down, and no longer."""
    id_ = penstock.job(name)["id"]
    while not penstock.world.row("SELECT 1 FROM attempts WHERE job_id = ?", id_):
        penstock.wait(0.02)


class TestWorkflows:
    def test_one_that_is_lost_in_the_middle_of_a_start(self, penstock: Penstock):
        """Its command ends, and the job is what its attempt is: it was sent, so it runs."""
        penstock.create("middle")
        start = penstock.send("middle", "start")
        written_down(penstock, "middle")
        penstock.world.temporal.lose(workflow(penstock, "middle"))
        penstock.wait(30)
        recover(penstock, "middle")
        ended = penstock.ended("middle", start["number"])
        assert (ended["state"], "workflow was lost" in ended["error"]) == ("FAILED", True)
        penstock.until(lambda: penstock.state("middle") in ("RUNNING", "DEPLOY_FAILED"))
        penstock.done("middle", "kill")

    def test_one_that_is_lost_between_two_attempts(self, penstock: Penstock):
        """A restart had ended the attempt, and the next one, which was to begin empty, was never made: nobody else
        decides whether the state that was set aside is taken up again."""
        for n in range(10):  # the next attempt may follow at once: then another job is tried
            name = f"between-{n}"
            penstock.running(name)
            penstock.wait(15)
            sent = penstock.send(name, "restart", restore={"mode": "none"})
            id_ = penstock.job(name)["id"]
            while not penstock.world.row("SELECT 1 FROM attempts WHERE job_id = ? AND ended_at IS NOT NULL", id_):
                penstock.wait(0.001)
            if not penstock.world.row("SELECT 1 FROM attempts WHERE job_id = ? AND number = 2", id_):
                break
        assert not penstock.world.row("SELECT 1 FROM attempts WHERE job_id = ? AND number = 2", id_)
        penstock.world.temporal.lose(workflow(penstock, name))
        recover(penstock, name)
        ended = penstock.ended(name, sent["number"])
        assert (ended["state"], ended["error_code"]) == ("FAILED", "workflow_lost")
        job = penstock.job(name)
        assert (job["state"], job["blocked"]["code"]) == ("BLOCKED", "cancelled_for_command")
        penstock.done(name, "start", restore={"mode": "newest"})
        assert penstock.job(name)["current_attempt"]["number"] == 2
        penstock.done(name, "kill")

    @pytest.mark.parametrize("command", ["resubmit", "restart to a point"])
    def test_one_that_is_lost_while_what_it_stops_ends(self, penstock: Penstock, command: str):
        """What Flink says then, FINISHED or CANCELED, is what it was told: neither the end of the program nor somebody
        else's doing."""
        name = f"ends-{command.replace(' ', '-')}"
        repo = repository(penstock.home / name)
        penstock.running(name, {"type": "jar", "git": {"url": str(repo)}, "args": ["--output", name]})
        penstock.wait(15)
        penstock.done(name, "savepoint")
        (point,) = [p for p in restore_points(penstock, name) if p["kind"] == "savepoint"]
        to_it = {"restore": {"mode": "point", "point": point["path"]}} if command != "resubmit" else {}
        job = penstock.flink_job(name)
        sent = penstock.send(name, command.partition(" ")[0], **(to_it or {"restore": {"mode": "newest"}}))
        while not job.final:
            penstock.wait(0.001)
        assert penstock.world.row("SELECT ended_at FROM attempts WHERE flink_job_id = ?", job.id)[0] is None
        penstock.world.temporal.lose(workflow(penstock, name))
        recover(penstock, name)
        assert penstock.ended(name, sent["number"])["error_code"] == "workflow_lost"
        if to_it:
            found = penstock.until(lambda: penstock.job(name)["blocked"])
            assert found["code"] == "cancelled_for_command"
            assert any(point["path"] in str(action) for action in penstock.job(name)["next_actions"])
        else:
            penstock.until(lambda: penstock.job(name)["current_attempt"]["number"] == 2)
            penstock.until(lambda: penstock.state(name) == "RUNNING")
            assert "savepoint" in penstock.job(name)["current_attempt"]["restored_from"]
        penstock.done(name, "kill")

    def test_one_that_is_lost_after_a_stop_for_another_attempt(self, penstock: Penstock):
        """It was stopped with a savepoint for a restart: nobody has paused it, and it goes on from there."""
        for n in range(10):
            name = f"stopped-{n}"
            penstock.running(name)
            penstock.wait(15)
            sent = penstock.send(name, "restart")
            while (row := penstock.world.row("SELECT state FROM jobs WHERE name = ?", name)[0]) == "RUNNING":
                penstock.wait(0.001)
            if row == "PAUSED":
                break
        assert row == "PAUSED"
        penstock.world.temporal.lose(workflow(penstock, name))
        recover(penstock, name)
        assert penstock.ended(name, sent["number"])["error_code"] == "workflow_lost"
        penstock.until(lambda: penstock.state(name) == "RUNNING")
        attempt = penstock.job(name)["current_attempt"]
        assert (attempt["number"], "savepoint" in attempt["restored_from"]) == (2, True)
        penstock.done(name, "kill")

    def test_a_restart_of_the_policy_that_is_lost_is_made_again(self, penstock: Penstock):
        penstock.running("remade", restart_policy={"initial_backoff": 5, "jitter": 0})
        job = penstock.flink_job("remade")
        job.flink.fail(job, "it broke", restarts=False)
        penstock.until(lambda: penstock.state("remade") == "RESTARTING")
        while penstock.world.row("SELECT state FROM jobs WHERE name = 'remade'")[0] == "RESTARTING":
            penstock.wait(0.001)
        assert penstock.state("remade") == "DEPLOYING"
        penstock.world.temporal.lose(workflow(penstock, "remade"))
        recover(penstock, "remade")
        penstock.until(lambda: penstock.state("remade") == "RUNNING")
        penstock.done("remade", "kill")

    def test_a_kill_of_such_a_restart_that_is_lost_with_it_is_a_kill(self, penstock: Penstock):
        penstock.running("unkilled", restart_policy={"initial_backoff": 5, "jitter": 0})
        job = penstock.flink_job("unkilled")
        job.flink.fail(job, "it broke", restarts=False)
        penstock.until(lambda: penstock.state("unkilled") == "RESTARTING")
        penstock.world.network.endpoints["http://gateway-a:8083"].mode = "hang"
        penstock.until(lambda: penstock.state("unkilled") == "DEPLOYING")
        sent = penstock.send("unkilled", "kill")
        id_ = penstock.job("unkilled")["id"]
        while not penstock.world.row("SELECT 1 FROM jobs WHERE id = ? AND busy = 'kill'", id_):
            penstock.wait(0.001)
        penstock.world.temporal.lose(workflow(penstock, "unkilled"))
        recover(penstock, "unkilled")
        penstock.world.network.endpoints["http://gateway-a:8083"].mode = "ok"
        assert penstock.ended("unkilled", sent["number"])["error_code"] == "workflow_lost"
        assert penstock.state("unkilled") == "KILLED"

    def test_one_whose_attempt_has_no_row_says_so_and_goes_on(self, penstock: Penstock):
        """A step of it fails for good, and does nothing to what runs; then it is written down again."""
        penstock.running("attemptless")
        flink_job = penstock.flink_job("attemptless")
        change(penstock, "PRAGMA foreign_keys = OFF")
        row = penstock.world.row("SELECT id FROM jobs WHERE name = 'attemptless'")
        change(penstock, "UPDATE attempts SET job_id = 'away' WHERE job_id = ?", row[0])
        done = penstock.do("attemptless", "savepoint")
        assert (done["state"], done["error_code"]) == ("FAILED", "internal")
        assert "A step of Penstock failed: row_missing: The database has no attempt 1" in done["error"]
        change(penstock, "DELETE FROM attempts WHERE job_id = 'away'")
        penstock.until(lambda: "written down again" in timeline(penstock, "attemptless"), most=120)
        assert penstock.state("attemptless") == "RUNNING"
        attempt = penstock.job("attemptless")["current_attempt"]
        assert (attempt["number"], attempt["state"], attempt["flink_job_id"]) == (1, "RUNNING", flink_job.id)
        penstock.done("attemptless", "savepoint")
        penstock.done("attemptless", "kill")
        assert flink_job.final

    def test_one_whose_attempt_has_ended_in_the_rows_only_asks_the_cluster_itself(self, penstock: Penstock):
        """Its workflow was begun from a record before the end, or restored: the watch looks at ended attempts no more."""
        penstock.running("behind", restart_policy={"initial_backoff": 2})
        job = penstock.flink_job("behind")
        change(
            penstock,
            "UPDATE attempts SET state = 'FAILED', ended_at = started_at, seen = NULL WHERE handle = ?",
            job.id,
        )
        job.flink.fail(job, "it broke", restarts=False)
        penstock.until(lambda: penstock.job("behind")["current_attempt"]["number"] == 2, most=3600)
        penstock.until(lambda: penstock.state("behind") == "RUNNING")
        penstock.done("behind", "kill")

    def test_one_that_is_lost_while_the_cluster_is_away(self, penstock: Penstock):
        """Whether anything of it runs cannot be told: that is for a person."""
        penstock.create("blind")
        penstock.send("blind", "start")
        written_down(penstock, "blind")
        endpoint = penstock.world.network.endpoints["http://flink-a:8081"]
        endpoint.mode = "refuse"
        penstock.world.temporal.lose(workflow(penstock, "blind"))
        recover(penstock, "blind")
        job = penstock.until(lambda: (found := penstock.job("blind"))["state"] != "DEPLOYING" and found)
        endpoint.mode = "ok"
        assert (job["state"], (job["blocked"] or {}).get("code")) == ("BLOCKED", "workflow_lost"), job
        penstock.done("blind", "kill")

    def test_one_that_has_forgotten_an_attempt_follows_the_newest(self, penstock: Penstock):
        """Temporal comes back from a backup: the attempt that its workflow knows has ended long ago, and another runs."""
        penstock.running("forgot")
        row = penstock.world.row("SELECT snapshot FROM jobs WHERE name = 'forgot'")
        penstock.wait(15)
        penstock.done("forgot", "restart")
        newest = penstock.job("forgot")["current_attempt"]["flink_job_id"]
        penstock.world.temporal.lose(workflow(penstock, "forgot"))
        change(penstock, "UPDATE jobs SET snapshot = ? WHERE name = 'forgot'", row[0])
        recover(penstock, "forgot")
        penstock.until(lambda: "restored from a backup" in timeline(penstock, "forgot"))
        penstock.until(lambda: penstock.state("forgot") == "RUNNING")
        assert penstock.job("forgot")["current_attempt"]["flink_job_id"] == newest, "what runs is followed again"
        penstock.wait(15)
        penstock.done("forgot", "restart")
        assert penstock.job("forgot")["current_attempt"]["number"] == 3
        penstock.done("forgot", "kill")
        assert penstock.flink_job("forgot").final

    def test_with_the_database_restored_too_newer_savepoints_are_not_passed_over(self, penstock: Penstock):
        """It ran and was paused since the backup: going on from the savepoint that is written down would go back."""
        penstock.running("older")
        penstock.wait(15)
        penstock.done("older", "pause")
        kept = kept_of(penstock, "older")
        for _ in range(2):
            penstock.done("older", "start")
            penstock.wait(15)
            penstock.done("older", "pause")
        newest = penstock.job("older")["reason"].rpartition(" ")[2]
        restored(penstock, "older", kept)
        done = penstock.do("older", "start")
        assert (done["state"], "has savepoints of attempt" in done["error"]) == ("FAILED", True), done
        restore = {"mode": "point", "point": newest, "accept_unknown_state": True}
        penstock.done("older", "start", restore=restore)
        assert penstock.job("older")["current_attempt"]["restored_from"] == newest
        penstock.wait(15)
        penstock.done("older", "pause")
        penstock.done("older", "start")  # whoever named that point has seen them
        assert "/2-" in penstock.job("older")["current_attempt"]["restored_from"]
        penstock.done("older", "kill")

    def test_with_the_database_restored_too_an_attempt_is_known_by_its_checkpoints(self, penstock: Penstock):
        """Both come back from a backup, and the cluster does not: an attempt runs that is written down nowhere."""
        penstock.running("rewound")
        penstock.wait(15)
        penstock.done("rewound", "pause")
        kept = kept_of(penstock, "rewound")
        penstock.done("rewound", "start")
        penstock.wait(30)
        runs = penstock.job("rewound")["current_attempt"]["flink_job_id"]
        restored(penstock, "rewound", kept)
        done = penstock.do("rewound", "start")
        assert (done["state"], done["error_code"]) == ("FAILED", "no_restore_point"), done
        assert f"If Flink job {runs} runs, adopt it" in done["error"]
        unsafe = penstock.do("rewound", "start", restore={"mode": "none"})
        assert (unsafe["state"], unsafe["error_code"]) == ("FAILED", "unknown_attempt_alive"), unsafe
        assert runs in unsafe["error"]
        penstock.done("rewound", "adopt", flink_job_id=runs)
        assert penstock.job("rewound")["current_attempt"]["flink_job_id"] == runs
        penstock.done("rewound", "pause")

    def test_one_whose_job_has_no_row_ends_when_nothing_of_it_runs(self, penstock: Penstock):
        for name, end in (("rowless", "kill"), ("rowless-runs", None)):
            penstock.running(name)
            if end:
                penstock.done(name, end)
        ids = [id_ for id_ in penstock.world.temporal.running if "default:rowless" in id_]
        change(penstock, "PRAGMA foreign_keys = OFF")
        change(penstock, "DELETE FROM jobs WHERE name LIKE 'rowless%'")
        found = {f["subject"]: f for f in recover(penstock, "rowless")}
        assert sorted(found) == sorted(ids)
        for id_ in ids:
            refused = "rowless-runs" in id_
            assert found[id_]["done"] is not refused
            assert (id_ in penstock.world.temporal.running) is refused
            assert ("kill" in found[id_]["action"]) is refused
        penstock.world.temporal.lose(next(id_ for id_ in ids if "rowless-runs" in id_))


class TestOnlyTheDatabaseIsRestored:
    """Found by an attack: it was copied back, while Temporal and the cluster went on."""

    def test_checkpoints_of_an_attempt_without_a_row_are_not_passed_over(self, penstock: Penstock):
        kept, lost = killed_and_started(penstock, "rolled")
        penstock.done("rolled", "kill")
        rolled_back(penstock, "rolled", kept)
        refused = penstock.do("rolled", "restart", restore={"mode": "newest"})
        assert (refused["state"], refused["error_code"]) == ("FAILED", "no_restore_point"), refused
        action = penstock.job("rolled")["blocked"]["actions"][0]
        assert f"/{lost}/chk-" in action["restore"]["point"], "what loses nothing comes first"
        penstock.done("rolled", **action)
        penstock.wait(30)
        penstock.done("rolled", "restart")  # whoever began this attempt knew of what was there
        penstock.done("rolled", "kill")

    def test_nor_by_the_restart_policy(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        kept, lost = killed_and_started(penstock, "hopeless")
        flink = penstock.world.flinks[0]
        monkeypatch.setattr(flink, "_completed", lambda *_: None)  # it completes no checkpoint from now on
        penstock.done("hopeless", "restart")
        one = penstock.flink_job("hopeless")
        rolled_back(penstock, "hopeless", kept)
        penstock.until(lambda: (penstock.job("hopeless")["current_attempt"] or {}).get("number") == 3)
        flink.fail(one, "java.lang.IllegalStateException: it cannot go on", restarts=False)
        penstock.until(lambda: penstock.state("hopeless") == "BLOCKED")
        assert lost in penstock.job("hopeless")["reason"]
        penstock.done("hopeless", "kill")

    def test_what_it_runs_is_not_adopted_by_another_job(self, penstock: Penstock):
        penstock.running("owner")
        kept = kept_of(penstock, "owner")
        penstock.done("owner", "restart")
        runs = penstock.job("owner")["current_attempt"]["flink_job_id"]
        rolled_back(penstock, "owner", kept)
        penstock.create("taker")
        refused = penstock.do("taker", "adopt", flink_job_id=runs)
        assert (refused["state"], refused["error_code"]) == ("FAILED", "not_adoptable")
        assert "is what default:owner runs" in refused["error"]
        penstock.until(lambda: (penstock.job("owner")["current_attempt"] or {}).get("flink_job_id") == runs)
        penstock.done("owner", "kill")

    @pytest.mark.parametrize("same", [True, False])
    def test_a_version_that_is_added_anew_is_not_taken_for_the_one_that_runs(self, penstock: Penstock, same: bool):
        name = f"twice-{same}".lower()
        penstock.running(name)
        kept = kept_of(penstock, name)
        version = {"spec": sql(f"twice_{same}".lower())}
        assert penstock.ok("POST", f"/jobs/default:{name}/versions", json=version)["number"] == 2
        penstock.done(name, "resubmit", version=2, restore={"mode": "none"})
        runs = penstock.job(name)["current_attempt"]["flink_job_id"]
        without_version_two(penstock, name, kept)
        version = version if same else {"spec": sql("twice_other")}
        assert penstock.ok("POST", f"/jobs/default:{name}/versions", json=version)["number"] == 2
        penstock.until(lambda: (penstock.job(name)["current_attempt"] or {}).get("flink_job_id") == runs)
        penstock.wait(30)
        if same:
            penstock.done(name, "restart")
        else:
            path = f"/jobs/default:{name}/commands"
            refused = penstock.no("POST", path, 409, "would_not_start", json={"kind": "restart"})
            assert "Version 2 is another one than the attempt before runs" in refused["detail"]
            assert penstock.job(name)["current_attempt"]["flink_job_id"] == runs
            penstock.done(name, "pause")
            penstock.no("POST", path, 409, "would_not_start", json={"kind": "start"})
            penstock.no("POST", path, 409, "would_not_start", json={"kind": "restart"})
            penstock.no("POST", path, 409, "would_not_start", json={"kind": "restart", "restore": {"mode": "newest"}})
            sent = penstock.send(name, "resubmit", restore={"mode": "newest"})
            notes = sent["state_verdict"]["notes"]
            assert "it was called" in notes[0], "it is compared with the plan that ran, not with that of the number"
            assert penstock.ended(name, sent["number"])["state"] == "SUCCEEDED"
        penstock.done(name, "kill")

    def test_nor_is_it_what_a_roll_back_goes_back_to(self, penstock: Penstock, tmp_path: Path):
        repo = repository(tmp_path / "repo")
        penstock.world.settings.git_local_roots.append(tmp_path)

        def add(*args: str) -> None:
            penstock.ok("POST", "/jobs/default:back/versions", json={"spec": jar(repo, "back", *args)})

        penstock.running("back", jar(repo, "back"), restart_policy={"enabled": False})
        kept = kept_of(penstock, "back")
        add("--two")
        penstock.done("back", "resubmit", version=2, restore={"mode": "none"})
        penstock.wait(30)
        without_version_two(penstock, "back", kept)
        add("--another-two")
        penstock.until(lambda: (penstock.job("back")["current_attempt"] or {}).get("number") == 2)
        add("--fails-after", "3")
        done = penstock.do("back", "resubmit", version=3, restore={"mode": "newest"}, rollback_within=60)
        assert (done["state"], "Version 2 is another one" in done["error"]) == ("FAILED", True), done
        assert penstock.job("back")["blocked"]["code"] == "another_version"
        penstock.done("back", "kill")

    def test_nor_by_the_restart_policy_once_and_again(self, penstock: Penstock):
        """A refusal that was taken for what ran would be the last one."""
        policy = {"initial_backoff": 1, "max_restarts": 5}
        penstock.running("thrice", restart_policy=policy)
        kept = kept_of(penstock, "thrice")
        penstock.ok("POST", "/jobs/default:thrice/versions", json={"spec": sql("thrice_two")})
        penstock.done("thrice", "resubmit", version=2, restore={"mode": "none"})
        without_version_two(penstock, "thrice", kept)
        penstock.ok("POST", "/jobs/default:thrice/versions", json={"spec": sql("thrice_other")})
        penstock.until(lambda: (penstock.job("thrice")["current_attempt"] or {}).get("number") == 2)
        one = penstock.flink_job("thrice")
        one.flink.fail(one, "java.lang.IllegalStateException: it cannot go on", restarts=False)
        penstock.until(lambda: penstock.state("thrice") == "BLOCKED")
        penstock.wait(120)
        assert penstock.state("thrice") == "BLOCKED"
        assert penstock.job("thrice")["blocked"]["code"] == "another_version"
        penstock.done("thrice", "kill")

    @pytest.mark.parametrize(("command", "state"), [("pause", "PAUSED"), ("kill", "KILLED")])
    def test_a_job_at_rest_is_shown_as_what_it_is(self, penstock: Penstock, command: str, state: str):
        name = f"rests-{command}"
        penstock.running(name)
        penstock.wait(30)
        kept = kept_of(penstock, name)
        penstock.done(name, command)
        attempt = penstock.world.row("SELECT state, ended_at FROM attempts WHERE job_id = ?", penstock.job(name)["id"])
        rolled_back(penstock, name, kept)
        change(
            penstock,
            "UPDATE attempts SET state = 'RUNNING', ended_at = NULL WHERE job_id = ?",
            penstock.job(name)["id"],
        )
        assert penstock.state(name) == "RUNNING"
        (found,) = [f for f in recover(penstock, name, dry_run=True) if "behind" in f["what"]]
        assert found["kind"] == "workflow"
        penstock.no("POST", f"/jobs/default:{name}/commands", 409, "command_not_allowed", json={"kind": "savepoint"})
        penstock.until(lambda: penstock.state(name) == state, 60)
        row = penstock.world.row("SELECT state, ended_at FROM attempts WHERE job_id = ?", penstock.job(name)["id"])
        assert row[0] == ("GONE" if command == "pause" else attempt[0])
        assert row[1] is not None

    def test_a_command_whose_end_was_lost_ends(self, penstock: Penstock):
        penstock.create("unended")
        kept = kept_of(penstock, "unended")
        penstock.done("unended", "start")
        penstock.wait(30)
        change(
            penstock,
            "UPDATE commands SET state = 'RUNNING', finished_at = NULL WHERE job_id = ?",
            penstock.job("unended")["id"],
        )
        rolled_back(penstock, "unended", kept)
        change(penstock, "UPDATE jobs SET state = 'DEPLOYING', busy = 'start' WHERE name = 'unended'")
        for _ in range(3):
            penstock.wait(70)
            recover(penstock, "unended")
        command = penstock.ended("unended", 1)
        assert (command["state"], "how it ended was lost" in command["error"]) == ("FAILED", True)
        assert penstock.state("unended") == "RUNNING"
        penstock.done("unended", "pause")


class TestRecovery:
    def test_a_policy_that_a_workflow_was_not_told(self, penstock: Penstock):
        penstock.running("untold")
        change(
            penstock,
            "UPDATE jobs SET policy = ?, savepoints = ? WHERE name = 'untold'",
            json.dumps({"max_restarts": 7}),
            json.dumps({"interval": 600}),
        )
        (found,) = recover(penstock, "untold", dry_run=True)
        assert (found["kind"], found["done"]) == ("policy", False)
        penstock.wait(4000)
        instance = penstock.world.temporal.running[workflow(penstock, "untold")]
        snapshot = instance.object.snapshot()
        assert (snapshot.policy.max_restarts, snapshot.savepoints.interval) == (7, 600)
        assert not recover(penstock, "untold", dry_run=True)
        penstock.done("untold", "kill")

    @pytest.mark.parametrize("what", ["unknown", "ended", "being-written"])
    def test_a_command_that_nobody_carries_out_any_more(self, penstock: Penstock, what: str):
        """A record of a workflow that was lost came after the next one had begun from the record before it. One that
        the workflow knows is written by the workflow, unless it has nothing left to write."""
        name = f"nobodys-{what}"
        penstock.running(name)
        sent = penstock.done(name, "savepoint")
        id_ = penstock.job(name)["id"]
        change(penstock, "PRAGMA foreign_keys = OFF")
        again = "state = 'RUNNING', finished_at = NULL, started_at = '2020-01-01 00:00:00'"
        again += ", id = 'unknown'" if what == "unknown" else ""
        change(penstock, f"UPDATE commands SET {again} WHERE job_id = ? AND number = ?", id_, sent["number"])
        less = 1 if what == "being-written" else 0
        change(penstock, f"UPDATE jobs SET busy = 'savepoint', revision = revision - {less} WHERE id = ?", id_)
        found = [f for f in recover(penstock, name) if f["kind"] == "command"]
        assert [f["done"] for f in found] == ([] if less else [True])
        row = penstock.ok("GET", f"/jobs/default:{name}/commands/{sent['number']}")
        code = {"unknown": "workflow_lost", "ended": "end_lost", "being-written": None}[what]
        assert (row["state"], row["error_code"]) == ("RUNNING" if less else "FAILED", code)
        assert penstock.job(name)["busy"] is None, "the row is written again where it is behind"
        penstock.done(name, "kill")

    def test_a_watch_that_is_lost(self, penstock: Penstock):
        id_ = next(i for i in penstock.world.temporal.running if i.startswith("cluster-") and i.endswith(":a"))
        penstock.world.temporal.lose(id_)
        found = [f for f in recover(penstock, "a") if f["kind"] == "watch"]
        assert [(f["subject"], f["done"]) for f in found] == [("a", True)]
        assert id_ in penstock.world.temporal.running

    def test_a_watch_whose_cluster_is_gone(self, penstock: Penstock):
        """It would end by itself, at its next look; where no worker looks, it runs on and on."""
        new = {
            "name": "gone",
            "jobmanager_url": "http://flink-x:8081",
            "gateway_url": "http://gateway-x:8083",
            "flink_version": "2.3.0",
            "state_dir": "sim://state",
        }
        penstock.ok("POST", "/clusters", json=new)
        id_ = next(i for i in penstock.world.temporal.running if i.startswith("cluster-") and i.endswith(":gone"))
        penstock.wait(10)  # until it is listed
        watch = penstock.world.temporal.running[id_]
        watch.process.frozen = True
        change(penstock, "DELETE FROM clusters WHERE name = 'gone'")
        (found,) = recover(penstock, id_)
        assert (found["what"], found["done"]) == ("a watch runs whose cluster is gone", True)
        penstock.world.temporal.lose(id_)

    def test_a_watch_whose_cluster_is_registered_again_meanwhile_is_left_alone(self, penstock: Penstock):
        """Between the look and the mend: no more than a double of the look gets between them."""
        id_ = next(i for i in penstock.world.temporal.running if i.startswith("cluster-") and i.endswith(":a"))
        penstock.wait(10)  # until it is listed
        look, none_at_first = _Run._watches, iter([True])

        async def watches(run: _Run) -> dict[str, str]:
            return {} if next(none_at_first, False) else await look(run)

        with mock.patch.object(_Run, "_watches", watches):
            (found,) = recover(penstock, id_)
        assert (found["done"], "has been registered again" in found["what"]) == (True, True)
        assert id_ in penstock.world.temporal.running

    def test_a_step_that_fails_is_told_and_the_others_are_taken(self, penstock: Penstock):
        penstock.running("others")
        penstock.world.temporal.lose(workflow(penstock, "others"))
        with mock.patch.object(clusters, "all_", side_effect=OSError("disk I/O error")):
            found = recover(penstock, "")
        (failed,) = [f for f in found if f["kind"] == "recovery"]
        assert (failed["subject"], failed["safe"], failed["done"]) == ("watches", False, False)
        assert "could not look at watches: disk I/O error" in failed["what"]
        assert [f["done"] for f in found if "others" in f["subject"]] == [True]

    def test_an_attempt_that_was_not_seen_to_end_while_its_job_rests(self, penstock: Penstock):
        """Nothing is mended: only a person can tell whether it still runs."""
        penstock.running("contradicted")
        penstock.done("contradicted", "kill")
        assert not recover(penstock, "contradicted", dry_run=True)
        id_ = penstock.job("contradicted")["id"]
        change(penstock, "UPDATE attempts SET ended_at = NULL WHERE job_id = ?", id_)
        (found,) = recover(penstock, "contradicted")
        assert (found["kind"], found["safe"], found["done"]) == ("attempt", False, False)
        assert "has not been seen to end, while the job is KILLED with attempt 1" in found["what"]
        assert penstock.flink_job("contradicted").id in found["action"]

    def test_a_command_that_its_job_does_not_allow_any_more(self, penstock: Penstock):
        """It was taken while Temporal was away; then the job became another."""
        penstock.running("changed")
        penstock.world.temporal.stop()
        sent = penstock.send("changed", "savepoint")
        state = penstock.world.temporal.running[workflow(penstock, "changed")].object.snapshot()
        state.state = JobState.KILLED
        penstock.world.temporal.start()
        ended = penstock.ended("changed", sent["number"])
        assert (ended["state"], ended["error_code"]) == ("FAILED", "command_not_allowed"), ended
        assert "savepoint failed" in timeline(penstock, "changed")

    def test_a_command_that_is_too_old_when_temporal_is_back(self, penstock: Penstock):
        penstock.running("too-late")
        penstock.world.temporal.stop()
        sent = penstock.send("too-late", "pause")
        penstock.wait(EXPIRY + 100)
        penstock.world.temporal.start()
        ended = penstock.ended("too-late", sent["number"])
        assert (ended["state"], "not carried out" in ended["error"]) == ("FAILED", True)
        assert penstock.state("too-late") == "RUNNING"
        penstock.done("too-late", "kill")


class TestFiles:
    def test_a_savepoint_that_was_never_completed_goes(self, penstock: Penstock):
        penstock.running("half", savepoint_policy={"keep_last": 2})
        id_ = penstock.job("half")["id"]
        penstock.done("half", "savepoint")
        at = next(p for p in penstock.world.disk.files if f"{id_}/savepoints/" in p)
        root = at[: at.index("/savepoints/")]
        folder = f"{root}/savepoints/1-abcdef/savepoint-1"
        penstock.world.disk.write(f"{folder}/part", b"x")
        penstock.wait(400)
        penstock.done("half", "savepoint")
        penstock.until(lambda: "was never completed" in timeline(penstock, "half"))
        assert not [p for p in penstock.world.disk.files if folder in p]
        penstock.done("half", "kill")

    def test_checkpoints_of_attempts_that_ended_go(self, penstock: Penstock):
        penstock.running("ended", savepoint_policy={"keep_last": 1, "keep_for": 0, "keep_attempts": 1})
        first = penstock.job("ended")["current_attempt"]["flink_job_id"]
        for _ in range(3):
            penstock.wait(25)
            penstock.done("ended", "restart")
        penstock.wait(1000)
        assert not [p for p in penstock.world.disk.files if first in p]
        assert "deleted the checkpoints of attempt 1" in timeline(penstock, "ended")
        last = penstock.job("ended")["current_attempt"]["flink_job_id"]
        assert [p for p in penstock.world.disk.files if last in p]
        penstock.done("ended", "kill")

    def test_a_newest_point_that_has_gone_is_told_whoever_saw_it_first(self, penstock: Penstock):
        """A look at the restore points, and the diagnosis of a failure, see it before the start that goes by them."""
        penstock.running("gone")
        penstock.wait(25)
        penstock.done("gone", "pause")
        newest = penstock.ok("GET", "/jobs/default:gone/restore-points")["items"][0]
        penstock.world.disk.remove(newest["path"])
        assert newest["id"] not in {p["id"] for p in penstock.ok("GET", "/jobs/default:gone/restore-points")["items"]}
        penstock.done("gone", "start")
        assert penstock.job("gone")["current_attempt"]["restored_from"] not in (None, newest["path"])
        assert f"newer restore points have gone from the disk: {newest['path']}" in timeline(penstock, "gone")
        told = timeline(penstock, "gone").count("have gone from the disk")
        penstock.wait(25)
        penstock.done("gone", "restart")
        assert timeline(penstock, "gone").count("have gone from the disk") == told, "it has newer ones of its own"
        penstock.done("gone", "kill")
