"""`penstock jobs start`, `pause`, `kill` and the others: sending a command, following it, saying what came of it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from cli.client import FAILED, Api, Refusal, StreamBroken, err, is_read_together, out
from cli.completion import complete_jobs
from cli.output import Json, plain, show_json, styled
from cli.wording import as_commands
from core.names import is_job_id

app = typer.Typer()
Job = Annotated[
    str, typer.Argument(help="project:name or id; `default:` may be left out", autocompletion=complete_jobs)
]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the command until it has ended")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")]
VERDICTS = {"COMPATIBLE": "green", "COMPATIBLE_WITH_LOSS": "yellow", "INCOMPATIBLE": "red", "UNKNOWN": "yellow"}
INTERRUPTED = 130


def ref(job: str) -> str:
    """`name` alone means the project `default`, unless it is an id."""
    return job if ":" in job or is_job_id(job) else f"default:{job}"


def named(job: str) -> tuple[str, str]:
    """Project and name of a job that is to be made."""
    project, colon, name = job.partition(":")
    return (project, name) if colon else ("default", job)


def newest(api: Api, job: str) -> int:
    """The number of a job's newest version."""
    return int(api.call("GET", f"/jobs/{ref(job)}")["latest_version"])


def is_asked() -> bool:
    """Whether somebody sits there who can be asked."""
    return sys.stdin.isatty() and out.is_terminal


def sure(question: str, yes: bool) -> None:
    """Ask on a terminal; ends the program unless the answer is yes. A script is not asked."""
    if not yes and is_asked() and not typer.confirm(question):
        err.print("Nothing was done.")
        raise typer.Exit(FAILED)


def send(api: Api, job: str, body: dict[str, Any], *, wait: bool, as_json: bool, key: str | None = None) -> None:
    """Send a command; with `wait` show its log as it grows, and end with code 1 when it fails. When the job's cluster
    is one that Penstock has stopped, a person is asked whether to start that first."""
    path, headers = f"/jobs/{job}/commands", {"Idempotency-Key": key} if key else {}
    try:
        command = api.call("POST", path, json=body, headers=headers)
    except Refusal as refusal:
        if refusal.problem != "cluster_stopped" or not is_asked():
            raise
        if not typer.confirm("Start the cluster now, and this when it is up?", default=True):
            raise
        start_cluster_of(api, job)
        command = api.call("POST", path, json=body, headers=headers)
    follow(api, job, command, wait=wait, as_json=as_json)


def start_cluster_of(api: Api, job: str) -> None:
    """Start the session cluster that a job is on, where Penstock runs it and it is not up; ends when it is up."""
    cluster = api.call("GET", f"/clusters/{api.call('GET', f'/jobs/{job}')['cluster']}")
    keeper = cluster["managed_by"]
    if keeper is None or keeper["state"] in ("RUNNING", "DEPLOYED"):
        return
    err.print(f"Starting {keeper['job']}, on which {job} runs.", markup=False, highlight=False)
    command = api.call("POST", f"/jobs/{keeper['job']}/commands", json={"kind": "start"})
    path = f"/jobs/{keeper['job']}/commands/{command['number']}"
    try:
        for _ in api.events(f"{path}/log/stream"):
            pass
    except KeyboardInterrupt:
        err.print(f"\n{keeper['job']} goes on starting; {job} was not started.", markup=False, highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    command = api.call("GET", path)
    if command["state"] != "SUCCEEDED":
        err.print(as_commands(command["error"] or f"It is {command['state']}."), style="red", markup=False)
        raise typer.Exit(FAILED)


def follow(api: Api, job: str, command: dict[str, Any], *, wait: bool, as_json: bool) -> None:
    """Show a command that was sent; with `wait` until it has ended."""
    if command.get("state_verdict") and not as_json:
        show_verdict(command["state_verdict"])
    path = f"/jobs/{job}/commands/{command['number']}"
    shown: set[str] = set()  # lines of the log
    if wait:
        try:
            for event, data in api.events(f"{path}/log/stream"):
                if event == "line" and not as_json:
                    shown.add(data["text"].strip())
                    out.print(data["text"], style="dim", markup=False, highlight=False)
        except KeyboardInterrupt:
            err.print("")
            _say_how_to_go_on(job, command)
            raise typer.Exit(INTERRUPTED) from None
        except StreamBroken:
            _say_how_to_go_on(job, command)
            raise
        command = api.call("GET", path)
    if as_json:
        show_json(command)
    else:
        out.print(f"command {command['number']} {command['kind']}: {styled(command['state'])}")
        for line in (command["error"] or "").splitlines():
            # Who reads both has just read it in the log.
            if left := (_unread(line, shown) if is_read_together() else line):
                err.print(as_commands(left), style="red", markup=False, highlight=False)
        if wait and command["error_code"] == "not_running" and (why := _why_it_fails(api, job)):
            err.print(as_commands(why), style="red", markup=False, highlight=False)
    if wait and command["state"] != "SUCCEEDED":
        raise typer.Exit(FAILED)


def _why_it_fails(api: Api, job: str) -> str | None:
    """The failures that Flink restarts a job after are the job's, and not the command's. Before the watch has seen them
    Flink is asked."""
    if warning := api.call("GET", f"/jobs/{job}")["warning"]:
        return str(warning)
    failures = api.call("GET", f"/jobs/{job}/exceptions")["items"]
    return str(failures[0]["message"]) if failures else None


def _say_how_to_go_on(job: str, command: dict[str, Any]) -> None:
    number = command["number"]
    again = f"penstock jobs log {job} {number} --follow"
    words = f"Command {number} ({command['kind']}) of {job} goes on. Follow it again with: {again}"
    err.print(words, markup=False, highlight=False)


def _unread(line: str, shown: set[str]) -> str:
    """What of a line was not shown: nothing, what to do about it, which a log does not have, or all of it."""
    known = max((text for text in shown if line == text or line.startswith(f"{text} ")), key=len, default="")
    return line[len(known) :].strip() if known else line


def show_verdict(verdict: dict[str, Any]) -> None:
    """A verdict on state, with the operators that decide it."""
    word = verdict["verdict"]
    out.print(f"state: [{VERDICTS[word]}]{word}[/{VERDICTS[word]}]  {plain(verdict['summary'])}")
    for line in [*verdict["diff"].splitlines(), *(f"note: {n}" for n in verdict["notes"])]:
        out.print(f"  {line}", markup=False, highlight=False)


def restore_of(restore: str | None, **accepted: bool) -> dict[str, Any] | None:
    """A restore request from its options; None when there are none."""
    if restore is None:
        return None
    request: dict[str, Any] = (
        {"mode": restore} if restore in ("newest", "none") else {"mode": "point", "point": restore}
    )
    return {**request, **{name: True for name, given in accepted.items() if given}}


Restore = Annotated[
    str | None, typer.Option(help="newest, none, or the id or path of a restore point", metavar="newest|none|POINT")
]
Allow = Annotated[bool, typer.Option("--allow-non-restored-state", help="Accept state that has no operator any more")]
Unknown = Annotated[
    bool,
    typer.Option("--accept-unknown-state", help="SQL: accept state of which nobody knows what made it, or if it fits"),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Of another version: drop the state of operators that changed (see `jobs verdict`)"),
]
Why = Annotated[str | None, typer.Option("--reason", help="Why, for the timeline")]
Key = Annotated[str | None, typer.Option("--idempotency-key", help="The same key gives the same command")]
Rollback = Annotated[
    float | None,
    typer.Option(help="With resubmit: go back by itself unless it is healthy within so many seconds"),
]
VersionOption = Annotated[int | None, typer.Option("--version", help="Version to run")]
WithCluster = Annotated[
    bool, typer.Option("--with-cluster", help="Start its session cluster first, if Penstock has stopped that")
]


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def _starter(kind: str, help_: str) -> None:
    @app.command(kind, help=help_)
    def run(
        job: Job,
        restore: Restore = None,
        version: VersionOption = None,
        allow: Allow = False,
        unknown: Unknown = False,
        force: Force = False,
        rollback_within: Rollback = None,
        reason: Why = None,
        key: Key = None,
        with_cluster: WithCluster = False,
        wait: Wait = False,
        as_json: Json = False,
    ) -> None:
        api = Api()
        if with_cluster:
            start_cluster_of(api, ref(job))
        body = {
            "kind": kind,
            "version": version,
            "reason": reason,
            "restore": restore_of(restore, allow_non_restored_state=allow, accept_unknown_state=unknown),
            "rollback_within": rollback_within,
            "force": force or None,
        }
        send(api, ref(job), _given(body), wait=wait, as_json=as_json, key=key)


def _plain(kind: str, help_: str) -> None:
    @app.command(kind, help=help_)
    def run(job: Job, reason: Why = None, key: Key = None, wait: Wait = False, as_json: Json = False) -> None:
        send(Api(), ref(job), _given({"kind": kind, "reason": reason}), wait=wait, as_json=as_json, key=key)


_starter("start", "Start a job; a paused or failed one from its newest restore point.")
_starter("restart", "Stop it if it runs, and start it again from its newest restore point.")
_starter("resubmit", "Start another version of it; you decide with --restore which state it gets.")
_plain("pause", "Stop with savepoint; start goes on from there.")
_plain("savepoint", "Take a savepoint; the job runs on.")


@app.command()
def kill(
    job: Job, reason: Why = None, key: Key = None, yes: Yes = False, wait: Wait = False, as_json: Json = False
) -> None:
    """Stop at once and give the state up."""
    sure(f"Kill {ref(job)} and give up the state it has now? `pause` stops with a savepoint.", yes)
    send(Api(), ref(job), _given({"kind": "kill", "reason": reason}), wait=wait, as_json=as_json, key=key)


@app.command()
def adopt(
    job: Job,
    flink_job_id: Annotated[str, typer.Argument(help="A Flink job that is alive and that nobody owns")],
    version: VersionOption = None,
    reason: Why = None,
    key: Key = None,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Take over a Flink job that runs already (penstock orphans list)."""
    body = {"kind": "adopt", "flink_job_id": flink_job_id, "version": version, "reason": reason}
    send(Api(), ref(job), _given(body), wait=wait, as_json=as_json, key=key)
