"""Libraries: from Maven's repositories, or built from Git."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any, assert_never

from pydantic import TypeAdapter
from temporalio import activity

from activities import contracts as c
from activities.build import build_tools, maven_settings
from activities.logs import bind, command_log, heartbeats
from builds import git, maven, packaging
from core.effects import EngineError, LogSink, Rejected
from core.errors import NotFound
from core.libraries import FromGit, FromMaven, FromUpload, LibraryState, Source
from services import Services
from store import commands, resources

_SOURCE: TypeAdapter[Source] = TypeAdapter(Source)


def scope(project: str, name: str, version: str) -> str:
    """Of its log: what no other library has."""
    full = f"library:{project}:{name}:{version}"
    return full if len(full) <= 120 else f"{full[:79]}:{hashlib.sha256(full.encode()).hexdigest()[:40]}"


class Librarian:
    def __init__(self, services: Services):
        self._services = services

    @activity.defn(name=c.FETCH_LIBRARY)
    async def fetch_library(self, request: c.FetchLibrary) -> c.Outcome:
        """Fetch or build the files of a version, and write down what came of it: READY with them, FAILED with the
        reason. A version that was deleted meanwhile is an outcome with an error, too."""
        bind(library=f"{request.project}/{request.name}/{request.version}")
        async with heartbeats():
            while (outcome := await self._fetched(request)) is None:
                pass
        return outcome

    async def _fetched(self, request: c.FetchLibrary) -> c.Outcome | None:
        """None: what was fetched was deleted meanwhile, and another one was added in its place. Its start has joined
        this run, so that nobody else fetches it."""
        services = self._services
        key = (request.project, request.name, request.version)
        where = scope(*key)
        try:
            async with services.database.read() as session:
                row = await resources.library(session, *key)
            files: list[dict[str, Any]] = []
            error: str | None = None
            async with command_log(services.database, where) as tell:
                try:
                    files = await self._files(_SOURCE.validate_python(row.source), row.kind, tell)
                except EngineError as failed:
                    error = failed.message
                    tell(error)
            async with services.database.write() as session:
                now = await resources.library(session, *key)
                if (now.created_at, now.source) != (row.created_at, row.source):
                    await commands.forget_lines(session, where)
                    return None if now.state == LibraryState.FETCHING.value else c.Outcome()
                resources.end_library(now, files, error)
        except NotFound as gone:  # it was deleted meanwhile
            return c.Outcome(error=gone.message, code=gone.code)
        return c.Outcome(error=error, code="library_failed" if error else None)

    async def _files(self, source: Source, kind: str, tell: LogSink) -> list[dict[str, Any]]:
        services = self._services
        with services.artifacts.scratch() as folder:
            match source:
                case FromMaven():
                    return await self._from_maven(source, folder, tell)
                case FromGit():
                    return [await self._from_git(source, kind, folder, tell)]
                case FromUpload():
                    raise Rejected("An upload is sent to Penstock, and never fetched.")
                case _:
                    assert_never(source)

    async def _from_maven(self, source: FromMaven, folder: Path, tell: LogSink) -> list[dict[str, Any]]:
        how = maven_settings(self._services.settings)
        files = []
        for number, coordinates in enumerate(source.coordinates):
            into = folder / str(number)
            into.mkdir()
            files.append(await self._kept(await maven.fetch(coordinates, into, how, tell), "jar", tell))
        return files

    async def _from_git(self, source: FromGit, kind: str, folder: Path, tell: LogSink) -> dict[str, Any]:
        settings = self._services.settings
        git.check_local(source.git, settings.git_local_roots)
        commit = await git.resolve(source.git)
        tell(f"{source.git.ref} is commit {commit}")
        root = folder / "source"
        inner = await git.checkout(source.git, commit, root, tell)
        if source.file is None:
            return await self._kept(
                await packaging.build(root, inner, source.build, build_tools(settings), tell), kind, tell
            )
        return await self._kept(git.inside(inner, source.file), kind, tell)

    async def _kept(self, path: Path, kind: str, tell: LogSink) -> dict[str, Any]:
        artifacts = self._services.artifacts
        if kind == "jar":
            digest, size = await asyncio.to_thread(artifacts.put_jar, path)
        else:
            digest, size = await asyncio.to_thread(artifacts.put_python, path, path.name)
        tell(f"{path.name}: {size / 1e6:.1f} MB, sha256 {digest[:12]}")
        return {"sha256": digest, "size": size, "name": path.name}
