"""What a person does: one verb each, done to the end while parts are hurt. A refusal with a reason is an answer."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.faults.run import Job, Run, body_of, operators_of, size_of, wanted_state
from tests.faults.world import FINAL, sql_of

SPELLINGS: dict[str, Callable[[dict[str, Any]], str]] = {
    "id": lambda point: str(point["id"]),
    "uri": lambda point: uri(point),
    "path": lambda point: uri(point).removeprefix("file://"),
    "one slash": lambda point: "file:" + uri(point).removeprefix("file://"),
    "slash at the end": lambda point: uri(point) + "/",
    "doubled slash": lambda point: uri(point).removeprefix("file://").replace("/savepoints/", "//savepoints//"),
}
"""Of one point, as people and tools write it."""
FAILS = ("bounded 60", "throws 40", "refuses")


def uri(point: dict[str, Any]) -> str:
    path = str(point["path"])
    return path if path.startswith("file:///") else "file://" + path.removeprefix("file:")


class Verbs:
    def __init__(self, run: Run, chance: random.Random):
        self._run, self._world, self._random = run, run.world, chance
        self._lives = 0
        self.kinds: dict[str, tuple[tuple[str, ...], Callable[[Job], None]]] = {
            "ordinary": (("sql", "jar", "own-name"), self.ordinary),
            "savepoint": (("sql", "jar", "own-name", "sums"), self.savepoint),
            "named-point": (("sql", "jar", "own-name", "sums"), self.named_point),
            "changed-sql": (("sums",), self.changed_sql),
            "recreate": (("again",), self.recreate),
            "delete-race": (("again",), self.delete_race),
            "patch-job": (("sql", "jar", "own-name", "sums"), self.patch_job),
            "patch-cluster": (("sql",), self.patch_cluster),
            "fails-itself": (("fails",), self.fails_itself),
            "adopt": (("adopted",), self.adopt),
        }

    def jobs_for(self, kind: str) -> list[Job]:
        return self._run.of(*self.kinds[kind][0])

    def do(self, kind: str, job: Job) -> None:
        self.kinds[kind][1](job)
        self._run.verbs[kind] += 1

    # Each of them ----------------------------------------------------------------------------

    def ordinary(self, job: Job) -> None:
        body = self._run.body_for(job, self._shown(job))
        if body is not None:
            self._run.rest(job, wanted_state(body, self._run.do(job, body)))

    def savepoint(self, job: Job) -> None:
        self._run.do(job, {"kind": "savepoint"}, verb="savepoint")

    def named_point(self, job: Job) -> None:
        """A restore point by name, in one of the spellings of its path; not always the newest."""
        if not any(p["kind"] == "savepoint" for p in self._points(job)):
            self._run.do(job, {"kind": "savepoint"})
        points = [p for p in self._points(job) if p["kind"] == "savepoint"] or self._points(job)
        if not points:
            return
        kind = "resubmit" if job.role == "sums" or self._random.random() < 0.5 else "restart"
        self._send_named(job, kind, self._random.choice(points[:3]))

    def _send_named(self, job: Job, kind: str, point: dict[str, Any], **more: Any) -> None:
        spelling = self._random.choice(sorted(SPELLINGS))
        restore = {"mode": "point", "point": SPELLINGS[spelling](point)}
        body = {"kind": kind, "restore": restore, **more}
        command = self._run.send(job, body, verb=f"named-point {spelling}")
        if command is not None:
            self._run.end(job, command["number"])

    def changed_sql(self, job: Job) -> None:
        """The INSERTs change their places: the state of each has to stay with it."""
        latest = int(self._world.get(f"/jobs/{job.ref}")["latest_version"])
        spec = {"type": "sql", "sql": sql_of(job.path, operators_of(job.role, latest + 1))}
        made = self._world.insist("POST", f"/jobs/{job.ref}/versions", json={"spec": spec})
        assert made.status_code == 201, made.text
        points = [p for p in self._points(job) if p["kind"] == "savepoint"]
        if points and self._random.random() < 0.5:
            self._send_named(job, "resubmit", points[0])
        else:
            self._run.do(job, body_of("resubmit"), verb="changed-sql")

    def recreate(self, job: Job) -> None:
        """DELETE, then a new job of that name, which begins with nothing of the old one."""
        self._delete(job)
        self._run.do(self._anew(job), {"kind": "start"}, verb="recreate")

    def delete_race(self, job: Job) -> None:
        """DELETE and `start` at the same moment: one of them is refused, or nothing runs."""
        self._delete(job)
        racing = self._anew(job)
        answers: dict[str, int] = {}

        def ask(name: str, method: str, path: str, **more: Any) -> None:
            time.sleep(self._random.uniform(0, 0.012))
            answers[name] = self._world.insist(method, path, **more).status_code

        threads = [
            threading.Thread(
                target=ask, args=("start", "POST", f"/jobs/{racing.ref}/commands"), kwargs={"json": {"kind": "start"}}
            ),
            threading.Thread(target=ask, args=("delete", "DELETE", f"/jobs/{racing.ref}")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._run.say(f"  start {answers['start']}, delete {answers['delete']}")
        if answers["delete"] in (204, 404):  # 404: the answer to an earlier try was lost
            self._was_deleted(racing, [])
            self._anew(racing)
        else:
            self._run.rest(racing)

    def _delete(self, job: Job) -> None:
        """Until it is gone; what runs is killed first."""
        deadline = time.time() + 300
        while time.time() < deadline:
            shown = self._world.insist("GET", f"/jobs/{job.ref}")
            if shown.status_code == 404:
                return
            rows = self._run.attempts(job)
            answer = self._world.insist("DELETE", f"/jobs/{job.ref}")
            if answer.status_code in (204, 404):
                self._was_deleted(job, rows)
                return
            self._run.do(job, {"kind": "kill"}, verb="recreate")
            time.sleep(0.5)
        self._run.verdicts.check("a job can be deleted", False, f"{job.ref}: {answer.status_code} {answer.text}")

    def _was_deleted(self, job: Job, rows: list[dict[str, Any]]) -> None:
        job.deleted_at, job.kept = time.time(), rows
        self._run.jobs.remove(job)
        self._run.gone.append(job)
        found = self._world.insist("GET", f"/jobs/{job.id}").status_code
        self._run.verdicts.check("what is deleted is gone", found == 404, f"{job.ref} {job.id}: {found}")

    def _anew(self, job: Job) -> Job:
        self._lives += 1
        made = self._run.make(job.role, f"life-{self._lives}")
        self._run.verdicts.check("a new job is another", made.id != job.id, f"{job.ref}: {made.id} twice")
        self._run.jobs.append(made)
        return made

    def patch_job(self, job: Job) -> None:
        before = self._shown(job)["restart_policy"]
        policy = {**before, "max_backoff": self._random.randint(5, 9)}
        changes = {"labels": {"lives": str(self._random.randint(1, 99))}, "restart_policy": policy}
        answer = self._world.insist("PATCH", f"/jobs/{job.ref}", json=changes)
        shown = self._shown(job)
        good = answer.status_code == 200 and shown["restart_policy"] == policy and shown["labels"] == changes["labels"]
        self._run.verdicts.check(
            "a PATCH counts", good, f"{job.ref} {changes}: {answer.status_code} {answer.text[:300]}"
        )
        self.ordinary(job)

    def patch_cluster(self, job: Job) -> None:
        """Another Flink's address for a cluster on which jobs run: refused, and nothing is started there."""
        self._world.start_second()
        self._run.sampler.add("second", self._world.second_url)
        answer = self._world.insist("PATCH", "/clusters/local", json={"jobmanager_url": self._world.second_url})
        refused = 400 <= answer.status_code < 500
        words = f"PATCH of the address of local: {answer.status_code}"
        self._run.verdicts.check("a cluster in use keeps its address", refused, words)
        if refused:
            self._run.refused[f"patch-cluster: {answer.json().get('code')}"] += 1
            return
        time.sleep(8)
        self._world.insist("PATCH", "/clusters/local", json={"jobmanager_url": self._world.proxied_flink})
        self._world.until(lambda: not self._world.clear_second(), "the second Flink runs nothing")

    def fails_itself(self, job: Job) -> None:
        """Ends, fails again and again, or does not even start; what we say of it is what Flink says."""
        how = self._random.choice(FAILS)
        spec = self._world.jar_of(job.path, how, **{"restart-strategy.type": "none"})
        made = self._world.insist("POST", f"/jobs/{job.ref}/versions", json={"spec": spec})
        assert made.status_code == 201, made.text
        body = {"kind": "resubmit", "version": made.json()["number"], "restore": {"mode": "none"}}
        ended = self._run.do(job, body, verb="fails-itself")
        self._run.say(f"  {job.name} {how}")
        if ended is None:
            return
        wanted = {"b": ("FINISHED",), "t": ("FAILED",), "r": ("DEPLOY_FAILED",)}[how[0]]
        if ended["state"] == "SUCCEEDED" and how == "refuses":
            self._run.verdicts.check("success has its effect", False, f"{job.ref}: a program that throws was started")
        if ended["state"] == "SUCCEEDED" or how == "refuses":
            self._run.come_to(job, *wanted)

    def adopt(self, job: Job) -> None:
        """A Flink job that was started past Penstock becomes the attempt of a job."""
        shown = self._shown(job)
        if "adopt" not in shown["allowed_commands"]:
            self._run.do(job, {"kind": "kill"}, verb="adopt")
            shown = self._shown(job)
        if "adopt" not in shown["allowed_commands"] or not self._silent(job):
            return
        try:
            jid = self._world.start_stranger(job.path)
        except (httpx.HTTPError, AssertionError) as error:
            self._run.say(f"  no stranger to adopt: {error!r}"[:160])
            self._world.until(lambda: self._ended_by_hand(job), "what was started past Penstock has ended")
            return
        ended = self._run.do(job, {"kind": "adopt", "flink_job_id": jid}, verb="adopt")
        if ended is None or ended["state"] != "SUCCEEDED":
            self._world.until(lambda: self._ended_by_hand(job), "what was started past Penstock has ended")

    def _silent(self, job: Job) -> bool:
        """Whether nothing writes its output any more, however it was started."""
        size = size_of(job.path)
        time.sleep(2)
        return size == size_of(job.path)

    def _ended_by_hand(self, job: Job) -> bool:
        """Cancel those of ours that no job has adopted."""
        owned = {a["flink_job_id"] for a in self._run.attempts(job)}
        living = False
        for seen in self._world.flink.get("/jobs").json()["jobs"]:
            if seen["id"] in self._world.strangers - owned and seen["status"] not in FINAL:
                living = True
                self._world.flink.patch(f"/jobs/{seen['id']}", params={"mode": "cancel"})
        return not living and self._silent(job)

    # ------------------------------------------------------------------------------------------

    def _shown(self, job: Job) -> dict[str, Any]:
        shown: dict[str, Any] = self._world.get(f"/jobs/{job.ref}")
        return shown

    def _points(self, job: Job) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._world.get(f"/jobs/{job.ref}/restore-points")["items"]
        return found
