"""/projects/{project}/libraries: connectors and functions, in versions."""

from __future__ import annotations

import asyncio
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path as Path_
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import PlainTextResponse
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from activities.contracts import FetchLibrary
from activities.library import scope
from api.deps import Page, Parts
from api.problems import responses
from api.resources.schemas import FileOut, LibraryOut
from api.temporal import asking
from builds import git
from builds.artifacts import Artifacts
from core.effects import Rejected
from core.errors import Conflict, InvalidInput, PenstockError, Unavailable
from core.libraries import FromGit, FromUpload, LibraryState, NewLibrary
from services import Services
from settings import clock
from store import commands, jobs, resources
from store.tables import Library
from temporal.delivery import ANSWER_TIMEOUT

router = APIRouter(prefix="/projects/{project}/libraries", tags=["libraries"])
Project = Annotated[str, Path(max_length=80)]
Name = Annotated[str, Path(max_length=80)]
MAX_UPLOAD = 512 * 1024 * 1024
_ALL = responses(404, 422, 503)


class TooLarge(PenstockError):
    status = 413


@router.get("", responses=_ALL, summary="Libraries of a project")
async def list_libraries(project: Project, parts: Parts) -> Page[LibraryOut]:
    async with parts.database.read() as session:
        await jobs.project(session, project)
        return Page(items=[_show(row) for row in await resources.libraries(session, project)])


@router.post("", status_code=201, responses=responses(404, 409, 422, 503), summary="Add a version of a library")
async def add_library(project: Project, new: NewLibrary, parts: Parts, response: Response) -> LibraryOut:
    """From Maven coordinates or Git it is fetched or built by a worker: FETCHING, then READY or FAILED. An upload
    waits for its content. A version never changes once it is READY."""
    if isinstance(new.source, FromGit):
        try:
            git.check_local(new.source.git, parts.settings.git_local_roots)
        except Rejected as error:
            raise InvalidInput(error.message, code="git_path_refused", field="source.git.url") from error
    upload = isinstance(new.source, FromUpload)
    async with parts.database.write() as session:
        await jobs.project(session, project)
        row = await session.get(Library, (project, new.name, new.version))
        if row is not None and row.state != LibraryState.FAILED.value:
            raise Conflict(
                f"There is a library {new.name} in version {new.version} already.",
                code="library_exists",
                remedy="Give it another version.",
            )
        row = row or Library(project=project, name=new.name, version=new.version, created_at=clock.now())
        row.kind, row.source, row.files, row.why = new.kind, new.source.model_dump(mode="json"), [], None
        row.state = (LibraryState.WAITING if upload else LibraryState.FETCHING).value
        row.functions = [f.model_dump(by_alias=True) for f in new.functions]
        row.description = new.description
        session.add(row)
        await session.flush()
    if not upload:
        await _fetch(parts, row)
    response.headers["Location"] = f"/api/v1/projects/{project}/libraries/{new.name}/{new.version}"
    return _show(row)


async def _fetch(parts: Services, row: Library) -> None:
    written = f"{row.name} {row.version} is written down, and it is not certain that anybody fetches it."
    with asking(written, remedy="Ask for this version again (GET) when Temporal answers: that begins it."):
        await parts.client.start_workflow(
            "LibraryWorkflow",
            FetchLibrary(project=row.project, name=row.name, version=row.version),
            id=parts.installation.library_workflow_id(row.project, row.name, row.version),
            task_queue=parts.installation.queues.main,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            static_summary=f"library {row.name} {row.version}",
            rpc_timeout=ANSWER_TIMEOUT,
        )


@router.get("/{name}/{version}", responses=_ALL, summary="One version of a library")
async def get_library(project: Project, name: Name, version: Name, parts: Parts) -> LibraryOut:
    async with parts.database.read() as session:
        row = await resources.library(session, project, name, version)
    if row.state == LibraryState.FETCHING.value:
        await _fetch(parts, row)  # joins what is going on; begins it when its start was lost
    return _show(row)


@router.get(
    "/{name}/{version}/log",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Text"}, **_ALL},
    response_class=PlainTextResponse,
    summary="How it was fetched or built",
)
async def get_library_log(project: Project, name: Name, version: Name, parts: Parts) -> str:
    async with parts.database.read() as session:
        row = await resources.library(session, project, name, version)
        rows = await commands.lines(session, scope(row.project, row.name, row.version), limit=10_000)
    return "".join(f"{line.at:%Y-%m-%dT%H:%M:%S}Z {line.text}\n" for line in rows)


@router.put(
    "/{name}/{version}/content",
    responses=responses(404, 409, 413, 422, 503),
    summary="Send the content of an upload",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_content(project: Project, name: Name, version: Name, request: Request, parts: Parts) -> LibraryOut:
    """The file itself as the body, at most 512 MB."""
    async with parts.database.read() as session:
        row = await resources.library(session, project, name, version)
    if row.state != LibraryState.WAITING.value:
        raise Conflict(
            f"{name} {version} is {row.state} and waits for no content.",
            code="library_not_waiting",
            remedy="Add another version with the source `upload`.",
        )
    file = str(row.source["file"])
    with _keeping(), parts.artifacts.scratch() as folder:
        path = folder / "content"
        size = 0
        with open(path, "wb") as out:
            async for chunk in request.stream():
                size += len(chunk)
                if size > MAX_UPLOAD:
                    raise TooLarge("The content is larger than 512 MB.", code="too_large", field="body")
                out.write(chunk)
        keep = await asyncio.to_thread(_kept, parts.artifacts, path, row.kind, file)
    async with parts.database.write() as session:
        row = await resources.library(session, project, name, version)
        row.files = [{"sha256": keep[0], "size": keep[1], "name": file}]
        row.state = LibraryState.READY.value
        await session.flush()
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


def _kept(artifacts: Artifacts, path: Path_, kind: str, file: str) -> tuple[str, int]:
    """In a thread: to read and hash 512 MB takes a second or more, in which nobody else would be answered."""
    _check(path, file)
    return artifacts.put_jar(path) if kind == "jar" else artifacts.put_python(path, file)


def _check(path: os.PathLike[str], file: str) -> None:
    if file.endswith(".py"):
        try:
            compile(Path_(path).read_text(encoding="utf-8"), file, "exec")
        except (SyntaxError, ValueError) as error:
            raise InvalidInput(f"{file} is not Python: {error}", code="bad_content", field="body") from error
    elif not zipfile.is_zipfile(path):
        raise InvalidInput(f"{file} is not a {file.rpartition('.')[2]}.", code="bad_content", field="body")


@router.delete(
    "/{name}/{version}", status_code=204, responses=responses(404, 409, 422, 503), summary="Forget a version"
)
async def delete_library(project: Project, name: Name, version: Name, parts: Parts) -> None:
    """Not while a version of a job is run with it."""
    async with parts.database.write() as session:
        row = await resources.library(session, project, name, version)
        if users := await resources.users(session, row):
            raise Conflict(
                f"{name} {version} is used by {', '.join(users[:5])}.",
                code="library_in_use",
                remedy="Add versions of those jobs that do not use it.",
            )
        await session.delete(row)


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
