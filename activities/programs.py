"""What an attempt runs, made of its version, its project and what it ran before, as its cluster takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from activities.checks import unknown_type
from activities.hosting import cluster_program
from activities.program_inputs import inputs_of, with_libraries
from builds import pyenv
from builds.jars import main_class
from clusters.protocol import (
    JarProgram,
    Program,
    PythonProgram,
    Ref,
    SqlProgram,
    Submission,
)
from core.effects import LogSink, Rejected
from core.errors import PenstockError
from core.specs import JobType, SqlSpec, another_version, is_hosted_key
from core.sql.script import parse_script, runnable
from core.sql.variables import text_of
from services import Services
from settings.installed import flink_python
from sql.attempt_plan import PlanOfAttempt
from sql.compiling import ran_like, scratch_of
from sql.environment import python_properties, to_run
from store import attempts
from store.tables import Attempt, Cluster


class ArtifactMissing(Rejected):
    """It was built once, and has to be built again."""


class AnotherVersion(Rejected):
    """The version by the number of what is to run again is another one."""


class SubmissionFactory:
    """Makes the program of an attempt, by the type of its job."""

    def __init__(self, services: Services):
        self._services = services

    async def submission(self, context: attempts.Context, attempt: Attempt, tell: LogSink) -> Submission:
        """All that its cluster is sent of an attempt. Raises `ArtifactMissing`, `Rejected` and `Unreachable`."""
        job, cluster, spec = context.job, context.cluster, context.version.spec
        if attempts.ran_another(attempt, context.version):
            raise AnotherVersion(another_version(attempt.version))
        effective = attempts.effective(attempt)
        program: Program
        type_: JobType = spec["type"]
        match type_:
            case "sql":
                program, more = await self._sql(context, attempt, effective, tell)
                effective |= more
            case "session-cluster":
                program = await cluster_program(self._services, context, attempt)
                effective = {key: value for key, value in effective.items() if not is_hosted_key(key)}
            case "jar":
                program = await self._jar(spec, job.project, attempt)
            case "pyflink":
                program = await self._python_program(spec, job.project, attempt, cluster, tell)
            case _:
                raise unknown_type(type_)
        if attempt.restored_from:
            tell(f"state: {attempt.restored_why}: {attempt.restored_from}")
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

    async def _sql(
        self, context: attempts.Context, attempt: Attempt, config: Mapping[str, str], tell: LogSink
    ) -> tuple[Program, Mapping[str, str]]:
        """The script with what it names, the plan that it runs from, and properties that its libraries need."""
        services, project = self._services, context.job.project
        try:
            spec = SqlSpec.model_validate(context.version.spec)
            script = parse_script(text_of(spec))
            async with services.database.read() as session:
                like = await ran_like(session, attempt)
                made_of = attempt.config.get("sql") or (like.config.get("sql") if like else None) or {}
                env = await to_run(
                    services, session, project, script, made_of, uses=spec.libraries, table_options=config
                )
        except PenstockError as error:
            raise Rejected(str(error)) from error
        if like is not None:
            tell(f"it runs what attempt {like.number} ran")
        deciding = PlanOfAttempt(services, attempt, context.version, env, context.cluster.flink_version, tell, like)
        plan, planner = await deciding.known()
        program = SqlProgram(
            runnable(env.script),
            before=env.before,
            secrets=env.secrets,
            plan=plan,
            planner=planner,
            scratch=scratch_of(context.cluster),
        )
        return program, python_properties(self._services, context.cluster, env)

    async def _jar(self, spec: dict[str, Any], project: str, attempt: Attempt) -> JarProgram:
        """Raises `ArtifactMissing`, and `Rejected` when nothing says where it begins, or what it is given is not
        there."""
        services, key = self._services, str(attempt.config["build_key"])
        async with services.database.read() as session:
            built = await attempts.build(session, key)
        if built is None or built.sha256 is None:
            raise ArtifactMissing(f"the build {key[:12]} is not in the database any more")
        jar = services.artifacts.jar(built.sha256)
        if not jar.exists():
            raise ArtifactMissing(f"the jar {built.sha256[:12]} is not in the artifact store any more")
        entry = spec.get("entry_class")
        if not entry and main_class(jar) is None:
            raise Rejected("The jar's manifest names no main class; set entry_class.")
        inputs = await inputs_of(services, project, spec, in_jar=True)
        path, sha256 = jar, built.sha256
        if inputs.jars:
            path, sha256 = await with_libraries(services, jar, built.sha256, inputs.jars)
        return JarProgram(path, sha256, str(entry) if entry else None, inputs.args, inputs.secrets)

    async def _python_program(
        self, spec: dict[str, Any], project: str, attempt: Attempt, cluster: Cluster, tell: LogSink
    ) -> PythonProgram:
        """Raises `ArtifactMissing`, and `Rejected` when this worker has no Python for it, or what it is given is not
        there."""
        services, key = self._services, str(attempt.config["build_key"])
        root = services.artifacts.program(key)
        if not root.exists():
            raise ArtifactMissing(f"the program {key[:12]} is not in the artifact store any more")
        inputs = await inputs_of(services, project, spec, in_jar=False)
        python = await self._python(spec, root, cluster, tell)
        return PythonProgram(
            root=root,
            entry_file=str(spec["entry_file"]) if spec.get("entry_file") else None,
            module=str(spec["module"]) if spec.get("module") else None,
            args=inputs.args,
            python=python,
            env=inputs.env,
            files=inputs.files,
            java_properties=inputs.java_properties,
            jar=(await with_libraries(services, None, "", inputs.jars))[0] if inputs.jars else None,
            modules=inputs.modules,
            secrets=inputs.secrets,
        )

    async def _python(self, spec: dict[str, object], root: Path, cluster: Cluster, tell: LogSink) -> Path:
        settings = self._services.settings
        base = flink_python(settings.cache, cluster.flink_version)
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
    requirements = spec.get("requirements")
    if isinstance(requirements, str):
        return (root / requirements).read_text(errors="replace")
    return "\n".join(str(item) for item in requirements) if isinstance(requirements, list) else ""
