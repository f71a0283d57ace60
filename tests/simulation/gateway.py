"""A SQL gateway at the level of its HTTP: sessions, statements, compiled plans, and the submission of an INSERT.

It understands as much SQL as its jobs are written in: `INSERT INTO sink SELECT id | COUNT(*) | SUM(amt) | SUM(amt * 2)
FROM src [WHERE ...]`. Its plans are put together from plans that a real Flink has compiled (`tests/core/sql/plans`).
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.simulation.flink import RESET, Answer, Flink, Operator, Program, error
from tests.simulation.loop import NEUTRAL

PLANS = Path(__file__).resolve().parents[1] / "core" / "sql" / "plans"
_INSERT = re.compile(
    r"INSERT\s+INTO\s+(?P<sink>[`\w.]+)\s+SELECT\s+(?P<what>.+?)\s+FROM\s+(?P<source>[`\w.]+)(?P<where>\s+WHERE\s+[^;]+)?\s*(?:;|$|END)",
    re.IGNORECASE | re.DOTALL,
)
_CREATE = re.compile(r"CREATE\s+(?:TEMPORARY\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?([`\w.]+)", re.IGNORECASE)
_KNOWN = {"ID": "ids", "COUNT(*)": "count", "SUM(AMT)": "sum", "SUM(AMT * 2)": "sum-other"}
RETRY_SECONDS, RETRIES = 3.0, 20


class Invalid(Exception):
    """What Flink's validator says no to."""


@cache
def _fragment(name: str) -> tuple[list[Any], list[Any], str]:
    """(source and watermark, the operators after them up to the sink, Flink's version) of a plan."""
    body = json.loads((PLANS / f"{name}.json").read_text())
    nodes = body["nodes"]
    return nodes[:2], nodes[2:], body["flinkVersion"]


def _short(name: str) -> str:
    return name.replace("`", "").rpartition(".")[2]


def compiled(text: str, first: int) -> Any:
    """The plan of INSERTs, its operators numbered from `first`. Raises `Invalid`."""
    inserts = list(_INSERT.finditer(text))
    if not inserts:
        raise Invalid("SQL parse failed. Non-query expression encountered in illegal context")
    nodes: list[Any] = []
    edges: list[Any] = []
    version = ""

    def add(item: Any, after: int | None) -> int:
        number = first + len(nodes)
        nodes.append({**copy.deepcopy(item), "id": number})
        if after is not None:
            edges.append(
                {"source": after, "target": number, "shuffle": {"type": "FORWARD"}, "shuffleMode": "PIPELINED"}
            )
        return number

    sources: dict[str, int] = {}
    for match in inserts:
        what = " ".join(match["what"].upper().split())
        if what not in _KNOWN:
            line = text.count("\n", 0, match.start("what")) + 1
            column = match.start("what") - (text.rfind("\n", 0, match.start("what")) + 1) + 1
            raise Invalid(
                f"SQL validation failed. From line {line}, column {column} to line {line}, column {column + len(what) - 1}: "
                f"Column '{match['what']}' not found in any table"
            )
        name = "count-filtered" if what == "COUNT(*)" and match["where"] else _KNOWN[what]
        head, rest, version = _fragment(name)
        source = _short(match["source"])
        if source not in sources:
            at: int | None = None
            for item in head:
                at = add(item, at)
                if "scanTableSource" in nodes[-1]:
                    nodes[-1]["scanTableSource"]["table"]["identifier"] = (
                        f"`default_catalog`.`default_database`.`{source}`"
                    )
            assert at is not None
            sources[source] = at
        at = sources[source]
        for item in rest:
            at = add(item, at)
            if "dynamicTableSink" in nodes[-1]:
                nodes[-1]["dynamicTableSink"]["table"]["identifier"] = (
                    f"`default_catalog`.`default_database`.`{_short(match['sink'])}`"
                )
            elif nodes[-1].get("state"):
                nodes[-1]["simulated"] = what
    return {"flinkVersion": version, "nodes": nodes, "edges": edges}


def program_of(plan: Any, *, by_id: bool) -> Program:
    """What a plan runs. By id: as EXECUTE PLAN does; else as Flink numbers the operators of a text."""
    sinks = [n["dynamicTableSink"]["table"]["identifier"] for n in plan["nodes"] if "dynamicTableSink" in n]
    operators = [Operator("source", "source", stateful=False)]
    for place, item in enumerate(plan["nodes"]):
        if item.get("state"):
            operators.append(Operator(f"{item['id']}_agg" if by_id else f"auto-{place}", str(item["simulated"])))
    return Program(tuple(operators), output=_short(sinks[0]))


@dataclass
class Operation:
    ready: bool = False
    failure: str | None = None
    rows: list[list[Any]] = field(default_factory=list)
    job_id: str | None = None


@dataclass
class Session:
    properties: dict[str, str]
    tables: dict[str, str] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    catalogs: dict[str, str] = field(default_factory=dict)
    """The types of its catalogs by their names."""
    catalog: str = ""
    """The one that it is in; empty: the one that it has of its own."""


class Gateway:
    """One gateway in front of a Flink."""

    def __init__(self, flink: Flink):
        self.flink, self.loop, self.random = flink, flink.loop, flink.random
        self.up = True
        self.generation = 0
        self.sessions: dict[str, Session] = {}
        self.next_id = 1
        self.slow = 0.0
        """Further seconds that it takes to submit."""
        self._number = 0

    def kill(self) -> None:
        if not self.up:
            return
        self.up = False
        self.generation += 1
        self.sessions.clear()
        self.loop.call_later(self.random.uniform(1, 15), setattr, self, "up", True, context=NEUTRAL)

    def handle(self, method: str, path: str, more: Mapping[str, Any]) -> Answer | asyncio.Future[Answer]:
        body = more.get("json") or {}
        match (method, *path.strip("/").split("/")):
            case ("GET", "info"):
                return 200, {"productName": "Apache Flink", "version": self.flink.version}
            case ("POST", "v2", "sessions"):
                self._number += 1
                handle = f"session-{self.generation}-{self._number}"
                self.sessions[handle] = Session(dict(body.get("properties") or {}))
                return 200, {"sessionHandle": handle}
            case ("DELETE", "v2", "sessions", handle):
                # What is under way goes on: closing the session does not end a submission (seen on 2.3.0).
                closed = self.sessions.pop(handle, None)
                return (200, {"status": "CLOSED"}) if closed else self._gone(handle)
            case (_, "v2", "sessions", handle, *rest):
                session = self.sessions.get(handle)
                if session is None:
                    return self._gone(handle)
                return self._in(session, method, rest, body)
        return error(404, f"Not found: {path}")

    def _gone(self, handle: str) -> Answer:
        return error(
            404, f"org.apache.flink.table.gateway.api.utils.SqlGatewayException: Session '{handle}' does not exist."
        )

    def _in(
        self, session: Session, method: str, rest: list[str], body: Mapping[str, Any]
    ) -> Answer | asyncio.Future[Answer]:
        match (method, *rest):
            case ("POST", "heartbeat"):
                return 200, {}
            case ("POST", "statements"):
                handle = f"operation-{len(session.operations)}"
                session.operations[handle] = operation = Operation()
                self.loop.call_later(
                    0.002 + 0.05 * self.random.random() ** 4,
                    self._execute,
                    session,
                    operation,
                    str(body["statement"]),
                    self.generation,
                    context=NEUTRAL,
                )
                return 200, {"operationHandle": handle}
            case ("POST", "configure-session"):
                return self._configure(session, str(body["statement"]))
            case ("GET", "operations", handle, "result", _):
                operation = session.operations[handle]
                if not operation.ready:
                    return 200, {"resultType": "NOT_READY", "nextResultUri": "/result/0"}
                if operation.failure:
                    return error(
                        500,
                        "org.apache.flink.table.gateway.service.utils.SqlExecutionException: Failed to execute the operation.",
                        f"Caused by: {operation.failure}",
                    )
                return 200, {
                    "resultType": "EOS",
                    "resultKind": "SUCCESS",
                    "jobID": operation.job_id,
                    "results": {"columns": [], "data": [{"kind": "INSERT", "fields": row} for row in operation.rows]},
                }
            case ("DELETE", "operations", _, "close"):
                return 200, {"status": "CLOSED"}
        return error(404, "Not found")

    def _configure(self, session: Session, statement: str) -> asyncio.Future[Answer]:
        """Answered when it is done."""
        answer: asyncio.Future[Answer] = self.loop.create_future()
        operation, generation = Operation(), self.generation

        def work() -> None:
            self._execute(session, operation, statement, generation)
            why = operation.failure
            done = (
                error(500, f"SqlGatewayException: Failed to configure session.\nCaused by: {why}") if why else (200, {})
            )
            answer.set_result(done if operation.ready else RESET)

        self.loop.call_later(0.002 + 0.02 * self.random.random() ** 4, work, context=NEUTRAL)
        return answer

    def _execute(self, session: Session, operation: Operation, statement: str, generation: int) -> None:
        if generation != self.generation:
            return
        words = statement.strip().upper()
        try:
            if words.startswith("COMPILE PLAN"):
                path, _, text = statement.strip()[len("COMPILE PLAN") :].strip().partition(" FOR ")
                plan = compiled(text, self.next_id)
                self.next_id += len(plan["nodes"]) + 1
                self.flink.disk.write(path.strip().strip("'"), json.dumps(plan).encode())
            elif words.startswith("EXECUTE PLAN"):
                path = statement.strip()[len("EXECUTE PLAN") :].strip().strip("'")
                plan = json.loads(self.flink.disk.read(path))
                self._submit(session, operation, program_of(plan, by_id=True), generation)
                return
            elif words.startswith(("INSERT", "EXECUTE STATEMENT SET", "BEGIN STATEMENT SET", "STATEMENT SET")):
                self._submit(session, operation, program_of(compiled(statement, 1), by_id=False), generation)
                return
            elif words.startswith("SHOW CREATE TABLE"):
                name = _short(statement.split()[-1].rstrip(";"))
                operation.rows = [[session.tables[name]]] if name in session.tables else []
                if not operation.rows:
                    raise Invalid(f"Could not execute SHOW CREATE TABLE: no table {name}")
            elif match := _CREATE.match(statement.strip()):
                session.tables[_short(match.group(1))] = statement
        except Invalid as reason:
            operation.failure = f"org.apache.flink.table.api.ValidationException: {reason}"
        except OSError as reason:
            operation.failure = f"java.io.IOException: {reason}"
        operation.ready = True

    def _submit(
        self, session: Session, operation: Operation, program: Program, generation: int, tries: int = 0
    ) -> None:
        """The gateway brings the job to the JobManager, and asks again for a minute when that does not answer."""
        if tries == 0:
            wait = self.slow + 0.05 + 0.3 * self.random.random() ** 3
            self.loop.call_later(wait, self._submit, session, operation, program, generation, 1, context=NEUTRAL)
            return
        if generation != self.generation:
            return
        if not self.flink.up or self.flink.electing:
            if tries > int(session.properties.get("rest.retry.max-attempts", RETRIES)):
                operation.failure = (
                    "org.apache.flink.runtime.client.JobSubmissionException: Failed to submit JobGraph.\n"
                    "Caused by: org.apache.flink.runtime.rest.util.RestClientException: Could not complete the operation. "
                    "Number of retries has been exhausted."
                )
                operation.ready = True
            else:
                self.loop.call_later(
                    RETRY_SECONDS, self._submit, session, operation, program, generation, tries + 1, context=NEUTRAL
                )
            return
        p = session.properties
        refused = self.flink.accept(
            p.get("$internal.pipeline.job-id", f"{self.random.getrandbits(128):032x}"),
            p.get("pipeline.name", "insert-into"),
            program,
            p,
            p.get("execution.state-recovery.path"),
            p.get("execution.state-recovery.ignore-unclaimed-state") == "true",
        )
        if refused is not None:
            operation.failure = refused[1]["errors"][0]
        operation.job_id = p.get("$internal.pipeline.job-id")
        operation.ready = True


assert RESET is not None
