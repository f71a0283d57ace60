"""Routes that need a database only: what they answer, and what they leave behind."""

from __future__ import annotations

import httpx
import pytest

from api.deps import SqlRuntime
from services import Services
from sql.completer import Completer
from sql.run_registry import Runs
from sql.sessions import Sessions
from tests.api.conftest import client_of, create

SETS, LIBRARIES = "/projects/default/test-sets", "/projects/default/libraries"


class TestTestSets:
    async def test_one_is_made_then_changed_then_forgotten(self, http: httpx.AsyncClient):
        body = {"tables": {"clicks": [{"id": 1}]}, "description": "a few"}
        assert (await http.put(f"{SETS}/few", json=body)).status_code == 201
        changed = await http.put(f"{SETS}/few", json={**body, "tables": {"clicks": [{"id": 2}]}})
        assert (changed.status_code, changed.json()["tables"]) == (200, {"clicks": [{"id": 2}]})
        assert [row["name"] for row in (await http.get(SETS)).json()["items"]] == ["few"]
        assert (await http.delete(f"{SETS}/few")).status_code == 204
        assert (await http.get(f"{SETS}/few")).status_code == 404

    async def test_a_test_takes_its_rows_from_a_set(self, services: Services, http: httpx.AsyncClient):
        job = await create(services)
        await http.put(f"{SETS}/few", json={"tables": {"clicks": [{"id": 1}]}})
        tests = f"/jobs/{job.id}/versions/1/tests"
        body = {"inputs": {"clicks": {"test_set": "few"}}, "expected": {"out": [{"id": 1}]}}
        made = await http.put(f"{tests}/one", json=body)
        assert (made.status_code, made.json()["inputs"]) == (201, {"clicks": [{"id": 1}]})
        assert (await http.put(f"{tests}/one", json=body)).status_code == 200
        assert [row["name"] for row in (await http.get(tests)).json()["items"]] == ["one"]
        other = await http.put(f"{tests}/two", json={**body, "inputs": {"orders": {"test_set": "few"}}})
        assert (other.status_code, other.json()["code"]) == (422, "table_not_in_test_set")
        assert (await http.delete(f"{tests}/one")).status_code == 204
        assert (await http.delete(f"{tests}/one")).json()["code"] == "test_not_found"
        assert (await http.post(f"{tests}/run")).json()["code"] == "no_tests"


class TestLibraries:
    async def test_an_upload_waits_for_its_content(self, http: httpx.AsyncClient):
        new = {"name": "udfs", "version": "1", "kind": "python", "source": {"type": "upload", "file": "udfs.py"}}
        assert (await http.post(LIBRARIES, json=new)).json()["state"] == "WAITING"
        assert (await http.post(LIBRARIES, json=new)).json()["code"] == "library_exists"
        bad = await http.put(f"{LIBRARIES}/udfs/1/content", content=b"x = = 1")
        assert bad.json()["code"] == "bad_content"
        assert (await http.put(f"{LIBRARIES}/udfs/1/content", content=b"x = 1\n")).json()["state"] == "READY"
        assert (await http.get(f"{LIBRARIES}/udfs/1/log")).text == ""
        assert [row["state"] for row in (await http.get(LIBRARIES)).json()["items"]] == ["READY"]
        assert (await http.delete(f"{LIBRARIES}/udfs/1")).status_code == 204
        assert (await http.get(f"{LIBRARIES}/udfs/1")).status_code == 404


class TestProjects:
    async def test_a_name_is_taken_once(self, http: httpx.AsyncClient):
        assert (await http.post("/projects", json={"name": "shop"})).status_code == 201
        assert (await http.post("/projects", json={"name": "shop"})).json()["code"] == "project_exists"
        config = {"parallelism.default": "2"}
        assert (await http.patch("/projects/shop", json={"config": config})).json()["config"] == config
        assert (await http.patch("/projects/nothing", json={})).status_code == 404
        assert "shop" in [row["name"] for row in (await http.get("/projects")).json()["items"]]


@pytest.mark.parametrize("path", ["attempts", "restore-points", "timeline"])
async def test_a_new_job_has_no_past(services: Services, http: httpx.AsyncClient, path: str):
    job = await create(services)
    assert (await http.get(f"/jobs/{job.id}/{path}")).json()["items"] == []
    assert (await http.get(f"/jobs/nobody/{path}")).status_code == 404


async def test_clusters_lineage_and_orphans_are_listed(http: httpx.AsyncClient):
    new = {"name": "machine", "kind": "processes", "flink_version": "2.3.0", "state_dir": "file:///tmp/state"}
    assert (await http.post("/clusters", json=new)).status_code == 201
    assert (await http.post("/clusters", json=new)).json()["code"] == "cluster_exists"
    assert (await http.patch("/clusters/machine", json={"gateway_url": "http://h:1"})).json()["code"] == "field_unused"
    assert (await http.delete("/clusters/machine")).status_code == 204
    assert (await http.get("/orphans")).json()["items"] == []
    assert (await http.get("/lineage")).json()["jobs"] == []
    assert (await http.get("/lineage", params={"job": "nobody"})).json()["code"] == "lineage_not_found"
    unheard_of = {"place": "kafka:x", "column": "id"}
    assert (await http.get("/lineage/impact", params=unheard_of)).json()["code"] == "lineage_not_found"


async def test_columns_are_inferred_from_samples(services: Services):
    runs = Runs()
    async with client_of(services, SqlRuntime(runs, Sessions(services, runs), Completer(services))) as http:
        await _inferred(http)


async def _inferred(http: httpx.AsyncClient) -> None:
    path = "/projects/default/resources/infer"
    inferred = (await http.post(path, json={"kind": "json", "samples": ['{"id": 1}'], "cluster": "nowhere"})).json()
    assert [column["name"] for column in inferred["columns"]] == ["id"]
    assert not inferred["read_back"]
    assert "Flink was not asked" in inferred["notes"][0]
    database = {"kind": "database", "url": "jdbc:postgresql://127.0.0.1:1/x", "table": "t"}
    assert (await http.post(path, json=database)).json()["code"] == "database_refused"
