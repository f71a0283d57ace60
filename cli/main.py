"""The `penstock` command."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated

import httpx
import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from cli import access, catalogs, clusters, doctor, jobs, lineage, local, orphans, projects, resources, sql
from cli.client import FAILED, USAGE, carried_by, err, out
from cli.completion import answering
from core import __version__
from core.config import is_secret
from core.errors import PenstockError
from core.queues import KINDS

app = typer.Typer(
    name="penstock",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keeps Apache Flink jobs running with their state.",
)
flink = typer.Typer(no_args_is_help=True, help="Flink versions on this machine.")
app.add_typer(jobs.app, name="jobs")
app.add_typer(clusters.app, name="clusters")
app.add_typer(projects.app, name="projects")
app.add_typer(flink, name="flink")
app.add_typer(orphans.app, name="orphans")
app.add_typer(sql.app, name="sql")
app.add_typer(lineage.app, name="lineage")
app.add_typer(resources.app, name="resources")
app.add_typer(catalogs.app, name="catalogs")
app.add_typer(resources.secrets, name="secrets")
app.add_typer(resources.libraries, name="libraries")
app.add_typer(access.members, name="members")
app.add_typer(access.tokens, name="tokens")
app.add_typer(access.accounts, name="accounts")

app.command()(orphans.recover)

app.command()(local.up)
app.command()(local.down)
app.command()(local.status)
app.command()(local.demo)
app.command()(doctor.doctor)
app.command()(projects.settings)
app.command()(access.whoami)
app.command("open")(access.open_)


def _tell_version(asked: bool) -> None:
    if asked:
        out.print(f"penstock {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Print it")] = False,
) -> None:
    """Takes `--version`, which prints it and ends the program before any command."""
    del version


@app.command()
def serve() -> None:
    """Run the API server in the foreground."""
    from api.app import serve as run
    from settings import ApiSettings, settings
    from settings.logs import configure

    configure(settings())
    run(settings(), ApiSettings())


@app.command()
def worker(
    queue: Annotated[
        list[str] | None, typer.Option(help="main, build or watch; all by default; may be repeated")
    ] = None,
) -> None:
    """Run a worker in the foreground. Start as many as you like, on as many machines."""
    import uvloop

    from settings import settings
    from settings.logs import configure
    from worker.main import run_worker

    unknown = [q for q in queue or [] if q not in KINDS]
    if unknown:
        err.print(f"There is no queue {unknown[0]}; one of: {', '.join(KINDS)}.", markup=False)
        raise typer.Exit(USAGE)
    configure(settings())
    uvloop.run(run_worker(settings(), [kind for kind in KINDS if kind in (queue or KINDS)]))


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema. The API and workers do it at their start as well."""
    from settings import settings
    from store.database import Database, DatabaseUnavailable
    from store.migrate import upgrade

    async def run() -> None:
        database = Database(settings().url_of_database())
        try:
            await upgrade(database)
        finally:
            await database.close()

    try:
        asyncio.run(run())
    except DatabaseUnavailable as error:
        err.print(f"The database was not migrated: {error.why}", style="red", markup=False, highlight=False)
        raise typer.Exit(FAILED) from error
    out.print("The database has the newest schema.")


@flink.command("install")
def install_flink(version: Annotated[str, typer.Argument(help="For example 2.3.0 or 1.20.5")]) -> None:
    """Install a Flink version beside the others."""
    parts = local.parts()
    with local.installing(parts, f"Flink {version}"):
        home = parts.flink(version)
    out.print(f"FLINK_HOME={home}", markup=False, highlight=False, soft_wrap=True)


@flink.command("list")
def list_flink() -> None:
    """Installed Flink versions."""
    for version in local.parts().flink_versions():
        out.print(version)


def _wrong_settings(error: ValidationError | SettingsError) -> list[str]:
    """What is wrong with settings, a line each. Raises `error` when it is about something else."""
    from api.words import words

    if isinstance(error, SettingsError):  # of a list, which has to be JSON
        name = re.search(r'field "(\w+)"', str(error))
        return [f"PENSTOCK_{name[1].upper()} has to be JSON."] if name else [str(error)]
    if not error.title.endswith("Settings"):
        raise error
    lines = []
    for one in error.errors():
        name_ = f"PENSTOCK_{one['loc'][0]}".upper()
        lines.append(f"{name_} {words(one)}" + ("." if is_secret(name_) else f", and is {one['input']!r}."))
    return lines


def main(transport: httpx.BaseTransport | None = None) -> None:
    """The command, with the arguments of this process. Errors that a person can act on are told in a line; it exits
    with 0, `FAILED`, `USAGE` for a setting that is none, and 130 after Ctrl-C. `transport` carries its requests to the
    API in place of the network."""
    try:
        with carried_by(transport):
            answering(lambda: app(prog_name="penstock"))
    except (ValidationError, SettingsError) as error:
        for line in _wrong_settings(error):
            err.print(line, style="red", markup=False, highlight=False)
        err.print("It is an environment variable: set it to another value, or unset it.")
        raise SystemExit(USAGE) from error
    except PenstockError as error:
        err.print(str(error), style="red", markup=False, highlight=False)
        raise SystemExit(FAILED) from error
    except OSError as error:  # of a file or a folder of this machine
        err.print(str(error), style="red", markup=False, highlight=False)
        raise SystemExit(FAILED) from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None
