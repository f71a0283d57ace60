"""How an attempt is started: settled, built, restored, written down, submitted, followed."""

from __future__ import annotations

from datetime import timedelta
from typing import NoReturn

from temporalio import workflow

from activities import contracts as c
from core.jobs import blocked
from core.jobs.blocked import Blocked
from core.jobs.commands import RESTART_POLICY
from core.jobs.observations import ENDED, EngineState, Intent, Trouble
from core.jobs.restore import Basis, Choice, Lineage, Missing, RestorePoint, RestoreRequest, choose, newer_than
from core.jobs.snapshot import AttemptSnapshot, StopSnapshot
from core.jobs.states import AttemptState, CommandKind, JobState
from workflows import calls
from workflows.ending import Ending, Failed

RETRY_UNREACHABLE = timedelta(seconds=60)
PUT_OFF = ("submission_unreachable", "points_unreadable")


class Deploying(Ending):
    """Starts attempts."""

    async def restart(self) -> None:
        """The restart that the policy has planned."""
        s = self.book.s
        cause = f"restart policy, after: {s.reason}"[:500]
        s.restarts = [*s.restarts, workflow.now()][-s.policy.max_restarts - 1 :]
        s.restart_at = None
        try:
            request = RestoreRequest(mode="none" if s.stateless else "newest")
            await self.deploy(s.version, request, cause, asked=False, requested_by=RESTART_POLICY, automatic=True)
        except Failed as failure:
            if s.state is JobState.DEPLOY_FAILED:
                if failure.code in PUT_OFF:
                    # Cluster or files are away and nothing was sent: this was no restart. Wait for them.
                    s.restarts = s.restarts[:-1]
                    s.restart_at = workflow.now() + RETRY_UNREACHABLE
                    self.book.set(JobState.RESTARTING, failure.message)
                else:
                    self._by_policy(failure.message)
                await self.book.write("restart failed")
            elif s.state is JobState.RESTARTING and s.restart_at is None:
                s.restart_at = workflow.now() + RETRY_UNREACHABLE
                self.book.set(JobState.RESTARTING, failure.message)
                await self.book.write("restart put off")

    async def deploy(
        self,
        version: int,
        request: RestoreRequest,
        cause: str,
        *,
        asked: bool,
        requested_by: str,
        automatic: bool = False,
        kind: CommandKind = CommandKind.RESTART,
        built: c.Built | None = None,
        patience: float | None = None,
        like: int | None = None,
    ) -> None:
        """Start an attempt of `version`; `like` is an attempt whose program is run again, `requested_by` who
        wants it. Ends with the job RUNNING,
        FINISHED, DEPLOYED (accepted and not running yet) or RESTARTING; raises `Failed` with the job DEPLOY_FAILED,
        BLOCKED or as it was."""
        book, s = self.book, self.book.s
        await self._settle()
        book.set(JobState.DEPLOYING, cause)
        built = built or self._pinned(version, kind, like)
        if built is None:
            built = await self._build(version, kind, like)
        like = like or self._like(version, kind)
        choice, lineage = await self._choose(request, asked=asked)
        accepted, last = request.accepted, s.attempt
        if not asked and last is not None and choice.path is not None and choice.path == last.restored_from:
            accepted = last.accepted  # the same state again
        number, flink_job_id = s.attempts + 1, workflow.uuid4().hex
        s.attempts = number
        s.attempt = AttemptSnapshot(
            number=number,
            flink_job_id=flink_job_id,
            version=version,
            build_key=built.key,
            commit=built.commit,
            unresolved=self.since(1),
            restored_from=choice.path,
            accepted=accepted,
            before=s.attempt.version if s.attempt else None,
        )
        s.version, s.lineage = version, lineage or s.lineage.begun(number, choice.path)
        told = {"restored_from": choice.path, "commit": built.commit, "requested_by": requested_by}
        book.note("attempt", f"attempt {number}, {s.attempt.program}: {choice.why}", **told)
        book.show()
        await self._open(choice.path, choice.why, cause, automatic=automatic, like=like)
        await self._submit()
        if self._live():
            await self._accepted(patience)

    async def _open(
        self, path: str | None, why: str, cause: str, *, automatic: bool = False, like: int | None = None
    ) -> None:
        """Write the current attempt down, before anything is sent; `path` is what it is restored from."""
        s = self.book.s
        assert s.attempt is not None
        opened = await calls.open_attempt(
            c.OpenAttempt(
                job_id=s.job_id,
                cluster=s.cluster,
                number=s.attempt.number,
                flink_job_id=s.attempt.flink_job_id,
                version=s.attempt.version,
                restore_path=path,
                restore_why=why,
                allow_non_restored_state=s.attempt.accepted.loss,
                accept_changed_state=s.attempt.accepted.change,
                accept_unknown_state=s.attempt.accepted.unknown,
                automatic=automatic,
                like=like,
                cause=cause,
                build_key=s.attempt.build_key,
                commit=s.attempt.commit,
                record=self.book.make(pin=path or ""),
            )
        )
        if opened.conflict:
            await self._forgotten(opened)

    async def _forgotten(self, newest: c.Opened) -> NoReturn:
        """The database has attempts that this workflow does not know. Nothing was sent; the newest of them is what the
        next start has to see ended."""
        s = self.book.s
        assert s.attempt is not None
        mine = s.attempt.number
        s.attempts, s.revision = newest.number, max(s.revision, newest.revision)
        s.attempt = AttemptSnapshot(
            number=newest.number,
            flink_job_id=newest.flink_job_id,
            version=newest.version,
            ended=newest.ended,
            unresolved=not newest.ended,
        )
        s.basis = Basis.NEWEST
        self._touched()
        await self._block(blocked.history_lost(mine, newest.number, newest.flink_job_id))

    def _like(self, version: int, kind: CommandKind) -> int | None:
        """A SQL version that has run before runs with the same plan, tables and libraries again; only a resubmit
        compiles it anew."""
        last = self.book.s.attempt
        again = last is not None and last.version == version and kind is not CommandKind.RESUBMIT
        return last.number if last is not None and again and self.book.s.type == "sql" else None

    def _pinned(self, version: int, kind: CommandKind, like: int | None = None) -> c.Built | None:
        """A version that has run before runs with the same commit again, and needs no build; only a resubmit
        looks whether its branch has gone on."""
        last = self.book.s.attempt
        if self.book.s.type == "sql" or self.book.s.stateless:
            return c.Built()
        if like is not None:
            return None
        if last is None or last.version != version or last.build_key is None or kind is CommandKind.RESUBMIT:
            return None
        return c.Built(key=last.build_key, commit=last.commit)

    async def _build(self, version: int, kind: CommandKind, like: int | None = None) -> c.Built:
        s, command = self.book.s, self.book.command
        pinned = self._pinned(version, kind, like)
        with self._may_leave():
            built = await calls.build(
                c.BuildIn(
                    job_id=s.job_id,
                    version=version,
                    command_id=command.id if command else None,
                    pinned=pinned.key if pinned else None,
                    like=like,
                )
            )
        if built.error:
            if not self._live():
                self.book.set(JobState.DEPLOY_FAILED, built.error)
            raise Failed(built.error, built.code or "build_failed")
        return built

    async def _choose(self, request: RestoreRequest, *, asked: bool) -> tuple[Choice, Lineage | None]:
        """The restore point, and the lineage that goes on with it; None when a new one begins."""
        s = self.book.s
        if s.stateless:
            return Choice(path=None, why="a cluster has no state of its own"), None
        points: list[RestorePoint] = []
        vanished: list[RestorePoint] = []
        if request.mode != "none" and not (s.attempts == 0 and request.mode == "newest"):
            with self._may_leave():
                found = await calls.gather(c.GatherIn(job_id=s.job_id, named=request.point))
            if found.error:
                self.book.set(JobState.DEPLOY_FAILED, found.error)
                raise Failed(found.error, found.code or "restore_point")
            points, vanished = found.points, found.vanished
        choice = choose(request, points, s.lineage, asked=asked, without=s.unusable)
        if isinstance(choice, Missing):
            await self._block(blocked.no_restore_point(choice.why, points))
        if newer := newer_than(choice, vanished, s.lineage):
            paths = ", ".join(p.path for p in newer)
            self.book.note("alert", f"newer restore points have gone from the disk: {paths}", paths=paths)
        old = choice.point is not None and choice.point.attempt < s.lineage.first
        return choice, s.lineage if request.mode == "newest" and not old else None

    async def _block(self, why: Blocked) -> NoReturn:
        self.book.block(why)
        await self.book.write("blocked")
        raise Failed(why.why, why.code)

    async def _settle(self) -> None:
        """A successor starts only after its predecessor has been seen in a final state."""
        s = self.book.s
        if not self._live():
            return
        if self._is_unresolved():
            if await self._resolve(going_on=True):
                return
            raise Failed("Its last attempt is alive on the cluster after all, and is followed again.", "attempt_alive")
        with self._may_leave():
            seen = await calls.look(self._in())
        if seen.observation is None:
            raise Failed(
                f"Attempt {s.attempt.number if s.attempt else ''} has not been seen to end, and the cluster cannot "
                f"be asked: {seen.why}. Nothing was started.",
                "predecessor_unknown",
            )
        if seen.observation.state in ENDED:
            await self._end(seen.observation.state, going_on=True)
            return
        await self.observe(seen.observation)
        raise Failed("Its last attempt is alive on the cluster after all, and is followed again.", "attempt_alive")

    async def _submit(self) -> None:
        book, s = self.book, self.book.s
        assert s.attempt is not None
        result = await self._send()
        if result.code == "artifact_missing":
            # The artifact store was emptied; the commit is known, so the same is built again.
            await self._build_again(maybe_sent=result.maybe_sent)
            result = await self._send(maybe_sent=result.maybe_sent)
        s.attempt.leader = result.leader
        s.attempt.unresolved = self.since(1) and result.state is c.SubmitState.UNCLEAR
        if result.state is c.SubmitState.ACCEPTED:
            return
        message = result.error or "the cluster said no"
        if result.state is c.SubmitState.RAN:
            s.attempt.leader = "lost"  # whoever took it, it is not the one that answers now
            await self._end(EngineState.MISSING)
            return
        if result.state is c.SubmitState.UNCLEAR:
            s.others_alive = result.other is not None
            book.note("attempt", f"attempt {s.attempt.number}: it cannot be told whether the cluster has it: {message}")
            await book.write("submission unclear", attempts=book.attempt_change(AttemptState.UNKNOWN))
            await self._block(blocked.submission_unclear(s.attempt.number, s.attempt.flink_job_id, message))
        if result.state is c.SubmitState.OCCUPIED and result.other is not None:
            s.attempt.ended, s.others_alive = True, True
            book.note("attempt", f"attempt {s.attempt.number} was not submitted: {message}")
            not_sent = book.attempt_change(AttemptState.NOT_SUBMITTED, message)
            await book.write(f"attempt {s.attempt.number} not submitted", attempts=not_sent)
            await self._block(blocked.occupied(result.other, str(result.other_id)))
        s.attempt.ended = True
        book.set(JobState.DEPLOY_FAILED, message)
        book.note("attempt", f"attempt {s.attempt.number} was not submitted: {message}")
        await book.write(
            f"attempt {s.attempt.number} not submitted",
            attempts=book.attempt_change(AttemptState.NOT_SUBMITTED, message),
        )
        raise Failed(message, result.code or "rejected")

    async def _build_again(self, *, maybe_sent: bool) -> None:
        book, s = self.book, self.book.s
        assert s.attempt is not None
        try:
            await self._build(s.attempt.version, CommandKind.RESTART)
        except Failed as failure:
            if not self.since(1):
                raise
            if maybe_sent and not await self._resolve(going_on=True):
                raise  # it is alive after all, and is followed
            if not s.attempt.ended:
                s.attempt.ended = True
                not_sent = book.attempt_change(AttemptState.NOT_SUBMITTED, failure.message)
                await book.write(f"attempt {s.attempt.number} not submitted", attempts=not_sent)
            book.set(JobState.DEPLOY_FAILED, failure.message)
            await book.write("not built again")
            raise

    async def _send(self, *, maybe_sent: bool = False) -> c.Submitted:
        """A kill may come in meanwhile: the attempt is unresolved then, and the kill makes sure of it."""
        wanted = self._in().model_copy(update={"maybe_sent": maybe_sent})
        if not self.since(1):
            return await calls.submit(wanted)
        with self._may_leave():
            return await calls.submit(wanted)

    async def _accepted(self, patience: float | None) -> None:
        """The cluster has the attempt: follow it until it runs or ends."""
        book, s = self.book, self.book.s
        s.basis = Basis.NEWEST
        book.set(JobState.DEPLOYED, "the cluster has accepted it")
        book.soon("accepted", attempts=book.attempt_change(AttemptState.ACCEPTED))
        with self._may_leave():
            seen = await calls.await_running(self._in().model_copy(update={"patience": patience}))
        if seen.trouble is not None:
            await self._abandon(seen.trouble, seen.why or "its restore fails")
        elif seen.observation is not None:
            await self.observe(seen.observation)
        else:
            book.set(s.state, f"the cluster cannot be asked: {seen.why}")

    async def _abandon(self, trouble: Trouble, why: str) -> None:
        """Flink would try to restore it for ever, or it does not run from the state that was asked for. It has just
        been started, so ending it loses nothing."""
        s = self.book.s
        s.stop = StopSnapshot(intent=Intent.ABANDON, trouble=trouble, why=why, at=workflow.now())
        stopped = await calls.cancel(self._in())
        if stopped.state is None:
            self.book.set(s.state, f"its restore fails ({why}), and it cannot be told whether it was cancelled")
            return
        self._asked_at(stopped.sequence)
        await self._end(stopped.state)

    async def resume(self) -> None:
        """After a lost workflow: what became of the attempt that was being started."""
        book, s = self.book, self.book.s
        await self._settle_or_follow()
        if s.state is JobState.DEPLOYING:
            book.set(JobState.DEPLOY_FAILED, "its workflow was lost in the middle of a start; nothing of it runs")
            await book.write("resumed")

    async def _settle_or_follow(self) -> None:
        try:
            await self._settle()
        except Failed as failure:
            if failure.code == "attempt_alive":
                return
            self.book.block(blocked.workflow_lost(failure.message))
            await self.book.write("blocked")
