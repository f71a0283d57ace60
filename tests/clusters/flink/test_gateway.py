"""What of a statement was perhaps sent, and how often a gateway is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from clusters.flink.gateway import RestGateway
from clusters.flink.http import Refused
from clusters.flink.jars import NotCompiled
from clusters.protocol import Unreachable
from clusters.sql import StatementFailed
from core.effects import Rejected, no_log
from core.sql.operators import TableName
from core.sql.script import parse
from settings import waits

NO_DRIVER = "No suitable driver found for jdbc:x"


async def test_a_statement_whose_result_cannot_be_asked_for_was_sent(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")

    async def call(method: str, path: str, **_: Any) -> Any:
        if method == "POST":
            return {"operationHandle": "o"}
        raise Unreachable("connection refused", sent=False)

    monkeypatch.setattr(gateway.http, "call", call)
    with pytest.raises(Unreachable) as error:
        await gateway.execute("s", "INSERT INTO t SELECT 1")
    assert error.value.sent
    await gateway.http.close()


async def test_a_statement_that_could_not_be_sent_was_not(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")
    with pytest.raises(Unreachable) as error:
        await gateway.execute("s", "INSERT INTO t SELECT 1")
    assert not error.value.sent
    await gateway.http.close()


class Recording:
    """In the place of HTTP: `asked` are the requests, and answers are those of a statement that is done at the third
    question."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gateway: RestGateway):
        self.asked: list[str] = []
        self.slept: list[float] = []
        monkeypatch.setattr(gateway.http, "call", self.call)
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def call(self, method: str, path: str, **more: Any) -> Any:
        self.asked.append(more["json"]["statement"] if method == "POST" else "result")
        if method == "POST":
            return {"operationHandle": "o"}
        if self.asked[-3:] != ["result"] * 3:
            return {"resultType": "NOT_READY", "nextResultUri": "/v2/x/result/0"}
        table = "CREATE TABLE x (id INT) WITH ('connector' = 'asked')"
        return {"resultType": "PAYLOAD", "results": {"data": [{"fields": [table]}]}}

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_statement_that_plans_is_not_asked_for_at_once(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")
    made = Recording(monkeypatch, gateway)
    await gateway.execute("s", "EXECUTE PLAN 'x'", plans=True)
    assert made.asked == ["EXECUTE PLAN 'x'", "result", "result", "result"]
    assert made.slept[0] == waits.PLAN_SECONDS
    assert len(made.slept) == 3


async def test_a_plan_has_the_options_that_are_known_and_those_that_are_asked_for(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")
    made = Recording(monkeypatch, gateway)

    def source(name: str) -> Any:
        table = {"identifier": f"`default_catalog`.`default_database`.`{name}`", "resolvedTable": {"schema": {}}}
        return {"scanTableSource": {"table": table}}

    plan: Any = {"nodes": [source("a"), source("x"), source("a")]}
    known = {TableName("default_catalog", "default_database", "a"): {"connector": "known"}}
    await gateway._add_options("s", plan, known)
    options = [node["scanTableSource"]["table"]["resolvedTable"]["options"] for node in plan["nodes"]]
    assert options == [{"connector": "known"}, {"connector": "asked"}, {"connector": "known"}]
    assert [words for words in made.asked if words != "result"] == [
        "SHOW CREATE TABLE `default_catalog`.`default_database`.`x`"
    ]


class Configured:
    """In the place of HTTP: `asked` are the statements that were sent, each with the end of its path; what `refuses`
    says is refused, however it is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gateway: RestGateway, refuses: str = ""):
        self.asked: list[tuple[str, str]] = []
        self.refuses = refuses
        monkeypatch.setattr(gateway.http, "call", self.call)

    async def call(self, method: str, path: str, **more: Any) -> Any:
        if method == "GET":
            if self.refuses and self.refuses in self.asked[-1][1]:
                raise Refused(500, "no", "org.apache.flink.table.api.ValidationException: no")
            return {"resultType": "PAYLOAD", "results": {}}
        self.asked.append((path.rpartition("/")[2], more["json"]["statement"]))
        if path.endswith("/configure-session") and self.refuses and self.refuses in self.asked[-1][1]:
            raise Refused(500, "Failed to configure session.", "SqlGatewayException: Failed to configure session.")
        return {"operationHandle": "o"}


async def test_what_stays_in_the_session_is_one_request(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")
    made = Configured(monkeypatch, gateway)
    script = parse("SET 'a' = 'b'; CREATE TABLE t (id INT); CREATE VIEW v AS SELECT 1; INSERT INTO t SELECT 1")
    await gateway.prepare(
        "s", ["CREATE TABLE IF NOT EXISTS `default_catalog`.`db`.`x` (id INT)", "ADD JAR 'x'"], no_log
    )
    await gateway.set_up("s", script, no_log)
    assert [how for how, _ in made.asked] == [
        "configure-session",
        "statements",
        "configure-session",
        "configure-session",
        "statements",
    ]
    made.asked.clear()
    await gateway.set_up("s", parse("USE CATALOG hive; CREATE TABLE t (id INT)"), no_log)
    assert [how for how, _ in made.asked] == ["statements", "statements"], "it may be a table of another server"


async def test_what_is_refused_is_refused_in_the_words_of_the_statement(monkeypatch: pytest.MonkeyPatch):
    gateway = RestGateway("http://127.0.0.1:1")
    made = Configured(monkeypatch, gateway, refuses="TABLE t")
    with pytest.raises(Rejected, match="Statement 1, line 1, column 1: no"):
        await gateway.set_up("s", parse("CREATE TABLE t (id INT)"), no_log)
    assert [how for how, _ in made.asked] == ["configure-session", "statements"]


class TestPreparing:
    """What is put in front of a script, where it may fail."""

    SHADOW = "CREATE TEMPORARY TABLE IF NOT EXISTS `pg`.`a`.`b` LIKE `pg`.`a`.`b`"
    CATALOG = "CREATE CATALOG IF NOT EXISTS `pg` WITH ('type' = 'jdbc')"

    @staticmethod
    def failing(monkeypatch: pytest.MonkeyPatch, *messages: str) -> tuple[RestGateway, list[str]]:
        """A gateway whose first statements fail with these messages."""
        gateway, executed, left = RestGateway("http://127.0.0.1:1"), [], list(messages)

        async def execute(_: str, statement: str, **__: Any) -> None:
            executed.append(statement)
            if left:
                message = left.pop(0)
                raise StatementFailed(message, stack=message)

        monkeypatch.setattr(gateway, "execute", execute)
        return gateway, executed

    async def test_a_driver_that_is_not_seen_at_first_is_asked_for_again(self, monkeypatch: pytest.MonkeyPatch):
        gateway, executed = self.failing(monkeypatch, NO_DRIVER)
        await gateway.prepare("s", [self.CATALOG], no_log)
        assert executed == [self.CATALOG] * 2
        gateway, executed = self.failing(monkeypatch, *[NO_DRIVER] * 2)
        with pytest.raises(Rejected, match="CREATE CATALOG IF NOT EXISTS `pg` WITH: No suitable driver"):
            await gateway.prepare("s", [self.CATALOG], no_log)
        assert executed == [self.CATALOG] * 2

    @pytest.mark.parametrize("times", [2, 3, 4])
    async def test_one_that_java_has_never_heard_of_is_loaded(self, monkeypatch: pytest.MonkeyPatch, times: int):
        """Two questions more, and no more than that."""
        gateway, executed = self.failing(monkeypatch, *[NO_DRIVER] * times)
        loaded: list[list[str]] = []

        async def loads(jars: Sequence[str]) -> list[str]:
            loaded.append(list(jars))
            return ["LOAD"]

        async def rows(*_: str) -> list[list[str]]:
            return [["/a.jar"], ["/b.jar"]]

        async def call(*_: str, **__: Any) -> dict[str, str]:
            return {"sessionHandle": "own"}

        executing = gateway.execute

        async def execute(session: str, statement: str, **more: Any) -> None:
            if session != "own":
                await executing(session, statement, **more)

        gateway._loads_drivers = loads
        monkeypatch.setattr(gateway, "rows", rows)
        monkeypatch.setattr(gateway, "execute", execute)
        monkeypatch.setattr(gateway.http, "call", call)
        script = parse("CREATE CATALOG pg WITH ('type' = 'jdbc')")
        if times == 4:
            with pytest.raises(Rejected, match="No suitable driver"):
                await gateway.set_up("s", script, no_log)
        else:
            await gateway.set_up("s", script, no_log)
        assert loaded == [["/a.jar", "/b.jar"]]
        assert len(executed) == min(times + 1, 4)

    async def test_no_compiler_leaves_it_at_what_flink_says(self, monkeypatch: pytest.MonkeyPatch):
        gateway, executed = self.failing(monkeypatch, *[NO_DRIVER] * 4)

        async def loads(jars: Sequence[str]) -> list[str]:
            raise NotCompiled("no compiler")

        async def rows(*_: str) -> list[list[str]]:
            return []

        gateway._loads_drivers = loads
        monkeypatch.setattr(gateway, "rows", rows)
        with pytest.raises(Rejected, match="No suitable driver"):
            await gateway.prepare("s", [self.CATALOG], no_log)
        assert len(executed) == 2

    async def test_other_trouble_is_told_at_once(self, monkeypatch: pytest.MonkeyPatch):
        gateway, executed = self.failing(monkeypatch, "password authentication failed")
        with pytest.raises(Rejected, match="password authentication failed"):
            await gateway.prepare("s", [self.CATALOG], no_log)
        assert executed == [self.CATALOG]

    async def test_what_may_be_no_table_may_fail(self, monkeypatch: pytest.MonkeyPatch):
        gateway, executed = self.failing(monkeypatch, "Source table not found")
        await gateway.prepare("s", [self.SHADOW, "ADD JAR 'x'"], no_log)
        assert executed == [self.SHADOW, "ADD JAR 'x'"]
