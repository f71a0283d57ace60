"""Every operation of the API is called once with success and once for each refusal that it is described to give.

An operation that is not in `CALLS` fails the suite, as does a described 4xx that nothing here brings about. The answers
are held to the OpenAPI description by the bridge that brings them (`tests/whole/description.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.whole.description import operations
from tests.whole.penstock import SQL, STATE, VERSION, Penstock, repository, sql, the_app

PREFIX = "/api/v1"
OPERATIONS = operations(the_app())
DATAGEN = "CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'datagen');"
QUERY = f"{DATAGEN} SELECT * FROM t"
LIMITS = {"rows": 3, "seconds": 5}
DEBUGGED = SQL.format(sink="snk", what="id")
FRESH = itertools.count(1)


@dataclass
class Call:
    """What is sent: values of the path's parameters by name, and what httpx takes."""

    path: dict[str, str] = field(default_factory=dict)
    json: Any = None
    params: dict[str, Any] | None = None
    content: bytes | None = None
    headers: dict[str, str] | None = None

    def send(self, penstock: Penstock, operation: str) -> Any:
        method, _, route = operation.partition(" ")
        url = "http://127.0.0.1:8000" + route.format(**self.path)
        more = {"json": self.json} if self.json is not None else {"content": self.content}
        return penstock.http.request(method, url, params=self.params, headers=self.headers, **more)


Maker = Callable[[Penstock], Call]
CALLS: dict[str, Maker] = {}
CONFLICTS: dict[str, Maker] = {}
"""What is answered 409."""
FULL: set[str] = set()
UNKNOWN: dict[str, Maker] = {}
"""What is answered 404, where that is not because the first thing of the path is unknown."""
INVALID: dict[str, Maker] = {}
"""What is answered 422, where it is neither an unknown field of the body nor a name in the path that is too long."""
# Nothing that could be sent there is wrong.
NEVER_422 = {"GET /api/v1/clusters", "GET /api/v1/projects"}
# Its body is no JSON text.
NEVER_400 = {"PUT /api/v1/projects/{project}/libraries/{name}/{version}/content"}


def of(table: dict[str, Maker], operation: str) -> Callable[[Maker], Maker]:
    method, _, path = operation.partition(" ")

    def put(make: Maker) -> Maker:
        name = f"{method} {path if path in ('/healthz', '/readyz', '/metrics') else PREFIX + path}"
        assert name not in table
        table[name] = make
        return make

    return put


def works(operation: str) -> Callable[[Maker], Maker]:
    return of(CALLS, operation)


def conflicts(operation: str) -> Callable[[Maker], Maker]:
    return of(CONFLICTS, operation)


def full(operation: str) -> Callable[[Maker], Maker]:
    """What is refused while as many previews run as may."""
    method, _, path = operation.partition(" ")
    FULL.add(f"{method} {PREFIX}{path}")
    return conflicts(operation)


def unknown(operation: str) -> Callable[[Maker], Maker]:
    return of(UNKNOWN, operation)


def invalid(operation: str) -> Callable[[Maker], Maker]:
    return of(INVALID, operation)


@pytest.fixture(scope="module")
def started(penstock: Penstock) -> Penstock:
    """With jobs of each type that run, a session cluster, a table, a library, a test set."""
    repo = repository(penstock.home / "repo")
    git = {"url": str(repo)}
    penstock.running("sql")
    penstock.done("sql", "savepoint")
    penstock.running("jar", {"type": "jar", "git": git, "args": ["--output", "of-jar"]})
    penstock.running("py", {"type": "pyflink", "git": git, "entry_file": "job.py", "args": ["--output", "of-py"]})
    machine = {"name": "machine", "kind": "processes", "flink_version": VERSION, "state_dir": STATE}
    penstock.ok("POST", "/clusters", json=machine)
    penstock.running("studio", {"type": "session-cluster"}, cluster="machine")
    penstock.ok("POST", "/projects", json={"name": "other"})
    penstock.ok("PUT", "/projects/default/resources/clicks", json=TABLE)
    penstock.ok("PUT", "/projects/default/test-sets/rows", json={"tables": {"t": [{"id": 1}]}})
    return penstock


TABLE = {
    "definition": {
        "columns": [{"name": "id", "type": "BIGINT"}],
        "options": {"connector": "datagen", "rows-per-second": "5"},
    }
}


def fresh(word: str = "x") -> str:
    return f"{word}-{next(FRESH)}"


def a_job(penstock: Penstock) -> str:
    """One that was never started."""
    name = fresh("job")
    penstock.create(name)
    return f"default:{name}"


def of_job(*, name: str = "sql", **more: Any) -> Maker:
    path = {"id": f"default:{name}", **more.pop("path", {})}
    return lambda _: Call(dict(path), **more)


def of_project(**more: Any) -> Maker:
    path = {"project": "default", **more.pop("path", {})}
    return lambda _: Call(dict(path), **more)


# Jobs -------------------------------------------------------------------------------------------

NEW_JOB = {"spec": sql("of_new"), "cluster": "a"}
works("POST /jobs")(lambda _: Call(json={"name": fresh("job"), **NEW_JOB}))
conflicts("POST /jobs")(lambda _: Call(json={"name": "sql", **NEW_JOB}))
unknown("POST /jobs")(lambda _: Call(json={"name": fresh("job"), **NEW_JOB, "cluster": "nowhere"}))
works("GET /jobs")(lambda _: Call(params={"limit": 2, "state": "RUNNING", "sort": "-name"}))
invalid("GET /jobs")(lambda _: Call(params={"limit": 0}))
works("GET /jobs/{id}")(of_job())
works("PATCH /jobs/{id}")(of_job(json={"restart_policy": {"max_restarts": 3}, "labels": {"team": "shop"}}))
works("DELETE /jobs/{id}")(lambda p: Call({"id": a_job(p)}))
conflicts("DELETE /jobs/{id}")(of_job())
works("POST /jobs/{id}/versions")(lambda p: Call({"id": a_job(p)}, json={"spec": sql("of_version", "SUM(amt)")}))
works("GET /jobs/{id}/versions")(of_job())
works("GET /jobs/{id}/versions/{number}")(of_job(path={"number": "1"}))
works("GET /jobs/{id}/versions/{a}/diff/{b}")(of_job(path={"a": "1", "b": "1"}))
works("GET /jobs/{id}/versions/{number}/verdict")(of_job(path={"number": "1"}))
works("GET /jobs/{id}/versions/{number}/plan")(of_job(path={"number": "1"}))
works("GET /jobs/{id}/config")(of_job(params={"version": 1}))

# Commands ---------------------------------------------------------------------------------------

works("POST /jobs/{id}/commands")(of_job(json={"kind": "savepoint"}, headers={"Idempotency-Key": "once"}))
conflicts("POST /jobs/{id}/commands")(lambda p: Call({"id": a_job(p)}, json={"kind": "pause"}))
works("GET /jobs/{id}/commands")(of_job(params={"limit": 1}))
works("GET /jobs/{id}/commands/{number}")(of_job(path={"number": "1"}))
works("GET /jobs/{id}/commands/{number}/log")(of_job(path={"number": "1"}))
works("GET /jobs/{id}/commands/{number}/log/stream")(of_job(path={"number": "1"}))


# History ----------------------------------------------------------------------------------------


def a_point(penstock: Penstock) -> Call:
    found = penstock.ok("GET", "/jobs/default:sql/restore-points")["items"]
    return Call({"id": "default:sql", "point": found[-1]["id"]})


works("GET /jobs/{id}/attempts")(of_job())
works("GET /jobs/{id}/restore-points")(of_job())
works("PUT /jobs/{id}/restore-points/{point}/pin")(a_point)
works("DELETE /jobs/{id}/restore-points/{point}/pin")(a_point)
works("GET /jobs/{id}/timeline")(of_job(params={"limit": 2}))
works("GET /jobs/{id}/exceptions")(of_job(params={"attempt": 1}))
works("GET /jobs/{id}/logs")(of_job())
LOG = {"part": "jobmanager", "file": "jobmanager.log"}
works("GET /jobs/{id}/logs/{part}/{file}")(of_job(path=LOG, params={"lines": 10}))
works("GET /jobs/{id}/output")(of_job(params={"lines": 2, "identifier": ["mine"]}))

# Clusters and projects --------------------------------------------------------------------------


def a_cluster(penstock: Penstock, **more: Any) -> dict[str, Any]:
    """One that nobody answers at."""
    return {
        "name": fresh("cluster"),
        "jobmanager_url": "http://nowhere:8081",
        "flink_version": VERSION,
        "state_dir": STATE,
        **more,
    }


def registered(penstock: Penstock) -> str:
    new = a_cluster(penstock)
    penstock.ok("POST", "/clusters", json=new)
    return str(new["name"])


works("GET /clusters")(lambda _: Call())
works("GET /cluster-kinds")(lambda _: Call())
works("POST /clusters")(lambda p: Call(json=a_cluster(p)))
conflicts("POST /clusters")(lambda p: Call(json=a_cluster(p, jobmanager_url="http://flink-a:8081")))
works("GET /clusters/{name}")(lambda _: Call({"name": "a"}))
works("PATCH /clusters/{name}")(lambda p: Call({"name": registered(p)}, json={"config": {"a.b": "c"}}))
conflicts("PATCH /clusters/{name}")(lambda _: Call({"name": "a"}, json={"jobmanager_url": "http://nowhere:8081"}))
works("DELETE /clusters/{name}")(lambda p: Call({"name": registered(p)}))
conflicts("DELETE /clusters/{name}")(lambda _: Call({"name": "a"}))
works("POST /clusters/{name}/scale")(lambda _: Call({"name": "studio"}, json={"taskmanagers": 2}))
conflicts("POST /clusters/{name}/scale")(lambda _: Call({"name": "a"}, json={"taskmanagers": 2}))
works("GET /projects")(lambda _: Call())
works("POST /projects")(lambda _: Call(json={"name": fresh("project"), "config": {"a.b": "c"}}))
conflicts("POST /projects")(lambda _: Call(json={"name": "default"}))
works("PATCH /projects/{name}")(lambda _: Call({"name": "other"}, json={"config": {"a.b": "d"}}))
conflicts("PATCH /projects/{name}")(lambda _: Call({"name": "default"}, json={"archived": True}))


def a_project(penstock: Penstock) -> str:
    return str(penstock.ok("POST", "/projects", json={"name": fresh("project")})["name"])


works("DELETE /projects/{name}")(lambda p: Call({"name": a_project(p)}))
conflicts("DELETE /projects/{name}")(lambda _: Call({"name": "default"}))

# Recovery and lineage ---------------------------------------------------------------------------


def an_orphan(penstock: Penstock) -> Call:
    """A Flink job that somebody has started by hand, once it was seen twice."""
    id_ = f"{next(FRESH):032x}"
    flink = penstock.world.flinks[0]
    penstock.world.judge.by_hand.add(id_)
    flink.accept(id_, "by hand", penstock.world.program("", {}), {}, None, False)
    penstock.until(lambda: id_ in str(penstock.ok("GET", "/orphans")))
    return Call({"name": "a", "flink_job_id": id_}, json={"mode": "cancel"})


def a_silent_orphan(penstock: Penstock) -> Call:
    call = an_orphan(penstock)
    penstock.world.network.endpoints["http://flink-a:8081"].mode = "refuse"
    return call


works("POST /recovery")(lambda _: Call(json={"dry_run": True}))
works("GET /orphans")(lambda _: Call(params={"cluster": "a"}))
invalid("GET /orphans")(lambda _: Call(params={"cluster": "x" * 101}))
works("POST /clusters/{name}/orphans/{flink_job_id}/stop")(an_orphan)
conflicts("POST /clusters/{name}/orphans/{flink_job_id}/stop")(a_silent_orphan)
PLACE = "default:sql/default_catalog.default_database.src"
works("GET /lineage")(lambda _: Call(params={"job": "sql", "direction": "downstream"}))
unknown("GET /lineage")(lambda _: Call(params={"job": "nobody"}))
invalid("GET /lineage")(lambda _: Call(params={"direction": "sideways"}))
works("GET /lineage/impact")(lambda _: Call(params={"place": PLACE, "column": "id"}))
unknown("GET /lineage/impact")(lambda _: Call(params={"place": "nowhere", "column": "id"}))
invalid("GET /lineage/impact")(lambda _: Call())
works("GET /jobs/{id}/lineage")(of_job(params={"version": 1}))

# SQL --------------------------------------------------------------------------------------------


def a_preview(penstock: Penstock, text: str = QUERY) -> str:
    body = {"sql": text, "cluster": "a", "limits": LIMITS}
    return str(penstock.ok("POST", "/sql/previews", json=body)["id"])


def of_previews(word: str, text: str) -> None:
    body = {"sql": text, "cluster": "a", "limits": LIMITS}
    works(f"POST /sql/{word}")(lambda _: Call(json=body))
    unknown(f"POST /sql/{word}")(lambda _: Call(json={**body, "cluster": "nowhere"}))


of_previews("previews", QUERY)
of_previews("debug", DEBUGGED)
works("POST /sql/validate")(lambda _: Call(json={"sql": DEBUGGED, "cluster": "a"}))
unknown("POST /sql/validate")(lambda _: Call(json={"sql": DEBUGGED, "cluster": "nowhere"}))
full("POST /sql/previews")(lambda _: Call(json={"sql": QUERY, "cluster": "a"}))
full("POST /sql/debug")(lambda _: Call(json={"sql": DEBUGGED, "cluster": "a"}))
works("POST /sql/complete")(lambda _: Call(json={"sql": "SELE", "position": 4, "cluster": "a"}))
unknown("POST /sql/complete")(lambda _: Call(json={"sql": "SELE", "position": 4, "cluster": "nowhere"}))
works("POST /sql/format")(lambda _: Call(json={"sql": "select 1"}))
works("GET /sql/templates")(lambda _: Call())
works("GET /sql/templates/{name}")(lambda _: Call({"name": "top-n"}))
unknown("GET /sql/templates/{name}")(lambda _: Call({"name": "nowhere"}))
works("GET /sql/previews")(lambda _: Call(params={"project": "default"}))
unknown("GET /sql/previews")(lambda _: Call(params={"project": "nobody"}))
invalid("GET /sql/previews")(lambda _: Call(params={"project": "x" * 81}))
works("GET /sql/previews/{id}")(lambda p: Call({"id": a_preview(p)}))
works("DELETE /sql/previews/{id}")(lambda p: Call({"id": a_preview(p)}))
works("POST /sql/previews/{id}/resume")(lambda p: Call({"id": a_preview(p)}))
full("POST /sql/previews/{id}/resume")(lambda p: Call({"id": a_preview(p)}))
works("GET /sql/previews/{id}/events")(lambda p: Call({"id": a_preview(p)}))


def a_session(penstock: Penstock) -> str:
    return str(penstock.ok("POST", "/sql/sessions", json={"cluster": "a"})["id"])


works("POST /sql/sessions")(lambda _: Call(json={"cluster": "a"}))
unknown("POST /sql/sessions")(lambda _: Call(json={"cluster": "nowhere"}))
works("GET /sql/sessions")(lambda _: Call())
unknown("GET /sql/sessions")(lambda _: Call(params={"project": "nobody"}))
invalid("GET /sql/sessions")(lambda _: Call(params={"project": "x" * 81}))
works("GET /sql/sessions/{id}")(lambda p: Call({"id": a_session(p)}))
works("DELETE /sql/sessions/{id}")(lambda p: Call({"id": a_session(p)}))
works("POST /sql/sessions/{id}/statements")(lambda p: Call({"id": a_session(p)}, json={"statement": "SHOW TABLES"}))
full("POST /sql/sessions/{id}/statements")(lambda p: Call({"id": a_session(p)}, json={"statement": "SELECT 1"}))

# Tests ------------------------------------------------------------------------------------------

ROWS = {"rows": [{"id": 1, "name": "a", "amt": 1.0}]}
DEBUG_SPEC = {"type": "sql", "sql": DEBUGGED}
TEST = {"inputs": {"src": ROWS}}


def a_tested_job(penstock: Penstock) -> str:
    name = fresh("tested")
    penstock.create(name, DEBUG_SPEC)
    penstock.ok("PUT", f"/jobs/default:{name}/versions/1/tests/first", json=TEST)
    return f"default:{name}"


works("GET /projects/{project}/test-sets")(of_project())
works("PUT /projects/{project}/test-sets/{name}")(of_project(path={"name": "new"}, json={"tables": {"t": [{"id": 1}]}}))
works("GET /projects/{project}/test-sets/{name}")(of_project(path={"name": "rows"}))


@works("DELETE /projects/{project}/test-sets/{name}")
def _(penstock: Penstock) -> Call:
    penstock.ok("PUT", "/projects/default/test-sets/gone", json={"tables": {"t": []}})
    return Call({"project": "default", "name": "gone"})


SAMPLE = {"sql": DATAGEN, "tables": ["t"], "cluster": "a", "rows": 2}
works("POST /projects/{project}/test-sets/{name}/sample")(of_project(path={"name": "sampled"}, json=SAMPLE))
full("POST /projects/{project}/test-sets/{name}/sample")(of_project(path={"name": "sampled"}, json=SAMPLE))
works("GET /jobs/{id}/versions/{number}/tests")(lambda p: Call({"id": a_tested_job(p), "number": "1"}))
works("PUT /jobs/{id}/versions/{number}/tests/{name}")(
    lambda p: Call({"id": a_tested_job(p), "number": "1", "name": "second"}, json=TEST)
)
full("PUT /jobs/{id}/versions/{number}/tests/{name}")(
    lambda p: Call({"id": a_tested_job(p), "number": "1", "name": "third"}, json=TEST)
)
works("DELETE /jobs/{id}/versions/{number}/tests/{name}")(
    lambda p: Call({"id": a_tested_job(p), "number": "1", "name": "first"})
)
works("POST /jobs/{id}/versions/{number}/tests/run")(lambda p: Call({"id": a_tested_job(p), "number": "1"}))
full("POST /jobs/{id}/versions/{number}/tests/run")(lambda p: Call({"id": a_tested_job(p), "number": "1"}))
works("POST /jobs/{id}/versions/{a}/diff/{b}/rows")(
    lambda p: Call({"id": a_tested_job(p), "a": "1", "b": "1"}, json={"sources": TEST["inputs"]})
)
full("POST /jobs/{id}/versions/{a}/diff/{b}/rows")(
    lambda p: Call({"id": a_tested_job(p), "a": "1", "b": "1"}, json={"sources": TEST["inputs"]})
)

# Resources --------------------------------------------------------------------------------------

KAFKA = {"topic": "clicks", "properties.bootstrap.servers": "kafka:9092"}
works("POST /projects/{project}/resources/infer")(of_project(json={"kind": "json", "samples": ['{"a": 1}']}))
full("POST /projects/{project}/resources/infer")(of_project(json={"kind": "kafka", "cluster": "a", "options": KAFKA}))
works("POST /projects/{project}/resources/import")(of_project(json={"sql": DATAGEN, "cluster": "a"}))
works("GET /projects/{project}/resources")(of_project())
works("PUT /projects/{project}/resources/{name}")(of_project(path={"name": "fresh"}, json=TABLE))


def a_granted_table(penstock: Penstock) -> str:
    name = fresh("granted").replace("-", "_")
    penstock.ok("PUT", f"/projects/default/resources/{name}", json=TABLE)
    penstock.ok("PUT", f"/projects/default/resources/{name}/grants/other", json={"read": True})
    return name


@conflicts("PUT /projects/{project}/resources/{name}")
def _(penstock: Penstock) -> Call:
    name = a_granted_table(penstock)
    return Call({"project": "default", "name": name}, json={"kind": "view", "query": "SELECT 1 AS x"})


@conflicts("POST /projects/{project}/resources/import")
def _(penstock: Penstock) -> Call:
    text = f"CREATE VIEW {a_granted_table(penstock)} AS SELECT 1 AS x"
    return Call({"project": "default"}, json={"sql": text, "cluster": "a"})


works("GET /projects/{project}/resources/{name}")(of_project(path={"name": "clicks"}))


@works("DELETE /projects/{project}/resources/{name}")
def _(penstock: Penstock) -> Call:
    penstock.ok("PUT", "/projects/default/resources/gone", json=TABLE)
    return Call({"project": "default", "name": "gone"})


@conflicts("DELETE /projects/{project}/resources/{name}")
def _(penstock: Penstock) -> Call:
    penstock.ok("PUT", "/projects/default/resources/below", json=TABLE)
    penstock.ok("PUT", "/projects/default/resources/over", json={"kind": "view", "query": "SELECT id FROM below"})
    return Call({"project": "default", "name": "below"})


GRANT = {"name": "clicks", "grantee": "other"}
works("PUT /projects/{project}/resources/{name}/grants/{grantee}")(of_project(path=GRANT, json={"read": True}))
works("DELETE /projects/{project}/resources/{name}/grants/{grantee}")(of_project(path=GRANT))
works("GET /projects/{project}/secrets")(of_project())
works("PUT /projects/{project}/secrets/{name}")(of_project(path={"name": "password"}, json={"value": "hidden"}))


@works("DELETE /projects/{project}/secrets/{name}")
def _(penstock: Penstock) -> Call:
    penstock.ok("PUT", "/projects/default/secrets/gone", json={"value": "x"})
    return Call({"project": "default", "name": "gone"})


@conflicts("DELETE /projects/{project}/secrets/{name}")
def _(penstock: Penstock) -> Call:
    penstock.ok("PUT", "/projects/default/secrets/used", json={"value": "x"})
    options = {"connector": "kafka", "properties.password": "${secret:used}"}
    table = {"definition": {**TABLE["definition"], "options": options}}
    penstock.ok("PUT", "/projects/default/resources/of_a_secret", json=table)
    return Call({"project": "default", "name": "used"})


# Catalogs ---------------------------------------------------------------------------------------

CATALOG = {"options": {"type": "warehouse"}}
AT = {"cluster": "a"}


def of_catalog(**path: str) -> Maker:
    def make(penstock: Penstock) -> Call:
        penstock.ok("PUT", "/projects/default/catalogs/lake", json=CATALOG, params=AT)
        return Call({"project": "default", "name": "lake", **path}, params=AT)

    return make


works("GET /projects/{project}/catalogs")(of_project())
works("PUT /projects/{project}/catalogs/{name}")(of_project(path={"name": "fresh"}, json=CATALOG, params=AT))
works("GET /projects/{project}/catalogs/{name}")(of_catalog())
works("DELETE /projects/{project}/catalogs/{name}")(of_catalog())
works("GET /projects/{project}/catalogs/{name}/databases")(of_catalog())
IN_CATALOG = "/projects/{project}/catalogs/{name}/databases/{database}/tables"
works(f"GET {IN_CATALOG}")(of_catalog(database="shop"))
works(f"GET {IN_CATALOG}/{{table}}")(of_catalog(database="shop", table="orders"))

# Libraries --------------------------------------------------------------------------------------


def an_upload(penstock: Penstock, *, content: bytes | None = None) -> Call:
    """A version that waits for its content."""
    name = fresh("lib")
    new = {"name": name, "version": "1", "kind": "python", "source": {"type": "upload", "file": "f.py"}}
    penstock.ok("POST", "/projects/default/libraries", json=new)
    return Call({"project": "default", "name": name, "version": "1"}, content=content)


def a_library(penstock: Penstock) -> Call:
    call = an_upload(penstock, content=b"x = 1\n")
    assert call.send(penstock, f"PUT {PREFIX}/projects/{{project}}/libraries/{{name}}/{{version}}/content").is_success
    return call


def a_used_library(penstock: Penstock) -> Call:
    call = a_library(penstock)
    call.content = None
    uses = [{"name": call.path["name"], "version": "1"}]
    penstock.create(fresh("using"), {**DEBUG_SPEC, "libraries": uses})
    return call


def without_content(call: Call) -> Call:
    call.content = None
    return call


MAVEN = {"version": "1", "kind": "jar", "source": {"type": "maven", "coordinates": ["a:b:1"]}}
works("GET /projects/{project}/libraries")(of_project())
works("POST /projects/{project}/libraries")(
    lambda _: Call({"project": "default"}, json={"name": fresh("lib"), **MAVEN})
)
conflicts("POST /projects/{project}/libraries")(
    lambda p: Call({"project": "default"}, json={**MAVEN, "name": a_library(p).path["name"]})
)
works("GET /projects/{project}/libraries/{name}/{version}")(lambda p: without_content(a_library(p)))
works("DELETE /projects/{project}/libraries/{name}/{version}")(lambda p: without_content(a_library(p)))
conflicts("DELETE /projects/{project}/libraries/{name}/{version}")(a_used_library)
works("GET /projects/{project}/libraries/{name}/{version}/log")(lambda p: without_content(a_library(p)))
works("PUT /projects/{project}/libraries/{name}/{version}/content")(lambda p: an_upload(p, content=b"x = 1\n"))
conflicts("PUT /projects/{project}/libraries/{name}/{version}/content")(a_library)

# Access -----------------------------------------------------------------------------------------

PASSWORD = "correct horse battery"


def a_person(penstock: Penstock) -> str:
    name = fresh("person")
    penstock.ok("POST", "/accounts", json={"name": name, "password": PASSWORD})
    return name


def a_member(penstock: Penstock) -> Call:
    account = a_person(penstock)
    penstock.ok("PUT", f"/projects/default/members/{account}", json={"role": "viewer"})
    return Call({"project": "default", "account": account})


def a_token(penstock: Penstock) -> Any:
    new = {"name": fresh("ci"), "role": "viewer"}
    return penstock.ok("POST", "/projects/default/tokens", json=new)


def a_token_of_another_role(penstock: Penstock) -> Call:
    name = a_token(penstock)["name"]
    return Call({"project": "default"}, json={"name": name, "role": "owner"})


def a_login(penstock: Penstock) -> Call:
    return Call(json={"name": a_person(penstock), "password": PASSWORD})


def a_password(penstock: Penstock) -> Call:
    name = a_person(penstock)
    cookie = penstock.http.post("/login", json={"name": name, "password": PASSWORD}).headers["set-cookie"]
    penstock.http.cookies.clear()
    headers = {"Authorization": "", "Cookie": cookie.partition(";")[0], "Origin": "http://127.0.0.1:8000"}
    return Call(json={"current": PASSWORD, "new": f"{PASSWORD} staple"}, headers=headers)


# The API itself ---------------------------------------------------------------------------------

works("GET /settings")(lambda _: Call())
works("GET /me")(lambda _: Call())
works("GET /me/tokens")(lambda _: Call())
works("POST /me/tokens")(lambda _: Call(json={"name": "one"}))
works("DELETE /me/tokens/{id}")(lambda p: Call({"id": p.ok("POST", "/me/tokens", json={"name": "two"})["id"]}))
works("PUT /me/password")(a_password)
works("POST /me/link")(lambda _: Call())
works("POST /logout")(lambda p: Call(headers={"Authorization": f"Bearer {a_token(p)['token']}"}))
works("POST /login")(a_login)
works("GET /accounts")(lambda _: Call())
works("POST /accounts")(lambda _: Call(json={"name": fresh("person"), "password": PASSWORD}))
conflicts("POST /accounts")(lambda p: Call(json={"name": a_person(p)}))
works("PATCH /accounts/{account}")(lambda p: Call({"account": a_person(p)}, json={"password": PASSWORD}))
conflicts("PATCH /accounts/{account}")(lambda _: Call({"account": "local"}, json={"administrator": False}))
works("DELETE /accounts/{account}")(lambda p: Call({"account": a_person(p)}))
conflicts("DELETE /accounts/{account}")(lambda _: Call({"account": "local"}))
works("GET /projects/{project}/members")(of_project())
works("PUT /projects/{project}/members/{account}")(
    lambda p: Call({"project": "default", "account": a_person(p)}, json={"role": "viewer"})
)
works("DELETE /projects/{project}/members/{account}")(a_member)
works("GET /projects/{project}/tokens")(of_project())
works("POST /projects/{project}/tokens")(of_project(json={"name": "ci", "role": "operator"}))
conflicts("POST /projects/{project}/tokens")(a_token_of_another_role)
works("DELETE /projects/{project}/tokens/{id}")(lambda p: Call({"project": "default", "id": a_token(p)["id"]}))
unknown("DELETE /projects/{project}/tokens/{id}")(lambda _: Call({"project": "default", "id": "nobody"}))
for path in ("PUT /me/password", "POST /me/tokens", "POST /me/link"):
    conflicts(path)(CALLS[f"{path.partition(' ')[0]} {PREFIX}{path.partition(' ')[2]}"])
works("GET /healthz")(lambda _: Call())
works("GET /readyz")(lambda _: Call())
works("GET /metrics")(lambda _: Call())


# The tests --------------------------------------------------------------------------------------


def described(status: int) -> list[str]:
    return [name for name, found in OPERATIONS.items() if str(status) in found["responses"]]


@pytest.fixture
def calm(started: Penstock) -> Penstock:
    """Whatever the test before has broken or left running."""
    for endpoint in started.world.network.endpoints.values():
        endpoint.mode = "ok"
    for preview in started.ok("GET", "/sql/previews")["items"]:
        if preview["state"] == "RUNNING":
            started.ok("DELETE", f"/sql/previews/{preview['id']}")
    return started


def test_every_operation_is_called():
    assert set(CALLS) == set(OPERATIONS)


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_it_works(calm: Penstock, operation: str):
    answer = CALLS[operation](calm).send(calm, operation)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("operation", described(404))
def test_what_is_not_there(calm: Penstock, operation: str):
    if operation in UNKNOWN:
        call = UNKNOWN[operation](calm)
    else:
        call = CALLS[operation](calm)
        call.path[next(iter(call.path))] = "nobody"
    answer = call.send(calm, operation)
    assert answer.status_code == 404, answer.text
    assert "nobody" in answer.json()["detail"] or "nowhere" in answer.json()["detail"]


@pytest.mark.parametrize("operation", described(409))
def test_what_cannot_be_done_now(calm: Penstock, operation: str, monkeypatch: pytest.MonkeyPatch):
    call = CONFLICTS[operation](calm)
    if f"{PREFIX}/me/" in operation:
        monkeypatch.setattr(calm.world.api.services.settings, "authentication", False)
    if operation in FULL:
        monkeypatch.setattr("sql.run_registry.MAX_RUNS", 0)
    answer = call.send(calm, operation)
    assert answer.status_code == 409, answer.text
    assert answer.json()["code"]


@pytest.mark.parametrize("operation", [o for o in described(422) if o not in NEVER_422])
def test_what_is_wrong(calm: Penstock, operation: str):
    if operation in INVALID:
        call = INVALID[operation](calm)
    else:
        call = CALLS[operation](calm)
        if call.json is not None:
            call.json = {**call.json, "unheard-of": 1}
        else:
            call.path[next(iter(call.path))] = "x" * 300
    answer = call.send(calm, operation)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


@pytest.mark.parametrize("operation", [o for o in described(400) if o not in NEVER_400])
def test_what_is_no_json(calm: Penstock, operation: str):
    call = CALLS[operation](calm)
    broken = Call(call.path, content=b"\xff", headers={"Content-Type": "application/json"})
    answer = broken.send(calm, operation)
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize("operation", described(401))
def test_who_is_not_known(calm: Penstock, operation: str):
    call = Call(dict.fromkeys(PATH_NAMES, "1"), headers={"Authorization": "Bearer nobody"})
    answer = call.send(calm, operation)
    assert answer.status_code == (422 if operation.endswith("/login") else 401), answer.text


@pytest.mark.parametrize("operation", described(421))
def test_a_name_that_is_not_ours_where_everybody_may_call(
    calm: Penstock, operation: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(calm.world.api.services.settings, "authentication", False)
    call = Call(dict.fromkeys(PATH_NAMES, "1"), headers={"Host": "evil.example.com"})
    answer = call.send(calm, operation)
    assert answer.status_code == 421, answer.text


PATH_NAMES = {
    part[1:-1] for name in OPERATIONS for part in name.split("/") if part.startswith("{") and part.endswith("}")
}


def test_too_large_an_upload(calm: Penstock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("api.libraries.service.MAX_UPLOAD", 3)
    operation = f"PUT {PREFIX}/projects/{{project}}/libraries/{{name}}/{{version}}/content"
    answer = an_upload(calm, content=b"x = 1\n").send(calm, operation)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_not_ready_without_temporal(calm: Penstock):
    calm.world.temporal.stop()
    answer = calm.http.get("http://127.0.0.1:8000/readyz")
    calm.world.temporal.start()
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
