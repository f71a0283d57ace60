"""Lineage of queries whose origins are known, compiled by a real gateway; and lineage across jobs by REST."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from clusters.flink.gateway import RestGateway
from core.sql.plan import Plan, read
from tests.real.conftest import Stack
from tests.real.lineage_queries import AT_LEAST, PARTITIONED, QUERIES, TABLES

CONFIGS = {
    "default": {},
    "mini-batch": {
        "table.exec.mini-batch.enabled": "true",
        "table.exec.mini-batch.allow-latency": "1 s",
        "table.exec.mini-batch.size": "100",
        "table.optimizer.agg-phase-strategy": "TWO_PHASE",
        "table.optimizer.distinct-agg.split.enabled": "true",
    },
}


async def compile_all(url: str, scratch: str, config: dict[str, str]) -> dict[str, Plan | str]:
    gateway = RestGateway(url)
    found: dict[str, Plan | str] = {}
    for partition in ("dt=2026-01-01", "dt=2026-01-02"):
        Path(scratch.removeprefix("file://"), "logs", partition).mkdir(parents=True, exist_ok=True)
    async with gateway.session(config) as session:
        for table in [*TABLES, *(table.format(folder=scratch) for table in PARTITIONED)]:
            await gateway.execute(session, table)
        for number, (name, (query, _)) in enumerate({**QUERIES, **AT_LEAST}.items()):
            await gateway.execute(session, f"CREATE TEMPORARY VIEW v{number} AS {query}")
            columns = await gateway.rows(session, f"DESCRIBE v{number}")
            fields = ", ".join(
                f"`{c[0]}` " + c[1].replace("*ROWTIME*", "").replace("*PROCTIME*", "").replace(" NOT NULL", "")
                for c in columns
            )
            await gateway.execute(session, f"CREATE TABLE s{number} ({fields}) WITH ('connector'='blackhole')")
            found[name] = read(await gateway.compile(session, f"INSERT INTO s{number} {query}", scratch))
    await gateway.http.close()
    return found


@pytest.fixture(scope="module", params=list(CONFIGS))
def plans(stack: Stack, request) -> dict[str, Plan | str]:
    return asyncio.run(compile_all(stack.gateway_url, f"{stack.state_dir}/lineage", CONFIGS[request.param]))


@pytest.mark.parametrize("name", QUERIES)
def test_the_origins_of_every_column(plans: dict[str, Plan], name: str):
    plan = plans[name]
    truth = {column: set(origins.split()) for column, origins in QUERIES[name][1].items()}
    (sink,) = plan.sinks
    found = {c.name: {f"{o.table.name}.{o.column}" for o in c.origins} for c in plan.written(sink)}
    assert found == truth
    assert all(c.exact for c in plan.written(sink))


@pytest.mark.parametrize("name", AT_LEAST)
def test_a_column_that_a_filter_holds_to_one_value_is_not_missed(plans: dict[str, Plan], name: str):
    (sink,) = plans[name].sinks
    written = {c.name: c for c in plans[name].written(sink)}
    for column, origins in AT_LEAST[name][1].items():
        assert {f"{o.table.name}.{o.column}" for o in written[column].origins} >= set(origins.split())
        assert not written[column].exact


class TestWithoutAPlan:
    """The cluster keeps its state where nobody here can look, so that no plan can be read back."""

    SQL = (
        "CREATE TABLE src (id BIGINT) WITH ('connector'='filesystem','path'='file:///tmp/in','format'='json');\n"
        "CREATE VIEW seen AS SELECT id FROM src;\n"
        "CREATE TABLE made (n BIGINT) WITH ('connector'='filesystem','path'='file:///tmp/{}','format'='json');\n"
        "INSERT INTO made SELECT id FROM seen;"
    )

    def test_the_tables_are_known_as_validation_knows_them(self, stack: Stack):
        stack.add_cluster("blind", state_dir="hdfs://nowhere.invalid:1/state")
        job = stack.create(self.SQL.format(uuid.uuid4().hex), cluster="blind")
        found = stack.http.get(f"/jobs/{job}/lineage").json()
        assert [(t["table"].split(".")[-1], t["place"]) for t in found["reads"]] == [
            ("src", "filesystem:path=file:///tmp/in")
        ]
        assert [t["table"].split(".")[-1] for t in found["writes"]] == ["made"]
        assert "compiled plan" in found["why"]
        assert job in stack.http.get("/lineage").json()["unknown"], "it has never run"

    def test_an_unknown_place_is_not_found(self, stack: Stack):
        answer = stack.http.get("/lineage/impact", params={"place": "kafka:topic=ordres", "column": "id"})
        assert (answer.status_code, answer.json()["code"]) == (404, "lineage_not_found")


class TestAcrossJobs:
    def test_three_jobs_in_a_chain_and_what_a_column_touches(self, stack: Stack, tmp_path):
        def table(name: str, columns: str) -> str:
            return (
                f"CREATE TABLE {name} ({columns}) WITH ('connector'='filesystem','path'='file://{tmp_path}/{name}',"
                "'format'='json');\n"
            )

        first = stack.create(
            "CREATE TABLE src (id BIGINT, name STRING) WITH ('connector'='datagen','number-of-rows'='1');\n"
            + table("people", "id BIGINT, label STRING")
            + "INSERT INTO people SELECT id, UPPER(name) FROM src;"
        )
        second = stack.create(
            table("people", "id BIGINT, label STRING").replace("TABLE people", "TABLE input")
            + table("shouting", "loud STRING, n BIGINT")
            + "INSERT INTO shouting SELECT label || '!', id FROM input;"
        )
        third = stack.create(
            table("shouting", "loud STRING, n BIGINT")
            + "CREATE TABLE nowhere (x STRING, y BIGINT) WITH ('connector'='blackhole');\n"
            "INSERT INTO nowhere SELECT loud, n + 1 FROM shouting;"
        )
        for job in (first, second, third):
            stack.do(job, "start")
        assert stack.http.get(f"/jobs/{third}/lineage").json()["columns"] == [
            {
                "table": "default_catalog.default_database.nowhere",
                "column": "x",
                "exact": True,
                "sources": [["default_catalog.default_database.shouting", "loud"]],
            },
            {
                "table": "default_catalog.default_database.nowhere",
                "column": "y",
                "exact": True,
                "sources": [["default_catalog.default_database.shouting", "n"]],
            },
        ]
        people = f"filesystem:path=file://{tmp_path}/people"
        down = stack.http.get("/lineage", params={"job": first, "direction": "downstream"}).json()
        assert set(down["jobs"]) == {first, second, third}
        up = stack.http.get("/lineage", params={"job": second, "direction": "upstream"}).json()
        assert set(up["jobs"]) == {first, second}
        assert people in up["places"]
        touched = stack.http.get("/lineage/impact", params={"place": people, "column": "label"}).json()["items"]
        assert [(t["job"], t["column"], t["distance"]) for t in touched] == [(second, "loud", 0), (third, "x", 1)]

    def test_a_jar_declares_its_own(self, stack: Stack, tmp_path):
        spec = {
            "type": "jar",
            "git": {"url": "https://example.com/x.git"},
            "lineage": {"reads": ["kafka:topic=orders"], "writes": ["kafka:topic=bills"]},
        }
        job = stack.create(spec)
        silent = stack.create({"type": "jar", "git": {"url": "https://example.com/y.git"}})
        found = stack.http.get("/lineage", params={"place": "kafka:topic=orders"}).json()
        assert job in found["jobs"]
        assert "kafka:topic=bills" in found["places"]
        assert silent in found["unknown"]
        # Its columns are not known: each may be touched.
        touched = stack.http.get("/lineage/impact", params={"place": "kafka:topic=orders", "column": "id"}).json()
        assert [(t["job"], t["place"], t["column"], t["exact"]) for t in touched["items"]] == [
            (job, "kafka:topic=bills", "*", False)
        ]
        assert silent in touched["unknown"]
