"""A model of submitting, losing and replacing attempts: what Penstock does, what Flink does, what goes wrong.

It follows `activities/submit.py`, `activities/looking.py`, `workflows/submission.py`, `workflows/fence.py` and
`observation/observer.py` in the order of their steps, and Flink's `Dispatcher` in what it remembers of an id. One job,
its attempts, one cluster. Times are left out: what may take long may take for ever, and what is waited for is
a condition on the state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.model.search import Step

# What the leader has under an id.
FREE, RUNS, FENCE, ENDED, UNSTORED, SPENT = ".", "R", "F", "E", "e", "X"
# ENDED is shown by the leader; UNSTORED too, but high availability has not stored it yet; SPENT is refused as a
# duplicate and not shown any more.


class Attempt(NamedTuple):
    belief: str = "-"  # what the workflow believes: "-" not begun, "open", "ended"
    accepted: bool = False  # it has seen that the cluster has the attempt
    maybe_sent: bool = False  # something was perhaps sent, and there was no clear answer
    sent: int = 0
    inside: int = 0  # sends inside the JobManager's process (a jar's main): they die with it
    outside: int = 0  # sends in the gateway, a client or a frozen worker: they reach whoever leads when they arrive
    job: str = FREE
    remains: bool = False  # task managers that outlive their JobManager still run its tasks
    sealed: bool = False  # a fence on disk: no job can begin under this id, whoever leads


OVER = Attempt("ended")  # and nothing can bring it back


class State(NamedTuple):
    attempts: tuple[Attempt, ...]
    current: int = -1
    step: str = "idle"
    mine: str = ""  # the send whose answer the submission waits for: "inside", "outside", "" when it can come no more
    looks: tuple[tuple[str, bool], ...] = ()  # answers to the watch on their way: what they say, whether they are old
    row: str = ""  # what the watch has written last; kept only where it tells changes
    stranger: bool = False  # another Flink answers at the address


@dataclass(frozen=True)
class World:
    """The cluster, and the bound."""

    high_availability: bool = False
    keeps_ids: bool = True  # with high availability: delete-on-commit is false, so ids are never forgotten
    stores_late: bool = False  # with high availability: an end is shown before it is stored
    senders: tuple[str, ...] = ("inside", "outside")
    retries: bool = True  # what is outside sends again when the answer is lost
    attempts: int = 3
    sends: int = 2  # per attempt
    looks: int = 2  # answers to the watch in flight
    changes: bool = True  # the JobManager may change, any number of times
    crashes: bool = True  # workers may crash and freeze, any number of times
    strangers: bool = True  # another Flink may come to the address and go, any number of times


@dataclass(frozen=True)
class Rules:
    """What Penstock does. The defaults are the rules as they are; each can be taken out."""

    fence: bool = True  # an attempt that is missing or unclear is fenced before it is believed to have ended
    rejected_is_fenced: bool = True  # a no after an unanswered send is no clear no
    finals_are_never_old: bool = True  # a final state counts however late it is told
    ends_are_asked_for: bool = True  # what the watch tells of an end is believed after a question of one's own
    tells_every_look: bool = True  # the watch tells what it sees, not only what differs from what it wrote
    asks_identity: bool = True  # only our own cluster is believed
    waits_for_task_managers: bool = True  # after a change of leader, until no task manager holds a slot
    waits_after_fence: bool = True  # that wait comes after the fence, and the leader is still the one that was fenced
    waits_when_unclear: bool = True  # also for an attempt that was never heard of: it may have run at an earlier leader
    # Not as it is, but what could be added:
    fences_again: bool = False  # all earlier attempts are fenced again at the leader that takes a new one
    sends_once: bool = False  # an id is sent once; without an answer it is ended and a new one is taken
    closes_senders: bool = False  # nothing is believed to have ended before its senders are seen to have ended
    disk: bool = False  # a file in the attempt's checkpoint folder keeps Flink from starting it


class Model:
    def __init__(self, world: World, rules: Rules):
        self.world = world
        self.rules = rules

    def first(self) -> State:
        return State((Attempt(),) * self.world.attempts)

    # Judging ---------------------------------------------------------------------------------

    @staticmethod
    def invariant(s: State) -> str | None:
        running = 0
        for a in s.attempts:
            if a.job == RUNS or a.remains:
                running += (a.job == RUNS) + a.remains
                if a.belief == "ended":
                    return "an attempt that is believed to have ended makes progress"
        return "the job runs twice at the same time" if running > 1 else None

    @staticmethod
    def rest(s: State) -> bool:
        """Nothing is asked, nothing is on its way to us, and our own cluster answers."""
        return s.step == "idle" and not s.looks and not s.stranger

    @staticmethod
    def good(s: State) -> bool:
        """At rest, and what is believed is the case."""
        if not Model.rest(s):
            return False
        for number, a in enumerate(s.attempts):
            runs = a.job == RUNS or a.remains
            if runs and not (number == s.current and a.belief == "open" and a.accepted and a.job == RUNS):
                return False
            if not runs and a.belief == "open":
                return False
        return True

    # What may happen next ----------------------------------------------------------------------

    def steps(self, s: State) -> Iterator[Step]:
        yield from self._ours(s)
        yield from self._sends(s)
        yield from self._cluster(s)
        if s.current >= 0:
            yield from self._watch(s)

    def _ours(self, s: State) -> Iterator[Step]:
        if s.step == "idle":
            yield from self._begin(s)
            return
        a, n, rules = s.attempts[s.current], s.current + 1, self.rules
        if s.step == "blocked":
            yield Step(f"A person sends `restart` (or `kill`) for attempt {n}.", s._replace(step=self._unsure()))
        elif s.step == "wait":
            yield Step(
                f"Nobody answers the send of attempt {n}: time-out.",
                self._with(s, a._replace(maybe_sent=True), step="submit", mine=""),
            )
        # A crash while an answer is waited for is that time-out; one before anything was sent makes the next worker
        # believe that it was.
        if self.world.crashes and s.step == "submit" and not a.maybe_sent:
            after = self._with(s, a._replace(maybe_sent=True))
            yield Step(f"The worker that submits attempt {n} crashes; another takes over.", after, fair=False)
        if s.stranger and rules.asks_identity:
            return  # it is seen that this is another cluster: nothing is believed, nothing is sent
        if s.step == "submit":
            yield from self._submit(s, a, n)
        elif s.step == "follow":
            younger = s._replace(step="idle", looks=tuple((what, True) for what, _ in s.looks))
            seen = "?" if s.stranger else a.job
            words = "It runs" if seen == RUNS else "It is at its end" if seen in (ENDED, UNSTORED) else "It is missing"
            yield Step(f"We ask what became of attempt {n}. {words}.", self._asked(younger, a))
        elif s.step == "gone":  # the order that was not taken: first wait, then fence
            if not self._waits(s, a):
                yield Step(f"Attempt {n} is missing, and no task manager holds it.", s._replace(step="fence"))
        elif s.step == "fence":
            yield from self._fence(s, a, n)
        elif s.step == "seal":
            yield Step(
                f"A fence is laid on disk in the checkpoint folder of attempt {n}.",
                self._with(s, a._replace(sealed=True), step="confirm"),
            )
        elif s.step == "confirm":
            yield from self._confirm(s, a, n)

    def _begin(self, s: State) -> Iterator[Step]:
        following = s.current + 1
        if following >= self.world.attempts or (s.current >= 0 and s.attempts[s.current].belief != "ended"):
            return
        attempts = list(s.attempts)
        attempts[following] = Attempt("open")
        broken = None
        for a in attempts[:following]:
            if (a.inside or a.outside) and a.job == FREE and not a.sealed:
                broken = "a new id is taken while an earlier send can still start its job"
        after = s._replace(attempts=tuple(attempts), current=following, step="submit", looks=(), row="")
        yield Step(f"Attempt {following + 1} is written down with an id of its own.", after, broken=broken)

    def _submit(self, s: State, a: Attempt, n: int) -> Iterator[Step]:
        rules, seen = self.rules, FREE if s.stranger else a.job
        if a.maybe_sent:
            if seen in (RUNS, ENDED, UNSTORED):
                yield Step(f"The cluster is asked, and has attempt {n}.", self._accepted(s, a))
                return
            yield Step(
                f"It stays unclear whether the cluster has attempt {n}: the job is BLOCKED.", s._replace(step="blocked")
            )
            if rules.sends_once or (self._waits(s, a) and not s.stranger):
                return
            if rules.closes_senders and a.outside:
                yield self._close(s, a, n)
                return
        elif not s.stranger:
            ended = self._with(s, a._replace(belief="ended"), step="idle")
            yield Step(f"Nothing of attempt {n} could be sent: it is NOT_SUBMITTED.", ended)
        if not s.stranger and any(other.job == RUNS for other in s.attempts[: s.current]):
            ended = self._with(s, a._replace(belief="ended"), step="idle")
            yield Step(f"The last look shows an older attempt alive: attempt {n} is not sent.", ended)
            return
        if rules.fences_again and not s.stranger:
            earlier = [o._replace(job=FENCE) if o.job == FREE else o for o in s.attempts[: s.current]]
            if tuple(earlier) != s.attempts[: s.current]:
                fenced = s._replace(attempts=(*earlier, *s.attempts[s.current :]))
                yield Step("Earlier attempts are fenced again at the leader that answers.", fenced)
                return
        if a.sent < self.world.sends:
            if "inside" in self.world.senders:
                sent = self._with(s, a._replace(sent=a.sent + 1, inside=a.inside + 1), step="wait", mine="inside")
                yield Step(f"Attempt {n} is sent as a jar; its main runs inside the JobManager.", sent)
            if "outside" in self.world.senders:
                sent = self._with(s, a._replace(sent=a.sent + 1, outside=a.outside + 1), step="wait", mine="outside")
                yield Step(f"Attempt {n} is sent through the SQL gateway.", sent)
                if self.world.crashes:
                    frozen = a._replace(sent=a.sent + 1, outside=a.outside + 1, maybe_sent=True)
                    yield Step(
                        f"The worker that sends attempt {n} freezes with the request in its hand; another takes over.",
                        self._with(s, frozen, step="submit"),
                        fair=False,
                    )

    def _unsure(self) -> str:
        """Where an attempt goes that is missing, or of which nothing clear is known."""
        if not self.rules.waits_after_fence:
            return "gone"
        return "fence" if self.rules.fence else self._behind_fence()

    def _behind_fence(self) -> str:
        return "seal" if self.rules.disk else "confirm"

    def _fence(self, s: State, a: Attempt, n: int) -> Iterator[Step]:
        if s.stranger:
            yield Step(f"The id of attempt {n} is spent: at a stranger.", s._replace(step=self._behind_fence()))
        elif a.job == RUNS:
            alive = self._accepted(s, a)
            yield Step(f"The fence is refused: attempt {n} runs, and is followed.", alive)
        elif a.job in (ENDED, UNSTORED):
            yield Step(f"The fence is refused: attempt {n} ran and has ended.", self._final(s))
        else:
            fenced = a._replace(job=FENCE if a.job == FREE else a.job)
            if self.world.crashes:
                lost = self._with(s, fenced)
                yield Step(f"The id of attempt {n} is spent, and the worker crashes before it knows.", lost, fair=False)
            words = f"The id of attempt {n} is spent on a job that does nothing."
            if self.rules.waits_after_fence and (a.accepted or self.rules.waits_when_unclear):
                yield Step(words, self._with(s, fenced, step=self._behind_fence()))
            else:
                yield Step(f"{words} It is believed to have ended.", self._over(self._with(s, fenced)))

    def _confirm(self, s: State, a: Attempt, n: int) -> Iterator[Step]:
        """The last question before an end is believed: nothing of it runs at the leader that was fenced."""
        rules = self.rules
        if s.stranger:
            yield Step(f"A stranger does not know attempt {n}: it is believed to have ended.", self._over(s))
        elif a.job == RUNS:
            alive = self._accepted(s, a._replace(sealed=False))
            yield Step(f"Attempt {n} runs after all, and is followed.", alive)
        elif rules.closes_senders and a.outside:
            yield self._close(s, a, n)
        elif rules.fence and not a.sealed and a.job == FREE:
            yield Step(f"The leader has changed since attempt {n} was fenced.", s._replace(step="fence"))
        elif not self._waits(s, a):
            yield Step(f"Nothing of attempt {n} is known to the leader: it is believed to have ended.", self._over(s))

    def _close(self, s: State, a: Attempt, n: int) -> Step:
        return Step(f"What sends attempt {n} is closed, and seen to have ended.", self._with(s, a._replace(outside=0)))

    def _waits(self, s: State, a: Attempt) -> bool:
        return a.remains and self.rules.waits_for_task_managers

    def _final(self, s: State) -> State:
        """A final state of the current attempt has been seen."""
        if self.rules.disk:
            return s._replace(step="seal")
        return s._replace(step="confirm") if self.rules.closes_senders else self._over(s)

    def _over(self, s: State) -> State:
        a = s.attempts[s.current]
        return self._with(s, a._replace(belief="ended"), step="idle")

    def _accepted(self, s: State, a: Attempt) -> State:
        """It is seen that the cluster has the current attempt: it is followed until it runs."""
        return self._with(s, a._replace(accepted=True), step="follow", mine="")

    # Sends in flight -------------------------------------------------------------------------

    def _sends(self, s: State) -> Iterator[Step]:
        for number, a in enumerate(s.attempts):
            if a.inside:
                yield from self._arrive(s, number, a, "inside", a._replace(inside=a.inside - 1))
            if a.outside:
                yield from self._arrive(s, number, a, "outside", a._replace(outside=a.outside - 1))

    def _arrive(self, s: State, number: int, a: Attempt, kind: str, gone: Attempt) -> Iterator[Step]:
        n = number + 1
        where = "the program of" if kind == "inside" else "the gateway's send of"
        waited = number == s.current and s.step == "wait" and s.mine == kind
        count = a.inside if kind == "inside" else a.outside
        unheard = s._replace(mine="") if waited and count == 1 else s
        taken = a.job == FREE
        after = gone._replace(job=ENDED if a.sealed else RUNS) if taken else gone
        if taken and a.sealed:
            words = f"{where} attempt {n} arrives and fails at once: its folder is fenced on disk"
        elif taken:
            words = f"{where} attempt {n} arrives: the JobManager takes it and runs it"
        else:
            words = f"{where} attempt {n} arrives: refused, the id is known"
        words = words[0].upper() + words[1:]
        yield Step(words + ("; the answer is lost." if waited else "."), self._with(unheard, after, number))
        if taken and kind == "outside" and self.world.retries:
            again = after._replace(outside=a.outside)
            yield Step(words + "; the answer is lost, so it will be sent again.", self._with(s, again, number))
        no = f"{where[0].upper()}{where[1:]} attempt {n} fails for another reason"
        yield Step(no + ("; the answer is lost." if waited else "."), self._with(unheard, gone, number))
        if not waited:
            return
        yield Step(words + ", and we hear it.", self._accepted(s, after))
        if not s.stranger and a.job in (RUNS, ENDED, UNSTORED):
            yield Step(f"{no}, but the cluster has it.", self._accepted(s, gone))
            return
        if s.stranger and self.rules.asks_identity:
            return  # whether the cluster has it cannot be asked: that is a time-out, above
        if a.maybe_sent and self.rules.rejected_is_fenced:
            refused = self._with(s, gone, step=self._unsure(), mine="")
            yield Step(f"{no}: no clear no, as an earlier send had no answer.", refused)
        else:
            refused = self._with(s, gone._replace(belief="ended"), step="idle", mine="")
            yield Step(f"{no}: it is REJECTED, and attempt {n} counts as never sent.", refused)

    # The cluster -----------------------------------------------------------------------------

    def _cluster(self, s: State) -> Iterator[Step]:
        w = self.world
        for number, a in enumerate(s.attempts):
            n = number + 1
            if a.job == RUNS:
                end = UNSTORED if w.high_availability and w.stores_late else ENDED
                yield Step(f"Attempt {n} fails on the cluster.", self._with(s, a._replace(job=end), number))
            elif a.job == UNSTORED:
                yield Step(f"The end of attempt {n} is stored.", self._with(s, a._replace(job=ENDED), number))
            elif a.job == ENDED:
                left = SPENT if w.keeps_ids or not w.high_availability else FREE
                words = "keeps the id" if left == SPENT else "and its id"
                forgotten = self._with(s, a._replace(job=left), number)
                yield Step(f"Flink forgets the ended attempt {n} {words}.", forgotten, fair=False)
            elif a.job == FENCE and w.high_availability and not w.keeps_ids:
                free = self._with(s, a._replace(job=FREE), number)
                yield Step(f"The fence of attempt {n} is cleaned up, and its id forgotten.", free, fair=False)
            if a.remains:
                given_up = self._with(s, a._replace(remains=False), number)
                yield Step(f"The task managers give up the tasks of attempt {n}.", given_up)
        if w.changes:
            yield self._change(s)
        if s.stranger:
            yield Step("Our own cluster answers at the address again.", s._replace(stranger=False))
        elif w.strangers:
            strange = s._replace(stranger=True)
            yield Step("Another Flink answers at the address of the cluster.", strange, fair=False)

    def _change(self, s: State) -> Step:
        """Another JobManager process leads. Without high availability it knows nothing."""
        w, attempts = self.world, []
        for a in s.attempts:
            if not w.high_availability:
                a = a._replace(inside=0, job=FREE, remains=a.remains or a.job == RUNS)
            elif a.job == UNSTORED or (a.job == RUNS and a.sealed):
                # Recovered and run again; a fence on disk lets it fail before any task is deployed.
                a = a._replace(inside=0, job=ENDED if a.sealed else RUNS)
            elif a.job != RUNS:
                kept = w.keeps_ids and a.job != FREE
                a = a._replace(inside=0, job=SPENT if kept else FREE)
            else:
                a = a._replace(inside=0)
            attempts.append(a)
        mine = "" if s.mine == "inside" else s.mine
        after = s._replace(attempts=tuple(attempts), mine=mine)
        knows = "it has the running jobs" if w.high_availability else "it knows no job and no id"
        return Step(f"The JobManager dies; another leads: {knows}.", after, fair=False)

    # The watch -------------------------------------------------------------------------------

    def _watch(self, s: State) -> Iterator[Step]:
        a, n, rules = s.attempts[s.current], s.current + 1, self.rules
        if a.belief != "open":
            return
        silent = s.stranger and rules.asks_identity
        if len(s.looks) < self.world.looks:
            asked = s._replace(looks=(*s.looks, ("?", False)))
            yield Step("The watch asks; its question is on its way.", asked)
        seen = {RUNS: "R", ENDED: "E", UNSTORED: "E"}.get(FREE if s.stranger else a.job, "M")
        told = s.row != seen and (seen != "M" or a.accepted)
        for place, (what, old) in enumerate(s.looks):
            if what == "?":
                looks = (*s.looks[:place], *([(seen, old)] if told and not silent else []), *s.looks[place + 1 :])
                answered = s._replace(looks=looks, row="" if rules.tells_every_look or silent else seen)
                yield Step(f"The watch's question is answered: attempt {n} is {_WORD[seen]}.", answered)
        # An answer that is lost is one that was never asked for: where the watch tells each change once, it tells
        # before it writes, so that one which is lost is asked for again.
        for place, (what, old) in enumerate(s.looks):
            looks = (*((w, True) for w, _ in s.looks[:place]), *s.looks[place + 1 :])
            heard = s._replace(looks=looks)
            if what == "?" or s.step not in ("idle", "blocked"):
                continue
            words = f"The workflow hears that attempt {n} is {_WORD[what]}"
            if old and not (what == "E" and rules.finals_are_never_old):
                yield Step(f"{words}: older than what it knows, dropped.", heard)
            elif what == "E" and rules.ends_are_asked_for:
                if not silent:
                    yield Step(f"{words}, and asks.", self._asked(heard, a))
            elif what == "R":
                yield Step(f"{words}.", self._accepted(heard, a) if not a.accepted else heard)
            elif what == "E":
                yield Step(f"{words}: it has ended.", self._final(heard))
            elif a.accepted:
                yield Step(f"{words}.", heard._replace(step=self._unsure()))
            else:
                yield Step(f"{words}, which says nothing of an attempt that is unclear.", heard)

    def _asked(self, s: State, a: Attempt) -> State:
        """A question of one's own about the current attempt."""
        if s.stranger or a.job in (FREE, FENCE, SPENT):
            return s._replace(step=self._unsure())
        return self._final(s) if a.job in (ENDED, UNSTORED) else s

    def _with(self, s: State, attempt: Attempt, number: int | None = None, **more: object) -> State:
        """`s` with another attempt in its place, the current one by default. What is not needed any more of an
        ended attempt is left out, so that states that differ in nothing else are one."""
        number = s.current if number is None else number
        if attempt.belief == "ended":
            attempt = attempt._replace(accepted=False, maybe_sent=False, sent=0)
            if number == s.current:
                more = {**more, "looks": (), "row": ""}
            if not (attempt.inside or attempt.outside or attempt.remains) and attempt.job not in (RUNS, UNSTORED):
                attempt = OVER
        attempts = (*s.attempts[:number], attempt, *s.attempts[number + 1 :])
        return s._replace(attempts=attempts, **more)  # type: ignore[arg-type]


_WORD = {"R": "running", "E": "at its end", "M": "missing"}
