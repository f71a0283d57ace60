"""`penstock jobs ...`: jobs themselves: listed, shown, created, changed, deleted. Their commands are in
`cli.commands`, what was in `cli.history`."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import commands, history, job_output, specs
from cli.client import FAILED, Api, Refusal, err, out
from cli.commands import Job, Wait, Yes, named, newest, ref, send, show_verdict, sure
from cli.completion import complete_clusters, complete_projects
from cli.output import (
    Columns,
    Format,
    Item,
    Json,
    ListColumn,
    Output,
    ago,
    as_yaml,
    field,
    first_line,
    plain,
    show_item,
    show_json,
    show_list,
    show_notes,
    styled,
    told,
)
from cli.watching import watched
from cli.wording import as_commands
from core.config import HIDDEN
from core.jobs.types import traits

app = typer.Typer(no_args_is_help=True, help="Jobs: create, look at, send commands to.")
app.add_typer(commands.app)
app.add_typer(history.app)
app.add_typer(job_output.app)

ClusterOption = Annotated[str, typer.Option(help="Cluster to run on", autocompletion=complete_clusters)]
ConfigOption = Annotated[list[str] | None, typer.Option(help="Flink configuration, key=value; may be repeated")]
LabelOption = Annotated[list[str] | None, typer.Option("--label", help="key=value; may be repeated")]


SQL_TEXT_ALONE = frozenset({"type", "sql"})
"""The fields of a SQL job that has nothing but its text: it is edited as that."""


def job_name(job: Item) -> str:
    """A job as the command line names it: `project:name`."""
    return f"{job['project']}:{job['name']}"


def program(version: int, attempt: dict[str, Any] | None) -> str:
    """A version, with the commit that it runs: its `ref` may be a branch."""
    commit = attempt.get("commit") if attempt and attempt["version"] == version else None
    return f"{version} (commit {commit[:7]})" if commit else str(version)


def _flink_job(job: Item) -> str:
    attempt = job["current_attempt"]
    return attempt["flink_job_id"] if attempt and not traits(job["type"]).runs_cluster else ""


def _why(job: Item) -> str:
    return "; ".join(filter(None, (job["reason"], job["warning"])))


COLUMNS = [
    ListColumn("JOB", lambda j: plain(job_name(j))),
    ListColumn("STATE", lambda j: styled(j["state"])),
    ListColumn("TYPE", field("type"), rank=2),
    ListColumn("CLUSTER", field("cluster"), rank=3),
    ListColumn("VERSION", lambda j: program(j["version"], j["current_attempt"]), rank=4),
    ListColumn("SEEN", lambda j: ago(j["last_observed_at"]), rank=5),
    ListColumn("ATTEMPT", lambda j: str(j["current_attempt"]["number"]) if j["current_attempt"] else "", wide=True),
    ListColumn("FLINK JOB", _flink_job, wide=True),
    ListColumn("LABELS", lambda j: plain(",".join(f"{k}={v}" for k, v in j["labels"].items())), wide=True),
    ListColumn("CREATED", lambda j: ago(j["created_at"]), wide=True),
    ListColumn("ID", field("id"), wide=True),
    ListColumn("REASON", lambda j: first_line(as_commands(_why(j))), rank=1, folds=True, most=80),
]


def show_jobs(items: list[dict[str, Any]]) -> None:
    """Print jobs as the API gives them, as a table for people."""
    show_list(items, COLUMNS, name=job_name, empty="No jobs.")


@app.command("list")
def list_(
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="Only of this project", autocompletion=complete_projects)
    ] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state, for example RUNNING")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="sql, jar, pyflink or session-cluster")] = None,
    cluster: Annotated[str | None, typer.Option(help="Only on this cluster", autocompletion=complete_clusters)] = None,
    text: Annotated[str | None, typer.Option(help="In the name or the reason")] = None,
    sort: Annotated[str, typer.Option(help="name, state, created_at, updated_at; with - descending")] = "name",
    output: Output = Format.TABLE,
    columns: Columns = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it anew as it changes; Ctrl-C ends it")] = False,
    interval: Annotated[float, typer.Option(help="With --watch: seconds between two looks", min=0.5)] = 2.0,
    as_json: Json = False,
) -> None:
    """List jobs."""
    given = {"project": project, "state": state, "type": type_, "cluster": cluster, "text": text, "sort": sort}
    api = Api()

    def show() -> None:
        items = api.all("/jobs", **given)
        show_list(items, COLUMNS, output=output, as_json=as_json, name=job_name, chosen=columns, empty="No jobs.")

    if watch:
        watched(show, interval)
    show()


@app.command()
def show(job: Job, output: Output = Format.TABLE, as_json: Json = False) -> None:
    """One job, fresh from its cluster."""
    shown = Api().call("GET", f"/jobs/{ref(job)}")
    show_item(shown, output=output, as_json=as_json, name=job_name(shown), lines=lambda: _lines(job, shown))


def _lines(job: str, shown: dict[str, Any]) -> dict[str, str]:
    attempt, flink_job = shown["current_attempt"], not traits(shown["type"]).runs_cluster
    what = "Flink job" if flink_job else "processes in folder"
    return {
        "job": f"{job_name(shown)}  ({shown['id']})",
        "state": styled(shown["state"]) + (f"  {told(shown['reason'])}" if shown["reason"] else ""),
        "warning": f"[yellow]{told(shown['warning'])}[/yellow]" if shown["warning"] else "",
        "type": shown["type"],
        "version": f"{program(shown['version'], attempt)} of {shown['latest_version']}",
        "cluster": shown["cluster"]
        + (f"  [red]unreachable since {shown['unreachable_since']}[/red]" if shown["unreachable_since"] else ""),
        "attempt": f"{attempt['number']}, {what} {attempt['flink_job_id']}, {plain(attempt['detail'])}"
        if attempt
        else "none",
        "restored from": plain(attempt["restored_from"] or "nothing (started empty)") if attempt and flink_job else "",
        "labels": plain(", ".join(f"{k}={v}" for k, v in shown["labels"].items())),
        "seen": ago(shown["last_observed_at"]),
        "next restart": shown["restart_at"] or "",
        "busy with": shown["busy"] or "",
        "allowed": ", ".join(shown["allowed_commands"]),
        "seen then": told("\n".join(shown["blocked"]["evidence"])) if shown["blocked"] else "",
        "next safe": plain("\n".join(as_command(job, action) for action in shown["next_actions"])),
    }


def as_command(job: str, action: dict[str, Any]) -> str:
    """An action of a BLOCKED job as something to type."""
    words = ["penstock jobs", action["kind"], job]
    restore = action.get("restore") or {}
    if restore:
        words += ["--restore", restore.get("point") or restore["mode"]]
    if restore.get("accept_changed_state"):
        words.append("--force")
    elif restore.get("allow_non_restored_state"):
        words.append("--allow-non-restored-state")
    if restore.get("accept_unknown_state"):
        words.append("--accept-unknown-state")
    if action.get("version"):
        words += ["--version", str(action["version"])]
    if action.get("flink_job_id"):
        words.append(action["flink_job_id"])
    return " ".join(words)


@app.command()
def create(
    job: Annotated[str, typer.Argument(help="project:name, or name in the project `default`")],
    spec: specs.OptionalFile = None,
    git: Annotated[
        str | None, typer.Option(help="Repository with a Maven or Gradle project, or a Python program")
    ] = None,
    git_ref: Annotated[str | None, typer.Option("--ref", help="With --git: branch, tag or commit")] = None,
    subdirectory: Annotated[str | None, typer.Option(help="With --git: folder of the module or program")] = None,
    entry_class: Annotated[str | None, typer.Option("--class", help="With --git: main class of the jar")] = None,
    entry_file: Annotated[str | None, typer.Option(help="With --git: Python file to run")] = None,
    module: Annotated[str | None, typer.Option(help="With --git: Python module to run")] = None,
    requirements: Annotated[str | None, typer.Option(help="With --git: requirements file of a program")] = None,
    argument: Annotated[list[str] | None, typer.Option("--arg", help="With --git: argument; may be repeated")] = None,
    build_tool: Annotated[str | None, typer.Option(help="With --git: maven or gradle")] = None,
    profile: specs.Profiles = None,
    task: specs.Tasks = None,
    build_property: specs.BuildProperties = None,
    artifact: specs.Artifact = None,
    env: specs.Env = None,
    add_file: specs.AddedFiles = None,
    java_property: specs.JavaProperties = None,
    library: specs.Library = None,
    variable: specs.Variable = None,
    parallelism: Annotated[int | None, typer.Option(min=1, help="Default parallelism")] = None,
    cluster: ClusterOption = "local",
    config: ConfigOption = None,
    label: LabelOption = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Create a job from a spec, or from a repository.

    A spec file (--spec) has fields that no option has: `lineage`, a list of `requirements`, and a `config` of its
    version alone, where --config is that of the job. Session clusters: `penstock clusters start`.
    """
    project, name = named(job)
    body = {
        "project": project,
        "name": name,
        "cluster": cluster,
        "labels": specs.pairs(label, "--label"),
        "config": specs.pairs(config),
        "spec": specs.of_options(
            spec,
            git=git,
            ref=git_ref,
            subdirectory=subdirectory,
            entry_class=entry_class,
            entry_file=entry_file,
            module=module,
            requirements=requirements,
            arguments=argument,
            libraries=library,
            variables=variable,
            parallelism=parallelism,
            build_tool=build_tool,
            profiles=profile,
            tasks=task,
            build_properties=build_property,
            artifact=artifact,
            env=env,
            files=add_file,
            java_properties=java_property,
        ),
    }
    _create(body, start=start, wait=wait, as_json=as_json)


def _create(body: dict[str, Any], *, start: bool, wait: bool, as_json: bool) -> None:
    api = Api()
    created = api.call("POST", "/jobs", json=body)
    name = job_name(created)
    show_notes(created)
    if start:
        send(api, created["id"], {"kind": "start"}, wait=wait, as_json=as_json)
    elif as_json:
        show_json(created)
    else:
        out.print(f"Created {name}. Start it with: penstock jobs start {name} --wait", markup=False)


@app.command()
def copy(
    job: Job,
    target: Annotated[str, typer.Argument(help="project:name of the new job, or name in the project `default`")],
    version: Annotated[int | None, typer.Option("--version", help="Version to copy; the newest by default")] = None,
    cluster: Annotated[
        str | None, typer.Option(help="Another cluster to run on", autocompletion=complete_clusters)
    ] = None,
    config: ConfigOption = None,
    variable: specs.Variable = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once")] = False,
    wait: Wait = False,
    as_json: Json = False,
) -> None:
    """Create a job like another: its spec, labels, configuration and policies; none of its state."""
    api = Api()
    source = api.call("GET", f"/jobs/{ref(job)}")
    spec = api.call("GET", f"/jobs/{ref(job)}/versions/{version or source['latest_version']}")["spec"]
    if variable:
        spec["variables"] = spec.get("variables", {}) | specs.pairs(variable, "--var")
    project, name = named(target)
    same = {"labels": source["labels"], **_chosen(api, source)}
    given, of_spec = specs.pairs(config), spec.get("config", {})
    # What the spec sets goes over what the job sets: another value of it has to stand there, too.
    same["config"] = source["config"] | {k: v for k, v in given.items() if k in source["config"] or k not in of_spec}
    of_spec |= {k: v for k, v in given.items() if k in of_spec}
    if hidden := [key for config_ in (of_spec, same["config"]) for key, v in config_.items() if v == HIDDEN]:
        options = " ".join(f"--config {key}=..." for key in dict.fromkeys(hidden))
        raise specs.wrong(f"{hidden[0]} of {job_name(source)} is a secret and not shown: give it with {options}.")
    body = {"project": project, "name": name, "cluster": cluster or source["cluster"], "spec": spec, **same}
    _create(body, start=start, wait=wait, as_json=as_json)


@app.command()
def rename(
    job: Job, name: Annotated[str, typer.Argument(help="project:name, or name in the project `default`")]
) -> None:
    """Say how to go on under another name: a name is for good, since workflow, timeline and Flink job have it."""
    api = Api()
    shown = api.call("GET", f"/jobs/{ref(job)}")
    old, new = job_name(shown), ref(name)
    runs = "pause" in shown["allowed_commands"]
    has_state = shown["current_attempt"] is not None and traits(shown["type"]).keeps_state
    steps = [f"penstock jobs pause {old} --wait"] if runs and has_state else []
    steps.append(f"penstock jobs copy {old} {new}")
    if has_state:
        steps.append(f"penstock jobs restore-points {old}                # the first one is the newest")
        steps.append(f"penstock jobs start {new} --restore PATH --accept-unknown-state --wait")
    steps.append(f"penstock jobs delete {old}                        # its savepoints stay")
    out.print(f"Nothing was changed: a job keeps its name. To go on as {new}, type:", markup=False, highlight=False)
    for step in steps:
        out.print(f"  {step}", markup=False, highlight=False)


@app.command()
def edit(
    job: Job,
    note: Annotated[str, typer.Option(help="What changed")] = "",
    version: Annotated[
        int | None, typer.Option("--version", help="Version to begin with; the newest by default")
    ] = None,
) -> None:
    """Open the spec of a job in $VISUAL or $EDITOR; what is saved becomes a new version, which nothing runs yet."""
    api = Api()
    shown = api.call("GET", f"/jobs/{ref(job)}")
    before = _given(api.call("GET", f"/jobs/{ref(job)}/versions/{version or shown['latest_version']}")["spec"])
    folder = Path(tempfile.mkdtemp(prefix="penstock-"))
    is_text_alone = not before.keys() - SQL_TEXT_ALONE
    path = folder / f"{shown['name']}.{'sql' if is_text_alone else 'yaml'}"
    path.write_text(before["sql"] if is_text_alone else as_yaml(before))
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    if subprocess.run([*editor, str(path)], check=False).returncode:
        raise specs.wrong(f"{editor[0]} has failed; what it has written is in {path}.")
    after = specs.read_spec(str(path))
    if after == before:
        out.print("Nothing was changed.")
    else:
        try:
            added = api.call("POST", f"/jobs/{ref(job)}/versions", json={"spec": after, "note": note})
        except typer.Exit:
            err.print(
                f"What you wrote is in {path}; add it with: penstock jobs add-version {job} -f {path}", markup=False
            )
            raise
        _added(api, job, added)
    path.unlink()
    folder.rmdir()


def _given(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec without what is empty or not set: what a person would have written."""
    return {
        key: _given(value) if isinstance(value, dict) and key in ("git", "build") else value
        for key, value in spec.items()
        if value not in (None, [], {})
        and value != {"tool": "maven", "profiles": [], "properties": {}, "artifact": None}
    }


def _added(api: Api, job: str, version: dict[str, Any]) -> None:
    """Says of a version that was added whether the job's state would fit, and what runs it."""
    number, kind = version["number"], version["spec"]["type"]
    shown = api.call("GET", f"/jobs/{ref(job)}")
    out.print(f"Version {number} was added.")
    show_notes(version)
    if shown["current_attempt"] is None:  # no state to choose
        ways = [("start", "")]
    elif not traits(kind).keeps_state:
        ways = [("resubmit", "")]
    elif not traits(kind).compiles:
        ways = [("resubmit --restore newest", "")]
    else:
        ways = _ways(api, job, number, runs="pause" in shown["allowed_commands"])
    for words, (does, why) in zip(["Run it with", *["Or with"] * len(ways)], ways, strict=False):
        command, _, options = does.partition(" ")
        line = f"{words}: penstock jobs {command} {job}{options and f' {options}'} --wait"
        out.print(line + (f"   # {why}" if why else ""), markup=False, highlight=False, soft_wrap=True)


def _ways(api: Api, job: str, number: int, *, runs: bool) -> list[tuple[str, str]]:
    """What runs a version of a SQL job that has run, and what that does to its state; the verdict on it is shown. Ends
    the program where nothing runs it."""
    empty = ("resubmit --restore none", "begins empty")
    try:
        judged = api.call("GET", f"/jobs/{ref(job)}/versions/{number}/verdict")
    except Refusal as refusal:
        if refusal.problem == "state_of_a_plan":
            return [empty]
        out.print(f"Version {number} does not run as it is.")
        raise
    show_verdict(judged)
    has_state = judged["operators"] or api.call("GET", f"/jobs/{ref(job)}/restore-points")["items"]
    if judged["verdict"] == "UNKNOWN" and not has_state:
        return [("resubmit --restore newest", "")] if runs else [empty]
    found = {judged["verdict"], *(operator["change"] for operator in judged["operators"])}
    options, does = "", ""
    if found & {"INCOMPATIBLE", "changed"}:
        options, does = " --force", "drops the state of what changed"
    elif found & {"COMPATIBLE_WITH_LOSS", "dropped"}:
        options, does = " --allow-non-restored-state", "drops the state of what is gone"
    if found & {"UNKNOWN", "unsure"}:
        options, does = (
            f"{options} --accept-unknown-state",
            f"{does}, and the rest may not fit" if does else "may not fit",
        )
    taken = (f"resubmit --restore newest{options}", does)
    return [taken, empty] if options else [taken]


@app.command("add-version")
def add_version(
    job: Job, spec: specs.File, note: Annotated[str, typer.Option(help="What changed")] = "", as_json: Json = False
) -> None:
    """Add a version; nothing runs it yet."""
    api = Api()
    added = api.call("POST", f"/jobs/{ref(job)}/versions", json={"spec": specs.read_spec(spec), "note": note})
    if as_json:
        show_json(added)
    else:
        _added(api, job, added)


@app.command("set")
def set_(
    job: Job,
    label: LabelOption = None,
    config: ConfigOption = None,
    restart_policy: Annotated[
        list[str] | None, typer.Option("--restart-policy", help="field=value, for example max_restarts=3")
    ] = None,
    savepoint_policy: Annotated[
        list[str] | None, typer.Option("--savepoint-policy", help="field=value, for example interval=86400")
    ] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", help="label.KEY, config.KEY, restart-policy.FIELD or savepoint-policy.FIELD"),
    ] = None,
    reason: commands.Why = None,
    as_json: Json = False,
) -> None:
    """Change labels, configuration and policies of a job; what is not named stays as it is."""
    given = {
        "labels": specs.pairs(label, "--label"),
        "config": specs.pairs(config),
        "restart_policy": specs.values(restart_policy, "--restart-policy"),
        "savepoint_policy": specs.values(savepoint_policy, "--savepoint-policy"),
    }
    fields = {
        "label": "labels",
        "config": "config",
        "restart-policy": "restart_policy",
        "savepoint-policy": "savepoint_policy",
    }
    gone: dict[str, set[str]] = {}
    for item in unset or []:
        kind, _, key = item.partition(".")
        if kind not in fields or not key:
            raise specs.wrong(f"--unset takes {', '.join(f'{name}.KEY' for name in fields)}, not {item!r}")
        gone.setdefault(fields[kind], set()).add(key)
    if not gone and not any(given.values()):
        raise specs.wrong("Nothing to change: give --label, --config, --restart-policy, --savepoint-policy or --unset.")
    api = Api()
    if gone:
        now = api.call("GET", f"/jobs/{ref(job)}")
        now |= _chosen(api, now)
        for name, keys in gone.items():
            if missing := sorted(keys - now[name].keys()):
                raise specs.wrong(f"{job_name(now)} has no {missing[0]} in {name.replace('_', ' ')}.")
    # Laid over what is there when it arrives: others may set something at the same time.
    body: dict[str, Any] = {"merge": True, "unset": {name: sorted(keys) for name, keys in gone.items()}}
    body |= {name: values for name, values in given.items() if values} | ({"reason": reason} if reason else {})
    shown = api.call("PATCH", f"/jobs/{ref(job)}", json=body)
    show_notes(shown)
    show_json(shown) if as_json else out.print("Set.")


def _chosen(api: Api, job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What of a job's policies differs from the defaults: only that is sent again, the rest follows a default that is
    changed later."""
    defaults = api.call("GET", "/settings")
    return {
        policy: {field: value for field, value in job[policy].items() if defaults[policy].get(field) != value}
        for policy in ("restart_policy", "savepoint_policy")
    }


@app.command()
def delete(job: Job, yes: Yes = False) -> None:
    """Delete a job of which nothing runs. Savepoints stay."""
    sure(f"Delete {ref(job)} with its versions and its history? Savepoints stay.", yes)
    Api().call("DELETE", f"/jobs/{ref(job)}")
    out.print("Deleted.")


@app.command()
def pin(job: Job, point: Annotated[str, typer.Argument(help="Id of a restore point")]) -> None:
    """Keep a restore point, whatever the savepoint policy says."""
    Api().call("PUT", f"/jobs/{ref(job)}/restore-points/{point}/pin")
    out.print("Kept.")


@app.command()
def unpin(job: Job, point: Annotated[str, typer.Argument(help="Id of a restore point")]) -> None:
    """Leave a restore point to the savepoint policy again."""
    Api().call("DELETE", f"/jobs/{ref(job)}/restore-points/{point}/pin")
    out.print("Kept no longer.")


@app.command()
def verdict(
    job: Job,
    version: Annotated[int | None, typer.Option("--version", help="The newest version by default")] = None,
    point: Annotated[str | None, typer.Option(help="Restore point; the newest by default")] = None,
    as_json: Json = False,
) -> None:
    """Would the state of a SQL job fit another version of it? Changes nothing; code 1 when it would not."""
    api = Api()
    number = version or newest(api, job)
    params = {"point": point} if point else {}
    judged = api.call("GET", f"/jobs/{ref(job)}/versions/{number}/verdict", params=params)
    show_json(judged) if as_json else show_verdict(judged)
    if judged["verdict"] == "INCOMPATIBLE":
        raise typer.Exit(FAILED)
