"""Watches the clusters and the disk all the time: which Flink jobs live at once, by id, and which points complete."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from tests.faults.judge import Point

FINAL = ("FINISHED", "CANCELED", "FAILED")
FENCE = "penstock-fence-"
SURELY_OLDER_SECONDS = 2.0
"""Than what a folder's time of change can tell apart."""


@dataclass(frozen=True)
class Seen:
    """A Flink job as a cluster listed it. `at` is when it started, in seconds since 1970."""

    flink: str
    id: str
    name: str
    at: float


class Sampler:
    """`flinks` are the REST addresses of all clusters by name; more may come. Asks several times a second."""

    def __init__(self, flinks: dict[str, str], state: Path, pause: float = 0.25):
        self._clients: dict[str, httpx.Client] = {}
        for name, url in flinks.items():
            self.add(name, url)
        self._state, self._pause = state, pause
        self.looks = self.scans = 0
        self.jobs: dict[tuple[str, str], Seen] = {}
        """All that have ever been listed, by cluster and id."""
        self.alive: dict[tuple[str, str], str] = {}
        """The state of each that lives now."""
        self.together: Counter[frozenset[tuple[str, str]]] = Counter()
        """How often two were seen alive at once."""
        self.since: dict[frozenset[tuple[str, str]], float] = {}
        self.restored: dict[str, str | None] = {}
        """Where Flink says that a job was restored from when it first ran; None: from nothing."""
        self.points: dict[str, Point] = {}
        self._listed: dict[str, tuple[float, set[str]]] = {}
        """When a folder had changed last as its points were listed, and their paths."""
        self._present: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def add(self, name: str, url: str) -> None:
        if name in self._clients:
            return
        self._clients[name] = httpx.Client(base_url=url, timeout=2, trust_env=False)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        for client in self._clients.values():
            client.close()

    def wait_for_scan(self) -> None:
        """Until what is on the disk now has been seen: a look at a cluster that hangs takes seconds."""
        seen = self.scans
        while self.scans < seen + 2 and self._thread.is_alive():  # the one that is under way may have begun before
            time.sleep(self._pause)

    def points_of(self, folders: Sequence[str]) -> list[Point]:
        """The points below the given folders of the cluster's state directory."""
        roots = tuple(f"{self._state}/{folder}/" for folder in folders)
        return [p for p in list(self.points.values()) if p.path.startswith(roots)]

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            self._disk()
            self.scans += 1
            for name, client in list(self._clients.items()):
                try:
                    jobs = client.get("/jobs/overview").json()["jobs"]
                except (httpx.HTTPError, ValueError, KeyError):
                    jobs = []
                self._note(name, client, jobs)
            self.looks += 1
            for pair in itertools.combinations(sorted(self.alive), 2):
                self.together[frozenset(pair)] += 1
                self.since.setdefault(frozenset(pair), time.time())

    def _note(self, flink: str, client: httpx.Client, jobs: list[dict[str, str]]) -> None:
        alive: dict[tuple[str, str], str] = {}
        for job in jobs:
            # A fence spends an id that may never run again: it does nothing, and carries that id in its name.
            if job["name"] == FENCE + job["jid"]:
                continue
            key = (flink, job["jid"])
            self.jobs.setdefault(key, Seen(flink, job["jid"], job["name"], int(job["start-time"]) / 1000))
            if job["state"] not in FINAL:
                alive[key] = job["state"]
            if job["jid"] not in self.restored and job["state"] != "INITIALIZING":
                self._ask_restored(client, job["jid"])
        for key in [k for k in self.alive if k[0] == flink]:
            del self.alive[key]
        self.alive.update(alive)

    def _ask_restored(self, client: httpx.Client, jid: str) -> None:
        try:
            latest = client.get(f"/jobs/{jid}/checkpoints").json()["latest"]
        except (httpx.HTTPError, ValueError, KeyError):
            return
        self.restored[jid] = (latest.get("restored") or {}).get("external_path")

    def _disk(self) -> None:
        """Points of jobs of ours lie in `<job id>/checkpoints` and `/savepoints`, those of others in `<flink id>`."""
        parents = {}
        for pattern in ("*", "*/checkpoints/*", "*/savepoints/*"):
            for parent in self._state.glob(pattern):
                with contextlib.suppress(OSError):
                    parents[str(parent)] = parent.stat().st_mtime
        for parent, changed in parents.items():
            # A folder that has not changed for a while has the same points; one may be complete only now.
            if self._listed.get(parent, (0.0, set()))[0] != changed or time.time() - changed < SURELY_OLDER_SECONDS:
                self._listed[parent] = (changed, _points_in(parent))
        for parent in self._listed.keys() - parents.keys():
            del self._listed[parent]
        there = {path for _, paths in self._listed.values() for path in paths}
        for path in there - self.points.keys():
            self._complete(Path(path))
        for path in self._present - there:
            if path in self.points:
                self.points[path] = replace(self.points[path], gone=time.time())
        self._present = there

    def _complete(self, folder: Path) -> None:
        metadata = folder / "_metadata"
        try:
            done, head = metadata.stat().st_mtime, metadata.open("rb").read(16)
        except OSError:
            return
        if len(head) < 16:
            return
        # Flink's MetadataSerializer: magic number, version, then the number of the checkpoint.
        owner = folder.name.split("-")[1] if folder.name.startswith("savepoint-") else folder.parent.name
        self.points[str(folder)] = Point(str(folder), done, owner, struct.unpack(">iiq", head)[2])


def _points_in(folder: str) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.path for entry in entries if entry.name.startswith(("chk-", "savepoint-"))}
    except OSError:
        return set()


def alive_at_once(sampler: Sampler, ids: set[str]) -> list[str]:
    """The pairs of these Flink jobs that were seen alive at once, on one cluster or on two."""
    found = []
    for pair, times in list(sampler.together.items()):
        if all(jid in ids for _, jid in pair):
            (a, b) = sorted(pair)
            found.append(f"{a[1]} on {a[0]} and {b[1]} on {b[0]}, {times} times from {sampler.since[pair]:.1f}")
    return found
