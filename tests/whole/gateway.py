"""The simulated SQL gateway, with what people do who work on SQL: queries, EXPLAIN, DESCRIBE, completion.

A catalog of the type `warehouse` has the tables of `WAREHOUSE`, and keeps those that are made in it, whatever session
ends; Flink's own in memory has none.

A query gives the rows of the one table that it reads: those of a file, if the table has a `path`; two at a time for
ever, if its connector is `datagen`; none otherwise.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulation.flink import Answer, Operator, Program, error
from tests.simulation.gateway import Gateway, Invalid, Operation, Session, _short
from tests.simulation.loop import NEUTRAL

_FROM = re.compile(r"\bFROM\s+([`\w.]+)", re.IGNORECASE)
_INTO = re.compile(r"\bINSERT\s+INTO\s+([`\w.]+)", re.IGNORECASE)
_COLUMN = re.compile(r"[(,]\s*`?(\w+)`?\s+(BIGINT|INT|STRING|DOUBLE|TIMESTAMP\(3\))", re.IGNORECASE)
_NAMED = re.compile(r"AS\s+`sink`\s*\(([^)]*)\)", re.IGNORECASE)
_CATALOG = re.compile(r"CREATE\s+CATALOG\s+(?:IF\s+NOT\s+EXISTS\s+)?`?(\w+)`?.*?'type'\s*=\s*'([^']*)'", re.I | re.S)
_VIEW = re.compile(r"CREATE\s+(?:TEMPORARY\s+)?VIEW\s+(?:IF\s+NOT\s+EXISTS\s+)?([`\w.]+)", re.IGNORECASE)
_TABLE = re.compile(r"(CREATE|DROP)\s+TABLE\s+(IF\s+(?:NOT\s+)?EXISTS\s+)?([`\w.]+)", re.IGNORECASE)
_INSIDE = re.compile(r"SHOW\s+(DATABASES|TABLES)\s+IN\s+`(\w+)`(?:\.`([^`]+)`)?", re.IGNORECASE)
WAREHOUSE = {
    "orders": "CREATE TABLE orders (id BIGINT, name STRING) WITH ('connector' = 'jdbc', 'password' = 'hunter2')",
    "sums": "CREATE TABLE sums (id BIGINT, total DOUBLE) WITH ('path' = 'sim://warehouse/sums')",
}
_FACTORIES = "Available factory identifiers are:\n\nblackhole\ndatagen\nkafka\n"
_OPTIONS = "Unsupported options.\n\nSupported options:\n\nconnector\nnumber-of-rows\nrows-per-second\n"


@dataclass
class Query:
    """What a statement gives: columns, rows, and whether there are ever more of them."""

    columns: list[Any]
    rows: list[list[Any]]
    endless: bool = False
    given_at: float = -1.0


class QueryingGateway(Gateway):
    """`refuses` are words for which a statement fails, each with what is said against it."""

    def __init__(self, flink: Any):
        super().__init__(flink)
        self.refuses: dict[str, str] = {}
        self.queries: dict[int, Query] = {}
        self.configs: dict[int, dict[str, str]] = {}
        self.warehouse = dict(WAREHOUSE)
        self.kept: list[Operation] = []
        """All of them: what is known by its `id` must not make room for another."""

    def _in(self, session: Session, method: str, rest: list[str], body: Mapping[str, Any]) -> Any:
        match (method, *rest):
            case ("GET", "complete-statement"):
                return 200, {"candidates": ["SELECT", "SUM(", "sources"]}
            case ("POST", "statements"):
                answer = super()._in(session, method, rest, body)
                operation = session.operations[answer[1]["operationHandle"]]
                self.kept.append(operation)
                self.configs[id(operation)] = dict(body.get("executionConfig") or {})
                return answer
            case ("GET", "operations", handle, "result", token):
                operation = session.operations[handle]
                if operation.ready and not operation.failure and id(operation) in self.queries:
                    return self._page(operation, int(token))
        return super()._in(session, method, rest, body)

    def _execute(self, session: Session, operation: Operation, statement: str, generation: int) -> None:
        words = statement.strip().upper()
        try:
            for word, why in self.refuses.items():
                if word.upper() in words:
                    raise Invalid(why)
            if table := self._in_warehouse(session, statement):
                self._change_warehouse(session, statement, *table)
            elif made := _CATALOG.match(statement.strip()):
                self._create_catalog(session, *made.groups())
            elif view := _VIEW.match(statement.strip()):
                session.tables[_short(view.group(1))] = statement
            elif words.startswith("USE CATALOG"):
                name = statement.split()[-1].strip("`")
                self._catalog(session, name)
                session.catalog = name
            elif words.startswith("SHOW CATALOGS"):
                names = ["default_catalog", *session.catalogs]
                self.queries[id(operation)] = Query([{"name": "catalog name"}], [[name] for name in names])
            elif inside := _INSIDE.match(statement.strip()):
                operation.rows = [[name] for name in self._inside(session, *inside.groups())]
            elif words.startswith(("SELECT", "WITH", "VALUES")):
                self._query(session, operation, statement)
            elif words.startswith("EXPLAIN"):
                operation.rows = [[self._explained(session, statement)]]
            elif words.startswith(("DESCRIBE", "DESC ")):
                operation.rows = [
                    [n, t, "TRUE", None, None, None] for n, t in self._columns(session, statement.split()[-1])
                ]
            elif words.startswith("SHOW TABLES"):
                self.queries[id(operation)] = Query([{"name": "table name"}], [[n] for n in sorted(session.tables)])
            elif words.startswith("DROP"):
                session.tables.pop(_short(statement.split()[-1].rstrip(";")), None)
            else:
                super()._execute(session, operation, statement, generation)
                return
        except Invalid as reason:
            operation.failure = f"org.apache.flink.table.api.ValidationException: {reason}"
        operation.ready = True

    def _create_catalog(self, session: Session, name: str, type_: str) -> None:
        if type_ not in ("generic_in_memory", "warehouse"):
            raise Invalid(f"Could not find any factory for identifier '{type_}' that implements 'CatalogFactory'.")
        session.catalogs[name] = type_
        session.tables.update(self.warehouse if type_ == "warehouse" else {})

    def _in_warehouse(self, session: Session, statement: str) -> tuple[str, str, str] | None:
        """What a CREATE or a DROP does to which table, and its condition, when that table is one of a warehouse."""
        if not (match := _TABLE.match(statement.strip())):
            return None
        verb, condition, name = match.groups()
        catalog = name.split(".")[0].strip("`") if name.count(".") == 2 else session.catalog
        found = session.catalogs.get(catalog) == "warehouse"
        return (verb.upper(), condition or "", _short(name)) if found else None

    def _change_warehouse(self, session: Session, statement: str, verb: str, condition: str, name: str) -> None:
        is_there = name in self.warehouse
        if is_there == (verb == "CREATE"):
            if not condition:
                raise Invalid(f"Table {name} {'already exists' if is_there else 'does not exist'}.")
            return
        for tables in (self.warehouse, session.tables):
            if verb == "CREATE":
                tables[name] = statement
            else:
                tables.pop(name, None)

    def _catalog(self, session: Session, name: str) -> str:
        if name not in session.catalogs:
            raise Invalid(f"A catalog with name [{name}] does not exist.")
        return session.catalogs[name]

    def _inside(self, session: Session, what: str, catalog: str, database: str | None) -> list[str]:
        has_tables = self._catalog(session, catalog) == "warehouse"
        if what.upper() == "DATABASES":
            return ["default", *(["shop"] if has_tables else [])]
        if database not in ("default", "shop"):
            raise Invalid(f"Database '{catalog}'.'{database}' doesn't exist.")
        return list(self.warehouse) if has_tables and database == "shop" else []

    def _columns(self, session: Session, table: str) -> list[tuple[str, str]]:
        found = session.tables.get(_short(table.rstrip(";")))
        if found is None:
            raise Invalid(f"Object '{_short(table)}' not found")
        return [(name, kind.upper()) for name, kind in _COLUMN.findall(found)]

    def _explained(self, session: Session, statement: str) -> str:
        reads, writes = _FROM.findall(statement), _INTO.findall(statement)
        for table in (*reads, *writes):
            text = session.tables.get(_short(table))
            if text is None:
                raise Invalid(f"Object '{_short(table)}' not found")
            if "penstock.unknown" in text:
                raise Invalid(_OPTIONS if "'datagen'" in text else _FACTORIES)
        lines = [f"LogicalSink(table=[{'.'.join(_full(t))}], fields=[id])" for t in writes]
        lines += [f"  TableScan(table=[[{', '.join(_full(t))}]])" for t in reads]
        return "\n".join([*lines, "advice[1]: [ADVICE] It is a small plan."])

    def _query(self, session: Session, operation: Operation, statement: str) -> None:
        tables = _FROM.findall(statement)
        table = _short(tables[-1]) if tables else ""
        columns = self._columns(session, table) if table else [("x", "INT")]
        text = session.tables.get(table, "")
        if named := _NAMED.search(statement):
            wanted = [n.strip(" `") for n in named.group(1).split(",")]
            columns = [(n, dict(columns).get(n, "BIGINT")) for n in wanted]
        rows: list[list[Any]] = [] if table else [[1]]
        if path := re.search(r"'path'\s*=\s*'([^']+)'", text):
            for line in self.flink.disk.read(f"{path.group(1)}/rows.json").decode().splitlines():
                rows.append([json.loads(line).get(name) for name, _ in columns])
        elif "'kafka'" in text:
            rows = [['{"id": 1}'], ['{"id": 2}']]
        shown = [{"name": n, "logicalType": _logical(kind)} for n, kind in columns]
        self.queries[id(operation)] = Query(shown, rows, "'datagen'" in text)
        config = self.configs.get(id(operation), {})
        job_id = config.get("$internal.pipeline.job-id", f"{self.random.getrandbits(128):032x}")
        self.flink.judge.by_hand.add(job_id)
        operation.job_id = job_id
        program = Program((Operator("source", f"Source: {table}", stateful=False),), output="")
        self.flink.accept(job_id, config.get("pipeline.name", "collect"), program, config, None, False)

    def _page(self, operation: Operation, token: int) -> Answer:
        query = self.queries[id(operation)]
        columns, rows = query.columns, query.rows
        job = self.flink.jobs.get(operation.job_id or "")
        if query.endless:
            if job is None or job.final:
                return error(
                    500, "SqlExecutionException", "Caused by: org.apache.flink.JobCancelledException: cancelled"
                )
            if self.loop.time() - query.given_at < 0.4:
                return self._result(operation, columns, [], token)
            query.given_at = self.loop.time()
            rows = [
                [f"{token}-{n}" if c["logicalType"]["type"] == "VARCHAR" else token for c in columns] for n in (1, 2)
            ]
            return self._result(operation, columns, rows, token + 1)
        if token == 0:
            return self._result(operation, columns, rows, 1 if rows else None)
        if job is not None and not job.final:
            self.loop.call_later(0, self.flink.finish, job, context=NEUTRAL)
        return self._result(operation, columns, [], None)

    def _result(self, operation: Operation, columns: list[Any], rows: list[list[Any]], following: int | None) -> Answer:
        body = {
            "resultType": "EOS" if following is None else "PAYLOAD",
            "resultKind": "SUCCESS_WITH_CONTENT",
            "jobID": operation.job_id,
            "results": {"columns": columns, "data": [{"kind": "INSERT", "fields": row} for row in rows]},
        }
        return 200, body if following is None else {**body, "nextResultUri": f"/v2/x/result/{following}?rowFormat=JSON"}


def _full(name: str) -> list[str]:
    chain = name.replace("`", "").split(".")
    return chain if len(chain) == 3 else ["default_catalog", "default_database", chain[-1]]


def _logical(kind: str) -> dict[str, Any]:
    if kind == "STRING":
        return {"type": "VARCHAR", "length": 2147483647, "nullable": True}
    return {"type": kind, "nullable": kind != "BIGINT"}
