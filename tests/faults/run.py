"""Faults, one part at a time, while commands are carried out: at random, and at every step boundary."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.faults.judge import Attempt, Verdicts, check_history, read_audit
from tests.faults.sampler import FENCE, FINAL, Sampler, alive_at_once
from tests.faults.world import INTERVAL, UNITS, World, sql_of

BOUND = 300.0
"""Seconds in which every command has to end, and every job to come to rest."""
RESTS = ("RUNNING", "PAUSED", "KILLED", "FAILED", "BLOCKED", "FINISHED", "DEPLOY_FAILED", "CREATED")
QUESTION = 2.0
"""Seconds that two questions may take on a loaded machine."""
TRIES = 4
ENGINE = {
    "INITIALIZING": "RUNNING",
    "CREATED": "RUNNING",
    "RUNNING": "RUNNING",
    "FAILING": "RECOVERING",
    "RESTARTING": "RECOVERING",
    "RECONCILING": "RECOVERING",
    "SUSPENDED": "RECOVERING",
    "CANCELLING": "STOPPING",
}
"""Flink's states of what lives, in our words; not all tasks running counts as running here."""
ORDINARY = ("sql", "jar", "sql", "own-name")
ROLES = (*ORDINARY, "sums", "again", "adopted", "fails")
"""What the jobs are there for. own-name: a program that names its own job; sums: two INSERTs whose values tell a swap
of their state; again: deleted and made anew; adopted: begins past Penstock; fails: ends or fails by itself."""
WRITES_WITHIN = 15.0
"""Seconds in which a job that is shown RUNNING has to write something."""


@dataclass
class Job:
    """`path` is its audit file. `named` are the paths of the points that its commands named, by number of the command;
    `kept` what its attempts were when it was deleted."""

    ref: str
    name: str
    role: str
    id: str
    path: Path
    sent: dict[int, dict[str, Any]] = field(default_factory=dict)
    named: dict[int, str] = field(default_factory=dict)
    kept: list[dict[str, Any]] = field(default_factory=list)
    deleted_at: float | None = None


class Run:
    def __init__(self, world: World, seed: int, roles: Sequence[str] = ORDINARY):
        self.world, self.seed = world, seed
        self.random = random.Random(seed)
        self.verdicts = Verdicts()
        self.sampler = Sampler({"local": world.flink_url}, world.state)
        self.faults: Counter[str] = Counter()
        self.verbs: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        """What was refused with a reason, by verb and code."""
        self.boundaries: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.settled: dict[str, float] = {}
        """By kind of fault: the longest time from its end until every job was at rest, and as Flink says."""
        self._series: dict[str, Verdicts] = {}
        """Of each job's output as a whole, judged anew each time."""
        self.times: dict[str, list[float]] = {}
        """What was measured, in seconds."""
        self.gone: list[Job] = []
        """Jobs that have been deleted."""
        self._told: set[str] = set()
        self._began = time.time()
        self.jobs = [self.make(role, number) for number, role in enumerate(roles)]

    def make(self, role: str, number: int | str) -> Job:
        """A job of this role; `number` makes its audit file its own."""
        name, world = f"{role}-{number}" if role != "again" else "again", self.world
        path = world.home / "audit" / f"{role}-{number}"
        policy: dict[str, Any] = {}
        if role in ("sql", "again", "sums"):
            spec: dict[str, Any] = {"type": "sql", "sql": sql_of(path, operators_of(role, 1))}
        elif role == "fails":
            spec = world.jar_of(path, "bounded 40", **{"restart-strategy.type": "none"})
            policy = {"max_restarts": 2, "initial_backoff": 0.5, "max_backoff": 1}
        else:
            spec = world.jar_of(path, own_name="a name of its own" if role == "own-name" else None)
        return Job(f"default:{name}", name, role, world.create(name, spec, **policy), path)

    def of(self, *roles: str) -> list[Job]:
        return [job for job in self.jobs if job.role in roles]

    def say(self, words: str) -> None:
        line = f"{datetime.now():%H:%M:%S} {words}"
        print(line, flush=True)

    # Commands -------------------------------------------------------------------------------

    def body_for(self, job: Job, shown: dict[str, Any]) -> dict[str, Any] | None:
        """A command that the job's state allows."""
        state = shown["state"]
        newest, none = {"mode": "newest"}, {"mode": "none"}
        if state == "RUNNING":
            kind = self.random.choices(["pause", "restart", "savepoint", "resubmit", "kill"], [5, 5, 3, 3, 1])[0]
            return {"kind": kind, "restore": newest} if kind == "resubmit" else {"kind": kind}
        if state in ("KILLED", "FINISHED"):
            return {"kind": "start", "restore": self.random.choice([newest, none])}
        if state == "BLOCKED":
            return dict(shown["next_actions"][0]) if shown["next_actions"] else None
        return {"kind": "start"} if "start" in shown["allowed_commands"] else None

    def send(self, job: Job, body: dict[str, Any], *, verb: str = "ordinary") -> dict[str, Any] | None:
        """Send it until it is answered, then again with its key: the second answer is the same command. None when it
        was refused with a reason."""
        named = self._named(job, body)
        key, response = self.world.send(job.ref, body)
        if response.status_code in (409, 422) and response.json().get("code"):
            self.refused[f"{verb}: {response.json()['code']}"] += 1
            return None
        if response.status_code != 202:
            raise AssertionError(f"{job.ref} {body}: {response.status_code} {response.text}")
        command: dict[str, Any] = response.json()
        job.sent[command["number"]] = body
        if named is not None:
            job.named[command["number"]] = named
        headers = {"Idempotency-Key": key}
        again = self.world.insist("POST", f"/jobs/{job.ref}/commands", json=body, headers=headers)
        same = again.status_code == 202 and again.json()["id"] == command["id"]
        self.verdicts.check("a key acts once", same, f"{job.ref} {key}: {again.text}")
        return command

    def _named(self, job: Job, body: dict[str, Any]) -> str | None:
        """The path of the point that a command names."""
        point = (body.get("restore") or {}).get("point")
        if point is None or not point.startswith("rp-"):
            return point
        points = self.world.get(f"/jobs/{job.ref}/restore-points", limit=500)["items"]
        return next((p["path"] for p in points if p["id"] == point), None)

    def send_once(self, job: Job, body: dict[str, Any]) -> int:
        """Send it and return with its answer at once; the number of the command."""
        response = self.world.http.post(f"/jobs/{job.ref}/commands", json=body)
        assert response.status_code == 202, response.text
        number = int(response.json()["number"])
        job.sent[number] = body
        return number

    def end(self, job: Job, number: int) -> dict[str, Any] | None:
        try:
            ended = self.world.ended(job.ref, number, BOUND)
        except AssertionError:
            self.verdicts.check("every command ends", False, f"{job.ref} command {number}, after {BOUND:.0f} s")
            return None
        told = ended["state"] == "SUCCEEDED" or bool(ended["error"])
        self.verdicts.check("every command ends", told, f"{job.ref} command {number} ended without a cause")
        if ended["state"] != "SUCCEEDED":
            self.failed[f"{ended['kind']}: {ended['error_code']}"] += 1
            self.say(f"  {job.ref} {ended['kind']} {ended['state']}: {str(ended['error'])[:160]}")
        else:
            self._effect(job, ended)
        return ended

    def _effect(self, job: Job, ended: dict[str, Any]) -> None:
        """A command that says that it succeeded has done what it is for."""
        words = f"{job.ref} {ended['kind']} (command {ended['number']})"
        if ended["kind"] == "savepoint":
            asked = datetime.fromisoformat(ended["created_at"]).timestamp()
            self.sampler.wait_for_scan()
            found = [p for p in self.sampler.points_of([job.id]) if "/savepoint-" in p.path]
            good = any(p.done > asked - 700 for p in found)  # the clock of the API may have been stepped
            self.verdicts.check("success has its effect", good, f"{words}: no savepoint on the disk")
        elif ended["kind"] in ("start", "restart", "resubmit") and ended["attempt"] is not None:
            attempts = {a["number"]: a["flink_job_id"] for a in self.attempts(job)}
            self.sampler.wait_for_scan()
            listed = {jid for _, jid in self.sampler.jobs}
            good = attempts.get(ended["attempt"]) in listed
            self.verdicts.check("success has its effect", good, f"{words}: Flink never had attempt {ended['attempt']}")

    def do(self, job: Job, body: dict[str, Any], *, verb: str = "ordinary") -> dict[str, Any] | None:
        command = self.send(job, body, verb=verb)
        return self.end(job, command["number"]) if command else None

    def attempts(self, job: Job) -> list[dict[str, Any]]:
        if job.deleted_at is not None:
            return job.kept
        found: list[dict[str, Any]] = self.world.get(f"/jobs/{job.ref}/attempts", limit=500)["items"]
        return found

    # The judge's last look ------------------------------------------------------------------

    def come_to(self, job: Job, *wanted: str) -> None:
        """Wait until a job that ends by itself has come to one of these states, or is BLOCKED."""
        deadline, state = time.time() + BOUND, ""
        while state not in (*wanted, "BLOCKED") and time.time() < deadline:
            state = str(self.world.get(f"/jobs/{job.ref}")["state"])
            time.sleep(0.5)
        words = f"{job.ref} is {state} after {BOUND:.0f} s, not {wanted}"
        self.verdicts.check("our view is Flink's", state in (*wanted, "BLOCKED"), words)

    def rest(self, job: Job, *wanted: str | None) -> dict[str, Any]:
        """Wait until a job has come to rest, and Flink says the same of it as we do."""
        deadline = time.time() + BOUND
        why: Any = None
        while time.time() < deadline:
            try:
                shown = self.world.http.get(f"/jobs/{job.ref}").json()
                why = f"{shown['state']} {shown['reason'][:100]} busy={shown['busy']}"
                if shown["state"] in RESTS and not shown["busy"] and self._agrees(job, shown):
                    wrong = any(wanted) and shown["state"] not in (*wanted, "BLOCKED")
                    self.verdicts.check("the state that was asked for", not wrong, f"{job.ref} is {why}, not {wanted}")
                    if shown["state"] == "BLOCKED":
                        good = bool(shown["blocked"] and shown["blocked"]["evidence"] and shown["next_actions"])
                        self.verdicts.check("blocked with a reason", good, f"{job.ref}: {shown['blocked']}")
                        self.say(f"  {job.ref} BLOCKED: {shown['reason'][:200]}")
                    return shown
            except Exception as error:
                why = repr(error)
            time.sleep(0.5)
        self.verdicts.check("our view is Flink's", False, f"{job.ref} after {BOUND:.0f} s: {why}")
        return {"state": "?", "allowed_commands": [], "next_actions": []}

    def living(self) -> dict[str, str]:
        """The Flink jobs that live now, on all clusters, and their states. Raises when one cannot be asked."""
        found = {}
        for job in self.world.flink.get("/jobs/overview").json()["jobs"]:
            if job["state"] not in FINAL and job["name"] != FENCE + job["jid"]:
                found[job["jid"]] = job["state"]
        return found

    def ids(self, job: Job) -> set[str]:
        """The Flink jobs of a job: by its attempts, and by what has written its output."""
        return {a["flink_job_id"] for a in self.attempts(job)} | {line.writer for line in read_audit(job.path)}

    def _alive(self, job: Job) -> dict[str, str]:
        ids = self.ids(job)
        return {jid: state for jid, state in self.living().items() if jid in ids}

    def _agrees(self, job: Job, shown: dict[str, Any]) -> bool:
        alive = self._alive(job)
        current = shown["current_attempt"]
        if shown["state"] == "RUNNING":
            return alive == {current["flink_job_id"]: "RUNNING"}
        # What cannot be told apart from alive is said to be so; more than one may never be.
        return not alive or (shown["state"] == "BLOCKED" and len(alive) == 1)

    def view(self) -> None:
        """With nothing going on, our view is Flink's within two intervals of the watch, and what runs writes."""
        for job in self.jobs:
            self.rest(job)
        sizes = {job.ref: size_of(job.path) for job in self.jobs}
        time.sleep(2 * INTERVAL)
        for job in self.jobs:
            deadline, seen = time.time() + 2 * INTERVAL + QUESTION, ("", "")
            while not (agrees := seen[0] == seen[1] != "") and time.time() < deadline:
                seen = self._views(job)
                time.sleep(0.2)
            self.verdicts.check("our view is Flink's", agrees, f"{job.ref}: {seen[0]} for us, {seen[1]} for Flink")
            deadline = time.time() + WRITES_WITHIN
            while not (grows := size_of(job.path) > sizes[job.ref]) and time.time() < deadline:
                time.sleep(0.5)
            shown = self.world.get(f"/jobs/{job.ref}") if not grows else {}
            silent = shown.get("state") == "RUNNING" and job.role != "fails"
            self.verdicts.check("what is shown RUNNING writes", not silent, f"{job.ref}: {shown.get('reason')}")

    def _views(self, job: Job) -> tuple[str, str]:
        """The living attempt and its state as we show it, and as Flink does; "none" when nothing lives."""
        alive = [f"{jid} {ENGINE[state]}" for jid, state in self._alive(job).items()]
        shown = self.world.get(f"/jobs/{job.ref}")
        attempt = shown["current_attempt"]
        living = attempt is not None and attempt["ended_at"] is None
        ours = f"{attempt['flink_job_id']} {attempt['engine_state']}" if living else "none"
        return ours.replace("STARTING", "RUNNING"), ", ".join(alive) or "none"

    def output(self) -> None:
        """What the jobs have written so far, held against the points and the starts; counted by id."""
        known = set(self.world.strangers)
        for job in [*self.jobs, *self.gone]:
            lines, rows = read_audit(job.path), self.attempts(job)
            ids = {row["flink_job_id"] for row in rows} | {line.writer for line in lines}
            known |= {row["flink_job_id"] for row in rows}
            fresh = Verdicts()
            points = self.sampler.points_of([job.id, *(ids & self.world.strangers)])
            started = self._started(job, rows)
            check_history(
                f"{job.ref} ({job.path.name})", lines, points, started, fresh, units=UNITS, deleted_at=job.deleted_at
            )
            twice = alive_at_once(self.sampler, ids)
            fresh.check("one attempt alive", not twice, f"{job.ref}: {'; '.join(twice)}")
            seen = {attempt.number for attempt in started}
            causes = Counter(r["cause"].split(":")[0] for r in rows if r["number"] in seen and r["cause"])
            again = [cause for cause, n in causes.items() if n > 1 and cause.startswith("command")]
            fresh.check("a command starts one attempt", not again, f"{job.ref}: {again}")
            unknown = sorted({line.writer for line in lines} - known)
            fresh.check("every writer is an attempt", not unknown, f"{job.ref}: {unknown}")
            self._series[str(job.path)] = fresh
        strangers = [seen for seen in list(self.sampler.jobs.values()) if seen.id not in known]
        fresh = Verdicts()
        fresh.check("every Flink job is an attempt", not strangers, f"{strangers[:5]}")
        self._series[""] = fresh

    def _started(self, job: Job, rows: Sequence[dict[str, Any]]) -> list[Attempt]:
        """The attempts that Flink has had, with what Flink says of them and what a person had asked for."""
        found = []
        begun = {jid: seen.at for (_, jid), seen in list(self.sampler.jobs.items())}
        for row in rows:
            jid = row["flink_job_id"]
            if jid not in begun:
                continue
            word, _, number = row["cause"].partition(":")[0].partition(" ")
            command = int(number) if word == "command" and number.isdigit() else 0
            restore = job.sent.get(command, {}).get("restore") or {}
            restored = self.sampler.restored.get(jid)
            own = restored is not None and f"/{jid}/" in restored  # it was asked too late: Flink had restarted it
            asked = "none" if jid in self.world.strangers else restore.get("mode")
            found.append(
                Attempt(
                    jid,
                    row["number"],
                    begun[jid],
                    restored,
                    told=jid in self.sampler.restored and not own,
                    asked=asked,
                    named=job.named.get(command) if asked == "point" else None,
                )
            )
        return found

    def keep(self) -> None:
        """The data of these jobs is about to go: what has been judged stays."""
        for job in self.jobs:
            job.kept, job.deleted_at = self.attempts(job), time.time()
        self.gone += self.jobs
        self.jobs = []

    def clean(self) -> None:
        """Nothing is left behind: processes, temporary folders, gateway sessions, orphans."""
        deadline = time.time() + 150
        left: list[str] = ["not looked"]
        while left and time.time() < deadline:
            left = self.world.leftovers() + self._sessions() + [str(o) for o in self.world.get("/orphans")["items"]]
            time.sleep(1)
        self.verdicts.check("nothing is left behind", not left, "; ".join(left[:10]))

    def _sessions(self) -> list[str]:
        url, proxy = f"http://127.0.0.1:{self.world.ports['gateway']}", self.world.proxies["gateway"]
        for handle in list(proxy.sessions):
            try:
                if httpx.get(f"{url}/v2/sessions/{handle}", timeout=5, trust_env=False).status_code != 200:
                    proxy.sessions.discard(handle)
            except httpx.HTTPError:
                continue
        return [f"gateway session {handle}" for handle in proxy.sessions]

    def report(self) -> dict[str, Any]:
        counts = Counter(self.verdicts.counts)
        broken = list(self.verdicts.broken)
        for series in self._series.values():
            counts.update(series.counts)
            broken += series.broken
        return {
            "seed": self.seed,
            "seconds": round(time.time() - self._began),
            "faults": sum(self.faults.values()) + sum(self.boundaries.values()),
            "by_kind": dict(sorted(self.faults.items())),
            "verbs": dict(sorted(self.verbs.items())),
            "refused": dict(sorted(self.refused.items())),
            "boundaries": dict(sorted(self.boundaries.items())),
            "invariants": dict(sorted(counts.items())),
            "commands": sum(len(j.sent) for j in [*self.jobs, *self.gone]),
            "commands_failed": dict(self.failed),
            "longest_seconds_to_rest": dict(sorted(self.settled.items())),
            "looks_at_the_clusters": self.sampler.looks,
            "seconds_measured": self.times,
            "broken": broken,
        }

    def close(self) -> dict[str, Any]:
        self.sampler.stop()
        made = self.report()
        Path(self.world.home, "report.json").write_text(json.dumps(made, indent=2))
        return made

    # Modes ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """All jobs have been started."""
        with together(self.do, [(job, {"kind": "start"}) for job in self.jobs]):
            pass
        for job in self.jobs:
            if job.role == "fails":
                self.come_to(job, "FINISHED")
            else:
                self.rest(job, "RUNNING")

    def tell_broken(self) -> None:
        for words in self.report()["broken"]:
            if words not in self._told:
                self._told.add(words)
                self.say(f"  BROKEN {words}")

    def every_boundary(self, until: float = math.inf) -> None:
        found = self.discover()
        pairs = [(kind, point) for kind, points in found.items() for point in points]
        self.say(f"{len(pairs)} boundaries: " + ", ".join(f"{kind} {len(p)}" for kind, p in found.items()))
        self.random.shuffle(pairs)
        self.at_boundaries(pairs, until)

    def discover(self) -> dict[str, list[str]]:
        """The boundaries that each kind of command passes, found by passing them."""
        found: dict[str, list[str]] = {}
        job = self.jobs[0]
        for kind in ("savepoint", "restart", "resubmit", "pause", "start", "kill"):
            self.prepare(job, kind)
            trace = self.world.faults / "trace" / job.id
            trace.write_text("")
            self.do(job, body_of(kind))
            # A job's own check comes when it will, and belongs to no command.
            passed = [point for point in trace.read_text().split() if not point.startswith("check.")]
            found[kind] = list(dict.fromkeys(passed))
        self.prepare(job, "savepoint")
        return found

    def prepare(self, job: Job, kind: str) -> None:
        """Bring a job to where `kind` can be sent."""
        shown = self.rest(job)
        if kind == "start":
            if shown["state"] not in ("RUNNING", "PAUSED"):
                self.do(job, body_of("restart", newest=True))
                shown = self.rest(job, "RUNNING")
            if shown["state"] == "RUNNING":
                self.do(job, {"kind": "pause"})
                self.rest(job, "PAUSED")
        elif shown["state"] != "RUNNING":
            body = {"kind": "start"} if shown["state"] == "PAUSED" else body_of("restart", newest=True)
            self.do(job, body)
            self.rest(job, "RUNNING")
            self._checkpointed(job)

    def _checkpointed(self, job: Job) -> None:
        jid = self.world.get(f"/jobs/{job.ref}")["current_attempt"]["flink_job_id"]
        self.world.until(
            lambda: self.world.flink.get(f"/jobs/{jid}/checkpoints").json()["counts"]["completed"] > 0,
            f"{job.ref} has completed a checkpoint",
        )

    def at_boundaries(self, wanted: list[tuple[str, str]], until: float = math.inf) -> None:
        """Crash at each of `wanted` (kind of command, point), several jobs at a time. None is begun after `until`
        (seconds, as of `time.monotonic`)."""
        queue = list(wanted)
        lock = threading.Lock()

        def serve(job: Job) -> None:
            while True:
                with lock:
                    if not queue or time.monotonic() > until:
                        return
                    kind, point = queue.pop(0)
                    left = len(queue)
                try:
                    self.crash_at(job, kind, point, left)
                except Exception as error:
                    self.verdicts.check("the harness works", False, f"{job.ref} {kind} {point}: {error!r}")

        with together(serve, [(job,) for job in self.of(*ORDINARY)]):
            pass
        self.view()
        self.output()
        self.tell_broken()

    def crash_at(self, job: Job, kind: str, point: str, left: int) -> None:
        """Until it was hit: another job's crash may have taken the process away just before."""
        for _ in range(TRIES):
            if self._crash_at(job, kind, point, left):
                self.boundaries[f"{kind} {point}"] += 1
                return
        self.verdicts.check("every boundary was hit", False, f"{job.ref} {kind} {point}")

    def _crash_at(self, job: Job, kind: str, point: str, left: int) -> bool:
        self.prepare(job, kind)
        name = f"{job.id}@{point}"
        (self.world.faults / "armed" / name).touch()
        self.say(f"{left:3} left: {job.name} {kind} dies at {point}")
        ended = self.do(job, body_of(kind))
        hit = self.world.faults / "hit" / name
        was_hit = hit.exists()
        hit.unlink(missing_ok=True)
        (self.world.faults / "armed" / name).unlink(missing_ok=True)
        good = ended is not None and ended["state"] == "SUCCEEDED"
        self.verdicts.check("a crash fails no command", good, f"{job.ref} {kind} at {point}: {ended}")
        self.rest(job, wanted_state(body_of(kind), ended))
        return was_hit


@contextmanager
def together(work: Callable[..., Any], items: Sequence[tuple[Any, ...]]) -> Iterator[None]:
    """`work` on all `items` at the same time, and beside the block; all have ended when it is left."""
    threads = [threading.Thread(target=work, args=item) for item in items]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def body_of(kind: str, newest: bool = False) -> dict[str, Any]:
    return {"kind": kind, "restore": {"mode": "newest"}} if newest or kind == "resubmit" else {"kind": kind}


def wanted_state(body: dict[str, Any] | None, ended: dict[str, Any] | None) -> str | None:
    """What a job has to be after a command that succeeded; None when it did not, or changes no state."""
    if body is None or ended is None or ended["state"] != "SUCCEEDED":
        return None
    return {"pause": "PAUSED", "kill": "KILLED"}.get(body["kind"], "RUNNING")


def operators_of(role: str, version: int) -> tuple[str, ...]:
    """The INSERTs of a SQL job in the order of this version: that of `sums` changes with each."""
    if role != "sums":
        return ("count",)
    return ("small", "big") if version % 2 else ("big", "small")


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
