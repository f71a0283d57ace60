"""Every command of the command line, run in this process against a whole Penstock: for people, as JSON, and refused.

A command that is not in `COMMANDS` (or among those of this machine, `test_local_commands.py`) fails the suite. Each has
to have a refusal: words on standard error, an exit code that says which kind it is, and no traceback.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer

from cli.client import CONFLICT, FAILED, NOT_FOUND, UNREACHABLE, USAGE
from cli.main import app
from tests.cli.test_local_commands import LOCAL
from tests.whole.penstock import SQL, STATE, VERSION, Penstock, repository, sql

DATAGEN = "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'datagen');"
TABLE = {"columns": [{"name": "id", "type": "BIGINT"}], "options": {"connector": "datagen"}}
FRESH = itertools.count(1)


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*words, name))
    else:
        yield " ".join(words), command


LEAVES = dict(leaves(typer.main.get_command(app)))
JSON = [name for name, command in LEAVES.items() if any(p.name == "as_json" for p in command.params)]


@dataclass
class Given:
    """What a command is given: arguments, and what it reads from standard input."""

    arguments: list[str]
    text: str = ""


@dataclass
class Refusal:
    """Arguments that are refused, with which exit code, and a word that has to be on standard error."""

    arguments: list[str]
    code: int
    word: str
    text: str = ""
    away: bool = False
    temporal_away: bool = False


Maker = Callable[[Penstock], Given]
COMMANDS: dict[str, tuple[Maker, str, Refusal]] = {}
"""By command: what makes it succeed, a word of what it prints then, and how it is refused."""


def fresh(word: str = "x") -> str:
    return f"{word}-{next(FRESH)}"


def command(name: str, good: list[str] | Maker, word: str, refusal: Refusal, *, text: str = "") -> None:
    make: Maker = good if callable(good) else lambda _: Given(list(good), text)
    COMMANDS[name] = (make, word, refusal)


def nobody(*more: str) -> Refusal:
    return Refusal(["nobody", *more], NOT_FOUND, "nobody")


def of_project(*arguments: str, text: str = "") -> Refusal:
    return Refusal([*arguments, "--project", "nobody"], NOT_FOUND, "nobody", text)


@pytest.fixture(scope="module")
def house(penstock: Penstock) -> Penstock:
    """With a job that runs and has a savepoint, a session cluster, a second project, and files to read."""
    repository(penstock.home / "repo")
    penstock.running("clicks", sql("clicks", "id"))
    penstock.done("clicks", "savepoint")
    machine = {"name": "machine", "kind": "processes", "flink_version": VERSION, "state_dir": STATE}
    penstock.ok("POST", "/clusters", json=machine)
    penstock.running("studio", {"type": "session-cluster"}, cluster="machine")
    penstock.ok("POST", "/projects", json={"name": "other"})
    penstock.ok("PUT", "/projects/default/resources/known", json={"definition": TABLE})
    files = {
        "job.sql": SQL.format(sink="of_file", what="id"),
        "query.sql": f"{DATAGEN}\nSELECT * FROM t",
        "rows.json": '[{"id": 1, "name": "a", "amt": 1.0}]',
        "rows.csv": "id,name,amt\n1,a,1.0\n",
        "table.json": json.dumps(TABLE),
        "bad.json": "{",
        "bad.sql": "INSERT INTO nowhere SELECT id FROM src;",
        "f.py": "x = 1\n",
    }
    for name, text in files.items():
        (penstock.home / name).write_text(text)
    return penstock


def after(make: Callable[[Penstock], Any], *arguments: str) -> Maker:
    """These arguments, once something was made that there is to tell of."""

    def given(penstock: Penstock) -> Given:
        make(penstock)
        return Given(list(arguments))

    return given


def file(name: str) -> str:
    """A file of `house`; the folder is known when the test runs."""
    return f"@{name}"


def placed(penstock: Penstock, arguments: list[str]) -> list[str]:
    """Arguments with the folder in front of files."""
    marked = [(a.partition("@")) for a in arguments]
    known = {p.name for p in penstock.home.iterdir()}
    return [f"{a}{penstock.home / c}" if b and c in known else f"{a}{b}{c}" for a, b, c in marked]


# Jobs -------------------------------------------------------------------------------------------


def a_job(penstock: Penstock, *, state: str = "") -> str:
    name = fresh("job")
    penstock.create(name)
    if state:
        penstock.done(name, "start")
    if state == "PAUSED":
        penstock.done(name, "pause")
    return name


def on(kind: str, *more: str, state: str = "RUNNING") -> Maker:
    return lambda p: Given([a_job(p, state=state), *more, "--wait"])


def of_point(penstock: Penstock) -> Given:
    return Given(["clicks", penstock.ok("GET", "/jobs/default:clicks/restore-points")["items"][-1]["id"]])


def edited(penstock: Penstock) -> Given:
    """An editor that adds a line to what it is given."""
    editor = penstock.home / "editor"
    editor.write_text("#!/bin/sh\necho '-- more' >> \"$1\"\n")
    editor.chmod(0o755)
    os.environ["VISUAL"] = str(editor)
    return Given([a_job(penstock), "--note", "n"])


NEW = ["-f", file("job.sql"), "--cluster", "a", "--config", "a.b=c"]
command("jobs list", ["--state", "RUNNING", "--sort", "-name"], "clicks", Refusal(["--sort", "x"], USAGE, "sort"))
command("jobs show", ["clicks"], "RUNNING", nobody())
command(
    "jobs create",
    lambda _: Given([fresh("job"), *NEW, "--start", "--wait"]),
    "SUCCEEDED",
    Refusal(["clicks", *NEW], CONFLICT, "clicks"),
)
command("jobs verdict", ["clicks"], "state:", nobody())
command("jobs start", on("start", state=""), "SUCCEEDED", Refusal(["clicks"], CONFLICT, "RUNNING"))
command("jobs restart", on("restart", "--reason", "why"), "SUCCEEDED", nobody())
command("jobs resubmit", on("resubmit", "--restore", "newest"), "SUCCEEDED", Refusal(["clicks"], USAGE, "restore"))
command("jobs pause", on("pause", "--idempotency-key", "k"), "SUCCEEDED", nobody())
command("jobs kill", on("kill"), "SUCCEEDED", nobody())
command("jobs savepoint", on("savepoint"), "SUCCEEDED", nobody())
command("jobs delete", lambda p: Given([a_job(p)]), "Deleted", Refusal(["clicks"], CONFLICT, "clicks"))
command("jobs pin", of_point, "Kept", nobody("rp-0123456789abcdef"))
command("jobs unpin", of_point, "Kept no longer", nobody("rp-0123456789abcdef"))
command(
    "jobs set",
    ["clicks", "--label", "team=web", "--restart-policy", "max_restarts=3", "--savepoint-policy", "keep_last=7"],
    "Set",
    Refusal(["clicks", "--unset", "label.nobody"], USAGE, "nobody"),
)
command(
    "jobs copy",
    lambda _: Given(["clicks", fresh("copy"), "--start", "--wait"]),
    "SUCCEEDED",
    Refusal(["clicks", "clicks"], CONFLICT, "clicks"),
)
for name, word in {
    "commands": "start",
    "attempts": "RUNNING",
    "restore-points": "savepoint",
    "timeline": "state",
    "versions": "1",
    "config": "execution.checkpointing.interval",
}.items():
    command(f"jobs {name}", ["clicks"], word, nobody())
command("jobs output", ["clicks", "-n", "3", "--identifier", "mine"], "mine:2> +I[2, b]", nobody())
command("jobs log", ["clicks", "1"], "statement 1", nobody())
command(
    "jobs add-version",
    lambda p: Given([a_job(p), "-f", file("job.sql"), "--note", "n"]),
    "Version 2",
    Refusal(["clicks", "-f", file("bad.json")], USAGE, "JSON"),
)
command("jobs edit", edited, "Version 2", nobody())
command("jobs diff", ["clicks", "1", "1"], "", Refusal(["clicks", "1", "99"], NOT_FOUND, "99"))


# Orphans and recovery ---------------------------------------------------------------------------


def an_orphan(penstock: Penstock) -> str:
    """A Flink job that somebody started by hand, once it was seen twice."""
    id_ = f"{next(FRESH):032x}"
    penstock.world.judge.by_hand.add(id_)
    penstock.world.flinks[0].accept(id_, "by hand", penstock.world.program("", {}), {}, None, False)
    penstock.until(lambda: id_ in str(penstock.ok("GET", "/orphans")))
    return id_


command("recover", ["--dry-run"], "", Refusal([], UNREACHABLE, "Temporal", temporal_away=True))
command(
    "orphans list",
    after(an_orphan, "--cluster", "a"),
    "by hand",
    Refusal(["--cluster", "x" * 101], USAGE, "100"),
)
command(
    "orphans stop",
    lambda p: Given(["a", an_orphan(p)]),
    "savepoint goes to",
    Refusal(["a", "0" * 32], NOT_FOUND, "0" * 32),
)
command(
    "orphans adopt",
    lambda p: Given(["a", an_orphan(p), a_job(p)]),
    "SUCCEEDED",
    Refusal(["a", "0" * 32, "clicks"], CONFLICT, "RUNNING"),
)
command("jobs adopt", lambda p: Given([a_job(p), an_orphan(p), "--wait"]), "SUCCEEDED", nobody("0" * 32))


# Clusters ---------------------------------------------------------------------------------------


def a_cluster(penstock: Penstock) -> str:
    name = fresh("cluster")
    body = {"name": name, "jobmanager_url": "http://nowhere:1", "flink_version": VERSION, "state_dir": STATE}
    penstock.ok("POST", "/clusters", json=body)
    return name


def a_studio(penstock: Penstock, *, running: bool = True) -> str:
    name = fresh("studio")
    penstock.create(name, {"type": "session-cluster"}, cluster="machine")
    if running:
        penstock.done(name, "start")
    return name


ADD = ["--jobmanager-url", "http://nowhere:1", "--flink-version", VERSION, "--state-dir", STATE]
command("clusters list", [], "reachable", Refusal([], UNREACHABLE, "penstock up", away=True))
command("clusters kinds", [], "flink-session", Refusal([], UNREACHABLE, "penstock up", away=True))
command("clusters show", ["a"], "reachable", nobody())
command("clusters add", lambda _: Given([fresh("cluster"), *ADD]), "Registered", Refusal(["a", *ADD], CONFLICT, "a"))
command("clusters set", ["a", '{"config": {"a.b": "c"}}'], "a.b", Refusal(["a", "{"], USAGE, "JSON"))
command("jobs rename", ["clicks", "hits"], "penstock jobs copy default:clicks default:hits", nobody("hits"))
command("jobs exceptions", ["clicks"], "No exceptions", nobody())
command("jobs logs", ["clicks", "jobmanager"], "has a job", Refusal(["clicks", "nobody"], USAGE, "jobmanager"))
command("projects list", [], "default", Refusal([], UNREACHABLE, "penstock up", away=True))
command("projects show", ["default"], "RUNNING", Refusal(["nobody"], USAGE, "nobody"))
command("projects create", lambda _: Given([fresh("project")]), "Created", Refusal(["default"], CONFLICT, "default"))
command("projects set", ["other", "--config", "a.b=c"], "Set", Refusal(["other", "--unset", "x"], USAGE, "x"))


def a_project(penstock: Penstock) -> str:
    return str(penstock.ok("POST", "/projects", json={"name": fresh("project")})["name"])


command("projects archive", lambda p: Given([a_project(p)]), "Archived", Refusal(["default"], CONFLICT, "default"))
command("projects unarchive", lambda p: Given([a_project(p)]), "Taken back", nobody())
command("projects delete", lambda p: Given([a_project(p)]), "Deleted", Refusal(["default"], CONFLICT, "default"))


# Access -----------------------------------------------------------------------------------------


def a_person(penstock: Penstock) -> str:
    name = fresh("person")
    penstock.ok("POST", "/accounts", json={"name": name})
    return name


def a_member(penstock: Penstock) -> str:
    name = a_person(penstock)
    penstock.ok("PUT", f"/projects/default/members/{name}", json={"role": "viewer"})
    return name


def a_token(penstock: Penstock) -> str:
    return str(penstock.ok("POST", "/me/tokens", json={"name": fresh("token")})["id"])


command("whoami", [], "administrator", Refusal([], UNREACHABLE, "penstock up", away=True))
command("open", ["--print"], "/login?code=", Refusal([], UNREACHABLE, "penstock up", away=True))
command("tokens list", after(a_token), "ROLE", of_project())
command(
    "tokens create",
    lambda _: Given([fresh("ci"), "--days", "3"]),
    "penstock_",
    Refusal(["ci", "-p", "default"], USAGE, "role"),
)
command("tokens revoke", lambda p: Given([a_token(p)]), "Revoked", nobody())
command("members list", after(a_member), "viewer", of_project())
command("members set", lambda p: Given([a_person(p), "operator"]), "operator", nobody("viewer"))
command("members remove", lambda p: Given([a_member(p)]), "Removed", nobody())
command("accounts list", [], "local", Refusal([], UNREACHABLE, "penstock up", away=True))
command("accounts create", lambda _: Given([fresh("person")]), "Created", Refusal(["local"], CONFLICT, "local"))
command(
    "accounts set",
    lambda p: Given([a_person(p), "--no-administrator"]),
    "Changed",
    Refusal(["nobody", "--administrator"], NOT_FOUND, "nobody"),
)
command("accounts disable", lambda p: Given([a_person(p)]), "Disabled", nobody())

# This installation ------------------------------------------------------------------------------

command("settings", ["-o", "wide"], "max_restarts", Refusal([], UNREACHABLE, "penstock up", away=True))
command("clusters delete", lambda p: Given([a_cluster(p)]), "Deleted", Refusal(["a"], CONFLICT, "a"))
command(
    "clusters start",
    lambda _: Given([fresh("studio"), "--slots", "2", "--wait"]),
    "SUCCEEDED",
    Refusal(["studio", "--slots", "2"], USAGE, "slots"),
)
command("clusters stop", lambda p: Given([a_studio(p), "--wait"]), "SUCCEEDED", nobody())
command(
    "clusters scale", lambda p: Given([a_studio(p), "2", "--wait"]), "SUCCEEDED", Refusal(["a", "2"], CONFLICT, "a")
)

# SQL --------------------------------------------------------------------------------------------

FEW = ["--cluster", "a", "--rows", "2", "--seconds", "5"]
command("sql shell", ["--cluster", "a"], "what the INSERTs would write", of_project(), text=f"{DATAGEN}\n\\?")
command(
    "sql validate",
    [file("job.sql"), "--cluster", "a"],
    "valid",
    Refusal([file("bad.sql"), "--cluster", "a"], FAILED, "'src' not found"),
)
command("sql format", ["-"], "SELECT", Refusal(["/nowhere.sql"], USAGE, "nowhere"), text="select 1")
command("sql templates", [], "top-n", Refusal(["--output", "xml"], USAGE, "xml"))
command("sql template", ["top-n"], "INSERT INTO best_sellers", Refusal(["nothing"], NOT_FOUND, "nothing", "top-n"))
command("sql complete", ["-", "--cluster", "a"], "SELECT", Refusal(["-"], NOT_FOUND, "local", "SELE"), text="SELE")
command("sql preview", [file("query.sql"), *FEW], "+I", Refusal([file("query.sql")], NOT_FOUND, "local"))
command(
    "sql debug",
    [file("job.sql"), *FEW, "--source", "src=@rows.csv"],
    "+I",
    Refusal([file("job.sql"), *FEW, "--source", "x"], USAGE, "--source"),
)


def a_tested_job(penstock: Penstock, *, expected: Any = None) -> str:
    name = fresh("tested")
    penstock.create(name, sql("snk", "id"))
    body = {"inputs": {"src": {"rows": [{"id": 1}]}}, **({"expected": {"snk": expected}} if expected else {})}
    penstock.ok("PUT", f"/jobs/default:{name}/versions/1/tests/first", json=body)
    return name


def a_session(penstock: Penstock) -> str:
    return str(penstock.ok("POST", "/sql/sessions", json={"cluster": "a"})["id"])


def a_preview(penstock: Penstock) -> str:
    body = {"cluster": "a", "sql": f"{DATAGEN}\nSELECT * FROM t", "limits": {"rows": 2, "seconds": 5}}
    return str(penstock.ok("POST", "/sql/previews", json=body)["id"])


def a_set(penstock: Penstock) -> str:
    name = fresh("set")
    penstock.ok("PUT", f"/projects/default/test-sets/{name}", json={"tables": {"t": [{"id": 1}]}})
    return name


command("sql resume", lambda p: Given([a_preview(p)]), "+I", nobody())
command("sql test", lambda p: Given([a_tested_job(p)]), "passed", nobody())
command(
    "sql diff",
    lambda p: Given([a_tested_job(p), "1", "1", "--source", "src=@rows.json"]),
    "the same\nstate: UNKNOWN",
    Refusal(["clicks", "1", "1", "--source", "src"], USAGE, "table=file"),
)
command(
    "sql add-test",
    ["clicks", "first", "--source", "src=@rows.json"],
    "1 rows expected",
    Refusal(["clicks", "first", "--source", "src=@bad.json"], USAGE, "JSON"),
)
command("sql session open", ["--cluster", "a"], "-", Refusal([], NOT_FOUND, "local"))
command("sql session list", after(a_session), "gateway", of_project())
command("sql session run", lambda p: Given([a_session(p), "SELECT 1", *FEW[2:]]), "+I 1", nobody("SELECT 1"))
command("sql session close", lambda p: Given([a_session(p)]), "Closed", nobody())
command("sql test-set list", after(a_set), "t (1)", of_project())
command("sql test-set show", lambda p: Given([a_set(p)]), "id", nobody())
command(
    "sql test-set sample",
    ["fresh", "--table", "t", "-f", file("query.sql"), *FEW],
    "2 rows",
    Refusal(["fresh", "--table", "t", *FEW, "--library", "x"], USAGE, "name:version"),
)
command("lineage show", ["clicks"], "reads", nobody())
command("lineage graph", ["--job", "clicks"], "->", Refusal(["--job", "nobody"], NOT_FOUND, "nobody"))
command(
    "lineage impact",
    ["default:clicks/default_catalog.default_database.src", "id"],
    "",
    Refusal(["x" * 2001, "id"], USAGE, "2000"),
)


# Resources --------------------------------------------------------------------------------------


def a_table(penstock: Penstock) -> str:
    name = fresh("table").replace("-", "_")
    penstock.ok("PUT", f"/projects/default/resources/{name}", json={"definition": TABLE})
    return name


def a_library(penstock: Penstock) -> list[str]:
    name = fresh("lib")
    new = {"name": name, "version": "1", "kind": "python", "source": {"type": "upload", "file": "f.py"}}
    penstock.ok("POST", "/projects/default/libraries", json=new)
    return [name, "1"]


def a_secret(penstock: Penstock) -> str:
    name = fresh("secret")
    penstock.ok("PUT", f"/projects/default/secrets/{name}", json={"value": "x"})
    return name


command("resources list", [], "datagen", of_project())
command("resources show", ["known"], "CREATE TABLE", nobody())
command(
    "resources put",
    ["fresh", file("table.json"), "--owner", "me"],
    "revision",
    Refusal(["fresh", file("bad.json")], USAGE, "JSON"),
)
command(
    "resources import",
    ["-", "--cluster", "a"],
    "default/t: created",
    Refusal(["-", "--cluster", "a"], USAGE, "CREATE TABLE", "SELECT 1"),
    text=DATAGEN,
)
command("resources export", ["known"], "CREATE TABLE `known`", Refusal(["nobody"], USAGE, "no table nobody"))
command("resources delete", lambda p: Given([a_table(p)]), "Deleted", nobody())
command("resources grant", ["known", "other"], "Granted", nobody("other"))
command("resources revoke", ["known", "other"], "Taken back", nobody("other"))
command(
    "resources infer",
    ["json", "-f", file("rows.json")],
    "BIGINT",
    Refusal(["avro", "-f", file("bad.json")], USAGE, "JSON"),
)


def a_catalog(penstock: Penstock) -> str:
    name = fresh("catalog").replace("-", "_")
    body = {"options": {"type": "warehouse"}, "description": "of the shop"}
    penstock.ok("PUT", f"/projects/default/catalogs/{name}", json=body, params={"cluster": "a"})
    return name


def in_catalog(*more: str) -> Maker:
    return lambda p: Given([a_catalog(p), *more, "--cluster", "a"])


command("catalogs list", after(a_catalog), "of the shop", of_project())
command(
    "catalogs add",
    ["mine", "--option", "type=warehouse", "--cluster", "a"],
    "default/mine, revision 1",
    Refusal(["mine", "--option", "type=nothing", "--cluster", "a"], USAGE, "Could not find any factory"),
)
command("catalogs show", lambda p: Given([a_catalog(p)]), "CREATE CATALOG", nobody())
command("catalogs delete", lambda p: Given([a_catalog(p)]), "Deleted", nobody())
command("catalogs tables", in_catalog("shop"), "orders", nobody())
command("secrets list", after(a_secret), "${secret:", of_project())
command("secrets set", ["password"], "${secret:password}", of_project("password", text="x"), text="hidden\n")
command("secrets delete", lambda p: Given([a_secret(p)]), "Deleted", nobody())
command("libraries list", after(a_library), "WAITING", of_project())
command(
    "libraries add",
    lambda _: Given([fresh("lib"), "1", "-f", file("f.py")]),
    "is ready",
    Refusal(["x", "1"], USAGE, "--maven"),
)
command("libraries delete", lambda p: Given(a_library(p)), "Deleted", nobody("1"))

# The tests --------------------------------------------------------------------------------------


def test_every_command_is_run():
    assert set(COMMANDS) | LOCAL == set(LEAVES)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_it_tells_people(house: Penstock, name: str):
    make, word, _ = COMMANDS[name]
    given = make(house)
    said = house.cli(*name.split(), *placed(house, given.arguments), text=given.text)
    assert said.code == 0, said
    assert word in said.out
    assert "Traceback" not in said.err


@pytest.mark.parametrize("name", sorted(set(JSON) & set(COMMANDS)))
def test_it_tells_programs(house: Penstock, name: str):
    make, _, _ = COMMANDS[name]
    given = make(house)
    said = house.cli(*name.split(), *placed(house, given.arguments), "--json", text=given.text)
    assert said.code == 0, said
    lines = name in ("sql preview", "sql resume", "sql debug", "sql session run")  # an event a line, as they come
    for text in said.out.splitlines() if lines else [said.out]:
        json.loads(text)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_it_is_refused(house: Penstock, name: str):
    _, _, refusal = COMMANDS[name]
    if refusal.temporal_away:
        house.world.temporal.stop()
    arguments = placed(house, refusal.arguments)
    said = house.cli(*name.split(), *arguments, text=refusal.text, away=refusal.away)
    if refusal.temporal_away:
        house.world.temporal.start()
    assert said.code == refusal.code, said
    assert refusal.word in said.err
    assert "Traceback" not in said.err


ENDING = [name for name in COMMANDS if name.split()[-1] in ("delete", "kill", "stop")]


@pytest.mark.parametrize("name", ENDING)
def test_what_deletes_or_stops_asks_on_a_terminal(house: Penstock, name: str):
    given = COMMANDS[name][0](house).arguments
    said = house.cli(*name.split(), *given, columns=80, text="n\n")
    assert (said.code, said.err) == (FAILED, "Nothing was done.\n"), said
    assert "[y/N]" in said.out
    said = house.cli(*name.split(), *given, columns=80, text="y\n")
    assert (said.code, "[y/N]" in said.out) == (0, True), said


@pytest.mark.parametrize("name", ENDING)
def test_and_does_not_when_it_was_told_to(house: Penstock, name: str):
    said = house.cli(*name.split(), *COMMANDS[name][0](house).arguments, "--yes", columns=80)
    assert (said.code, "[y/N]" in said.out) == (0, False), said


@pytest.mark.parametrize(
    ("name", "title"), [("jobs list", "state"), ("jobs commands", "kind"), ("clusters list", "health")]
)
def test_columns_are_chosen(house: Penstock, name: str, title: str):
    job = ["clicks"] if name == "jobs commands" else []
    said = house.cli(*name.split(), *job, "--columns", title)
    assert (said.code, said.out.splitlines()[0].strip()) == (0, title.upper()), said
