"""Registered catalogs, from the registration to the job, on a gateway that has some tables in a warehouse."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from tests.whole.gateway import WAREHOUSE
from tests.whole.penstock import Penstock

PATH = "/projects/default/catalogs/lake"
AT = {"cluster": "a"}
COUNT = "INSERT INTO lake.shop.sums SELECT COUNT(*) FROM lake.shop.orders"


@pytest.fixture
def lake(penstock: Penstock) -> Penstock:
    penstock.world.gateways["flink-a"].warehouse = dict(WAREHOUSE)
    penstock.ok("PUT", PATH, json={"options": {"type": "warehouse"}}, params=AT)
    return penstock


def complete(penstock: Penstock, sql: str, **more: Any) -> dict[str, str]:
    body = {"sql": sql, "position": len(sql), "cluster": "a", **more}
    return {c["text"]: c["kind"] for c in penstock.ok("POST", "/sql/complete", json=body)["candidates"]}


def test_wrong_input_changes_nothing(penstock: Penstock):
    def no(status: int, code: str, name: str = "lake", **body: Any) -> dict[str, Any]:
        return penstock.no("PUT", f"/projects/default/catalogs/{name}", status, code, json=body, params=AT)

    kind = {"type": "warehouse"}
    no(422, "invalid_input", "default_catalog", options=kind)
    no(422, "invalid_input", "with-dash", options=kind)
    no(422, "invalid_input", options={"warehouse": "x"})
    no(422, "secret_in_clear", options={**kind, "password": "hunter2"})
    no(404, "secret_not_found", options={**kind, "password": "${secret:nothing}"})
    no(404, "library_not_found", options=kind, libraries=[{"name": "x", "version": "1"}])
    assert "Could not find any factory" in no(422, "catalog_refused", options={"type": "nothing"})["detail"]
    assert penstock.ok("GET", "/projects/default/catalogs")["items"] == []


def test_it_is_changed_as_a_whole_and_counts_its_changes(lake: Penstock):
    body = {"options": {"type": "warehouse", "a": "b"}, "description": "mine"}
    changed = lake.ok("PUT", PATH, json=body, params=AT)
    assert (changed["revision"], changed["description"], changed["type"]) == (2, "mine", "warehouse")
    assert changed["ddl"].startswith("CREATE CATALOG IF NOT EXISTS `lake` WITH (")


def test_what_is_in_it(lake: Penstock):
    def inside(path: str, **params: Any) -> Any:
        return lake.ok("GET", f"{PATH}/databases{path}", params={**AT, **params})

    assert [d["name"] for d in inside("")["items"]] == ["default", "shop"]
    first = inside("/shop/tables", limit=1)
    assert [t["name"] for t in first["items"]] == ["orders"]
    second = inside("/shop/tables", limit=1, cursor=first["next_cursor"])
    assert ([t["name"] for t in second["items"]], second["next_cursor"]) == (["sums"], None)
    table = inside("/shop/tables/orders")
    assert [c["name"] for c in table["columns"]] == ["id", "name"]
    assert table["options"] == {"connector": "jdbc", "password": "******"}
    lake.no("GET", f"{PATH}/databases/nowhere/tables", 404, "database_not_found", params=AT)
    lake.no("GET", f"{PATH}/databases/shop/tables/nothing", 404, "table_not_found", params=AT)
    lake.no("GET", f"{PATH}/databases", 422, "bad_cursor", params={**AT, "cursor": "x"})


def test_one_that_cannot_be_asked_any_more_says_why(lake: Penstock):
    refuses = lake.world.gateways["flink-a"].refuses
    refuses["CREATE CATALOG"] = "Connection refused"
    detail = lake.no("GET", f"{PATH}/databases", 503, "catalog_unavailable", params=AT)["detail"]
    assert "Connection refused" in detail
    session = lake.ok("POST", "/sql/sessions", json={"cluster": "a"})["id"]
    path, query = f"/sql/sessions/{session}/statements", {"statement": "SELECT * FROM lake.shop.orders"}
    assert "Connection refused" in lake.no("POST", path, 422, "catalog_refused", json=query)["detail"]
    assert lake.ok("POST", path, json={"statement": "SHOW CATALOGS"})["rows"] == [["default_catalog"]]
    refuses.clear()


def test_a_library_that_it_needs_is_kept(penstock: Penstock):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
    library = "/projects/default/libraries/store/1"
    new = {"name": "store", "version": "1", "kind": "jar", "source": {"type": "upload", "file": "store.jar"}}
    penstock.ok("POST", "/projects/default/libraries", json=new)
    body = {"options": {"type": "warehouse"}, "libraries": [{"name": "store", "version": "1"}]}
    path = "/projects/default/catalogs/kept"
    penstock.no("PUT", path, 422, "library_not_usable", json=body, params=AT)
    penstock.ok("PUT", f"{library}/content", content=content.getvalue())
    penstock.ok("PUT", path, json=body, params=AT)
    assert "the catalog kept" in penstock.no("DELETE", library, 409, "library_in_use")["detail"]
    penstock.ok("DELETE", path)
    penstock.ok("DELETE", library)


def test_a_secret_that_it_or_a_table_names_is_kept(penstock: Penstock):
    secret, catalog, table = (f"/projects/default/{p}" for p in ("secrets/named", "catalogs/named", "resources/named"))
    penstock.ok("PUT", secret, json={"value": "x"})
    penstock.ok("PUT", catalog, json={"options": {"type": "warehouse", "password": "${secret:named}"}}, params=AT)
    options = {"connector": "kafka", "properties.password": "${secret:named}"}
    columns = [{"name": "id", "type": "INT"}]
    penstock.ok("PUT", table, json={"definition": {"columns": columns, "options": options}})
    detail = penstock.no("DELETE", secret, 409, "secret_in_use")["detail"]
    assert "the table named, the catalog named" in detail
    penstock.ok("DELETE", table)
    penstock.no("DELETE", secret, 409, "secret_in_use")
    penstock.ok("DELETE", catalog)
    penstock.ok("DELETE", secret)


@pytest.mark.parametrize("type_", ["jar", "pyflink"])
def test_a_secret_that_a_program_is_given_is_kept(penstock: Penstock, type_: str):
    secret = f"/projects/default/secrets/of_{type_}"
    penstock.ok("PUT", secret, json={"value": "x"})
    named = f"${{secret:of_{type_}}}"
    given = {"args": [named]} if type_ == "jar" else {"entry_file": "job.py", "env": {"TOKEN": named}}
    git = {"url": "https://example.com/x.git", "ref": "main"}
    penstock.create(f"given-{type_}", {"type": type_, "git": git, **given})
    assert f"given-{type_}" in penstock.no("DELETE", secret, 409, "secret_in_use")["detail"]
    penstock.ok("DELETE", f"/jobs/default:given-{type_}")
    penstock.ok("DELETE", secret)


def test_a_script_names_it(lake: Penstock):
    def validated(sql: str) -> dict[str, Any]:
        return lake.ok("POST", "/sql/validate", json={"sql": sql, "cluster": "a"})

    assert validated(COUNT)["reads"] == ["lake.shop.orders"]
    lake.ok("DELETE", PATH)
    assert not validated(COUNT)["valid"]


def test_a_job_runs_from_its_text_and_again_with_the_catalog_that_it_had(lake: Penstock):
    lake.create("counts", {"type": "sql", "sql": COUNT})
    lake.done("counts", "start")
    assert lake.state("counts") == "RUNNING"
    lake.ok("DELETE", PATH)
    lake.done("counts", "restart")
    assert lake.state("counts") == "RUNNING"
    assert "catalog" in lake.ok("GET", "/jobs/default:counts/versions/1/plan")["why"]
    resubmit = {"kind": "resubmit", "restore": {"mode": "none"}}
    refused = lake.no("POST", "/jobs/default:counts/commands", 409, "would_not_start", json=resubmit)
    assert "Object 'orders' not found" in refused["detail"]
    assert lake.state("counts") == "RUNNING"


def test_lineage_has_its_tables_in_full(lake: Penstock):
    lake.create("traced", {"type": "sql", "sql": COUNT})
    lineage = lake.ok("GET", "/jobs/default:traced/lineage")
    assert [(u["table"], u["connector"]) for u in lineage["reads"]] == [("lake.shop.orders", "jdbc")]
    (written,) = lineage["writes"]
    assert (written["table"], written["place"]) == ("lake.shop.sums", "catalog:path=sim://warehouse/sums")
    assert "catalog" in lineage["why"]


def test_a_session_finds_it_and_moves_into_it(lake: Penstock):
    session = lake.ok("POST", "/sql/sessions", json={"cluster": "a"})["id"]

    def run(statement: str) -> dict[str, Any]:
        return lake.ok("POST", f"/sql/sessions/{session}/statements", json={"statement": statement})

    assert run("SHOW CATALOGS")["rows"] == [["default_catalog"], ["lake"]]
    run("USE CATALOG lake")
    assert complete(lake, "SELECT * FROM sh", session=session)["shop"] == "database"
    assert complete(lake, "SELECT * FROM shop.o", session=session)["orders"] == "table"


def test_a_session_that_is_made_again_leaves_alone_what_outlives_it(lake: Penstock):
    """What it did to a warehouse was done once, and is there without it; what lived in it is made again."""
    path = f"/sql/sessions/{lake.ok('POST', '/sql/sessions', json={'cluster': 'a'})['id']}"

    def run(statement: str) -> dict[str, Any]:
        return lake.ok("POST", f"{path}/statements", json={"statement": statement})

    own = [
        "CREATE TABLE mine (id BIGINT) WITH ('connector' = 'datagen')",
        "USE CATALOG lake",
        "CREATE TEMPORARY TABLE passing (id BIGINT) WITH ('connector' = 'datagen')",
    ]
    gateway = lake.world.gateways["flink-a"]
    for statement in (
        own[0],
        "CREATE TABLE lake.shop.kept (id BIGINT)",
        own[1],
        "CREATE TABLE bought (id BIGINT)",
        "DROP TABLE IF EXISTS sums",
        own[2],
    ):
        run(statement)
    gateway.warehouse["sums"] = "CREATE TABLE sums (id BIGINT)"  # by somebody else, since
    assert lake.ok("GET", path)["setup"] == own
    gateway.kill()
    lake.wait(20)
    again = run("SHOW TABLES")
    assert (again["rebuilt"]["lost"], "sums" in gateway.warehouse) == ([], True)
    assert {"mine", "passing", "kept", "bought"} <= {name for (name,) in again["rows"]}


def test_a_session_that_cannot_move_again_changes_nothing_where_it_stays(lake: Penstock):
    memory = "/projects/default/catalogs/memory"
    lake.ok("PUT", memory, json={"options": {"type": "generic_in_memory"}}, params=AT)
    path = f"/sql/sessions/{lake.ok('POST', '/sql/sessions', json={'cluster': 'a'})['id']}/statements"
    for statement in ("USE CATALOG lake", "USE CATALOG memory", "DROP TABLE IF EXISTS sums"):
        lake.ok("POST", path, json={"statement": statement})
    lake.ok("DELETE", memory)
    gateway = lake.world.gateways["flink-a"]
    gateway.kill()
    lake.wait(20)
    lost = lake.ok("POST", path, json={"statement": "SHOW TABLES"})["rebuilt"]["lost"]
    assert [each.partition(":")[0] for each in lost] == ["USE CATALOG memory", "DROP TABLE IF EXISTS sums"]
    assert lost[1].endswith("it would change the catalog lake")
    assert "sums" in gateway.warehouse


def test_completion_knows_catalogs_databases_tables_and_columns(lake: Penstock):
    assert complete(lake, "USE CATALOG la") == {"lake": "catalog"}
    assert complete(lake, "SELECT * FROM lake.") == {"`default`": "database", "shop": "database"}
    assert set(complete(lake, "SELECT * FROM lake.shop.")) == {"orders", "sums"}
    assert complete(lake, "SELECT * FROM lake.shop.orders o WHERE o.na")["name"] == "column"
    assert complete(lake, "USE lake.shop; SELECT * FROM or")["orders"] == "table"
