"""Faults, one part at a time, while commands are carried out: at random, and at every step boundary."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.faults.judge import FINAL, Sampler, Start, Verdicts, check_series, read_file, read_prints
from tests.faults.proxy import Mode
from tests.faults.world import INTERVAL, World

BOUND = 300.0
"""Seconds in which every command has to end, and every job to come to rest."""
RESTS = ("RUNNING", "PAUSED", "KILLED", "FAILED", "BLOCKED", "FINISHED", "DEPLOY_FAILED", "CREATED")
QUESTION = 2.0
"""Seconds that two questions may take on a loaded machine."""
TRIES = 4
ENGINE = {
    "INITIALIZING": "RUNNING", "CREATED": "RUNNING", "RUNNING": "RUNNING", "FAILING": "RECOVERING",
    "RESTARTING": "RECOVERING", "RECONCILING": "RECOVERING", "SUSPENDED": "RECOVERING", "CANCELLING": "STOPPING",
}  # fmt: skip
"""Flink's states of what lives, in our words; not all tasks running counts as running here."""
KILLS = ["api", "worker-1", "worker-2", "worker-1", "worker-2", "temporal", "jobmanager", "taskmanager", "gateway",
         "database"]  # fmt: skip
CUTS = [("jobmanager", m) for m in Mode if m is not Mode.PASS] + [("gateway", m) for m in Mode if m is not Mode.PASS]
CUTS += [(p, m) for p in ("temporal", "database", "api") for m in (Mode.REFUSE, Mode.HANG, Mode.DROP)]


@dataclass
class Job:
    ref: str
    name: str
    kind: str
    id: str
    sent: dict[int, dict[str, Any]] = field(default_factory=dict)
    keys: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


class Run:
    def __init__(self, world: World, seed: int, jobs: int = 4):
        self.world, self.seed = world, seed
        self.random = random.Random(seed)
        self.verdicts = Verdicts()
        self.sampler = Sampler(f"http://127.0.0.1:{world.ports['jobmanager']}", world.state, self.verdicts)
        self.faults: Counter[str] = Counter()
        self.boundaries: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.settled: dict[str, float] = {}
        """By kind of fault: the longest time from its end until every job was at rest, and as Flink says."""
        self._series: dict[str, Verdicts] = {}
        """Of each job's output as a whole, judged anew each time."""
        self.jobs: list[Job] = []
        self._began = time.time()
        for number in range(jobs):
            kind = "jar" if number % 2 else "sql"
            name = f"counter-{kind}-{number}"
            ref = world.create(name, kind)
            self.jobs.append(Job(ref, name, kind, world.get(f"/jobs/{ref}")["id"]))

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

    def send(self, job: Job, body: dict[str, Any]) -> dict[str, Any] | None:
        """Send it until it is answered, then again with its key: the second answer is the same command."""
        key, response = self.world.send(job.ref, body)
        if response.status_code == 409:
            return None
        if response.status_code != 202:
            raise AssertionError(f"{job.ref} {body}: {response.status_code} {response.text}")
        command: dict[str, Any] = response.json()
        job.sent[command["number"]] = body
        headers = {"Idempotency-Key": key}
        again = self.world.insist("POST", f"/jobs/{job.ref}/commands", json=body, headers=headers)
        same = again.status_code == 202 and again.json()["id"] == command["id"]
        self.verdicts.check("a key acts once", same, f"{job.ref} {key}: {again.text}")
        return command

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
        return ended

    def do(self, job: Job, body: dict[str, Any]) -> dict[str, Any] | None:
        command = self.send(job, body)
        return self.end(job, command["number"]) if command else None

    # The judge's last look ------------------------------------------------------------------

    def rest(self, job: Job, wanted: str | None = None) -> dict[str, Any]:
        """Wait until a job has come to rest, and Flink says the same of it as we do."""
        deadline = time.time() + BOUND
        why: Any = None
        while time.time() < deadline:
            try:
                shown = self.world.http.get(f"/jobs/{job.ref}").json()
                why = f"{shown['state']} {shown['reason'][:100]} busy={shown['busy']}"
                if shown["state"] in RESTS and not shown["busy"] and self._agrees(job, shown):
                    wrong = wanted is not None and shown["state"] not in (wanted, "BLOCKED")
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

    def _alive(self, job: Job) -> dict[str, str]:
        """The living Flink jobs of a job and their states, as the JobManager tells."""
        jobs = self.world.flink.get("/jobs/overview").json()["jobs"]
        return {j["jid"]: j["state"] for j in jobs if j["name"] == job.ref and j["state"] not in FINAL}

    def _agrees(self, job: Job, shown: dict[str, Any]) -> bool:
        alive = self._alive(job)
        if shown["state"] == "RUNNING":
            return alive == {shown["current_attempt"]["flink_job_id"]: "RUNNING"}
        return not alive

    def view(self) -> None:
        """With nothing going on, our view is Flink's within two intervals of the watch."""
        for job in self.jobs:
            self.rest(job)
        time.sleep(2 * INTERVAL)
        for job in self.jobs:
            deadline, seen = time.time() + 2 * INTERVAL + QUESTION, ("", "")
            while not (agrees := seen[0] == seen[1] != "") and time.time() < deadline:
                seen = self._views(job)
                time.sleep(0.2)
            self.verdicts.check("our view is Flink's", agrees, f"{job.ref}: {seen[0]} for us, {seen[1]} for Flink")

    def _views(self, job: Job) -> tuple[str, str]:
        """The living attempt and its state as we show it, and as Flink does; "none" when nothing lives."""
        alive = [f"{jid} {ENGINE[state]}" for jid, state in self._alive(job).items()]
        shown = self.world.get(f"/jobs/{job.ref}")
        attempt = shown["current_attempt"]
        living = attempt is not None and attempt["ended_at"] is None
        ours = f"{attempt['flink_job_id']} {attempt['engine_state']}" if living else "none"
        return ours.replace("STARTING", "RUNNING"), ", ".join(alive) or "none"

    def output(self) -> None:
        """What the jobs have written so far, held against the points and the starts."""
        log = self.world.processes.log("taskmanager")
        prints = read_prints(log, [j.name for j in self.jobs if j.kind == "sql"])
        for job in self.jobs:
            lines = prints[job.name] if job.kind == "sql" else read_file(self.world.home / f"{job.name}.out")
            attempts = {a["flink_job_id"]: a for a in self.world.get(f"/jobs/{job.ref}/attempts", limit=500)["items"]}
            empty = {f"command {n}:" for n, b in job.sent.items() if (b.get("restore") or {}).get("mode") == "none"}
            starts = [
                Start(jid, at, empty=attempts[jid]["cause"].startswith(tuple(empty)) if empty else False)
                for jid, at in list(self.sampler.starts[job.ref].items())
                if jid in attempts
            ]
            fresh = Verdicts()
            check_series(job.ref, lines, list(self.sampler.points[job.id].values()), starts, fresh)
            self._series[job.ref] = fresh
            by_cause = Counter(a["cause"] for a in attempts.values() if a["cause"].startswith("command"))
            twice = [cause for cause, n in by_cause.items() if n > 1]
            self.verdicts.check("a command starts one attempt", not twice, f"{job.ref}: {twice}")
            strangers = [j for j in self.sampler.starts[job.ref] if j not in attempts]
            self.verdicts.check("every Flink job is an attempt", not strangers, f"{job.ref}: {strangers}")

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
            "by_part": dict(sorted(self.faults.items())),
            "boundaries": dict(sorted(self.boundaries.items())),
            "invariants": dict(sorted(counts.items())),
            "commands": sum(len(j.sent) for j in self.jobs),
            "commands_failed": dict(self.failed),
            "longest_seconds_to_rest": dict(sorted(self.settled.items())),
            "broken": broken,
        }

    def close(self) -> dict[str, Any]:
        self.sampler.stop()
        made = self.report()
        Path(self.world.home, "report.json").write_text(json.dumps(made, indent=2))
        return made

    # Modes ----------------------------------------------------------------------------------

    def begin(self) -> None:
        """All jobs running, each with a checkpoint."""
        with together(self.do, [(job, {"kind": "start"}) for job in self.jobs]):
            pass
        for job in self.jobs:
            self.rest(job, "RUNNING")

    def inject(self) -> str:
        """One fault of one part; returns which, when it is over."""
        how = self.random.choice(["kill", "kill", "freeze", "cut"])
        if how == "kill":
            part, away = self.random.choice(KILLS), self.random.uniform(0, 3)
            words = f"kill {part}"
            self.say(f"fault: {words}, away {away:.1f} s")
            self.world.kill(part, away)
        elif how == "freeze":
            part, seconds = self.random.choice(KILLS), self.random.choice([1, 3, 6, 16])
            words = f"freeze {part}"
            self.say(f"fault: {words} for {seconds} s")
            self.world.freeze(part, seconds)
        else:
            (part, mode), seconds = self.random.choice(CUTS), self.random.uniform(1, 6)
            words = f"cut {part} {mode.value}"
            self.say(f"fault: {words} for {seconds:.1f} s")
            self.world.cut(part, mode, seconds)
        self.faults[words] += 1
        return words

    def at_random(self, faults: int) -> None:
        """Each round: commands to some jobs, a fault in the middle, then all has to come to rest."""
        for number in range(faults):
            chosen = self.random.sample(self.jobs, self.random.randint(1, min(3, len(self.jobs))))
            bodies = [(job, self.body_for(job, self.world.get(f"/jobs/{job.ref}"))) for job in chosen]
            ended: dict[str, dict[str, Any] | None] = {}

            def carry(job: Job, body: dict[str, Any], ended: dict[str, Any] = ended) -> None:
                ended[job.ref] = self.do(job, body)

            self.say(f"round {number + 1} of {faults}: " + ", ".join(f"{j.name} {b['kind']}" for j, b in bodies if b))
            with together(carry, [pair for pair in bodies if pair[1]]):
                time.sleep(self.random.choice([0.0, 0.05, 0.2, 0.5, 1.0, 1.5]))
                fault = self.inject()
                over = time.time()
            for job, body in bodies:
                self.rest(job, wanted_state(body, ended.get(job.ref)))
            for job in self.jobs:
                self.rest(job)
            self.settled[fault] = max(self.settled.get(fault, 0.0), round(time.time() - over, 1))
            if number % 5 == 4:
                self.view()
                self.output()
                self._tell_broken()

    def _tell_broken(self) -> None:
        broken = self.report()["broken"]
        for words in broken[-5:]:
            self.say(f"  BROKEN {words}")

    def discover(self) -> dict[str, list[str]]:
        """The boundaries that each kind of command passes, found by passing them."""
        found: dict[str, list[str]] = {}
        job = self.jobs[0]
        for kind in ("savepoint", "restart", "resubmit", "pause", "start", "kill"):
            self.prepare(job, kind)
            trace = self.world.faults / "trace" / job.id
            trace.write_text("")
            self.do(job, body_of(kind))
            found[kind] = list(dict.fromkeys(trace.read_text().split()))
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

    def at_boundaries(self, wanted: list[tuple[str, str]]) -> None:
        """Crash at each of `wanted` (kind of command, point), several jobs at a time."""
        queue = list(wanted)
        lock = threading.Lock()

        def serve(job: Job) -> None:
            while True:
                with lock:
                    if not queue:
                        return
                    kind, point = queue.pop(0)
                    left = len(queue)
                try:
                    self.crash_at(job, kind, point, left)
                except Exception as error:
                    self.verdicts.check("the harness works", False, f"{job.ref} {kind} {point}: {error!r}")

        with together(serve, [(job,) for job in self.jobs]):
            pass
        self.view()
        self.output()
        self._tell_broken()

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
