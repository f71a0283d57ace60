"""Session clusters that run as processes on this machine: what is on a cluster of kind `processes`.

An attempt is a folder with a keeper (`clusters/local/keeper.py`). Penstock writes what it wants into it, the keeper
what it sees; so an attempt goes on while workers come and go, and is begun once however often it is submitted.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psutil

from clusters.kind import KeptHere
from clusters.local.keeper import FENCED, HELD, KEEPER, ClusterOrder, ClusterReport, held
from clusters.protocol import (
    ClusterProgram,
    Engine,
    EngineHealth,
    Failure,
    FoundAt,
    HostsClusters,
    JobSeen,
    Leader,
    LogFile,
    Logs,
    Loss,
    Overview,
    Ref,
    Submission,
    Unclear,
    Unreachable,
)
from core.effects import LogSink, Rejected
from core.jobs.observations import EngineState
from processes.child import scrubbed
from processes.supervised import Processes, free_port, listens
from settings import code, waits
from settings.polling import poll

KEPT = 5  # ended attempts of a cluster whose logs are kept
_HANDLE = re.compile(r"^[0-9a-f]{32}$")


class HostedClusters(Engine, HostsClusters, Logs):
    """`root` holds a folder for each attempt, `host` is the name of the machine that has them and `here` the name of
    this one; `flink_home` finds an installed version. Session clusters have no state of their own: their jobs have."""

    def __init__(
        self,
        root: Path,
        host: str,
        here: str,
        flink_home: Callable[[str], Path | None],
        env: list[str],
        start_timeout: float,
    ):
        self._start_timeout = start_timeout
        self._root = root
        self._host = host
        self._here = here
        self._flink_home = flink_home
        self._env = env

    async def close(self) -> None:
        return None

    def close_when_unused(self) -> None:
        return None

    async def reserve(self, flink_job_id: str) -> str:
        return flink_job_id

    async def ref_of(self, flink_job_id: str) -> Ref | None:
        return Ref(flink_job_id, flink_job_id)

    def _check_here(self) -> None:
        """Raises `Unreachable` on another machine than the one whose processes these are: this one cannot tell."""
        if self._host != self._here:
            raise Unreachable(
                f"its processes are kept by workers on {self._host}, and this is {self._here} (PENSTOCK_HOST)",
                sent=False,
            )

    def _folder(self, ref: Ref) -> Path | None:
        self._check_here()
        folder = self._root / ref.handle
        return folder if _HANDLE.match(ref.handle) and (folder / "wanted.json").exists() else None

    # Submission -----------------------------------------------------------------------------

    async def submit(self, submission: Submission, tell: LogSink) -> None:
        self._check_here()
        program = submission.program
        if not isinstance(program, ClusterProgram):
            raise Rejected("Only session clusters run here; give the job a cluster of kind flink-session.")
        home = self._flink_home(program.flink_version)
        if home is None:
            raise Rejected(
                f"Flink {program.flink_version} is not installed on {self._host}; "
                f"run `penstock flink install {program.flink_version}` there."
            )
        order = ClusterOrder(
            name=submission.name,
            home=home,
            program=program,
            config=dict(submission.config),
            start_timeout=self._start_timeout,
        )
        await asyncio.to_thread(self._begin, submission.ref.handle, order)
        report = ClusterReport.read(self._root / submission.ref.handle / "seen.json")
        if report is not None and report.detail == FENCED:
            raise Rejected(FENCED)
        tell(f"its processes are kept in {self._root / submission.ref.handle}")

    def _begin(self, handle: str, order: ClusterOrder) -> None:
        if not _HANDLE.match(handle):
            raise Rejected(f"{handle[:60]!r} is not the id of an attempt.")
        folder = self._root / handle
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "wanted.json").exists():
            self._prune(order.name)
            order.create(folder / "wanted.json")
        log = folder / "keeper.log"
        child: subprocess.Popen[bytes] | None = None
        polling = poll(waits.KEEPER_PACE, seconds=waits.KEEPER_BEGIN_SECONDS)
        while not _has_begun(folder):
            if child is None:
                with open(log, "ab") as out:
                    child = subprocess.Popen(
                        code.command("clusters.local.keeper", str(folder)),
                        cwd=code.ROOT,
                        env=scrubbed(self._env, {**code.environment(), "PYTHONUNBUFFERED": "1"}),
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=out,
                        start_new_session=True,
                    )
            if child.poll() not in (None, 0, HELD):
                raise Rejected("Its keeper did not begin: " + (log.read_text(errors="replace").strip() or "?")[-500:])
            if not polling.again_in_thread():
                raise Unclear(f"its keeper has not begun after {waits.KEEPER_BEGIN_SECONDS:.0f} s; see {log}")

    def _prune(self, name: str) -> None:
        ended = []
        for folder in _attempts(self._root):
            order, report = ClusterOrder.read(folder / "wanted.json"), ClusterReport.read(folder / "seen.json")
            if order is not None and order.name == name and report is not None and report.ended and not _alive(folder):
                ended.append(folder)
        for folder in sorted(ended, key=lambda f: (f / "seen.json").stat().st_mtime, reverse=True)[KEPT - 1 :]:
            shutil.rmtree(folder, ignore_errors=True)

    def found_at(self, before: Mapping[str, Any] | None, *, keep: bool) -> FoundAt:
        urls = [str((before or {}).get(name) or "") for name in ("jobmanager_url", "gateway_url")]
        rest, gateway = (_port(url) if url and (keep or not listens(_port(url))()) else free_port() for url in urls)
        address = {"jobmanager_url": f"http://127.0.0.1:{rest}", "gateway_url": f"http://127.0.0.1:{gateway}"}
        return FoundAt("flink-session", address, rest, gateway)

    async def scale(self, ref: Ref, taskmanagers: int) -> None:
        folder = self._folder(ref)
        if folder is None or _state(folder).state not in (EngineState.STARTING, EngineState.RUNNING):
            raise Rejected("The cluster does not run.")

        def scaled(order: ClusterOrder) -> ClusterOrder:
            return order.model_copy(update={"program": replace(order.program, taskmanagers=taskmanagers)})

        await asyncio.to_thread(_change, folder, scaled)

    async def fence(self, ref: Ref) -> bool:
        self._check_here()
        return await asyncio.to_thread(self._fence, ref.handle)

    def _fence(self, handle: str) -> bool:
        """Say in the attempt's folder that it has ended, in the place of the keeper that would have begun it."""
        if not _HANDLE.match(handle):
            return True
        folder = self._root / handle
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder) as mine:
            if not mine:
                return False
            report = ClusterReport.read(folder / "seen.json")
            if report is None:
                ClusterReport(state=EngineState.CANCELED, detail=FENCED).write(folder / "seen.json")
            return report is None or report.detail == FENCED

    # Asking ---------------------------------------------------------------------------------

    async def overview(self) -> Overview:
        self._check_here()
        # One that was fenced before it was sent has nothing but the end that was written down for it.
        unsent = [path.parent for path in self._root.glob("*/seen.json") if not (path.parent / "wanted.json").exists()]
        states = [_state(folder) for folder in [*_attempts(self._root), *filter(_is_attempt, unsent)]]
        fenced = frozenset(state.ref.handle for state in states if state.detail == FENCED)
        listed = [s for s in states if s.state is not EngineState.MISSING and s.ref.handle not in fenced]
        return Overview({s.ref.handle: s for s in listed}, fenced)

    async def look(self, ref: Ref) -> JobSeen:
        folder = self._folder(ref)
        state = _state(folder) if folder else None
        if state is None or state.detail == FENCED:
            return JobSeen(ref, EngineState.MISSING, detail="not known")
        return state

    async def failure(self, ref: Ref) -> Failure | None:
        folder = self._folder(ref)
        state = _state(folder) if folder else None
        return Failure(state.detail) if state is not None and state.state is EngineState.FAILED else None

    async def logs(self, ref: Ref) -> list[LogFile]:
        folder = self._folder(ref)
        return await asyncio.to_thread(_log_files, folder) if folder else []

    async def log(self, ref: Ref, part: str, file: str, *, last: int) -> bytes | None:
        folder = self._folder(ref)
        return await asyncio.to_thread(_log_end, folder, part, file, last) if folder else None

    async def leader(self) -> Leader:
        self._check_here()
        return Leader(identity=self._host, ha=False, heartbeat_timeout=0.0)

    async def slot_holders(self, ref: Ref) -> list[str]:
        self._check_here()
        return list(_alive(self._root / ref.handle))

    async def cancel(self, ref: Ref) -> None:
        folder = self._folder(ref)
        if folder is not None:
            await asyncio.to_thread(_change, folder, lambda order: order.model_copy(update={"stop": True}))

    async def health(self) -> EngineHealth:
        running = [s for s in (await self.overview()).jobs.values() if s.state is EngineState.RUNNING]
        return EngineHealth(jobs_running=len(running), leader=self._host)


def _log_folders(folder: Path) -> dict[str, Path]:
    """Where logs of an attempt lie: what its processes print, and what Flink writes itself."""
    return {"processes": folder / "logs", "flink": folder / "flink" / "log"}


def _log_files(folder: Path) -> list[LogFile]:
    found = []
    paths = [(part, path) for part, where in _log_folders(folder).items() for path in where.glob("*")]
    for part, path in [("keeper", folder / "keeper.log"), *paths]:
        with contextlib.suppress(FileNotFoundError):
            seen = path.stat()
            if not stat.S_ISREG(seen.st_mode):
                continue
            changed_at = datetime.fromtimestamp(seen.st_mtime, UTC)
            found.append(LogFile(part, path.name, seen.st_size, changed_at, of_attempt=True))
    return sorted(found, key=lambda log: (log.part, log.file))


def _log_end(folder: Path, part: str, file: str, last: int) -> bytes | None:
    if all((log.part, log.file) != (part, file) for log in _log_files(folder)):
        return None
    try:
        with open(_log_folders(folder).get(part, folder) / file, "rb") as log:
            log.seek(max(0, os.path.getsize(log.name) - last))
            return log.read(last)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreachable(f"{part}/{file} cannot be read: {error.strerror}", sent=False) from error


def _change(folder: Path, change: Callable[[ClusterOrder], ClusterOrder]) -> None:
    """Change what is wanted of an attempt, one after the other: a stop is not taken back by who read it before. Raises
    `Unreachable`."""
    polling = poll(waits.KEEPER_PACE, seconds=waits.KEEPER_ORDER_SECONDS)
    try:
        with open(folder / "wanted.lock", "w") as lock:
            while not _locked(lock):
                if not polling.again_in_thread():
                    raise Unreachable(f"somebody else is changing what is wanted in {folder}", sent=False)
            order = ClusterOrder.read(folder / "wanted.json")
            if order is not None and (changed := change(order)) != order:
                changed.write(folder / "wanted.json")
    except FileNotFoundError:  # deleted meanwhile: it has ended long ago
        return
    except OSError as error:
        raise Unreachable(f"{folder} cannot be written: {error}", sent=False) from error


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def any_here(root: Path) -> bool:
    """Whether an attempt on this machine has, or had, a keeper."""
    return any(root.glob("*/run/keeper.json"))


def all_here(root: Path) -> list[KeptHere]:
    """Each attempt that has a folder here, with the size of its logs; those that run first."""
    found = []
    for folder in _attempts(root):
        try:
            order = ClusterOrder.read(folder / "wanted.json")
        except ValueError:  # damaged
            order = None
        size = sum(log.size for log in _log_files(folder))
        found.append(KeptHere(order.name if order else "?", folder, bool(_alive(folder)), size))
    return sorted(found, key=lambda kept: (not kept.runs, kept.name))


def forget(root: Path, handles: Collection[str]) -> None:
    """Delete the folders of attempts by their handles, logs and all; one of which a process runs stays."""
    for handle in handles:
        folder = root / handle
        if _HANDLE.match(handle) and folder.is_dir() and not _alive(folder):
            shutil.rmtree(folder, ignore_errors=True)


def stop_all(root: Path) -> int:
    """Stop the processes of all attempts on this machine, not for good: the restart policies of their jobs answer it.
    Returns how many there were."""
    return sum(Processes(folder).stop(KEEPER, grace=60) for folder in _attempts(root))


def _attempts(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("*/wanted.json") if _is_attempt(path.parent))


def _is_attempt(folder: Path) -> bool:
    return _HANDLE.match(folder.name) is not None


def _port(url: str) -> int:
    return int(urlsplit(url).port or 0)


def _has_begun(folder: Path) -> bool:
    return (folder / "seen.json").exists()


def _alive(folder: Path) -> dict[str, psutil.Process]:
    """Processes of an attempt that are there, by their names."""
    if not folder.exists():
        return {}
    processes = Processes(folder)
    return {name: process for name in processes.names() if (process := processes.find(name)) is not None}


def _stands_still(keeper: psutil.Process) -> str | None:
    """What is to be said of a keeper that somebody has stopped (SIGSTOP): what it has reported may be old, and nothing
    that is asked of it is done."""
    with contextlib.suppress(psutil.Error):
        if keeper.status() == psutil.STATUS_STOPPED:
            return (
                f"its keeper (process {keeper.pid}) stands still: it sees to nothing, and ends nothing; "
                f"`kill -CONT {keeper.pid}` lets it go on"
            )
    return None


def _state(folder: Path) -> JobSeen:
    ref = Ref(folder.name, folder.name)
    try:
        order, report = ClusterOrder.read(folder / "wanted.json"), ClusterReport.read(folder / "seen.json")
        alive = _alive(folder)
    except (OSError, ValueError, psutil.Error) as error:
        raise Unreachable(f"{folder} cannot be read: {error}", sent=False) from error
    name = order.name if order else ""
    if report is None:
        # Not begun, or begun this moment: then its keeper is there.
        state = EngineState.STARTING if alive else EngineState.MISSING
        return JobSeen(ref, state, name, detail="its keeper is starting")
    losses = tuple(Loss(died.part, died.at, died.why) for died in report.died)
    if report.ended or KEEPER in alive:
        count = order.program.taskmanagers if order else report.of
        if report.state is EngineState.RUNNING and report.of != count:
            words = f"{report.of} task managers run, and {count} are wanted"
            return JobSeen(ref, EngineState.STARTING, name, detail=words, losses=losses)
        detail = report.detail if report.ended else _stands_still(alive[KEEPER]) or report.detail
        return JobSeen(ref, report.state, name, detail=detail, losses=losses)
    if alive:
        return JobSeen(ref, EngineState.STOPPING, name, detail=f"its keeper died; {len(alive)} processes are ending")
    return JobSeen(ref, EngineState.FAILED, name, detail="its keeper was killed, and its processes with it")
