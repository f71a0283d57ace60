"""Tables, grants, secrets, libraries, lineage, and columns that are inferred, over HTTP."""

from __future__ import annotations

import io
import zipfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.whole.penstock import Penstock, repository, sql

COLUMNS = [{"name": "id", "type": "BIGINT"}, {"name": "amt", "type": "DOUBLE"}]
TABLE = {"definition": {"columns": COLUMNS, "options": {"connector": "datagen", "rows-per-second": "5"}}}
SINK = {"definition": {"columns": COLUMNS, "options": {"connector": "blackhole"}}}
PROJECT = "/projects/default"


class TestTables:
    def test_a_script_needs_no_ddl_for_them(self, penstock: Penstock):
        penstock.ok("POST", "/projects", json={"name": "lender"})
        assert penstock.ok("PUT", f"{PROJECT}/resources/src", json=TABLE)["revision"] == 1
        assert penstock.ok("PUT", f"{PROJECT}/resources/src", json=TABLE)["revision"] == 2
        penstock.ok("PUT", f"{PROJECT}/resources/snk", json=SINK)
        penstock.running("registered", {"type": "sql", "sql": "INSERT INTO snk SELECT COUNT(*) FROM src;"})
        penstock.done("registered", "restart")
        config = {i["key"]: i for i in penstock.ok("GET", "/jobs/default:registered/config")["items"]}
        assert config["execution.checkpointing.interval"]["layer"]

    def test_grants(self, penstock: Penstock):
        grants = "/projects/lender/resources/lent/grants"
        penstock.ok("PUT", "/projects/lender/resources/lent", json=TABLE)
        penstock.no("PUT", f"{grants}/lender", 422, "grant_to_itself", json={"read": True})
        penstock.no("PUT", f"{grants}/default", 422, "empty_grant", json={"read": False})
        penstock.ok("PUT", f"{grants}/default", json={"read": True})
        penstock.ok("PUT", f"{grants}/default", json={"read": True, "write": True})
        assert "lent" in [r["name"] for r in penstock.ok("GET", f"{PROJECT}/resources")["items"]]
        assert penstock.ok("GET", "/projects/lender/resources/lent")["grants"][0]["write"]
        penstock.ok("DELETE", f"{grants}/default")
        text = "INSERT INTO snk SELECT COUNT(*) FROM lender.lent;"
        found = penstock.http.post("/sql/validate", json={"sql": text, "cluster": "a"})
        assert found.status_code == 422 or not found.json()["valid"]

    def test_secrets(self, penstock: Penstock):
        options = {"connector": "jdbc", "password": "${secret:nobody-knows}"}
        body = {"definition": {"columns": COLUMNS, "options": options}}
        penstock.no("PUT", f"{PROJECT}/resources/secret", 404, json=body)
        penstock.ok("PUT", f"{PROJECT}/secrets/nobody-knows", json={"value": "it's"})
        penstock.ok("PUT", f"{PROJECT}/secrets/nobody-knows", json={"value": "other"})
        penstock.ok("PUT", f"{PROJECT}/resources/secret", json=body)
        assert "other" not in penstock.http.get(f"{PROJECT}/secrets").text
        clear = {"definition": {"columns": COLUMNS, "options": {"connector": "jdbc", "password": "clear"}}}
        penstock.no("PUT", f"{PROJECT}/resources/clear", 422, json=clear)


@pytest.fixture(scope="module")
def repo(penstock: Penstock) -> Path:
    return repository(penstock.home / "repo")


class TestLibraries:
    def add(self, penstock: Penstock, name: str, source: dict[str, Any], kind: str = "jar") -> Any:
        new = {"name": name, "version": "1", "kind": kind, "source": source}
        penstock.ok("POST", f"{PROJECT}/libraries", json=new)
        path = f"{PROJECT}/libraries/{name}/1"
        return penstock.until(lambda: (x := penstock.ok("GET", path))["state"] not in ("FETCHING", "WAITING") and x)

    def test_from_maven_and_git(self, penstock: Penstock, repo: Path):
        found = self.add(penstock, "kafka", {"type": "maven", "coordinates": ["a:b:1", "c:d:2:all"]})
        assert (found["state"], len(found["files"])) == ("READY", 2)
        assert "fetching a:b:1" in penstock.ok("GET", f"{PROJECT}/libraries/kafka/1/log")
        git = {"url": str(repo)}
        assert self.add(penstock, "built", {"type": "git", "git": git})["state"] == "READY"
        file = {"type": "git", "git": git, "file": "job.py"}
        assert self.add(penstock, "python", file, "python")["state"] == "READY"
        spec = {**sql("with_libs"), "libraries": [{"name": "kafka", "version": "1"}]}
        penstock.running("with-libs", spec)
        penstock.no("DELETE", f"{PROJECT}/libraries/kafka/1", 409)

    def test_that_cannot_be_had(self, penstock: Penstock, repo: Path):
        found = self.add(penstock, "missing", {"type": "maven", "coordinates": ["a:missing:1"]})
        assert (found["state"], "cannot be fetched" in found["why"]) == ("FAILED", True)
        said = penstock.cli("libraries", "add", "missing", "1", "--maven", "a:missing:1")
        assert (said.code, "cannot be fetched" in said.err) == (1, True)
        log = penstock.ok("GET", f"{PROJECT}/libraries/missing/1/log")
        assert log.count("cannot be fetched") == 1, "what failed before is of the one before"
        broken = {"type": "git", "git": {"url": str(repo), "subdirectory": "broken"}}
        assert self.add(penstock, "broken", broken)["state"] == "FAILED"
        new = {"name": "x", "version": "1", "kind": "jar", "source": {"type": "git", "git": {"url": "/etc"}}}
        penstock.no("POST", f"{PROJECT}/libraries", 422, json=new)

    def test_one_that_is_deleted_while_it_is_fetched(self, penstock: Penstock):
        new = {"name": "gone", "version": "1", "kind": "jar", "source": {"type": "maven", "coordinates": ["a:b:1"]}}
        penstock.ok("POST", f"{PROJECT}/libraries", json=new)
        penstock.ok("DELETE", f"{PROJECT}/libraries/gone/1")
        penstock.wait(20)
        penstock.no("GET", f"{PROJECT}/libraries/gone/1", 404)

    def test_one_that_is_added_again_has_a_log_and_files_of_its_own(self, penstock: Penstock):
        """Also where the one of before was deleted while it was fetched: nobody waits for that."""
        for wait in (0, 0.5, 1.5, 20):
            first = {"type": "maven", "coordinates": ["a:first:1", "a:second:1"]}
            new = {"name": "again", "version": "1", "kind": "jar", "source": first}
            penstock.ok("POST", f"{PROJECT}/libraries", json=new)
            penstock.wait(wait)
            penstock.ok("DELETE", f"{PROJECT}/libraries/again/1")
            found = self.add(penstock, "again", {"type": "maven", "coordinates": ["a:other:1"]})
            penstock.wait(20)
            log = penstock.ok("GET", f"{PROJECT}/libraries/again/1/log")
            assert (found["state"], len(found["files"])) == ("READY", 1)
            assert ("fetching a:other:1" in log, "first" in log) == (True, False), log
            penstock.ok("DELETE", f"{PROJECT}/libraries/again/1")

    def test_an_upload_in_the_place_of_one_that_is_fetched_waits_for_its_content(self, penstock: Penstock):
        path = f"{PROJECT}/libraries/sent/1"
        new = {"name": "sent", "version": "1", "kind": "jar", "source": {"type": "maven", "coordinates": ["a:b:1"]}}
        penstock.ok("POST", f"{PROJECT}/libraries", json=new)
        penstock.wait(0.5)
        penstock.ok("DELETE", path)
        penstock.ok("POST", f"{PROJECT}/libraries", json={**new, "source": {"type": "upload", "file": "f.jar"}})
        penstock.wait(20)
        found = penstock.ok("GET", path)
        assert (found["state"], found["files"], penstock.http.get(f"{path}/log").text) == ("WAITING", [], "")
        penstock.ok("DELETE", path)

    def test_uploads(self, penstock: Penstock):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("x.py", "x = 1")
        for name, kind, good, bad in (
            ("f.py", "python", b"x = 1\n", b"x = "),
            ("f.zip", "python", archive.getvalue(), b"x"),
            ("f.jar", "jar", archive.getvalue(), b"x"),
        ):
            library = name.replace(".", "-")
            new = {"name": library, "version": "1", "kind": kind, "source": {"type": "upload", "file": name}}
            penstock.ok("POST", f"{PROJECT}/libraries", json=new)
            content = f"{PROJECT}/libraries/{library}/1/content"
            penstock.no("PUT", content, 422, "bad_content", content=bad)
            assert penstock.ok("PUT", content, content=good)["state"] == "READY"


class TestInference:
    def ask(self, penstock: Penstock, **body: Any) -> Any:
        return penstock.ok("POST", f"{PROJECT}/resources/infer", json={"cluster": "a", **body})

    def refused(self, penstock: Penstock, code: str | None, **body: Any) -> None:
        penstock.no("POST", f"{PROJECT}/resources/infer", 422, code, json={"cluster": "a", **body})

    def test_of_texts(self, penstock: Penstock):
        found = self.ask(penstock, kind="json", samples=['{"a": 1, "b": "x"}'])
        assert (found["records"], found["read_back"], found["notes"]) == (1, True, [])
        self.refused(penstock, "bad_sample", kind="json", samples=['{"": 1}'])
        avro = '{"type": "record", "name": "r", "fields": [{"name": "a", "type": "long"}]}'
        assert self.ask(penstock, kind="avro", document=avro)["options"] == {"format": "avro"}
        schema = '{"type": "object", "properties": {"a": {"type": "integer"}}}'
        assert self.ask(penstock, kind="json-schema", document=schema)["columns"]
        self.refused(penstock, None, kind="json", samples=["{"])
        self.refused(penstock, None, kind="avro")

    def test_of_a_topic(self, penstock: Penstock):
        options = {"topic": "t", "properties.bootstrap.servers": "k:9092", "format": "json"}
        found = self.ask(penstock, kind="kafka", options=options)
        assert [c["name"] for c in found["columns"]] == ["id"]
        self.refused(penstock, "bad_topic", kind="kafka")
        refuses = penstock.world.gateways["flink-a"].refuses
        refuses["'topic'"] = "no such topic"
        self.refused(penstock, None, kind="kafka", options=options)
        refuses.clear()

    def test_of_a_database(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        url = "jdbc:postgresql://db:5432/shop"
        self.refused(penstock, "bad_database", kind="database", table="t")
        self.refused(penstock, None, kind="database", url=url, table="t", password="clear")
        penstock.ok("PUT", f"{PROJECT}/secrets/db", json={"value": "hidden"})
        asked: list[Any] = []

        class Engine:
            def __init__(self, url: Any, **_: Any):
                asked.append(f"{url.username} {url.password}")

            @asynccontextmanager
            async def connect(self) -> Any:
                with sqlalchemy.create_engine("sqlite://").connect() as connection:
                    connection.exec_driver_sql("CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name VARCHAR(9))")
                    self._connection = connection
                    yield self

            async def run_sync(self, function: Any) -> Any:
                return function(self._connection)

            async def dispose(self) -> None:
                asked.append("closed")

        monkeypatch.setattr("api.inference.database.create_async_engine", Engine)
        body = {"kind": "database", "url": url, "user": "u-${secret:db}", "password": "${secret:db}"}
        found = self.ask(penstock, **body, table="t")
        assert ([c["name"] for c in found["columns"]], found["primary_key"]) == (["id", "name"], ["id"])
        assert asked == ["u-hidden hidden", "closed"]
        self.refused(penstock, "database_refused", **body, table="nothing")


class TestLineage:
    def test_jobs_hang_together_by_their_places(self, penstock: Penstock):
        penstock.running("upper", sql("between", "id"))
        spec = {"type": "jar", "git": {"url": "https://git.example.com/x.git"}}
        declared = {"reads": ["src", "kafka:k/topic"], "writes": ["unheard-of"]}
        penstock.create("declares", {**spec, "lineage": declared})
        graph = penstock.ok("GET", "/lineage")
        assert {"default:upper", "default:declares"} <= set(graph["jobs"])
        for direction in ("upstream", "downstream", "both"):
            penstock.ok("GET", "/lineage", params={"job": "default:upper", "direction": direction})
        place = graph["places"][0]
        assert penstock.ok("GET", "/lineage", params={"place": place, "project": "default"})["edges"]
        penstock.ok("GET", "/lineage/impact", params={"place": place, "column": "id"})
        assert penstock.ok("GET", "/jobs/default:upper/lineage")["writes"]
        penstock.create("not-yet", sql("not_yet", "id"))
        assert penstock.ok("GET", "/jobs/default:not-yet/lineage", params={"version": 1})["writes"]
        assert penstock.ok("GET", "/jobs/default:declares/lineage")["reads"]
        penstock.no("GET", "/lineage", 404, params={"place": "nowhere"})
        assert penstock.ok("GET", "/jobs/default:declares/versions/1/plan")["plan"] is None


class TestLists:
    def test_pages(self, penstock: Penstock):
        for n in range(5):
            penstock.create(f"page-{n}")
        for sort in ("name", "-name", "created_at", "-updated_at", "state"):
            seen: list[str] = []
            cursor = None
            while True:
                params = {"limit": 2, "sort": sort, "text": "page-", **({"cursor": cursor} if cursor else {})}
                page = penstock.ok("GET", "/jobs", params=params)
                seen += [j["name"] for j in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert sorted(seen) == [f"page-{n}" for n in range(5)]
        penstock.no("GET", "/jobs", 422, params={"cursor": "nonsense"})
        for more in ({"project": "default"}, {"type": "jar"}, {"cluster": "a"}, {"text": "\x00"}):
            penstock.ok("GET", "/jobs", params=more)
        penstock.running("paged")
        for _ in range(3):
            penstock.done("paged", "savepoint")
        for what in ("commands", "attempts", "timeline"):
            page = penstock.ok("GET", f"/jobs/default:paged/{what}", params={"limit": 1})
            if page["next_cursor"]:
                penstock.ok("GET", f"/jobs/default:paged/{what}", params={"limit": 1, "cursor": page["next_cursor"]})
            penstock.no("GET", f"/jobs/default:paged/{what}", 422, params={"cursor": "nonsense"})

    def test_a_job_by_its_id(self, penstock: Penstock):
        made = penstock.create("by-id")
        assert penstock.ok("GET", f"/jobs/{made['id']}")["name"] == "by-id"
        penstock.no("GET", "/jobs/without-a-project", 404)
        penstock.no("GET", "/jobs/default:by-id/versions/9", 404)
        penstock.ok("PATCH", "/jobs/default:by-id", json={"labels": {"a": "b"}, "config": {"a.b": "c"}})
        penstock.no("PATCH", "/jobs/default:by-id", 422, json={"config": {"pipeline.name": "x"}})
        penstock.no(
            "POST",
            "/jobs/default:by-id/versions",
            422,
            json={"spec": {"type": "jar", "git": {"url": "https://x.example.com/r"}}},
        )
