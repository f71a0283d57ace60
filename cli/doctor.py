"""`penstock doctor`: what this machine and this installation lack, each with the next step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx
import typer

from cli.client import FAILED, PREFIX, Api, base_url, client
from cli.output import Json, plain, show_json, table
from processes import java
from settings import settings, waits

JAVA = 17
LITTLE_DISK = 5_000_000_000
"""Bytes: Flink takes 1.5 GB, checkpoints the rest."""
MARKS = {"ok": "[green]ok[/green]", "warning": "[yellow]warning[/yellow]", "failed": "[red]failed[/red]"}


@dataclass(frozen=True)
class Check:
    """`then` is what to do about it; empty when nothing has to be done."""

    name: str
    state: Literal["ok", "warning", "failed"]
    what: str
    then: str = ""


def doctor(as_json: Json = False) -> None:
    """Look for what is missing or ill on this machine and in this installation. Code 1 when something failed."""
    checks = [*_machine(), *_installation()]
    if as_json:
        show_json([asdict(check) for check in checks])
    else:
        rows = [[c.name, MARKS[c.state], plain(c.what) + (f"\n{plain(c.then)}" if c.then else "")] for c in checks]
        table(["CHECK", "STATE", "WHAT"], rows, empty="")
    if any(check.state == "failed" for check in checks):
        raise typer.Exit(FAILED)


def _machine() -> Iterator[Check]:
    """What the local stack and builds need of this machine."""
    yield _java()
    for name, why in (("mvn", "jar jobs are built with Maven"), ("git", "jobs are fetched with Git")):
        path = shutil.which(name)
        yield Check(name, "ok", path) if path else Check(name, "failed", f"not found; {why}", f"Install {name}.")
    for name, folder in (("data", settings().home), ("cache", settings().cache)):
        yield _disk(name, folder)


def _java() -> Check:
    """The one that Flink, its client and builds are run with."""
    path, home = java.found(), os.environ.get("JAVA_HOME")
    mend = f"Set JAVA_HOME to a Java {JAVA}, or unset it." if home else f"Install Java {JAVA}, or set JAVA_HOME."
    if path is None:
        where = f"JAVA_HOME is {home}, where no bin/java is" if home else "not found"
        return Check("java", "failed", f"{where}; Flink and Maven run on it", mend)
    of = f"{path}, of JAVA_HOME" if home else path
    try:
        said = subprocess.run(
            [path, "-version"], capture_output=True, text=True, timeout=waits.VERSION_SECONDS, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("java", "failed", f"{of}, does not run: {error}", mend)
    match = re.search(r'version "(?:1\.)?(\d+)', said)
    if match is None or int(match[1]) < JAVA:
        first = said.split("\n")[0]
        return Check("java", "failed", f"{of}: {first}", f"Flink 2 needs Java {JAVA}. {mend}")
    return Check("java", "ok", f"{of}, Java {match[1]}")


def _disk(name: str, folder: Path) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    what = f"{folder}, {free / 1e9:.1f} GB free"
    if free < LITTLE_DISK:
        return Check(f"{name} folder", "warning", what, "Free some space: checkpoints and builds need it.")
    return Check(f"{name} folder", "ok", what)


def _installation() -> Iterator[Check]:
    """What the API says of itself, its database, Temporal, workers and clusters."""
    try:
        with client(waits.DOCTOR_SECONDS) as http:
            ready = http.get(f"{base_url().removesuffix(PREFIX)}/readyz")
        parts: dict[str, str] = ready.json()["checks"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        why = f"{base_url()} does not answer as one ({type(error).__name__})"
        yield Check("API", "failed", why, "Start it with `penstock up`, or set PENSTOCK_URL.")
        return
    yield Check("API", "ok", base_url())
    for name, said in parts.items():
        yield (
            Check(name, "ok", "answers the API")
            if said == "ok"
            else Check(
                name, "failed", f"does not answer the API: {said}", "Look at `penstock status` and the API's log."
            )
        )
    if ready.status_code != 200:
        return
    api = Api()
    clusters = api.call("GET", "/clusters")["items"]
    yield _workers(clusters)
    yield from map(_cluster, clusters)
    yield _jobs(api.all("/jobs"))


def _workers(clusters: list[dict[str, Any]]) -> Check:
    """Workers ask the clusters: by when that was last done it is known whether one runs."""
    asked = [c["health"]["last_observed_at"] or c["health"]["unreachable_since"] for c in clusters]
    moments = [datetime.fromisoformat(moment) for moment in asked if moment]
    if not moments:
        return Check("workers", "warning", "no cluster has been asked yet", "If that stays so: `penstock worker`.")
    age = (datetime.now(UTC) - max(moments)).total_seconds()
    if age > waits.UNWATCHED_SECONDS and all(c["health"]["reachable"] for c in clusters):
        return Check("workers", "failed", f"no cluster was asked for {age:.0f} s", "Start one: `penstock worker`.")
    return Check("workers", "ok", f"a cluster was asked {max(0.0, age):.0f} s ago")


def _cluster(cluster: dict[str, Any]) -> Check:
    name, health = f"cluster {cluster['name']}", cluster["health"]
    details, managed = health["details"] or {}, cluster["managed_by"]
    if managed and managed["state"] != "RUNNING":
        return Check(name, "ok", f"{managed['job']} is {managed['state']}")
    if not health["reachable"]:
        return Check(
            name,
            "failed",
            f"does not answer: {health['why'] or 'not asked yet'}",
            f"penstock clusters show {cluster['name']}",
        )
    observed = health["last_observed_at"]
    if (
        observed
        and (age := (datetime.now(UTC) - datetime.fromisoformat(observed)).total_seconds()) > waits.UNWATCHED_SECONDS
    ):
        return Check(
            name,
            "failed",
            f"was not asked for {age:.0f} s: what is shown of its jobs is as old",
            "Is a worker running? Is its watch, or the activity of it, paused in the Temporal UI?",
        )
    if details.get("slots_total") == 0:
        return Check(
            name, "failed", "has no task manager: nothing can run on it", f"penstock clusters show {cluster['name']}"
        )
    counted = details.get("slots_total") is not None
    slots = f", {details['slots_available']} of {details['slots_total']} slots free" if counted else ""
    return Check(name, "ok", f"Flink {cluster['flink_version']}{slots}")


def _jobs(jobs: list[dict[str, Any]]) -> Check:
    waiting = [j for j in jobs if j["state"] in ("BLOCKED", "FAILED", "DEPLOY_FAILED")]
    if not waiting:
        return Check("jobs", "ok", f"{len(jobs)}, and none waits for a person")
    names = ", ".join(f"{j['project']}:{j['name']} ({j['state']})" for j in waiting[:5])
    more = f" and {len(waiting) - 5} more" if len(waiting) > 5 else ""
    first = f"{waiting[0]['project']}:{waiting[0]['name']}"
    return Check("jobs", "warning", f"{len(waiting)} wait for a person: {names}{more}", f"penstock jobs show {first}")
