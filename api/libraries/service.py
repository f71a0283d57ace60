"""Libraries: connectors and functions, in versions."""

from __future__ import annotations

import asyncio
import os
import zipfile
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.contracts import FetchLibrary
from activities.library import scope
from api.libraries.schemas import FileOut, LibraryOut
from api.temporal import asking
from builds import git
from builds.artifacts import Artifacts
from core.effects import Rejected
from core.errors import Conflict, InvalidInput, PenstockError, Unavailable
from core.jobs import messages
from core.libraries import FromGit, FromUpload, LibraryState, NewLibrary
from core.sql.program_inputs import check_unopened
from services import Services
from settings import clock, waits
from store import commands, jobs, resources
from store.tables import Library

MAX_UPLOAD = 512 * 1024 * 1024


class LibraryTooLarge(PenstockError):
    status = 413


async def all_(services: Services, project: str) -> list[LibraryOut]:
    """Of a project. Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        return [_show(row) for row in await resources.libraries(session, project)]


async def add(services: Services, project: str, new: NewLibrary) -> LibraryOut:
    """Write a version down, and have it fetched. Raises `Conflict` when it is there, `Unavailable`."""
    if isinstance(new.source, FromGit):
        check_unopened(new.source.model_dump(), "source")
        try:
            git.check_local(new.source.git, services.settings.git_local_roots)
        except Rejected as error:
            raise InvalidInput(error.message, code="git_path_refused", field="source.git.url") from error
    upload = isinstance(new.source, FromUpload)
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        row = await resources.find_library(session, project, new.name, new.version)
        if row is not None and row.state != LibraryState.FAILED.value:
            raise Conflict(
                f"There is a library {new.name} in version {new.version} already.",
                code="library_exists",
                remedy="Give it another version.",
            )
        state = LibraryState.WAITING if upload else LibraryState.FETCHING
        row = await resources.put_library(session, project, new, state, clock.now())
        # One of this name that failed, or was removed, has left its log.
        await commands.forget_lines(session, scope(project, new.name, new.version))
    if not upload:
        await _fetch(services, row)
    return _show(row)


async def _fetch(services: Services, row: Library) -> None:
    written = f"{row.name} {row.version} is written down, and it is not certain that anybody fetches it."
    with asking(written, remedy="Ask for this version again (GET) when Temporal answers: that begins it."):
        await services.client.start_workflow(
            messages.LIBRARY,
            FetchLibrary(project=row.project, name=row.name, version=row.version),
            id=services.installation.library_workflow_id(row.project, row.name, row.version),
            task_queue=services.installation.queues.main,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            static_summary=f"library {row.name} {row.version}",
            rpc_timeout=waits.ANSWER_TIMEOUT,
        )


async def get(services: Services, project: str, name: str, version: str) -> LibraryOut:
    """Raises `NotFound`."""
    async with services.database.read() as session:
        row = await resources.library(session, project, name, version)
    if row.state == LibraryState.FETCHING.value:
        await _fetch(services, row)  # joins what is going on; begins it when its start was lost
    return _show(row)


async def log(services: Services, project: str, name: str, version: str) -> str:
    """How it was fetched or built, line by line. Raises `NotFound`."""
    async with services.database.read() as session:
        row = await resources.library(session, project, name, version)
        rows = await commands.lines(session, scope(row.project, row.name, row.version), limit=10_000)
    return "".join(f"{line.at:%Y-%m-%dT%H:%M:%S}Z {line.text}\n" for line in rows)


async def put_content(
    services: Services, project: str, name: str, version: str, content: AsyncIterable[bytes]
) -> LibraryOut:
    """Keep the file that an upload waits for. Raises `Conflict`, `InvalidInput`, `Unavailable`."""
    async with services.database.read() as session:
        row = await resources.library(session, project, name, version)
    if row.state != LibraryState.WAITING.value:
        raise Conflict(
            f"{name} {version} is {row.state} and waits for no content.",
            code="library_not_waiting",
            remedy="Add another version with the source `upload`.",
        )
    file = str(row.source["file"])
    with _keeping(), services.artifacts.scratch() as folder:
        path = folder / "content"
        size = 0
        with open(path, "wb") as out:
            async for chunk in content:
                size += len(chunk)
                if size > MAX_UPLOAD:
                    raise LibraryTooLarge("The content is larger than 512 MB.", code="too_large", field="body")
                out.write(chunk)
        keep = await asyncio.to_thread(_kept, services.artifacts, path, row.kind, file)
    async with services.database.write() as session:
        row = await resources.library(session, project, name, version)
        resources.end_library(row, [{"sha256": keep[0], "size": keep[1], "name": file}])
        return _show(row)


@contextmanager
def _keeping() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The content could not be kept: {error.strerror or type(error).__name__}.",
            code="artifacts_unwritable",
            remedy="Is there room where the artifacts lie (PENSTOCK_ARTIFACTS), and may the API write there? The "
            "version waits for its content as before: send it again then.",
        ) from error


def _kept(artifacts: Artifacts, path: Path, kind: str, file: str) -> tuple[str, int]:
    """In a thread: to read and hash 512 MB takes a second or more, in which nobody else would be answered."""
    _check(path, file)
    return artifacts.put_jar(path) if kind == "jar" else artifacts.put_python(path, file)


def _check(path: os.PathLike[str], file: str) -> None:
    if file.endswith(".py"):
        try:
            compile(Path(path).read_text(encoding="utf-8"), file, "exec")
        except (SyntaxError, ValueError) as error:
            raise InvalidInput(f"{file} is not Python: {error}", code="bad_content", field="body") from error
    elif not zipfile.is_zipfile(path):
        raise InvalidInput(f"{file} is not a {file.rpartition('.')[2]}.", code="bad_content", field="body")


async def remove(services: Services, project: str, name: str, version: str) -> None:
    """Raises `Conflict` while a version of a job is run with it, or a catalog needs it."""
    async with services.database.write() as session:
        row = await resources.library(session, project, name, version)
        if users := await resources.users(session, row):
            raise Conflict(
                f"{name} {version} is used by {', '.join(users[:5])}.",
                code="library_in_use",
                remedy="Add versions of those jobs, and change those catalogs, so that they do not use it.",
            )
        await resources.remove_library(session, row)


def _show(row: Library) -> LibraryOut:
    return LibraryOut(
        project=row.project,
        name=row.name,
        version=row.version,
        kind=row.kind,
        source=row.source,
        state=LibraryState(row.state),
        why=row.why,
        files=[FileOut.model_validate(f) for f in row.files],
        functions=row.functions,
        description=row.description,
        created_at=row.created_at,
    )
