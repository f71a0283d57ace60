"""Sending an attempt to its cluster, so that it runs there once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from temporalio import activity

from activities import contracts as c
from activities.logs import bind, command_log, heartbeats
from core.observations import EngineState
from core.sql import parse_script
from engine import pyenv
from engine.base import (
    JarProgram,
    PythonProgram,
    Ref,
    Rejected,
    SqlProgram,
    Submission,
    Tell,
    Unclear,
    Unreachable,
)
from engine.maven import main_class
from store import attempts, commands
from store.tables import Attempt, Cluster, Job
from watch.services import Services

PAUSE = 2.0


class ArtifactMissing(Rejected):
    """It was built once, and has to be built again."""


class Submitter:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.SUBMIT)
    async def submit(self, wanted: c.AttemptIn) -> c.Submitted:
        """Submit an attempt that was written down before.

        The cluster takes an id once, so asking again with the same id is safe, and is done until the
        answer is clear or the time is over (`docs/decisions/0004-exactly-once.md`).
        """
        bind(job=wanted.job_id, attempt=wanted.number, command=wanted.command_id)
        services = self._services
        scope = commands.scope(wanted.command_id) if wanted.command_id else None
        async with command_log(services.database, scope) as tell, heartbeats():
            async with services.database.read() as session:
                found = await attempts.context(session, wanted.job_id, wanted.number)
            assert found is not None
            assert found.attempt is not None
            job, cluster, attempt, spec = found.job, found.cluster, found.attempt, found.version.spec
            try:
                submission = await self._submission(job, attempt, cluster, spec, tell)
            except ArtifactMissing as error:
                tell(error.message)
                return c.Submitted(state=c.SubmitState.REJECTED, error=error.message, code="artifact_missing")
            except Rejected as error:
                return c.Submitted(state=c.SubmitState.REJECTED, error=error.message, code="rejected")
            return await self._until_clear(cluster, submission, tell)

    async def _until_clear(self, cluster: Cluster, submission: Submission, tell: Tell) -> c.Submitted:
        engine = self._services.engines.get(cluster)
        deadline = time.monotonic() + self._services.settings.submit_timeout
        # A second try of this activity does not know what the first one sent.
        maybe_sent = activity.info().attempt > 1
        why = ""
        while True:
            try:
                if maybe_sent and (await engine.look(submission.ref)).state is not EngineState.MISSING:
                    tell("the cluster has this attempt already")
                    return c.Submitted(state=c.SubmitState.ACCEPTED)
                await engine.submit(submission, tell)
                return c.Submitted(state=c.SubmitState.ACCEPTED)
            except Rejected as error:
                return c.Submitted(state=c.SubmitState.REJECTED, error=error.message, code="rejected")
            except Unclear as error:
                maybe_sent, why = True, error.message
            except Unreachable as error:
                maybe_sent, why = maybe_sent or error.sent, error.message
            tell(f"{why}; asking again")
            if time.monotonic() > deadline:
                state = c.SubmitState.UNCLEAR if maybe_sent else c.SubmitState.UNREACHABLE
                return c.Submitted(state=state, error=why, code=f"submission_{state.value}")
            await asyncio.sleep(PAUSE)

    async def _submission(
        self, job: Job, attempt: Attempt, cluster: Cluster, spec: dict[str, object], tell: Tell
    ) -> Submission:
        program = await self._program(spec, attempt, cluster, tell)
        if attempt.restored_from:
            tell(f"state: {attempt.restored_why}: {attempt.restored_from}")
        effective = {key: str(item["value"]) for key, item in attempt.config["effective"].items()}
        parallelism = spec.get("parallelism")
        return Submission(
            ref=Ref(attempt.flink_job_id, attempt.handle),
            name=f"{job.project}:{job.name}",
            program=program,
            config=effective,
            parallelism=int(str(parallelism)) if parallelism else None,
            restore_path=attempt.restored_from,
            allow_non_restored_state=bool(attempt.config.get("allow_non_restored_state")),
        )

    async def _program(
        self, spec: dict[str, object], attempt: Attempt, cluster: Cluster, tell: Tell
    ) -> SqlProgram | JarProgram | PythonProgram:
        services = self._services
        if spec["type"] == "sql":
            return SqlProgram(parse_script(str(spec["sql"])))
        key = str(attempt.config["build_key"])
        async with services.database.read() as session:
            built = await attempts.build(session, key)
        args = [str(a) for a in spec.get("args") or []]  # type: ignore[attr-defined]
        if spec["type"] == "jar":
            assert built is not None
            assert built.sha256 is not None
            jar = services.artifacts.jar(built.sha256)
            if not jar.exists():
                raise ArtifactMissing(f"the jar {built.sha256[:12]} is not in the artifact store any more")
            entry = spec.get("entry_class")
            if not entry and main_class(jar) is None:
                raise Rejected("The jar's manifest names no main class; set entry_class.")
            return JarProgram(jar, built.sha256, str(entry) if entry else None, args)
        root = services.artifacts.program(key)
        if not root.exists():
            raise ArtifactMissing(f"the program {key[:12]} is not in the artifact store any more")
        python = await self._python(spec, root, cluster, tell)
        return PythonProgram(
            root=root,
            entry_file=str(spec["entry_file"]) if spec.get("entry_file") else None,
            module=str(spec["module"]) if spec.get("module") else None,
            args=args,
            python=python,
        )

    async def _python(self, spec: dict[str, object], root: Path, cluster: Cluster, tell: Tell) -> Path:
        settings = self._services.settings
        base = self._services.engines.flink_python(cluster.flink_version)
        if not base.exists():
            raise Rejected(
                f"PyFlink {cluster.flink_version} is not installed on this worker; "
                f"run `penstock flink install {cluster.flink_version}` there."
            )
        return await pyenv.ensure(
            self._services.artifacts,
            base,
            requirements_of(spec, root),
            build_env=settings.build_env,
            timeout=settings.build_timeout,
            output_limit=settings.build_log_limit,
            tell=tell,
        )


def requirements_of(spec: dict[str, object], root: Path) -> str:
    """The requirements of a PyFlink program as the text of a requirements file."""
    wanted = spec.get("requirements")
    if isinstance(wanted, str):
        return (root / wanted).read_text(errors="replace")
    return "\n".join(str(item) for item in wanted) if isinstance(wanted, list) else ""
