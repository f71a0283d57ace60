"""`penstock recover` and `penstock orphans ...`: what is not as it ought to be."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.client import Api, out
from cli.commands import Job, Yes, ref, send, sure
from cli.completion import complete_clusters
from cli.output import Format, Json, ListColumn, Output, field, plain, show_json, show_list, table, told

app = typer.Typer(no_args_is_help=True, help="Flink jobs that run and that nobody owns.")


COLUMNS = [
    ListColumn("CLUSTER", field("cluster")),
    ListColumn("FLINK JOB", field("flink_job_id")),
    ListColumn("NAME", field("name"), rank=1, folds=True),
    ListColumn("WAS", lambda o: f"attempt {o['attempt']} of {o['job']}" if o["job"] else "", rank=2, folds=True),
    ListColumn("ASKED", field("asked"), rank=4),
    ListColumn("DETAIL", field("detail"), rank=3, folds=True),
]


@app.command("list")
def list_(
    cluster: Annotated[str | None, typer.Option(help="Only on this one", autocompletion=complete_clusters)] = None,
    output: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Flink jobs that are alive and that no job of Penstock owns."""
    items = Api().call("GET", "/orphans", params={"cluster": cluster} if cluster else {})["items"]
    show_list(items, COLUMNS, output=output, as_json=as_json, name=lambda o: str(o["flink_job_id"]), empty="None.")


@app.command()
def adopt(cluster: str, flink_job_id: str, job: Job, as_json: Json = False) -> None:
    """Make it the attempt of a job on the same cluster."""
    send(Api(), ref(job), {"kind": "adopt", "flink_job_id": flink_job_id}, wait=True, as_json=as_json)


@app.command()
def stop(
    cluster: str,
    flink_job_id: str,
    savepoint: Annotated[bool, typer.Option(help="Stop it with a savepoint; --no-savepoint cancels it")] = True,
    yes: Yes = False,
) -> None:
    """Stop it."""
    what = "Stop" if savepoint else "Cancel, without a savepoint,"
    sure(f"{what} the Flink job {flink_job_id} on {cluster}?", yes)
    mode = "stop" if savepoint else "cancel"
    asked = Api().call("POST", f"/clusters/{cluster}/orphans/{flink_job_id}/stop", json={"mode": mode})
    if asked["savepoint_directory"]:
        out.print(f"Its savepoint goes to {asked['savepoint_directory']}", markup=False, soft_wrap=True)
    out.print("Asked. It leaves `penstock orphans list` when the cluster shows it ended.")


def recover(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and do nothing")] = False,
    as_json: Json = False,
) -> None:
    """Run the recovery now: what is not as it ought to be, and what was done about it."""
    answer = Api().call("POST", "/recovery", json={"dry_run": dry_run})
    findings, more = answer["findings"], answer.get("more", {})
    if as_json:
        show_json(findings)
        return
    rows = [[f["kind"], plain(f["subject"]), told(f["what"]), told(f["action"]), _done(f, dry_run)] for f in findings]
    table(["KIND", "WHERE", "WHAT", "ACTION", "DONE"], rows, empty="Everything is as it ought to be.")
    if more:
        out.print("And more: " + ", ".join(f"{kind} {count}" for kind, count in sorted(more.items())))


def _done(finding: dict[str, object], dry_run: bool) -> str:
    if finding["done"]:
        return "yes"
    return "would be" if dry_run and finding["safe"] else "no"
