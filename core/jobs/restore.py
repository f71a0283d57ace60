"""Which state an attempt starts from: one pure function, every row of it tested.

The rules are those of `docs/decisions/0003-restore-rules.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.errors import InvalidInput
from core.jobs.states import CommandKind, JobState
from core.paths import PointPath, of_point

NOTHING: Mapping[int, int] = {}


class RestoreKind(StrEnum):
    SAVEPOINT = "savepoint"
    CHECKPOINT = "checkpoint"


class RestorePoint(BaseModel):
    """A completed savepoint or retained checkpoint whose `_metadata` has been seen."""

    model_config = ConfigDict(frozen=True)
    id: str
    kind: RestoreKind
    path: PointPath
    completed_at: datetime
    attempt: int
    version: int
    number: int | None = Field(default=None, description="Flink's number of it, which grows within an attempt")


class RestoreRequest(BaseModel):
    """What the caller of a command asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    mode: Literal["newest", "none", "point"] = Field(
        description="newest: the newest completed restore point of this job; none: start empty; "
        "point: the one named in `point`"
    )
    point: PointPath | None = Field(
        default=None,
        max_length=2048,
        description="Id of a restore point of this job, or a path in any spelling (`/p`, `file:/p`, `file:///p/`); "
        "with mode point",
    )
    allow_non_restored_state: bool = Field(
        default=False, description="Start although some state of the restore point has no operator any more"
    )
    accept_changed_state: bool = Field(
        default=False,
        description="SQL: drop the state of operators that keep something else now (verdict INCOMPATIBLE); what "
        "`force` of the command sets",
    )
    accept_unknown_state: bool = Field(
        default=False,
        description="SQL: start although it is not known what made this state, or whether it fits (verdict UNKNOWN): "
        "it may be given to other operators than those that made it",
    )

    @model_validator(mode="after")
    def _point_goes_with_mode(self) -> RestoreRequest:
        if (self.mode == "point") != (self.point is not None):
            raise ValueError("`point` is given with mode `point`, and only then")
        return self

    @property
    def accepted(self) -> Accepted:
        return Accepted(
            loss=self.allow_non_restored_state or self.accept_changed_state,
            change=self.accept_changed_state,
            unknown=self.accept_unknown_state,
        )


class Accepted(BaseModel):
    """What a person has accepted of a restore: that state is lost, that operators which keep something else now begin
    empty, that nobody knows what made it."""

    model_config = ConfigDict(frozen=True)
    loss: bool = False
    change: bool = False
    unknown: bool = False


class Basis(StrEnum):
    """What the job's past says about its next start."""

    FRESH = "fresh"  # no attempt of it has ever run
    NEWEST = "newest"  # its state is to be kept
    DECIDE = "decide"  # a person gave the state up, or it came to its end


def basis_of_killed(basis: Basis, attempts: int) -> Basis:
    """What a kill leaves. A person has given the state up, and decides about it; but a job of which no attempt was ever
    made, and so none was ever sent (its first build was killed, say), has none to decide about. `attempts` is how many
    the job has made: each is counted before it is written down, and written down before it is sent."""
    return basis if basis is Basis.FRESH and attempts == 0 else Basis.DECIDE


class Choice(BaseModel):
    """Where the next attempt starts. `point` None means empty; `why` is told on the timeline."""

    model_config = ConfigDict(frozen=True)
    path: str | None
    point: RestorePoint | None = None
    why: str


class Missing(BaseModel):
    """A restore point is due and none is there: the job is BLOCKED, never started empty in silence."""

    model_config = ConfigDict(frozen=True)
    why: str


def needs_decision(kind: CommandKind, basis: Basis, *, changes_version: bool) -> bool:
    """Whether the caller has to send `restore` with this command."""
    if basis is Basis.FRESH:
        return False
    return kind is CommandKind.RESUBMIT or changes_version or basis is Basis.DECIDE


def resolve_request(
    job: str,
    kind: CommandKind,
    state: JobState,
    basis: Basis,
    request: RestoreRequest | None,
    *,
    changes_version: bool,
    stateless: bool = False,
) -> RestoreRequest:
    """The restore mode that a start, restart or resubmit works with.

    Raises `InvalidInput` when a person has to decide and has not, or has and there is no state.
    """
    if stateless:
        if request is not None and request.mode != "none":
            raise InvalidInput(
                f"Job {job} has no state of its own: there is nothing to restore it from.",
                code="field_unused",
                field="restore",
                remedy="Leave `restore` out.",
            )
        return RestoreRequest(mode="none")
    if request is not None:
        return request
    if needs_decision(kind, basis, changes_version=changes_version):
        because = "the version changes" if kind is CommandKind.RESUBMIT or changes_version else f"it is {state.value}"
        raise InvalidInput(
            f"Job {job}: {kind.value} needs `restore`, because {because} and only you can say what its state is worth.",
            code="restore_undecided",
            field="restore",
            remedy='Send {"mode": "newest"}, {"mode": "none"} or {"mode": "point", "point": "<id or path>"}.',
        )
    return RestoreRequest(mode="none" if basis is Basis.FRESH else "newest")


Age = tuple[int, bool, int, datetime, bool, str]


def _age_among(points: Iterable[RestorePoint], taken_up: Mapping[int, int]) -> Callable[[RestorePoint], Age]:
    """Of these, later is greater: by attempt first, by Flink's number within the attempt, and by time where not all of
    its points tell their number; a savepoint wins a tie, then the id.

    Attempts follow one another, and clocks do not have to agree about it: the times of two attempts may come from two
    machines, or from one whose clock was set back. For `taken_up` see `StateLineage`.
    """
    by_time = {point.attempt for point in points if point.number is None}

    def age(point: RestorePoint) -> Age:
        attempt = taken_up.get(point.attempt, point.attempt)
        number = 0 if point.number is None or point.attempt in by_time else point.number
        savepoint = point.kind is RestoreKind.SAVEPOINT
        return attempt, point.attempt in taken_up, number, point.completed_at, savepoint, point.id

    return age


def newest(points: Sequence[RestorePoint], taken_up: Mapping[int, int] = NOTHING) -> RestorePoint | None:
    """The one that was made last; None of none."""
    return max(points, key=_age_among(points, taken_up), default=None)


def newest_first(points: Collection[RestorePoint], taken_up: Mapping[int, int] = NOTHING) -> list[RestorePoint]:
    """The one that was made last comes first; `taken_up` as in `newest`."""
    return sorted(points, key=_age_among(points, taken_up), reverse=True)


class StateLineage(BaseModel):
    """The attempts whose state follows from one another, up to the last one.

    `first` is the attempt that began it: the last one that a person started empty or from a named
    point. `root` is the path that one was restored from, None when it began empty. `untouched` says
    that no checkpoint or savepoint has completed since: True only when that is known for certain. `taken_up` are
    attempts that had been believed ended, and were adopted again after later ones had been made: what such an attempt
    makes is newer than what attempts up to that one made.
    """

    model_config = ConfigDict(frozen=True)
    first: int = 1
    root: PointPath | None = None
    untouched: bool = True
    taken_up: dict[int, int] = {}

    def adopted(self, attempt: int, last: int) -> StateLineage:
        """The lineage once `attempt` has been adopted, when `last` is the last one that was made."""
        again = {attempt: last} if attempt < last else {}
        update = {"first": min(self.first, attempt), "untouched": False, "taken_up": {**self.taken_up, **again}}
        return self.model_copy(update=update)

    def taken_over(self, attempt: int) -> StateLineage:
        """The one that begins with `attempt`, which was started past Penstock: nobody knows from what, and nothing
        that this job had before belongs to it."""
        return StateLineage(first=attempt, untouched=False, taken_up=self.taken_up)

    def begun(self, attempt: int, root: str | None) -> StateLineage:
        """The one that begins with `attempt`, started empty or from the path `root`."""
        return StateLineage(first=attempt, root=root, taken_up=self.taken_up)


def choose(
    request: RestoreRequest,
    points: Sequence[RestorePoint],
    lineage: StateLineage,
    *,
    asked: bool,
    without: Sequence[str] = (),
) -> Choice | Missing:
    """Pick the restore point.

    `points` are this job's own, each with its `_metadata` seen; `asked` says that a person sent
    `restore` with this command. A person's `newest` looks at all points; an automatic one stays in the
    lineage, so that state which a person has given up does not come back. `without` are paths that have
    failed to restore, and that the policy passes over.
    """
    if request.mode == "none":
        return Choice(path=None, why="starts empty, as asked" if asked else "starts empty: its first start")
    if request.mode == "point":
        named = str(request.point)
        for point in points:
            if named in (point.id, point.path):
                return Choice(path=point.path, point=point, why=f"restored from the named {point.kind.value}")
        return Choice(path=named, why="restored from the path that was named")
    candidates = [p for p in points if asked or p.attempt >= lineage.first]
    failed = {of_point(path) for path in without}
    best = newest([p for p in candidates if p.path not in failed], lineage.taken_up)
    if best is not None and without:
        return Choice(
            path=best.path,
            point=best,
            why=f"restored from the {best.kind.value} before: {', '.join(without)} could not be restored "
            f"(completed {best.completed_at:%Y-%m-%d %H:%M:%S} UTC)",
        )
    if best is not None:
        return Choice(
            path=best.path,
            point=best,
            why=f"restored from the newest {best.kind.value}, completed {best.completed_at:%Y-%m-%d %H:%M:%S} UTC",
        )
    if asked:
        return Missing(why="the newest restore point was asked for, and this job has none")
    if without:
        return Missing(why=f"{', '.join(without)} could not be restored, and this job has no older restore point")
    if lineage.untouched and lineage.root is None:
        return Choice(
            path=None,
            why="starts empty as it did before: no checkpoint had completed yet, so there is no state to lose",
        )
    if lineage.untouched:
        return Choice(
            path=lineage.root, why="restored from the point it had started from: no checkpoint had completed since"
        )
    return Missing(
        why="no completed restore point of this job could be found, and starting empty would lose its state in silence"
    )


def newer_than(
    choice: Choice, vanished: Sequence[RestorePoint], lineage: StateLineage, points: Sequence[RestorePoint] = ()
) -> list[RestorePoint]:
    """Points of the lineage that were newer than the one chosen, and than all `points` that are there, and whose files
    have gone: somebody deleted state that was due. Between those there are checkpoints that Flink has replaced."""
    if choice.point is None:
        return []
    there = [choice.point, *(p for p in points if p.attempt >= lineage.first)]
    age = _age_among([*there, *vanished], lineage.taken_up)
    newest_there = max(map(age, there))
    return [p for p in vanished if age(p) > newest_there and p.attempt >= lineage.first]
