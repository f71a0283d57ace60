"""A text is tokenized once in a request, where it comes in; everything behind that takes the script."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from activities.programs import SubmissionFactory
from api.deps import SqlRuntime
from clusters.flink.gateway import Result
from clusters.protocol import SqlProgram
from core.jobs.restore import RestoreKind, RestorePoint
from core.sql import tokens
from core.sql.plan import read
from core.sql.references import secrets_in
from core.sql.script import EMPTY, parse
from core.sql.verdict import Verdict, from_one
from services import Services
from sql.compiling import row_of
from sql.completer import Completer
from sql.environment import Environment
from sql.run_registry import Runs
from sql.sessions import Sessions
from store import attempts, plans, resources
from store.tables import Attempt, SqlSession
from tests.api.conftest import client_of, create
from tests.store.test_store import T0, add_attempt

PLANS = Path(__file__).parent.parent / "core" / "sql" / "plans"
TABLES = "CREATE TABLE src (id BIGINT) WITH ('connector'='datagen');\nCREATE TABLE snk (id BIGINT) WITH ({});\n"
PLAIN = TABLES.format("'connector'='blackhole'")
SECRET = TABLES.format("'connector'='x', 'password'='${secret:word}'")
SCRIPTS = pytest.mark.parametrize("script", [PLAIN, SECRET], ids=["plain", "with a secret"])


class Gateway:
    """Takes every statement, and answers as Flink does to those that are asked for something."""

    url = "http://gateway"

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def prepare(self, session: str, before: list[str], tell: object) -> None:
        self.sent += before

    async def set_up(self, session: str, script: Any, tell: object) -> None:
        self.sent += [s.text for s in script.setup]

    async def execute(self, session: str, statement: str, **_: Any) -> Result:
        self.sent.append(statement)
        return Result([], [], None, True, None, "")

    async def start(self, session: str, statement: str, config: object = None) -> str:
        self.sent.append(statement)
        return "operation"

    async def page(self, session: str, operation: str, token: int) -> Result:
        return Result([{"name": "id", "logicalType": {"type": "BIGINT"}}], [], None, True, None, "")

    async def rows(self, session: str, statement: str) -> list[list[Any]]:
        self.sent.append(statement)
        return [["id", "BIGINT", True, None, None, None]] if statement.startswith("DESCRIBE") else [["a plan"]]

    async def compile(self, session: str, text: str, scratch: str, known: Any) -> dict[str, Any]:
        self.sent.append(text)
        return body("count-filtered")

    async def cancel(self, session: str, operation: str) -> None:
        return

    async def close(self, handle: str) -> None:
        return

    heartbeat = close


class Engine:
    def __init__(self) -> None:
        self.only = Gateway()

    def gateway(self, url: str) -> Gateway:
        return self.only

    async def open_session(self, properties: object) -> tuple[Gateway, str]:
        return self.only, "handle"

    async def ref_of(self, flink_job_id: str) -> None:
        return None

    async def look(self, ref: object) -> Any:
        return SimpleNamespace(state="MISSING")

    async def cancel(self, ref: object) -> None:
        return

    async def vertices(self, ref: object) -> list[Any]:
        return []


def body(name: str) -> dict[str, Any]:
    return json.loads((PLANS / f"{name}.json").read_text())


@pytest.fixture
async def world(services: Services) -> Services:
    engine = Engine()
    engines = SimpleNamespace(compiler=lambda _: engine, workbench=lambda _: engine, get=lambda _: engine)
    vault = SimpleNamespace(seal=str, open=str)
    made = replace(services, engines=cast(Any, engines), vault=cast(Any, vault))
    async with made.database.write() as session:
        await resources.set_secret(session, "default", "word", made.vault.seal("it's"), T0)
    return made


@pytest.fixture
def tokenized(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each text was tokenized."""
    counts: Counter[str] = Counter()
    lexeme: re.Pattern[str] = tokens._LEXEME

    def finditer(text: str) -> Iterator[re.Match[str]]:
        counts[text] += 1
        return lexeme.finditer(text)

    monkeypatch.setattr(tokens, "_LEXEME", SimpleNamespace(finditer=finditer))
    return counts


def once(tokenized: Counter[str], text: str) -> None:
    """`text`, and the same with its secrets opened where it has some, once each; nothing else."""
    opened = {text, text.replace("${secret:word}", "it''s")} if secrets_in(text) else {text}
    assert dict(tokenized) == dict.fromkeys(opened, 1)


async def post(world: Services, path: str, **sent: Any) -> dict[str, Any]:
    runs = Runs()
    async with client_of(world, SqlRuntime(runs, Sessions(world, runs), Completer(world))) as http:
        answer = await http.post(path, json=sent)
        assert answer.is_success, answer.text
    await runs.close()
    return answer.json()


@SCRIPTS
async def test_validate(world: Services, tokenized: Counter[str], script: str):
    text = script + "INSERT INTO snk SELECT id FROM src;"
    found = await post(world, "/sql/validate", sql=text)
    assert [s["kind"] for s in found["statements"]] == ["setup", "setup", "insert"]
    assert dict(tokenized) == {text: 1}  # nothing but a catalog needs a secret to be checked


async def test_validate_what_is_not_closed(world: Services, tokenized: Counter[str]):
    text = "SELECT 'a"
    assert not (await post(world, "/sql/validate", sql=text))["valid"]
    assert dict(tokenized) == {text: 1}


@SCRIPTS
async def test_preview(world: Services, tokenized: Counter[str], script: str):
    text = script + "SELECT id FROM src;"
    await post(world, "/sql/previews", sql=text)
    once(tokenized, text)


@SCRIPTS
async def test_debug(world: Services, tokenized: Counter[str], script: str):
    text = script + "INSERT INTO snk SELECT id FROM src;"
    await post(world, "/sql/debug", sql=text)
    once(tokenized, text)


async def test_a_statement_of_a_session(world: Services, tokenized: Counter[str]):
    id_ = (await post(world, "/sql/sessions"))["id"]
    for text in ("SET 'a' = 'b'", "SELECT id FROM src", SECRET.split(";")[1]):
        tokenized.clear()
        async with world.database.write() as session:
            row = await session.get(SqlSession, id_)
            row.gateway_url, row.handle = Gateway.url, "handle"
        await post(world, f"/sql/sessions/{id_}/statements", statement=text)
        once(tokenized, text)


@SCRIPTS
async def test_a_new_job(world: Services, tokenized: Counter[str], script: str):
    text = script + "INSERT INTO snk SELECT id FROM src;"
    await create(world, spec={"type": "sql", "sql": text})
    assert dict(tokenized) == {text: 1}


@SCRIPTS
async def test_start(world: Services, tokenized: Counter[str], script: str):
    """From state that another text made: the version's text is compiled, and compared."""
    text = script + "INSERT INTO snk SELECT id FROM src;"
    job = await create(world, spec={"type": "sql", "sql": text})
    await add_attempt(world.database, cast(Any, job))
    path = f"file:///s/{job.id}/savepoints/1-a/savepoint-1"
    async with world.database.write() as session:
        row = row_of(from_one(read(body("count"))), environment("others"), "2.3.0")
        await plans.keep(session, row)
        attempt = await attempts.get(session, job.id, 1)
        assert attempt is not None
        await plans.used(session, attempt, 1, row.digest, "", {"inputs": "others"})
        point = RestorePoint(
            id=attempts.point_id(job.id, path),
            kind=RestoreKind.SAVEPOINT,
            path=path,
            completed_at=T0,
            attempt=1,
            version=1,
        )
        await attempts.add_point(session, job.id, point)
    tokenized.clear()
    found = await post(world, f"/jobs/{job.id}/commands", kind="start", restore={"mode": "point", "point": path})
    assert found["state_verdict"]["verdict"] == Verdict.COMPATIBLE
    once(tokenized, text)


@SCRIPTS
async def test_submit(world: Services, tokenized: Counter[str], script: str):
    text = script + "INSERT INTO snk SELECT id FROM src;"
    job = await create(world, spec={"type": "sql", "sql": text})
    await add_attempt(world.database, cast(Any, job))
    async with world.database.write() as session:
        row = await attempts.get(session, job.id, 1)
        assert row is not None
        row.config = {"effective": {}}
    async with world.database.read() as session:
        found = await attempts.context(session, job.id, 1)
    assert found is not None
    tokenized.clear()
    submission = await SubmissionFactory(world).submission(found, cast(Attempt, found.attempt), lambda _: None)
    assert isinstance(submission.program, SqlProgram)
    assert len(submission.program.script.inserts) == 1
    once(tokenized, text)


def environment(inputs: str) -> Environment:
    return Environment(before=[], script=EMPTY, secrets=[], rights={}, properties={}, inputs=inputs)


def test_a_second_parse_is_seen(tokenized: Counter[str]):
    parse(PLAIN)
    parse(PLAIN)
    with pytest.raises(AssertionError):
        once(tokenized, PLAIN)
