"""Which compiled plan an attempt runs from: decided once, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from clusters.protocol import CompiledPlan as Body
from clusters.protocol import Planner
from core.effects import LogSink, Rejected
from core.errors import InvalidInput
from core.jobs.restore import Accepted
from core.sql import verdict
from core.sql.plan import NotAPlan, Plan, read, with_connectors
from services import Services
from sql.compiling import FROM_TEXT, REMEDIES, compared, goes_on, row_of, without_secrets
from sql.environment import OF_HINTS, Environment
from store import attempts, plans
from store.tables import Attempt, PlanRow, Version


@dataclass
class PlanOfAttempt:
    """Decides, once for an attempt, which plan it runs from, and writes that down before anything is sent."""

    services: Services
    attempt: Attempt
    version: Version
    environment: Environment
    flink_version: str
    tell: LogSink
    like: Attempt | None = None
    """The attempt whose plan it runs again, in the environment that it had."""

    async def known(self) -> tuple[Body | None, Planner | None]:
        """(plan, None) when it is known already; (None, planner) when the text has to be compiled; (None, None)
        when it has to run from its text.

        Raises `Rejected` for state that nobody has accepted. The command was judged before it was written down
        (`judge`); the state, the tables and the gateway may be others by now.
        """
        async with self.services.database.read() as session:
            mine = await plans.get(session, self.attempt.plan)
            if mine is not None:  # an earlier try of this submission
                return dict(mine.body), None
            if self.attempt.config.get("sql"):  # it decided to run from the text
                return None, None
            of_version = await plans.get(session, self.version.plan)
            base = plans.UNKNOWN
            if self.attempt.restored_from:
                base = await plans.of_point(session, self.attempt.restored_from)
            again = plans.StateOrigin(self.like, await plans.get(session, self.like.plan)) if self.like else None
        if again is not None:
            return await self._again(base, again), None
        if base.attempt is None:
            if self.attempt.restored_from:
                self._check(verdict.unknown(f"It is not known what made the state of {self.attempt.restored_from}."))
            if self.environment.without_plan:
                return await self._from_text(None)
            fits = of_version is not None and of_version.inputs == self.environment.inputs
            return (await self._run(of_version), None) if fits and of_version else (None, self._planner(None))
        same = base.is_made_by(self.attempt.job_id, self.version.number, self.environment.inputs)
        if base.plan is None:
            if not same:
                self._check(verdict.unknown(FROM_TEXT))
            self._check_text()
            self.tell("the state was made by a run from the text, so this one is too")
            await self._write(None, "its state was made by a run from the text")
            return None, None
        if same and self.environment.without_plan in ("", OF_HINTS):  # before hints were seen it ran from a plan
            return await self._run(base.plan), None
        if self.environment.without_plan:
            return await self._from_text(base.plan)
        return None, self._planner(base.plan, base.attempt)

    async def _from_text(self, base: PlanRow | None) -> tuple[None, None]:
        await self._planner(base)(None, self.environment.without_plan)
        return None, None

    async def _again(self, base: plans.StateOrigin, like: plans.StateOrigin) -> Body | None:
        """The plan of the attempt before is run as it is, wherever its state is its own, or the one that it came from;
        other state is compared with it."""
        path = self.attempt.restored_from
        judged = goes_on(base, like, path) if path else None
        if judged is not None and path:
            self._check(judged.verdict if isinstance(judged, verdict.Comparison) else judged)
        if isinstance(judged, verdict.Comparison):
            self._tell(judged.verdict)
            return await self._run(row_of(judged.aligned, self.environment, self.flink_version))
        if like.plan is None and judged is not None and base.plan is not None:
            raise Rejected("It runs from its text, and its state was made by a compiled plan.")
        if like.plan is None:
            self.tell("it runs from its text, as before")
            await self._write(None, self.version.plan_why or "it ran from its text before")
            return None
        if judged is not None and base.attempt is not None:
            self.tell("the state was made by a run from the text, so this one is too")
            await self._write(None, "its state was made by a run from the text")
            return None
        return await self._run(like.plan)

    def _tell(self, judged: verdict.StateVerdict) -> None:
        self.tell(f"state: {judged.verdict}: {judged.summary}")
        for line in [*judged.diff.splitlines(), *judged.notes]:
            self.tell("  " + line)

    def _check(self, judged: verdict.StateVerdict) -> None:
        """Raise `Rejected` unless what speaks against this restore was accepted. The restart policy goes on with what
        ran; there is nobody to ask."""
        config = self.attempt.config
        if config.get("automatic"):
            return
        change = bool(config.get("accept_changed_state"))
        accepted = Accepted(
            loss=change or bool(config.get("allow_non_restored_state")),
            change=change,
            unknown=bool(config.get("accept_unknown_state")),
        )
        if (why := verdict.objection(judged, accepted)) is not None:
            raise Rejected(f"{why[1]} {REMEDIES[why[0]]}")

    def _check_rights(self, compiled: Plan) -> None:
        """Raise `Rejected` for a table that the project may not use so."""
        try:
            self.environment.check(compiled.reads, compiled.writes)
        except InvalidInput as error:
            raise Rejected(f"{error.message} {error.remedy}") from error

    def _check_text(self) -> None:
        """The same for what runs from its text."""
        try:
            self.environment.check_text()
        except InvalidInput as error:
            raise Rejected(f"{error.message} {error.remedy}") from error

    def _planner(self, base: PlanRow | None, made_by: Attempt | None = None) -> Planner:
        async def planner(body: Body | None, why: str) -> Body | None:
            if body is None:
                if base is not None:
                    raise Rejected(f"It cannot be compiled to a plan, and its state was made by one: {why}")
                self._check_text()
                await self._write(None, why)
                return None
            try:
                compiled = read(without_secrets(body, self.environment.secrets))
                self._check_rights(compiled)
                compiled = with_connectors(compiled)
            except NotAPlan as error:
                if base is not None:
                    raise Rejected(str(error)) from error
                self._check_text()
                await self._write(None, str(error))
                return None
            if base is None:
                plan = verdict.from_one(compiled)
            else:
                judged = compared(made_by, base, attempts.effective(self.attempt), compiled)
                self._tell(judged.verdict)
                self._check(judged.verdict)
                plan = judged.aligned
            return await self._run(row_of(plan, self.environment, self.flink_version))

        return planner

    async def _run(self, row: PlanRow) -> Body:
        await self._write(row, "")
        self.tell(f"running from the compiled plan {row.digest[:12]}")
        if self.environment.without_plan:
            self.tell(f"as before, and not as it is written. {self.environment.without_plan}")
        return dict(row.body)

    async def _write(self, row: PlanRow | None, why: str) -> None:
        async with self.services.database.write() as session:
            if row is not None:
                await plans.keep(session, row)
            digest = row.digest if row is not None else None
            # Who sends the attempt need not read it again.
            await plans.used(session, self.attempt, self.version.number, digest, why, self.environment.made_of)
