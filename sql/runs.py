"""Queries that somebody looks at: rows as they come, with limits, progress and a certain end.

A run lives in the process that was asked for it. Its streams are written down before anything is sent, with a
lease, so that the cluster's watch cancels what is left when this process dies (`observation/previews.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import timedelta
from typing import Any

import structlog

from clusters import state_files
from clusters.protocol import SqlWorkbench, Unreachable
from clusters.sql import NO_RETRIES, Result, SessionGone, SqlGateway, StatementFailed, scrub
from core.effects import EngineError
from core.jobs.observations import EngineState
from core.sql.operators import Json
from core.sql.values import of_gateway, type_name
from services import Services
from settings import clock, waits
from settings.polling import poll
from settings.waits import planning
from sql.ending import cancelled, ended
from sql.notes import note_of
from sql.streams import Ended, Limits, Stream, StreamEvent, null_refused, worst
from store import previews

MAX_SIZE = 32 * 1024 * 1024  # of a stream's values: they are kept until some time after the end
log = structlog.get_logger()


class Run:
    """Of one process. `events` are numbered from 1 and kept until some time after the end. `folder` is deleted then."""

    def __init__(
        self,
        services: Services,
        engine: SqlWorkbench,
        gateway: SqlGateway,
        session: str,
        streams: list[Stream],
        limits: Limits,
        *,
        secrets: list[str],
        materialize: bool,
        owns_session: bool = True,
        folder: str | None = None,
        given: Collection[str] = (),
    ):
        self.id = str(uuid.uuid4())
        self.streams, self.limits = streams, limits
        self.events: list[StreamEvent] = []
        self._count = 0
        self.done = asyncio.Event()
        self._services, self._engine, self._gateway, self._session = services, engine, gateway, session
        self._secrets, self._materialize, self._owns_session = secrets, materialize, owns_session
        self._folder = folder
        self.given = frozenset(given)
        """The tables that rows stand in for."""
        self._changed = asyncio.Condition()
        self._stop = asyncio.Event()
        self._why: tuple[Ended, str] = (Ended.STOPPED, "it was stopped")
        self._listeners = 0
        self._alone_since = clock.monotonic()
        self._began = clock.monotonic()
        self.ended_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    # Beginning --------------------------------------------------------------------------------

    async def write_down(self, project: str, cluster: str, request: Mapping[str, Any]) -> None:
        """Commit a row for each of its queries before anything is sent, so that the watch ends their Flink jobs when
        this process does not. Gives the streams their ids."""
        now = clock.now()
        # Until it runs nobody renews it; planning may take its time.
        lease = now + waits.LEASE + timedelta(seconds=self._services.settings.plan_timeout)
        async with self._services.database.write() as session:
            for number, stream in enumerate(self.streams):
                stream.id = f"{self.id}:{number:02d}"
                await previews.add(
                    session,
                    stream.id,
                    project=project,
                    cluster=cluster,
                    stream=stream.name,
                    flink_job_id=stream.flink_job_id,
                    run=self.id,
                    request=dict(request),
                    lease_until=lease,
                    now=now,
                )

    @property
    def sent(self) -> bool:
        """Whether anything was sent: then it ends by itself, and closes its session."""
        return self._task is not None

    async def start(self, project: str) -> None:
        """Send the queries, and wait until the gateway has taken each. Raises `StatementFailed`, `TooSlow`."""
        following = self._finish(Ended.FAILED, "it was refused")  # also when the request is cancelled meanwhile
        try:
            async with planning(self._services.settings, "Planning the queries of the preview"):
                firsts = await asyncio.gather(*(self._send(stream, project) for stream in self.streams))
            following.close()
            following = self._go(firsts)
        finally:
            self._task = asyncio.create_task(following)

    async def _send(self, stream: Stream, project: str) -> Result | StatementFailed:
        """The first answer; also that it has failed already, as a query that ran. Raises `StatementFailed` for one that
        Flink does not take."""
        stream.operation = await self._gateway.start(
            self._session,
            stream.statement,
            {
                "$internal.pipeline.job-id": stream.flink_job_id,
                "pipeline.name": f"preview {project} {self.id[:8]} {stream.name}".strip(),
                "parallelism.default": str(self.limits.parallelism),
                **NO_RETRIES,
            },
        )
        began = clock.monotonic()
        while True:
            try:
                result = await self._gateway.page(self._session, stream.operation, 0)
            except StatementFailed as error:
                stream.taken = True
                if not await self._is_known(stream):
                    raise
                return error
            if result.ready:
                stream.taken = True
                return result
            is_fast = clock.monotonic() - began < waits.FAST_POLL_SECONDS
            await asyncio.sleep(waits.PREVIEW_PACE.first if is_fast else waits.PREVIEW_PACE.longest)

    async def _is_known(self, stream: Stream) -> bool:
        try:
            ref = await self._engine.ref_of(stream.flink_job_id)
            return ref is not None and (await self._engine.look(ref)).state is not EngineState.MISSING
        except EngineError:
            return False

    # Streaming --------------------------------------------------------------------------------

    async def _go(self, firsts: list[Result | StatementFailed]) -> None:
        await self._publish("start", {"run": self.id, "streams": [self._named(s) for s in self.streams]})
        watching = asyncio.create_task(self._watch())
        pumps = [asyncio.create_task(self._pump(s, r)) for s, r in zip(self.streams, firsts, strict=True)]
        stopping = asyncio.create_task(self._stop.wait())
        try:
            everything = asyncio.gather(*pumps)
            waiting: list[asyncio.Future[Any]] = [everything, stopping]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await everything
        except Exception:
            log.exception("a preview failed", run=self.id)
            self._why = (Ended.FAILED, "this is a defect of Penstock; the API's log has the details")
        finally:
            watching.cancel()
            stopping.cancel()
            await self._finish(*self._why)

    def _named(self, stream: Stream) -> dict[str, Any]:
        return {"stream": stream.name, "flink_job_id": stream.flink_job_id}

    async def _pump(self, stream: Stream, result: Result | StatementFailed) -> None:
        """Page by page until the query ends or a limit is met."""
        if isinstance(result, StatementFailed):
            await self._end(stream, Ended.FAILED, scrub(result.message, self._secrets))
            return
        pause, slow_until, shown = waits.PREVIEW_PACE.first, 0.0, 0.0
        changed = False
        while True:
            if result.columns and not stream.columns:
                stream.columns = [
                    {"name": c["name"], "type": type_name(c.get("logicalType") or {})} for c in result.columns
                ]
                stream.types = [of_gateway(c.get("logicalType") or {}) for c in result.columns]
                await self._publish("columns", {"stream": stream.name, "columns": stream.columns})
            if result.rows:
                pause, changed = waits.PREVIEW_PACE.first, True
                for part in self._parts(result.rows):
                    if self.limits.rows_per_second:
                        await asyncio.sleep(max(0, slow_until - clock.monotonic()))
                        slow_until = max(slow_until, clock.monotonic()) + len(part) / self.limits.rows_per_second
                    await self._rows(stream, part)
                    if stream.ended is not None:
                        await self._gateway.cancel(self._session, stream.operation)
                        return
            if self._materialize and changed and clock.monotonic() - shown >= waits.TABLE_SECONDS:
                shown, changed = clock.monotonic(), False
                await self._table(stream)
            if stream.rows >= self.limits.rows or stream.size >= MAX_SIZE:
                limit = f"{self.limits.rows} rows" if stream.rows >= self.limits.rows else f"{MAX_SIZE >> 20} MB"
                await self._end(stream, Ended.LIMITED, f"the limit of {limit}")
                await self._gateway.cancel(self._session, stream.operation)
                return
            if result.next is None:
                await self._end(stream, Ended.FINISHED, "")
                return
            await asyncio.sleep(0 if result.rows else pause)
            if stream.rows or clock.monotonic() - self._began > waits.FAST_POLL_SECONDS:
                pause = waits.PREVIEW_PACE.after(pause)
            following = await self._next(stream, result.next)
            if following is None:
                return
            result = following

    def _parts(self, rows: list[Json]) -> list[list[Json]]:
        """A page in parts of a fifth of a second each, where there is a rate to keep."""
        size = max(1, (self.limits.rows_per_second or 0) // 5) if self.limits.rows_per_second else len(rows)
        return [rows[i : i + size] for i in range(0, len(rows), size)]

    async def _next(self, stream: Stream, token: int) -> Result | None:
        """The next page, None when the stream has ended without one."""
        polling = poll(waits.NEXT_ROWS_PACE, seconds=waits.NEXT_ROWS_SECONDS)
        while True:
            try:
                return await self._gateway.page(self._session, stream.operation, token)
            except StatementFailed as error:
                await self._end(stream, Ended.FAILED, scrub(error.message, self._secrets))
                return None
            except SessionGone as error:
                await self._end(stream, Ended.INTERRUPTED, error.message)
                return None
            except Unreachable as error:
                if not await polling.again():
                    await self._end(stream, Ended.INTERRUPTED, error.message)
                    return None

    async def _rows(self, stream: Stream, changes: list[Json]) -> None:
        """Show changes, up to the first at which the sink fails."""
        rows, null_column = stream.take(changes, self.limits.rows)
        if rows:
            await self._publish("rows", {"stream": stream.name, "rows": rows})
        if null_column is not None:
            await self._end(stream, Ended.FAILED, null_refused(null_column))

    async def _table(self, stream: Stream) -> None:
        """The table as it is. Only the newest is kept."""
        self.events = [e for e in self.events if e.event != "table" or e.data["stream"] != stream.name]
        await self._publish("table", {"stream": stream.name, "rows": stream.table.rows()})

    async def _watch(self) -> None:
        """Once a second: limits, listeners, what the jobs do meanwhile; the lease."""
        renewed = 0.0
        while True:
            await asyncio.sleep(waits.PREVIEW_LOOK_SECONDS)
            now = clock.monotonic()
            if now - self._began > self.limits.seconds:
                self.stop(Ended.LIMITED, f"the limit of {self.limits.seconds:g} seconds")
            elif self._listeners == 0 and now - self._alone_since > waits.ABANDONED_SECONDS:
                self.stop(Ended.ABANDONED, "nobody was listening")
            for stream in self.streams:
                if stream.ended is None:
                    await self._progress(stream)
            if now - renewed > waits.LEASE.total_seconds() / 3:
                renewed = now
                try:
                    async with self._services.database.write() as session:
                        await previews.renew(session, [self.id], clock.now() + waits.LEASE)
                    await self._gateway.heartbeat(self._session)
                except Exception as error:  # what is wrong with the gateway the stream itself finds out
                    log.warning("a preview's lease was not renewed", run=self.id, why=str(error))

    async def _progress(self, stream: Stream) -> None:
        try:
            ref = await self._engine.ref_of(stream.flink_job_id)
            tasks = await self._engine.vertices(ref) if ref is not None else []
        except EngineError as error:
            await self._publish("progress", {"stream": stream.name, "note": error.message})
            return
        now = clock.monotonic()
        seconds = round(now - self._began, 1)
        if any(t.state != "RUNNING" for t in tasks):
            stream.running_since = None
        elif stream.running_since is None:
            stream.running_since = now
        running = now - stream.running_since if stream.running_since is not None else 0.0
        note = note_of(tasks, stream.rows, running)
        # Only what is new takes room.
        self.events = [e for e in self.events if e.event != "progress" or e.data["stream"] != stream.name]
        await self._publish(
            "progress",
            {
                "stream": stream.name,
                "seconds": seconds,
                "rows": stream.rows,
                "note": note,
                "tasks": [
                    {
                        "name": t.name,
                        "state": t.state,
                        "parallelism": t.parallelism,
                        "read": t.read,
                        "written": t.written,
                    }
                    for t in tasks
                ],
            },
        )

    # Ending -----------------------------------------------------------------------------------

    def stop(self, state: Ended = Ended.STOPPED, why: str = "it was stopped") -> None:
        """Ask it to end, for this reason; returns at once, `done` is set when it has. Only the first reason counts."""
        if not self._stop.is_set():
            self._why = (state, why)
            self._stop.set()

    async def _end(self, stream: Stream, state: Ended, why: str) -> None:
        if stream.ended is not None:
            return
        stream.ended, stream.why = state, why
        if self._materialize:
            await self._table(stream)
        data = {"stream": stream.name, "state": state.value, "why": why, "rows": stream.rows}
        if state is Ended.INTERRUPTED:
            data["resume"] = f"POST /api/v1/sql/previews/{self.id}/resume"
        await self._publish("ended", data)

    async def _finish(self, state: Ended, why: str) -> None:
        """Whatever happened: every stream has an end, and no Flink job is left."""
        for stream in self.streams:
            await self._end(stream, state, why)
        # By us first: the gateway would do it at a moment at which Flink may not survive it. It may take its time, and
        # the watch is not to think that this process has died.
        with contextlib.suppress(Exception):
            async with self._services.database.write() as session:
                until = clock.now() + waits.LEASE + timedelta(seconds=waits.PREVIEW_CANCEL_SECONDS)
                await previews.renew(session, [self.id], until)
        await cancelled(self._engine, [s.flink_job_id for s in self.streams if s.ended is not Ended.FINISHED])
        for stream in self.streams:
            if stream.operation:
                await self._gateway.cancel(self._session, stream.operation)
        if self._owns_session:
            await self._gateway.close(self._session)
        now = clock.now()
        try:
            async with self._services.database.write() as session:
                for stream in self.streams:
                    end = stream.ended or state
                    await previews.end(session, stream.id, end.value, stream.why, stream.rows, now)
        except Exception as error:
            log.warning("the end of a preview was not written", run=self.id, why=str(error))
        await self._publish("end", {"run": self.id, "state": worst(self.streams).value})
        self.ended_at = clock.monotonic()
        self.done.set()
        await self._confirm_gone()
        if self._folder is not None:
            with contextlib.suppress(EngineError):
                await state_files.remove(self._folder)

    async def _confirm_gone(self) -> None:
        """The jobs are cancelled until the cluster says that they are gone; else the watch does it. One that was still
        on its way may come yet."""
        unsure = {s.flink_job_id for s in self.streams if not s.taken}
        left = await ended(self._engine, [s.flink_job_id for s in self.streams], unsure=unsure)
        gone = [s.id for s in self.streams if s.flink_job_id not in left]
        with contextlib.suppress(Exception):
            async with self._services.database.write() as session:
                await previews.gone(session, gone, clock.now())

    def seconds(self) -> float:
        """How long it has run, up to its end; with two decimals."""
        return round((self.ended_at or clock.monotonic()) - self._began, 2)

    # Listening --------------------------------------------------------------------------------

    async def _publish(self, event: str, data: dict[str, Any]) -> None:
        async with self._changed:
            self._count += 1
            self.events.append(StreamEvent(id=self._count, event=event, data=data))
            self._changed.notify_all()

    async def listen(self, after: int = 0) -> AsyncIterator[StreamEvent]:
        """Events after number `after`, until the run has ended."""
        self._listeners += 1
        try:
            while True:
                async with self._changed:
                    waiting = [e for e in self.events if e.id > after]
                    if not waiting:
                        if self.done.is_set():
                            return
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self._changed.wait(), waits.LISTEN_SECONDS)
                for event in waiting:
                    after = event.id
                    yield event
                if waiting and waiting[-1].event == "end":
                    return
        finally:
            self._listeners -= 1
            self._alone_since = clock.monotonic()
