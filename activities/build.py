"""Building: each commit with its settings once, however many want it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, assert_never

import structlog
from pydantic import TypeAdapter
from temporalio import activity
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities import contracts as c
from activities.checks import present
from activities.logs import bind, command_log, heartbeats, log_of
from activities.program_inputs import inputs_of
from activities.programs import requirements_of
from builds import git, gradle, jars, maven, packaging, pyenv, python_files
from core.effects import EngineError, LogSink, Rejected
from core.errors import InvalidInput
from core.jobs import messages
from core.specs import JarSpec, JobSpec, PyFlinkSpec, SessionClusterSpec, SqlSpec, build_key
from services import Services
from settings import Settings, clock, waits
from settings.installed import flink_python
from store import attempts, clusters, commands, jobs
from store.tables import Build
from temporal.client import tell

_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
log = structlog.get_logger()


class Builder:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.BUILD)
    async def build(self, request: c.BuildIn) -> c.Built:
        """Resolve the ref to a commit and see that this commit is built; the build's log is followed
        into the command's log. What the program is given has to be there: said now, before anything is stopped."""
        bind(job=request.job_id, command=request.command_id)
        services = self._services
        async with log_of(services.database, request.command_id) as tell, heartbeats():
            async with services.database.read() as session:
                job = present(await jobs.by_id(session, request.job_id), f"job {request.job_id}")
                cluster = await clusters.get(session, job.cluster)
                raw = (await jobs.version(session, job, request.version)).spec
            try:
                spec = _buildable(raw)
            except InvalidInput as error:  # a rule that is younger than the version
                tell(error.message)
                return c.Built(
                    error=f"Version {request.version} is not taken any more: {error.message}", code="spec_invalid"
                )
            try:
                await inputs_of(services, job.project, raw, in_jar=isinstance(spec, JarSpec))
            except Rejected as error:
                tell(error.message)
                return c.Built(error=error.message, code="inputs_missing")
            roots = services.settings.git_local_roots
            try:
                commit = await self._pinned(request)
                if commit is None:
                    git.check_local(spec.git, roots)
                    commit = await git.resolve(spec.git)
                again = " once more" if request.like is not None or request.pinned is not None else ""
                tell(f"commit {commit}{again}" if again else f"{spec.git.ref} is commit {commit}")
                key = build_key(spec, commit)
                row = await self._existing(key)
                if row is None:  # of one that is built already nobody needs the repository
                    git.check_local(spec.git, roots)
            except EngineError as error:
                tell(error.message)
                return c.Built(error=error.message, code="git_failed")
            if row is not None:
                tell("this commit is built already with these settings")
                return await self._checked(spec, c.Built(key=key, commit=commit), row, tell)
            run = c.RunBuild(key=key, commit=commit, cluster_flink_version=cluster.flink_version, spec=raw)
            built = await self._shared(run, tell)
            return built if built.error else await self._checked(spec, built, await self._existing(key), tell)

    async def _checked(self, spec: JarSpec | PyFlinkSpec, built: c.Built, row: Build | None, tell: LogSink) -> c.Built:
        """Whether what is to run is in what was built: said now, before anything is stopped for it. It is no part of
        the build: a jar is built once for all its classes, a folder is kept once for all programs in it."""
        artifacts = self._services.artifacts
        if row is None:
            return built
        try:
            if isinstance(spec, PyFlinkSpec):
                await asyncio.to_thread(_check_program, spec, artifacts.program(row.key))
            elif row.sha256 is not None:
                await asyncio.to_thread(jars.check_entry_class, artifacts.jar(row.sha256), spec.entry_class)
        except EngineError as error:
            tell(error.message)
            code = "entry_class_not_found" if isinstance(spec, JarSpec) else "program_not_found"
            return c.Built(error=error.message, code=code)
        return built

    async def _pinned(self, request: c.BuildIn) -> str | None:
        """The commit that it has to be, wherever the branch is now."""
        async with self._services.database.read() as session:
            if request.like is not None:
                like = await attempts.get(session, request.job_id, request.like)
                return like.config.get("commit") if like else None
            if request.pinned is None:
                return None
            row = await attempts.build(session, request.pinned)
        return row.commit if row else None

    async def _existing(self, key: str) -> Build | None:
        """A build whose artifact is there; None where it has to be made."""
        async with self._services.database.read() as session:
            row = await attempts.build(session, key)
        if row is None:
            return None
        artifacts = self._services.artifacts
        path = artifacts.jar(row.sha256) if row.sha256 else artifacts.program(row.key)
        return row if path.exists() else None

    async def _shared(self, run: c.RunBuild, tell: LogSink) -> c.Built:
        """Start the build, or join the one that is going on, and follow its log. Who is told not to wait any more
        says so to the build, which ends when nobody waits for it."""
        info = activity.info()
        who = f"{info.workflow_id}/{info.activity_id}"  # the same for each try of this activity
        try:
            while True:
                handle = await self._services.client.start_workflow(
                    messages.BUILD,
                    run,
                    id=self._services.installation.build_workflow_id(run.key),
                    task_queue=self._services.installation.queues.main,
                    id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                    start_signal=messages.FOLLOW.name,
                    start_signal_args=[who],
                    result_type=c.Built,
                    static_summary=f"build of {_source(_buildable(run.spec))} (commit {run.commit[:7]})",
                )
                built = await self._follow(handle, tell)
                if built.code != c.BUILD_ABANDONED:
                    return built
        except asyncio.CancelledError:
            # Not when the worker stops: the next try of this activity goes on waiting.
            details = activity.cancellation_details()
            if details is not None and details.cancel_requested:
                await asyncio.shield(self._leave(run.key, who))
            raise

    async def _leave(self, key: str, who: str) -> None:
        handle = self._services.client.get_workflow_handle(self._services.installation.build_workflow_id(key))
        try:
            await tell(handle, messages.LEAVE, who, within=waits.LEAVE_TIMEOUT)
        except RPCError as error:  # it has ended, or goes on to its end
            log.warning("could not leave a build", build=key[:12], why=str(error))

    async def _follow(self, handle: WorkflowHandle[Any, c.Built], tell: LogSink) -> c.Built:
        scope = f"build:{(await handle.describe()).run_id}"
        result = asyncio.create_task(handle.result())
        last = 0
        try:
            while True:
                done = result.done()
                async with self._services.database.read() as session:
                    rows = await commands.lines(session, scope, after=last)
                for row in rows:
                    tell(row.text)
                    last = row.id
                if done and len(rows) < 1000:
                    built: c.Built = result.result()
                    return built
                await asyncio.wait([result], timeout=waits.FOLLOW_BUILD_SECONDS)
        except WorkflowFailureError as error:
            return c.Built(error=f"The build was ended from outside: {error.cause}", code="build_failed")
        finally:
            result.cancel()

    @activity.defn(name=c.RUN_BUILD)
    async def run_build(self, request: c.RunBuild) -> c.Built:
        """Check out one commit and build it."""
        services = self._services
        spec = _buildable(request.spec)
        bind(build=request.key[:12])
        scope = f"build:{activity.info().workflow_run_id}"
        async with command_log(services.database, scope) as tell, heartbeats():
            if await self._existing(request.key) is not None:
                return c.Built(key=request.key, commit=request.commit)
            try:
                with services.artifacts.scratch() as folder:
                    source = await git.checkout(spec.git, request.commit, folder / "source", tell)
                    sha256, size = await self._make(spec, request, folder / "source", source, tell)
            except EngineError as error:
                tell(error.message)
                return c.Built(error=error.message, code="build_failed")
            async with services.database.write() as session:
                await attempts.add_build(
                    session,
                    key=request.key,
                    commit=request.commit,
                    type_=spec.type,
                    sha256=sha256,
                    size=size,
                    now=clock.now(),
                )
            return c.Built(key=request.key, commit=request.commit)

    async def _make(
        self, spec: JarSpec | PyFlinkSpec, request: c.RunBuild, root: Path, source: Path, tell: LogSink
    ) -> tuple[str | None, int | None]:
        services, settings = self._services, self._services.settings
        if isinstance(spec, JarSpec):
            jar = await packaging.build(root, source, spec.build, build_tools(settings), tell)
            digest, size = await asyncio.to_thread(services.artifacts.put_jar, jar)
            tell(f"built {jar.name} ({size / 1e6:.1f} MB, sha256 {digest[:12]})")
            return digest, size
        _check_program(spec, source)
        if isinstance(spec.requirements, str):
            python_files.check_requirements(source, spec.requirements)
        program = await asyncio.to_thread(services.artifacts.put_program, source, request.key)
        base = flink_python(settings.cache, request.cluster_flink_version)
        if base.exists():
            await pyenv.ensure(
                services.artifacts,
                base,
                requirements_of(request.spec, program),
                build_env=settings.build_env,
                timeout=settings.build_timeout,
                output_limit=settings.build_log_limit,
                tell=tell,
            )
        tell("the program is ready")
        return None, None


def _check_program(spec: PyFlinkSpec, source: Path) -> None:
    """Raises `EngineError` when what is to run is not there."""
    if spec.entry_file:
        python_files.check_entry_file(source, spec.entry_file)
    else:
        python_files.check_module(source, str(spec.module))


def _source(spec: JarSpec | PyFlinkSpec) -> str:
    """What is built, short: the repository's name, and the folder in it."""
    name = spec.git.url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return "/".join(filter(None, (name, spec.git.subdirectory)))


def _buildable(raw: dict[str, Any]) -> JarSpec | PyFlinkSpec:
    """A job spec of which something is built. Raises an error that is not tried again for any other."""
    match _SPEC.validate_python(raw):
        case JarSpec() | PyFlinkSpec() as spec:
            return spec
        case SqlSpec() | SessionClusterSpec() as other:
            raise ApplicationError(
                f"Nothing is built of a job of type {other.type}.", type="nothing_to_build", non_retryable=True
            )
        case other:
            assert_never(other)


def maven_settings(settings: Settings) -> maven.MavenSettings:
    """What Maven is run with, from the installation's settings."""
    return maven.MavenSettings(
        settings_file=settings.maven_settings,
        repository=settings.maven_repository,
        build_env=settings.build_env,
        timeout=settings.build_timeout,
        output_limit=settings.build_log_limit,
    )


def build_tools(settings: Settings) -> packaging.BuildTools:
    """The same of every tool that makes jars."""
    return packaging.BuildTools(
        maven=maven_settings(settings),
        gradle=gradle.GradleSettings(
            user_home=settings.gradle_user_home or settings.cache / "gradle",
            build_env=settings.build_env,
            timeout=settings.build_timeout,
            output_limit=settings.build_log_limit,
        ),
    )
