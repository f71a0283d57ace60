"""The judge: looks at what Flink really runs, at the disk and at the clock; our tables only to compare.

It knows an attempt by its Flink job id, by the folder that its checkpoints go to, and by what it writes to; never by its
name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.simulation.flink import Flink, Job, Point

if TYPE_CHECKING:
    from tests.simulation.world import World

ALIVE_STATES = ("RUNNING", "DEPLOYED")
RESTING = ("CREATED", "PAUSED", "KILLED", "FINISHED", "FAILED", "DEPLOY_FAILED")


@dataclass(frozen=True)
class Violation:
    invariant: str
    words: str
    at: float

    def __str__(self) -> str:
        return f"{self.invariant}: {self.words} (at {self.at:.1f} s)"


@dataclass
class Sent:
    """A command as the driver sent it. `restore` is (mode, point)."""

    kind: str
    restore: tuple[str, str | None] | None
    at: float


@dataclass
class Lineage:
    """What was accepted last: attempts from `first` on (in the order in which Flink took them) follow from one another,
    and the first of them began from `root`."""

    first: int = 0
    root: str | None = None


class Judge:
    def __init__(self, world: World):
        self.world = world
        self.violations: list[Violation] = []
        self.jobs: list[Job] = []
        self.points: dict[str, Point] = {}
        self.writing: list[Job] = []
        self.ever_wrote: set[str] = set()
        self.sent: dict[tuple[str, int], Sent] = {}
        self.asking: dict[str, Sent] = {}
        """The command that was sent to each job last, while its number is not known yet."""
        self.last_command: dict[str, float] = {}
        """When a command of each job was last seen to end."""
        self.lineages: dict[str, Lineage] = {}
        self.deleted: set[str] = set()
        self.foreign: set[str] = set()
        self.by_hand: set[str] = set()
        self.told_alive: set[str] = set()
        """Jobs of which Penstock has said that an attempt believed to have ended is alive: a kill has to end it."""
        self.ended_at: dict[str, float] = {}
        self.pause_failed: dict[str, float] = {}
        self.lost_running: dict[str, float] = {}
        self.plain_loss: dict[str, float] = {}
        """When Flink jobs were lost with their JobManager after all else had been well for a while."""
        self.judged_commands: set[str] = set()
        self.counts: dict[str, int] = {}
        self._order = 0

    def broken(self, invariant: str, words: str) -> None:
        self.world.tell(f"!! {invariant}: {words}")
        self.violations.append(Violation(invariant, words, self.world.loop.time()))

    def looked(self, invariant: str) -> None:
        self.counts[invariant] = self.counts.get(invariant, 0) + 1

    def next_order(self) -> int:
        self._order += 1
        return self._order

    # What Flink tells of itself --------------------------------------------------------------

    def name(self, job: Job) -> str:
        return f"Flink job {job.id[:6]} ({self.world.name_of(job.owner)}, on {job.flink.name})"

    def accepted(self, job: Job) -> None:
        self.jobs.append(job)
        self.world.tell(
            f"Flink takes {self.name(job)}" + (f", restored from {short(job.restore)}" if job.restore else "")
        )
        if job.program.does_nothing or job.owner in self.foreign:
            return
        if job.owner in self.deleted:
            self.broken("deleted is gone", f"{self.name(job)} was submitted after its job had been deleted")
        if job.id not in self.by_hand:
            self._restore(job)
            self._wanted(job)

    def _wanted(self, job: Job) -> None:
        """After a kill or a pause that has SUCCEEDED nothing is sent, until somebody wants it."""
        self.looked("what nobody asked for is not done")
        ended = "SELECT COALESCE(MAX(number), 0) FROM commands WHERE job_id = ? AND kind IN ('kill', 'pause') AND state = 'SUCCEEDED'"
        last = self.world.row(ended, job.owner)[0]
        wanted = "SELECT 1 FROM commands WHERE job_id = ? AND kind IN ('start', 'restart', 'resubmit', 'adopt') AND number > ?"
        if last and not self.world.row(wanted, job.owner, last):
            self.broken(
                "what nobody asked for is not done", f"{self.name(job)} was submitted after command {last} had ended it"
            )

    def was_under_way(self, job: Job) -> bool:
        """Sent to an address at which another Flink had begun to answer moments before: who is there is asked right
        before a submission, and nothing can be asked in between."""
        begun = self.world.stranger_since
        return job.flink is self.world.stranger and begun is not None and job.asked_at - begun < 15

    def was_deleted(self, owner: str) -> None:
        """DELETE was answered with success."""
        self.deleted.add(owner)
        self.looked("deleted is gone")
        for job in self.alive(owner):
            if job.id not in self.by_hand:
                self.broken(
                    "deleted is gone", f"{self.world.name_of(owner)} was deleted, and {self.name(job)} is {job.state}"
                )

    def writes(self, job: Job) -> None:
        self.ever_wrote.add(job.id)
        self.looked("one attempt makes progress")
        for other in self.writing:
            if other.owner == job.owner or (other.program.output and other.program.output == job.program.output):
                if job.id in self.by_hand or other.id in self.by_hand:
                    continue
                how = "whose JobManager is gone, and whose tasks still run" if other.lost else other.state
                self.broken("one attempt makes progress", f"{self.name(job)} writes beside {self.name(other)}, {how}")
        self.writing.append(job)
        self.world.tell(f"{self.name(job)} writes")

    def writes_no_more(self, job: Job) -> None:
        if job in self.writing:
            self.writing.remove(job)

    def ended(self, job: Job) -> None:
        self.ended_at[job.id] = self.world.loop.time()
        self.world.tell(f"{self.name(job)} is {job.state}")

    def cancelled(self, job: Job) -> None:
        if job.owner in self.foreign:
            self.broken("a second installation is never touched", f"{self.name(job)} was cancelled")

    def triggered(self, job: Job | None, job_id: str, trigger: str, stop: bool) -> None:
        if job is not None and job.owner in self.foreign:
            self.broken("a second installation is never touched", f"{self.name(job)} was asked for a savepoint")

    def completed(self, point: Point) -> None:
        self.points[point.path] = point

    def deleted_point(self, path: str) -> None:
        self.points.pop(path, None)

    def jobmanager_killed(self, flink: Flink) -> None:
        now = self.world.loop.time()
        self.world.tell(f"the JobManager of {flink.name} is killed")
        for job in flink.jobs.values():
            if not job.final and not flink.ha:
                self.lost_running[job.id] = now
                if now - self.world.trouble_at > 90:
                    self.plain_loss[job.id] = now

    def restored(self, job: Job) -> None:
        """Each operator has to have the state that it made."""
        self.looked("each operator gets the state it made")
        meanings = {o.uid: o.meaning for o in job.program.operators}
        for uid, (meaning, _) in job.counted.items():
            if meanings.get(uid) != meaning:
                self.broken(
                    "each operator gets the state it made",
                    f"{self.name(job)}: {meanings.get(uid)!r} was given the state of {meaning!r}",
                )

    # Restores -------------------------------------------------------------------------------

    def points_of(self, owner: str) -> list[Point]:
        disk = self.world.disk
        found = [
            p
            for p in self.points.values()
            if p.owner == owner and f"{p.path}/_metadata".removeprefix("sim://") in disk.files
        ]
        return sorted(found, key=lambda p: (p.order, p.number))

    def _restore(self, job: Job) -> None:
        self.looked("restored from the newest point or the accepted one")
        row = self.world.row("SELECT a.number, a.cause, a.job_id FROM attempts a WHERE a.flink_job_id = ?", job.id)
        if row is None:
            self.broken("an attempt is written down before it is sent", f"{self.name(job)} has no row")
            return
        number, cause, owner = row
        request = self._request(owner, str(cause))
        points = self.points_of(owner)
        lineage = self.lineages.setdefault(owner, Lineage(first=job.order))
        mode, named = request or ("auto", None)
        if mode == "none":
            allowed: set[str | None] = {None}
        elif mode == "point":
            allowed = {named}
        elif mode == "newest":
            allowed = {points[-1].path if points else None}
        else:
            within = [p for p in points if p.order >= lineage.first]
            allowed = {within[-1].path if within else lineage.root}
        if mode in ("none", "point"):
            self.lineages[owner] = Lineage(first=job.order, root=job.restore)
        elif mode == "newest" and points and points[-1].order < lineage.first:
            self.lineages[owner] = Lineage(first=points[-1].order, root=None)
        if normal(job.restore) not in {normal(a) for a in allowed}:
            self.broken(
                "restored from the newest point or the accepted one",
                f"attempt {number} ({cause}) was restored from {short(job.restore)} instead of "
                f"{' or '.join(short(a) for a in allowed)}",
            )

    def _request(self, owner: str, cause: str) -> tuple[str, str | None] | None:
        """What a person asked for with the command that this attempt is the work of; None: nobody, or nothing."""
        words = cause.split()
        if cause.startswith("command ") and words[1].rstrip(":").isdigit():
            sent = self.sent.get((owner, int(words[1].rstrip(":")))) or self.asking.get(owner)
            return sent.restore if sent else None
        if cause.startswith("rollback of command"):
            path = self.world.row(
                "SELECT restored_from FROM attempts WHERE job_id = ? ORDER BY number DESC LIMIT 1", owner
            )
            return ("point", path[0]) if path and path[0] else None
        return None

    # Commands -------------------------------------------------------------------------------

    def on_commit(self, touched: set[str]) -> None:
        if "commands" not in touched:
            return
        for id_, job_id, number, kind, state, attempt, error in self.world.rows(
            "SELECT id, job_id, number, kind, state, attempt, error FROM commands WHERE state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')"
        ):
            if id_ not in self.judged_commands:
                self.judged_commands.add(id_)
                self.world.tell(
                    f"{kind} of {self.world.name_of(job_id)} is {state}" + (f": {error[:160]}" if error else "")
                )
                if error and "is alive on the cluster" in error:
                    self.told_alive.add(job_id)
                self._command(job_id, number, kind, state, attempt)

    def alive(self, owner: str) -> list[Job]:
        """Flink jobs of a job that can make progress, now or later."""
        found = [j for f in self.world.flinks for j in f.jobs.values() if j.owner == owner and not j.final]
        found = [j for j in found if not self.was_under_way(j)]
        return [
            *(j for j in found if not j.program.does_nothing),
            *(j for f in self.world.flinks for j in f.zombies if j.owner == owner),
            *(j for f in self.world.flinks for j in f.coming if j.owner == owner),
        ]

    def _command(self, owner: str, number: int, kind: str, state: str, attempt: int | None) -> None:
        now = self.world.loop.time()
        sent = self.sent.get((owner, number))
        self.last_command[owner] = now
        if kind == "pause":
            if state == "SUCCEEDED":
                self.pause_failed.pop(owner, None)
            else:
                self.pause_failed[owner] = now
        elif state == "SUCCEEDED":
            self.pause_failed.pop(owner, None)
        if sent is not None:
            self._took(sent, kind, owner, now)
        if state != "SUCCEEDED":
            return
        self.looked("SUCCEEDED implies its effect")
        known = kind == "kill" and owner in self.told_alive
        alive = [j for j in self.alive(owner) if j.id not in self.by_hand or known]
        who = self.world.name_of(owner)
        if kind in ("kill", "pause") and alive:
            self.broken(
                "SUCCEEDED implies its effect",
                f"{kind} of {who} SUCCEEDED, and {self.name(alive[0])} is {alive[0].state}",
            )
        lost = any(j.owner == owner and j.lost for j in self.jobs)
        if kind == "pause" and not self.points_of(owner) and not lost:
            self.broken("SUCCEEDED implies its effect", f"pause of {who} SUCCEEDED, and it has no restore point")
        if kind == "savepoint" and sent is not None:
            taken = [p for p in self.points_of(owner) if p.savepoint and p.done >= sent.at]
            if not taken:
                self.broken("SUCCEEDED implies its effect", f"savepoint of {who} SUCCEEDED, and there is none")
        if kind in ("start", "restart", "resubmit"):
            row = self.world.row(
                "SELECT flink_job_id FROM attempts WHERE job_id = ? AND number = ?", owner, attempt or 0
            )
            if row is None or row[0] not in self.ever_wrote:
                self.broken(
                    "SUCCEEDED implies its effect", f"{kind} of {who} SUCCEEDED, and attempt {attempt} never ran"
                )

    def _took(self, sent: Sent, kind: str, owner: str, now: float) -> None:
        """How long a command may take. What its parts were away for is not counted."""
        self.looked("every command ends in bounded time")
        bound = self.world.bound(kind)
        took = now - max(sent.at, self.world.well_since if self.world.well_since is not None else now)
        if took > bound:
            self.broken(
                "every command ends in bounded time",
                f"{kind} of {self.world.name_of(owner)} took {took:.0f} s with all its parts well; {bound:.0f} s are allowed",
            )
        most = self.world.bound("any")
        if now - sent.at - self.world.blind(sent.at, now) > most:
            self.broken(
                "every command ends in bounded time",
                f"{kind} of {self.world.name_of(owner)} took {now - sent.at:.0f} s; {most:.0f} s are allowed whatever the cluster does",
            )

    def _asked_for(self, job_id: str, name: str, state: str, reason: str) -> None:
        """A job rests only as somebody wanted it since it was last started: nobody cancels anything on the cluster by
        hand here. Not started at all it is only after a start that failed."""
        if state == "FINISHED":
            self.looked("what nobody asked for is not done")
            query = "SELECT a.flink_job_id FROM jobs j JOIN attempts a ON a.job_id = j.id AND a.number = j.current_attempt WHERE j.id = ?"
            current = self.world.row(query, job_id)
            ended = next((j for j in self.jobs if current and j.id == current[0]), None)
            if ended is not None and ended.stopped and ended.id not in self.by_hand:
                self.broken(
                    "what nobody asked for is not done",
                    f"{name} is FINISHED ({reason}), and {self.name(ended)} was stopped with a savepoint",
                )
        starts = "'start', 'restart', 'resubmit', 'adopt'"
        wanted = {"KILLED": "'kill'", "PAUSED": "'pause'", "DEPLOY_FAILED": starts}.get(state)
        if wanted is None:
            return
        self.looked("what nobody asked for is not done")
        began = f"SELECT COALESCE(MAX(number), 0) FROM commands WHERE job_id = ? AND kind IN ({starts})"
        query = f"SELECT 1 FROM commands WHERE job_id = ? AND kind IN ({wanted}) AND number > ({began} AND state = ?)"
        if not self.world.row(query, job_id, job_id, "SUCCEEDED"):
            self.broken(
                "what nobody asked for is not done",
                f"{name} is {state} ({reason}), and nobody sent {wanted} since it was started",
            )

    # At rest --------------------------------------------------------------------------------

    def view(self) -> None:
        """All parts have been well for a while: what Penstock shows is what is."""
        now, world = self.world.loop.time(), self.world
        for job_id, name, state, busy, current, reason in world.rows(
            "SELECT id, name, state, busy, current_attempt, reason FROM jobs WHERE deleted_at IS NULL"
        ):
            self.looked("whatever Flink says, our view says")
            row = world.row(
                "SELECT flink_job_id, ended_at FROM attempts WHERE job_id = ? AND number = ?", job_id, current or 0
            )
            flink_job = next((j for j in reversed(self.jobs) if row and j.id == row[0]), None)
            if busy or flink_job is None:
                continue
            gone = flink_job.final or (flink_job.lost and flink_job not in self.writing)
            since = self.ended_at.get(flink_job.id, self.lost_running.get(flink_job.id, now))
            since = max(since, self.last_command.get(job_id, 0.0))
            if gone and self._can_be_known(job_id) and state in ALIVE_STATES and now - since > world.view_bound:
                self.broken(
                    "whatever Flink says, our view says",
                    f"{name} is shown {state} ({reason}), and {self.name(flink_job)} has been "
                    f"{'lost' if flink_job.lost else flink_job.state} for {now - since:.0f} s",
                )

    def _can_be_known(self, job_id: str) -> bool:
        """Beside the state it is shown whether the cluster can be asked; that is said of a stranger, too. And what has
        gone to a stranger unseen may live there."""
        told = self.world.row(
            "SELECT c.unreachable_since FROM clusters c JOIN jobs j ON j.cluster = c.name WHERE j.id = ?", job_id
        )
        elsewhere = any(j.owner == job_id and not j.final and self.was_under_way(j) for j in self.jobs)
        return told is not None and told[0] is None and not elsewhere

    def at_rest(self) -> None:
        """Long after the last fault."""
        world, now = self.world, self.world.loop.time()
        for job_id, number, kind, state in world.rows(
            "SELECT c.job_id, c.number, c.kind, c.state FROM commands c JOIN jobs j ON j.id = c.job_id "
            "WHERE c.state IN ('PENDING', 'RUNNING') AND j.deleted_at IS NULL"
        ):
            sent = self.sent.get((job_id, number))
            if sent is None or now - max(sent.at, world.well_since or now) > world.bound(kind):
                self.broken("every command ends in bounded time", f"{kind} of {world.name_of(job_id)} is still {state}")
        rows = world.rows(
            "SELECT id, project, name, state, busy, current_attempt, revision, workflow_id, reason FROM jobs WHERE deleted_at IS NULL"
        )
        live = set()
        for job_id, project, name, state, busy, current, revision, workflow_id, reason in rows:
            live.add(job_id)
            self.looked("nothing is left behind")
            alive = [j for j in self.alive(job_id) if j.id not in self.by_hand]
            row = world.row("SELECT flink_job_id FROM attempts WHERE job_id = ? AND number = ?", job_id, current or 0)
            if not busy:
                if state in RESTING and alive:
                    self.broken(
                        "nothing is left behind",
                        f"{name} is {state} ({reason}), and {self.name(alive[0])} is {alive[0].state}",
                    )
                for other in alive:
                    if state in ALIVE_STATES and row is not None and other.id != row[0]:
                        self.broken("nothing is left behind", f"{self.name(other)} is alive beside the current attempt")
                ended = [self.ended_at.get(j.id, 0.0) for j in self.jobs if j.owner == job_id]
                # While a command is carried out, it looks, and nobody else.
                since = max([*ended, self.last_command.get(job_id, 0.0)])
                if (
                    self._can_be_known(job_id)
                    and state in ALIVE_STATES
                    and not self.alive(job_id)
                    and now - since > world.view_bound
                ):
                    self.broken(
                        "whatever Flink says, our view says", f"{name} is shown {state}, and nothing of it is alive"
                    )
                self._asked_for(job_id, name, state, reason)
                if state == "PAUSED" and job_id in self.pause_failed and row is not None:
                    failed, lost = self.pause_failed[job_id], self.plain_loss.get(row[0])
                    if lost is not None and lost - failed > 90:
                        self.broken(
                            "whatever Flink says, our view says",
                            f"{name} is PAUSED ({reason}): a pause that failed {lost - failed:.0f} s before the cluster "
                            "lost the job decides what that loss means",
                        )
            if revision and world.workflow_id(project, name, workflow_id) not in world.temporal.running:
                self.broken("whatever is not deleted is reachable", f"{name} has no workflow")
        for owner in self.deleted:
            for job in self.alive(owner):
                self.broken("deleted is gone", f"{self.name(job)} is {job.state}, and its job was deleted")
        for id_, instance in world.temporal.running.items():
            if (
                instance.name == "JobWorkflow"
                and instance.id not in world.foreign_workflows
                and instance.object is not None
            ):
                owner = getattr(instance.object, "_s", None)
                if owner is not None and owner.job_id not in live:
                    self.broken("deleted is gone", f"the workflow {id_} of a deleted job still runs")
            if instance.stuck:
                self.broken("no workflow is stuck", f"{id_}: {instance.stuck}")
        for id_ in world.foreign_workflows:
            if id_ not in world.temporal.running:
                self.broken("a second installation is never touched", f"its workflow {id_} was ended")
        for flink in world.flinks:
            for job in flink.jobs.values():
                if job.owner in self.foreign and job.final:
                    self.broken("a second installation is never touched", f"{self.name(job)} is {job.state}")


def normal(path: str | None) -> str | None:
    return path.rstrip("/") if path else None


def short(path: str | None) -> str:
    return "nothing" if path is None else "/".join(path.split("/")[-2:])


def summary(violations: Sequence[Violation]) -> Any:
    return [str(v) for v in violations]
