"""An error says what is so: which part did not do its own, and what is written down by then."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import delete, text, update
from sqlalchemy.exc import IntegrityError

from api.problems import install
from builds.artifacts import Artifacts
from builds.git import GitFailed
from clusters.flink.jars import NotCompiled
from clusters.protocol import Unclear, Unreachable
from clusters.sql import SessionGone, StatementFailed
from core.effects import EngineError, NotNow, Rejected
from core.errors import Conflict, TooSlow
from processes.child import ProcessFailed
from services import Services
from settings.waits import within
from store import commands, jobs
from store.database import Database, DatabaseUnavailable, noting
from store.tables import Command, Job, Project
from tests.api.conftest import client_of, create
from tests.store.test_store import T0


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Fails:
    """A database that carries out so many transactions, and is away then."""

    def __init__(self, database: Database, after: int):
        self._database, self._left = database, after

    def read(self) -> Any:
        return self._one(self._database.read)

    def write(self) -> Any:
        return self._one(self._database.write)

    @asynccontextmanager
    async def _one(self, how: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise DatabaseUnavailable("it was switched off")
        async with how() as session:
            yield session


def switched_off(services: Services, after: int) -> httpx.AsyncClient:
    return client_of(replace(services, database=Fails(services.database, after)))  # type: ignore[arg-type]


class TestDatabase:
    @pytest.mark.parametrize("how", ["read", "write"])
    @pytest.mark.parametrize(
        "url", ["postgresql+asyncpg://u:p@127.0.0.1:1/x", "postgresql+asyncpg://u:p@nowhere.invalid/x"]
    )
    async def test_one_that_cannot_be_reached(self, url: str, how: str):
        database = Database(url)
        with pytest.raises(DatabaseUnavailable) as error:
            async with getattr(database, how)() as session:
                await session.execute(text("SELECT 1"))
        assert "SELECT" not in str(error.value)
        await database.close()

    @pytest.mark.parametrize("how", ["read", "write"])
    async def test_a_file_that_cannot_be_opened(self, tmp_path: Path, how: str):
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'folder'}")
        (tmp_path / "folder").mkdir()
        with pytest.raises(DatabaseUnavailable, match="unable to open"):
            async with getattr(database, how)() as session:
                await session.execute(text("SELECT 1"))

    async def test_what_is_no_fault_of_its_own_keeps_its_name(self, database: Database):
        async def write(wrong: Exception) -> None:
            async with database.write() as session:
                session.add(Project(name="p", config={}, created_at=T0))
                await session.flush()
                raise wrong

        for wrong in (OSError("no room"), ValueError("x"), TimeoutError()):
            with pytest.raises(type(wrong)):
                await write(wrong)
        for _ in range(2):
            with pytest.raises(IntegrityError):
                async with database.write() as session:
                    session.add(Command(id="c", job_id="nobody", number=1, kind="start", state="PENDING"))

    async def test_it_is_noted_what_was_kept(self, database: Database):
        with noting() as written:
            async with database.read() as session:
                await session.execute(text("SELECT 1"))
            assert written.kept == 0
            async with database.write() as session:
                session.add(Project(name="p", config={}, created_at=T0))
            assert written.kept == 1
            with pytest.raises(IntegrityError):
                async with database.write() as session:
                    session.add(Project(name="p", config={}, created_at=T0))
        assert (written.kept, written.unclear) == (1, False)

    async def test_of_a_commit_without_an_answer_nothing_is_claimed(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ):
        async def lost(_: Any) -> None:
            raise ConnectionResetError("gone")

        monkeypatch.setattr("sqlalchemy.ext.asyncio.AsyncSession.commit", lost)
        with noting() as written, pytest.raises(DatabaseUnavailable, match="gone"):
            async with database.write() as session:
                session.add(Project(name="p", config={}, created_at=T0))
        assert (written.kept, written.unclear) == (0, not database.is_sqlite)

    async def test_busy_for_too_long(self, tmp_path: Path):
        database = Database(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")

        async def insert() -> None:
            async with database.read() as session:
                await session.execute(text("PRAGMA busy_timeout=1"))
                await session.execute(text("INSERT INTO t VALUES (1)"))

        async with database.write() as session:
            await session.execute(text("CREATE TABLE t (a INT)"))
        async with database.write():
            with pytest.raises(DatabaseUnavailable, match="locked"):
                await insert()
        await database.close()


class TestAnswers:
    async def test_nothing_was_written(self, services: Services):
        async with switched_off(services, 0) as http:
            answer = await http.post("/projects", json={"name": "p"})
        body = answer.json()
        assert (answer.status_code, body["code"]) == (503, "database_unavailable")
        assert "it was switched off" in body["detail"]
        assert "Nothing was written" in body["remedy"]

    async def test_what_was_written_before_is_not_denied(self, services: Services):
        job = {
            "name": "new",
            "spec": {
                "type": "sql",
                "sql": "CREATE TABLE t (a INT) WITH ('connector'='datagen'); "
                "CREATE TABLE s (a INT) WITH ('connector'='blackhole'); INSERT INTO s SELECT a FROM t;",
            },
        }
        async with switched_off(services, 1) as http:
            answer = await http.post("/jobs", json=job)
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert "stays" in answer.json()["remedy"]
        async with services.database.read() as session:
            assert (await jobs.get(session, "default:new")).name == "new"

    async def test_a_machine_that_refuses_is_not_called_a_database(
        self, services: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("api.jobs.service.search", full)
        body = (await http.get("/jobs")).json()
        assert (body["status"], body["code"]) == (503, "machine_trouble")
        assert "No space left" in body["detail"]
        assert "database" not in (body["detail"] + body["remedy"]).lower()


class TestUploads:
    async def waiting(self, http: httpx.AsyncClient) -> None:
        new = {"name": "f", "version": "1", "kind": "python", "source": {"type": "upload", "file": "f.py"}}
        made = await http.post("/projects/default/libraries", json=new)
        assert made.status_code == 201, made.text

    async def test_a_store_that_cannot_be_written_to(self, services: Services, tmp_path: Path):
        (tmp_path / "file").write_text("no folder")
        async with client_of(replace(services, artifacts=Artifacts(tmp_path / "file" / "artifacts"))) as http:
            await self.waiting(http)
            answer = await http.put("/projects/default/libraries/f/1/content", content=b"x = 1\n")
            assert (answer.status_code, answer.json()["code"]) == (503, "artifacts_unwritable")
            assert "Not a directory" in answer.json()["detail"]
            assert str(tmp_path) not in answer.text
            assert (await http.get("/projects/default/libraries/f/1")).json()["state"] == "WAITING"

    async def test_a_disk_that_is_full_in_the_middle(
        self, services: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ):
        await self.waiting(http)
        monkeypatch.setattr("builds.artifacts.shutil.copyfile", full)
        answer = await http.put("/projects/default/libraries/f/1/content", content=b"x = 1\n")
        assert answer.json()["code"] == "artifacts_unwritable"
        assert "No space left" in answer.json()["detail"]

    async def test_others_are_answered_while_it_is_hashed(
        self, services: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ):
        import threading

        await self.waiting(http)
        began, go_on = threading.Event(), threading.Event()

        def slow(_: Path) -> str:
            began.set()
            assert go_on.wait(20), "somebody else is answered meanwhile"
            return "a" * 64

        monkeypatch.setattr("builds.artifacts.hash_file", slow)
        sent = asyncio.create_task(http.put("/projects/default/libraries/f/1/content", content=b"x = 1\n"))
        await asyncio.to_thread(began.wait, 20)
        assert (await http.get("/projects/default/libraries/f/1")).status_code == 200
        go_on.set()
        assert (await sent).json()["state"] == "READY"


@pytest.mark.parametrize(
    ("error", "status", "code", "remedy"),
    [
        (Unreachable("It is away", sent=False), 503, "cluster_unreachable", "Nothing was sent"),
        (SessionGone("It has forgotten the session."), 503, "cluster_unreachable", "Nothing was sent"),
        (Unclear("it was perhaps taken"), 503, "outcome_unclear", "may have arrived: look"),
        (NotNow("its tasks are being set up"), 503, "not_now", "Nothing was done"),
        (GitFailed("Git: no such host"), 503, "program_failed", "Nothing was written"),
        (NotCompiled("this worker has no Java compiler (javac)"), 503, "program_failed", "Nothing was written"),
        (ProcessFailed("it ended with status 1", []), 503, "program_failed", "Nothing was written"),
        (Rejected("Flink says no."), 422, "flink_refused", None),
        (StatementFailed("Object 'x' not found"), 422, "flink_refused", None),
    ],
    ids=lambda of: type(of).__name__ if isinstance(of, Exception) else "",
)
async def test_what_acts_outside_fails_in_its_own_way(error: EngineError, status: int, code: str, remedy: str | None):
    """Not every failure is a no of Flink's, and a sentence has one full stop."""
    app = FastAPI()
    install(app)

    @app.get("/")
    async def _() -> None:
        raise error

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        answer = await http.get("/")
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    assert (remedy is None and "remedy" not in body) or remedy in body["remedy"]
    assert not body["detail"].endswith("..")
    assert body["detail"].endswith(".") or status == 422


class TestTemporal:
    async def test_a_command_is_kept_and_has_its_number(self, services: Services, http: httpx.AsyncClient):
        await create(services)
        answer = await http.post("/jobs/default:j/commands", json={"kind": "start"})
        assert (answer.status_code, answer.json()["state"], answer.json()["number"]) == (202, "PENDING", 1)

    async def test_and_so_it_says_when_the_database_goes_away_after_it(self, services: Services):
        await create(services)
        async with services.database.read() as session:
            before = await commands.next_number(session, (await jobs.get(session, "default:j")).id)
        for after in range(20):
            async with switched_off(services, after) as http:
                answer = await http.post(
                    "/jobs/default:j/commands", json={"kind": "start"}, headers={"Idempotency-Key": "k"}
                )
            async with services.database.read() as session:
                job = await jobs.get(session, "default:j")
                written = await commands.by_key(session, job.id, "k")
            if written is not None:
                break
            assert answer.json()["code"] == "database_unavailable"
            assert "Nothing was written" in answer.json()["remedy"]
        body = answer.json()
        assert (answer.status_code, body["code"]) == (503, "command_written")
        assert f"Command {before} (start) of default:j is written down" in body["detail"]
        assert f"/jobs/default:j/commands/{before}" in body["remedy"]

    @pytest.mark.parametrize("code", ["command_not_allowed", "expired"])
    async def test_a_command_that_was_refused_says_so_when_the_database_goes_away_after_it(
        self, services: Services, monkeypatch: pytest.MonkeyPatch, code: str
    ):
        """Whoever is told that it will be carried out waits for nothing."""
        asked: list[int] = []

        async def refuses(*_: Any) -> None:
            asked.append(1)
            raise Conflict("It is PAUSED.", code=code)

        monkeypatch.setattr("api.commands.service.deliver", refuses)
        await create(services)
        told = []
        for after in range(20):
            async with switched_off(services, after) as http:
                answer = await http.post("/jobs/default:j/commands", json={"kind": "start"})
            if asked:
                told.append(answer.json())
            if asked and answer.json().get("code") != "refusal_unwritten":
                break
            async with services.database.write() as session:
                await session.execute(delete(Command))
        *away, last = told
        assert len(away) == (2 if code == "expired" else 1)
        for body in away:
            assert body["status"] == 503
            assert "Command 1 (start) of default:j was refused: It is PAUSED." in body["detail"]
            assert (
                "the record of it could not be written, or not be read: The database cannot be used" in body["detail"]
            )
            assert "GET /jobs/default:j/commands/1" in body["remedy"]
            assert ("It is not carried out" in body["remedy"]) is (code == "expired")
        assert (last.get("code"), last.get("state")) == ((code, None) if code != "expired" else (None, "FAILED"))

    async def test_a_policy_is_kept_and_not_told(self, services: Services, http: httpx.AsyncClient):
        job = await create(services)
        async with services.database.write() as session:
            await session.execute(update(Job).where(Job.id == job.id).values(revision=1))
        answer = await http.patch("/jobs/default:j", json={"restart_policy": {"max_restarts": 3}})
        body = answer.json()
        assert (answer.status_code, body["code"]) == (503, "temporal_unavailable")
        assert "is written down, and its workflow has not been told" in body["detail"]
        assert (await http.get("/jobs/default:j")).json()["restart_policy"]["max_restarts"] == 3

    async def test_a_library_is_kept_and_not_fetched(self, http: httpx.AsyncClient):
        new = {"name": "f", "version": "1", "kind": "jar", "source": {"type": "maven", "coordinates": ["a:b:1"]}}
        for answer in (
            await http.post("/projects/default/libraries", json=new),
            await http.get("/projects/default/libraries/f/1"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "temporal_unavailable"), answer.text
            assert "f 1 is written down" in answer.json()["detail"]

    async def test_a_deletion_has_begun(self, services: Services, http: httpx.AsyncClient):
        job = await create(services)
        answer = await http.delete("/jobs/default:j")
        assert (answer.status_code, answer.json()["code"]) == (503, "deletion_unfinished")
        async with services.database.write() as session:
            await session.execute(update(Job).where(Job.id == job.id).values(deleting_at=None))

    async def test_the_recovery(self, http: httpx.AsyncClient):
        answer = await http.post("/recovery", json={})
        assert (answer.status_code, answer.json()["code"]) == (503, "temporal_unavailable")


class TestWaits:
    async def test_it_says_which_it_was(self):
        with pytest.raises(TooSlow, match=r"^Boiling an egg took longer than 0.01 s. Wait."):
            async with within(0.01, "Boiling an egg", code="egg", remedy="Wait."):
                await asyncio.sleep(5)

    async def test_a_time_out_inside_is_not_taken_for_it(self):
        with pytest.raises(TimeoutError):
            async with within(5, "Boiling an egg", code="egg", remedy="Wait."):
                raise TimeoutError
        with pytest.raises(TooSlow, match="Inside"):
            async with within(5, "Outside", code="x", remedy=""), within(0.01, "Inside", code="x", remedy=""):
                await asyncio.sleep(5)

    async def test_gathering_names_itself_and_no_setting_of_others(
        self, services: Services, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ):
        job = await create(services)
        async with services.database.write() as session:
            await session.execute(update(Job).where(Job.id == job.id).values(current_attempt=1))

        async def slow(*_: Any) -> None:
            await asyncio.sleep(5)

        monkeypatch.setattr("api.history.service.points.gather", slow)
        monkeypatch.setattr("settings.waits.GATHER_SECONDS", 0.01)
        body = (await http.get("/jobs/default:j/restore-points")).json()
        assert (body["status"], body["code"]) == (503, "points_too_slow")
        assert "PLAN_TIMEOUT" not in body["remedy"]

    async def test_checking_a_script_names_its_setting(self, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch):
        async def slow(*_: Any, **__: Any) -> None:
            await asyncio.sleep(5)

        monkeypatch.setattr("api.sql.service.validate", slow)
        body = (await http.post("/sql/validate", json={"sql": "SELECT 1"})).json()
        assert (body["status"], body["code"]) == (503, "flink_too_slow"), body
        assert "Checking the script took longer than 0.1 s" in body["detail"]
        assert "PENSTOCK_PLAN_TIMEOUT" in body["remedy"]


async def test_settings_are_shown(http: httpx.AsyncClient):
    body = (await http.get("/settings")).json()
    assert body["history"]["attempts_days"] == 180
    assert body["history"]["keep_last"] == 50
    assert body["restart_policy"]["max_restarts"] == 10
    assert body["savepoint_policy"]["keep_for"] == 604_800


class TestHalfACharacter:
    """Found by an attack: it was stored, and every list that had it was an error from then on."""

    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("PATCH", "/jobs/default:j", r'{"config": {"a.b": "\udfff"}}'),
            ("PATCH", "/jobs/default:j", r'{"labels": {"a": "\uDBFF"}}'),
            ("POST", "/projects", r'{"name": "p", "config": {"a.b": "x\ud800y"}}'),
            (
                "POST",
                "/jobs/default:j/commands",
                r'{"kind": "start", "restore": {"mode": "point", "point": "/\ud800"}}',
            ),
        ],
    )
    async def test_is_refused(self, services: Services, http: httpx.AsyncClient, method: str, path: str, body: str):
        await create(services)
        for content_type in ("application/json", "application/json; charset=utf-8"):
            answer = await http.request(method, path, content=body, headers={"content-type": content_type})
            assert (answer.status_code, answer.json()["code"]) == (422, "half_a_character")
        assert (await http.get("/jobs")).json()["items"][0]["config"] == {}

    async def test_a_whole_one_is_taken(self, services: Services, http: httpx.AsyncClient):
        await create(services)
        body = r'{"config": {"a.b": "\ud83d\ude00 \\ud800"}}'
        answer = await http.patch("/jobs/default:j", content=body, headers={"content-type": "application/json"})
        assert answer.json()["config"] == {"a.b": "\U0001f600 \\ud800"}
