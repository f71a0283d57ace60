"""Registered views, from the registration to the script that names them."""

from __future__ import annotations

from typing import Any

from tests.whole.penstock import Penstock

RESOURCES = "/projects/default/resources"
COLUMNS = [{"name": "id", "type": "BIGINT"}, {"name": "name", "type": "STRING"}]
TABLE = {"definition": {"columns": COLUMNS, "options": {"connector": "datagen"}}}


def view(query: str) -> dict[str, Any]:
    return {"kind": "view", "query": query}


def names(penstock: Penstock) -> list[str]:
    return [r["name"] for r in penstock.ok("GET", RESOURCES)["items"]]


def test_a_view_is_registered_beside_tables(penstock: Penstock):
    penstock.ok("PUT", f"{RESOURCES}/clicks", json=TABLE)
    penstock.ok("PUT", f"{RESOURCES}/a_last", json=view("SELECT id FROM middle"))
    penstock.ok("PUT", f"{RESOURCES}/middle", json=view("SELECT id FROM clicks"))
    assert names(penstock) == ["clicks", "middle", "a_last"], "tables, then views, each after those that it names"
    shown = penstock.ok("GET", f"{RESOURCES}/middle")
    assert (shown["kind"], shown["definition"], shown["query"]) == ("view", None, "SELECT id FROM clicks")
    assert shown["ddl"] == "CREATE VIEW `middle` AS\nSELECT id FROM clicks"
    table = penstock.ok("GET", f"{RESOURCES}/clicks")
    assert (table["kind"], table["query"]) == ("table", None)
    text = {"sql": "SELECT id FROM a_last", "cluster": "a", "queries": True}
    assert penstock.ok("POST", "/sql/validate", json=text)["valid"]
    body = {"sql": "SELECT a_last. FROM a_last", "position": 14, "cluster": "a"}
    assert [c["text"] for c in penstock.ok("POST", "/sql/complete", json=body)["candidates"]] == ["id"]


def test_what_cannot_be_a_view(penstock: Penstock):
    def no(status: int, code: str, body: dict[str, Any], name: str = "v") -> str:
        return str(penstock.no("PUT", f"{RESOURCES}/{name}", status, code, json=body)["detail"])

    no(422, "invalid_input", {**TABLE, "kind": "view"})
    no(422, "invalid_input", {"query": "SELECT 1"})
    no(422, "not_one_query", view("INSERT INTO t SELECT 1"))
    no(422, "secret_misplaced", view("SELECT '${secret:x}' AS x"))
    no(422, "view_circle", view("SELECT * FROM v"))
    penstock.ok("PUT", f"{RESOURCES}/v", json=view("SELECT 1 AS x"))
    penstock.ok("PUT", f"{RESOURCES}/w", json=view("SELECT * FROM v"))
    assert "v > w > v" in no(422, "view_circle", view("SELECT * FROM w"))
    assert penstock.ok("GET", f"{RESOURCES}/v")["query"] == "SELECT 1 AS x"


def test_a_view_is_not_granted(penstock: Penstock):
    penstock.ok("POST", "/projects", json={"name": "other"})
    penstock.ok("PUT", f"{RESOURCES}/v", json=view("SELECT 1 AS x"))
    penstock.no("PUT", f"{RESOURCES}/v/grants/other", 422, "view_not_grantable", json={"read": True})
    penstock.ok("PUT", f"{RESOURCES}/t", json=TABLE)
    penstock.ok("PUT", f"{RESOURCES}/t/grants/other", json={"read": True})
    penstock.no("PUT", f"{RESOURCES}/t", 409, "view_not_grantable", json=view("SELECT 1 AS x"))


def test_ddl_of_tables_and_views_goes_in_and_out(penstock: Penstock):
    sql = (
        "CREATE TABLE ticks (id BIGINT, name STRING) WITH ('connector' = 'datagen');\n"
        "CREATE VIEW second AS SELECT id FROM ticks;\nCREATE TEMPORARY VIEW first AS SELECT id FROM second;\n"
    )
    body = {"sql": sql, "cluster": "a"}
    made = penstock.ok("POST", f"{RESOURCES}/import", json=body)["items"]
    assert [(r["name"], r["kind"], r["action"]) for r in made] == [
        ("ticks", "table", "created"),
        ("second", "view", "created"),
        ("first", "view", "created"),
    ]
    exported = penstock.cli("resources", "export", "ticks", "second", "first").out
    assert exported.index("CREATE VIEW `second`") < exported.index("CREATE VIEW `first`")
    again = penstock.ok("POST", f"{RESOURCES}/import", json={"sql": exported, "cluster": "a"})["items"]
    assert {r["action"] for r in again} == {"unchanged"}
    assert "(view)" in penstock.cli("resources", "list").out
    assert "CREATE VIEW `first` AS" in penstock.cli("resources", "show", "first").out


def test_a_session_has_views_that_were_registered_after_it(penstock: Penstock):
    penstock.ok("PUT", f"{RESOURCES}/v", json=view("SELECT 1 AS x"))
    gateway = penstock.world.gateways["flink-a"]
    gateway.refuses["CREATE VIEW IF NOT EXISTS `default_catalog`.`default_database`.`v`"] = "Object 'gone' not found"
    session = penstock.ok("POST", "/sql/sessions", json={"cluster": "a"})["id"]
    path = f"/sql/sessions/{session}/statements"
    refused = penstock.no("POST", path, 422, "view_refused", json={"statement": "DESCRIBE v"})
    assert "Object 'gone' not found" in refused["detail"]
    gateway.refuses.clear()
    penstock.ok("POST", path, json={"statement": "DESCRIBE v"})


def test_what_a_view_reads_is_not_deleted(penstock: Penstock):
    penstock.ok("PUT", f"{RESOURCES}/base", json=TABLE)
    penstock.ok("PUT", f"{RESOURCES}/over", json=view("SELECT id FROM base"))
    assert "over" in penstock.no("DELETE", f"{RESOURCES}/base", 409, "resource_in_use")["detail"]
    penstock.ok("DELETE", f"{RESOURCES}/over")
    penstock.ok("DELETE", f"{RESOURCES}/base")


def test_a_column_with_the_name_of_a_view_needs_no_view(penstock: Penstock):
    """Its query would be refused here: the table that it reads is the script's own, and made behind it."""
    penstock.ok("PUT", f"{RESOURCES}/total", json=view("SELECT id FROM nowhere"))
    sql = "CREATE TABLE mine (total BIGINT) WITH ('connector'='datagen'); SELECT total FROM mine"
    assert penstock.ok("POST", "/sql/validate", json={"sql": sql, "cluster": "a", "queries": True})["valid"]
    penstock.ok("DELETE", f"{RESOURCES}/total")
