"""The local stack from the command line: up, down, status, demo."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.client import Api, out
from cli.jobs import show_jobs
from cli.output import size, styled
from core.errors import PenstockError
from processes import java, logs
from processes.kept import StackReport
from processes.supervised import Spec
from settings import ApiSettings, StackSettings, clock, settings, waits
from settings.code import COMMAND
from settings.polling import poll
from stack.local import EXAMPLES, ORDER, LocalStack, alone
from stack.parts import StackParts
from stack.progress import step

TOLD = timedelta(hours=1)
"""For so long `status` tells that a part died and was started again."""


def parts() -> StackParts:
    """Those in the cache folder of the settings; `say` tells nobody."""
    return StackParts(settings().cache)


def stack() -> LocalStack:
    """As the environment has it now. Raises pydantic's `ValidationError` for a setting that is none."""
    return LocalStack(settings(), StackSettings(), ApiSettings(), parts())


@contextmanager
def installing(parts: StackParts, title: str) -> Iterator[None]:
    """Show that parts are being installed, with what is being done."""
    with step(out, title) as progress:
        parts.say = progress.note
        yield


def _need(*programs: str) -> None:
    missing = [p for p in programs if (java.found() if p == "java" else shutil.which(p)) is None]
    if missing:
        raise PenstockError(
            f"This machine lacks: {', '.join(missing)}.",
            code="missing_program",
            remedy="Install Java 17, Maven and Git, then run this again.",
        )


def bring_up(local: LocalStack) -> None:
    """Install what is missing, start what is not running; what is there already takes no time."""
    _need("java", "mvn", "git")
    version = local.stack.flink_version
    if local.own_temporal and local.parts.temporal_path() is None:
        with installing(local.parts, "Temporal (built once where it cannot be downloaded)"):
            local.parts.temporal()
    if not local.parts.flink_installed(version):
        with installing(local.parts, f"Flink {version} with its SQL gateway (once)"):
            local.parts.flink(version)
    with alone(local.settings.home):
        for spec in _specs(local):
            _start(local, spec)
    _register(local)
    taskmanager = local.taskmanager()
    if not taskmanager.ready():  # last, so that all others have begun while it takes its seconds
        with step(out, "taskmanager registers") as progress:
            local.processes.wait(taskmanager, note=progress.note)


def _specs(local: LocalStack) -> Iterator[Spec]:
    if local.own_temporal:
        yield local.temporal()
    flink = local.flink()
    yield flink.jobmanager()
    yield replace(local.taskmanager(), ready=lambda: True)
    yield flink.gateway()
    yield local.api_process()
    yield local.worker()
    yield local.keeper()


def _start(local: LocalStack, spec: Spec) -> None:
    if local.processes.is_current(spec) and spec.ready():
        return
    with step(out, f"start {spec.name}") as progress:
        local.processes.start(spec, note=progress.note)


def _register(local: LocalStack) -> None:
    """The cluster `local`, as this stack has it now, and `machine`, where session clusters can be started."""
    flink = local.flink()
    address = {
        "jobmanager_url": flink.url,
        "gateway_url": flink.gateway_url,
        "flink_version": local.stack.flink_version,
    }
    os.environ.setdefault("PENSTOCK_URL", local.api_url)
    api = Api()
    rows = {c["name"]: c for c in api.call("GET", "/clusters")["items"]}
    if "local" not in rows:
        api.call("POST", "/clusters", json={"name": "local", "state_dir": flink.state_dir, **address})
    elif any(rows["local"][k] != v for k, v in address.items()):
        # The one before was stopped by `Processes.start` before this one was started.
        api.call("PATCH", "/clusters/local", json={**address, "force": True})
    if "machine" not in rows:
        here = {"kind": "processes", "flink_version": local.stack.flink_version, "state_dir": flink.state_dir}
        api.call("POST", "/clusters", json={"name": "machine", **here})


def addresses(local: LocalStack) -> None:
    """Print where everything answers."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("API and its docs", f"{local.api_url}/docs (`penstock open` lets a browser in)")
    if local.own_temporal:
        table.add_row("Temporal UI", local.temporal_ui_url)
    table.add_row("Flink UI", local.flink().url)
    table.add_row("logs", str(local.settings.home / "logs"))
    out.print(table)


def up() -> None:
    """Install and start the local stack. What runs already is left alone."""
    local = stack()
    began = time.monotonic()
    bring_up(local)
    out.print(f"[green]The stack is up[/green] [dim]{time.monotonic() - began:.1f} s[/dim]")
    addresses(local)


def down() -> None:
    """Stop the local stack. All data is kept."""
    from clusters.registry import runs_here, stop_here  # all adapters, which other commands do without

    local = stack()
    with alone(local.settings.home):
        for name in reversed(ORDER):
            if local.processes.find(name):
                with step(out, f"stop {name}"):
                    local.processes.stop(name)
        if runs_here(local.settings):
            with step(out, "stop session clusters"):
                stop_here(local.settings)
    out.print(f"Stopped. Data is kept in {local.settings.home}.", markup=False, soft_wrap=True)


def status() -> None:
    """What of the local stack is up, and why something died. Exit code 1 when something is not."""
    from clusters.registry import kept_here

    local = stack()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("PART", "STATE", "PID", "MEMORY", "LOGS"):
        table.add_column(column)
    ok = True
    for name in ORDER:
        if name == "temporal" and not local.own_temporal:
            table.add_row(name, f"yours, at {local.temporal_address}", "", "", "")
            continue
        process = local.processes.find(name)
        ok = ok and process is not None
        memory = f"{process.memory_info().rss / 1e6:.0f} MB" if process else ""
        written = size(local.processes.size_of_logs(name))
        state = styled("RUNNING") if process else "[red]died[/red]" if local.processes.died(name) else "[red]down[/red]"
        table.add_row(name, state, str(process.pid) if process else "", memory, written)
    for kept in kept_here(local.settings):
        state = styled("RUNNING") if kept.runs else "ended"
        table.add_row(f"{kept.name}, {kept.folder.name[:8]}", state, "", "", size(kept.log_bytes))
    out.print(table)
    for name in ORDER:
        _tell_death(local, name)
    if ok:
        addresses(local)
    raise typer.Exit(0 if ok else 1)


def _tell_death(local: LocalStack, name: str) -> None:
    """Why a part of the stack does not run, or has been started again, and what comes next."""
    processes, report = local.processes, _kept(local)
    due = report.due.get(name)
    deaths = [death for death in report.died if death.part == name and clock.now() - death.at < TOLD]
    log = f"its log is {processes.log(name)}."
    if processes.died(name):
        words = due.why if due else f"{name} died: {logs.last_words(processes.last_words(name))}"
        times = f" ({due.deaths} times in a row)" if due and due.deaths > 1 else ""
        out.print(words + times, style="red", markup=False, highlight=False, soft_wrap=True)
        seconds = max(0.0, (due.at - clock.now()).total_seconds()) if due else 0.0
        then = f"It is started again in {seconds:.0f} s" if due else f"`{COMMAND} up` starts it again"
        out.print(f"  {then}; {log}", markup=False, highlight=False, soft_wrap=True)
    elif deaths:
        times = f"{len(deaths)} times" if len(deaths) > 1 else "once"
        words = f"{name} died {times} within an hour, and was started again; the last time it said: {deaths[-1].why}"
        out.print(words, style="yellow", markup=False, highlight=False, soft_wrap=True)
        out.print(f"  {log[0].upper()}{log[1:]}", markup=False, highlight=False, soft_wrap=True)


def _kept(local: LocalStack) -> StackReport:
    """What the stack's keeper says; nothing is due where it does not run."""
    report = StackReport.read(StackReport.path(local.settings.home)) or StackReport(jobmanager_url="")
    runs = local.processes.find("keeper") is not None
    return report if runs else report.model_copy(update={"due": {}})


def demo(
    keep_waiting: Annotated[float, typer.Option(help="Seconds to wait for the jobs to run")] = waits.DEMO_SECONDS,
) -> None:
    """The local stack with two example jobs: SQL text, and a jar built from a Git repository."""
    local = stack()
    began = time.monotonic()
    bring_up(local)
    with step(out, "example repository"):
        repository = _repository(local.settings.home / "demo" / "repository")
    api = Api()
    ready = time.monotonic()
    names = ["demo-sql", "demo-jar"]
    specs: dict[str, dict[str, Any]] = {
        "demo-sql": {"type": "sql", "sql": (EXAMPLES / "sql" / "orders.sql").read_text()},
        "demo-jar": {
            "type": "jar",
            "git": {"url": str(repository), "ref": "main", "subdirectory": "clicks"},
            "entry_class": "dev.penstock.examples.Clicks",
        },
    }
    for name in names:
        _ensure_started(api, name, specs[name])
    for name in names:
        with step(out, f"{name} RUNNING") as progress:
            _wait_running(api, name, keep_waiting, progress.note)
    out.print(
        f"[green]Both jobs run[/green] [dim]{time.monotonic() - ready:.1f} s after the stack was up, "
        f"{time.monotonic() - began:.1f} s in all[/dim]\n"
    )
    show_jobs([api.call("GET", f"/jobs/default:{name}") for name in names])
    out.print()
    addresses(local)
    out.print(
        "\nTry next:\n"
        f"  {COMMAND} jobs show demo-sql\n"
        f"  {COMMAND} jobs pause demo-sql --wait\n"
        f"  {COMMAND} jobs start demo-sql --wait      # goes on from its savepoint\n"
        f"  {COMMAND} jobs timeline demo-sql\n"
        f"  {COMMAND} down",
        highlight=False,
    )


def _ensure_started(api: Api, name: str, spec: dict[str, Any]) -> None:
    """Create and start a demo job; one that runs is left alone, one that was stopped goes on as it should."""
    mine = api.call("GET", "/jobs", params={"project": "default", "text": name})["items"]
    job = next((j for j in mine if j["name"] == name), None)
    if job is None:
        job = api.call("POST", "/jobs", json={"name": name, "spec": spec})
    elif _differs(api, job, spec):
        api.call("POST", f"/jobs/{job['id']}/versions", json={"spec": spec, "note": "the example has changed"})
    job = api.call("GET", f"/jobs/{job['id']}")
    if job["busy"] or "start" not in job["allowed_commands"]:
        return
    body: dict[str, Any] = {"kind": "start"}
    if job["state"] in ("KILLED", "FINISHED", "BLOCKED"):
        body["restore"] = {"mode": "none"}
    api.call("POST", f"/jobs/{job['id']}/commands", json=body)


def _is_open(api: Api, name: str) -> bool:
    """Whether the job's last command has not ended."""
    last = _last_command(api, name)
    return last is not None and last["state"] in ("PENDING", "RUNNING")


def _last_command(api: Api, name: str) -> dict[str, Any] | None:
    return next(iter(api.call("GET", f"/jobs/default:{name}/commands", params={"limit": 1})["items"]), None)


def _differs(api: Api, job: dict[str, Any], spec: dict[str, Any]) -> bool:
    last = api.call("GET", f"/jobs/{job['id']}/versions")["items"][0]["spec"]
    return any(last.get(key) != value for key, value in spec.items() if key != "git")


def _wait_running(api: Api, name: str, seconds: float, note: Any) -> None:
    polling = poll(waits.DEMO_PACE, seconds=seconds)
    while True:
        job = api.call("GET", f"/jobs/default:{name}")
        attempt = job["current_attempt"] or {}
        if job["state"] == "RUNNING" and attempt.get("engine_state") in ("RUNNING", None) and not job["reason"]:
            return
        is_down = job["state"] in ("DEPLOY_FAILED", "FAILED", "BLOCKED", "KILLED", "PAUSED") and not job["busy"]
        if is_down and not _is_open(api, name):  # a start that was just sent shows in the job only when it is taken
            raise PenstockError(
                f"{name} is {job['state']}: {job['reason']}",
                code="demo_failed",
                remedy=f"See `{COMMAND} jobs log {name}`.",
            )
        note(f"{job['state']} {job['reason']} {_last_line(api, name)}")
        if not polling.again_in_thread():
            raise PenstockError(f"{name} is still {job['state']}.", code="demo_slow", remedy=f"See `{COMMAND} status`.")


def _last_line(api: Api, name: str) -> str:
    last = _last_command(api, name)
    if last is None:
        return ""
    text = api.text(f"/jobs/default:{name}/commands/{last['number']}/log")
    lines = text.splitlines()
    return lines[-1].partition(" ")[2] if lines else ""


def _repository(folder: Path) -> Path:
    """The example jobs as a Git repository of their own: a user's are in one, too."""
    source = EXAMPLES / "repository"
    if not (folder / ".git").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _git(folder, "init", "-q", "-b", "main")
    for item in folder.iterdir():
        if item.name != ".git":
            shutil.rmtree(item) if item.is_dir() else item.unlink()
    shutil.copytree(source, folder, dirs_exist_ok=True)
    _git(folder, "add", "-A")
    author = ["-c", "user.name=Penstock", "-c", "user.email=demo@penstock.invalid", "-c", "commit.gpgsign=false"]
    changed = subprocess.run(["git", "-C", str(folder), "diff", "--cached", "--quiet"], check=False).returncode
    if changed:
        _git(folder, *author, "commit", "-q", "-m", "Examples")
    return folder


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)
