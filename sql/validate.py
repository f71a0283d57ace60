"""A whole script, statement by statement, as Flink's own parser and planner see it. Nothing of it runs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, Field

from clusters.protocol import SqlSessions
from clusters.sql import SqlGateway, StatementFailed, first_line, scrub, told
from core.errors import PenstockError
from core.sql.operators import TableName
from core.sql.outside import changed_outside, in_memory
from core.sql.references import check_script, created_by
from core.sql.script import Script, Statement, StatementKind, parse, placed
from core.sql.tokens import Lines, chain_at, tokens
from core.sql.variables import filled
from sql.environment import CATALOG, Environment, prepared_session

_ADVICE = re.compile(r"^advice\[\d+\]: \[(ADVICE|WARNING)\] (.*)$", re.MULTILINE)
_READS = re.compile(r"TableScan\(table=\[\[([^\]]+)\]")
_WRITES = re.compile(r"^LogicalSink\(table=\[([^\]]+)\]|^LogicalLegacySink\(.*?name=\[([^\]]+)\]", re.MULTILINE)
_MISSING = re.compile(r"Object '([^']+)' not found|Cannot find table '(?:`[^`]+`\.)*`([^`]+)`'")
_EXPLAIN = "EXPLAIN PLAN_ADVICE\n"
MAX_ERRORS = 500  # of statements that cannot stand where they stand; a text may be nothing else


class ScriptError(BaseModel):
    statement: int = Field(description="Number in the script, from 1")
    line: int
    column: int
    message: str = Field(description="Flink's own words, or why Penstock does not take it")
    code: str
    remedy: str | None = None
    caused_by: int | None = Field(default=None, description="The statement whose error this one follows from")


class ScriptWarning(BaseModel):
    statement: int
    line: int
    message: str


class StatementInfo(BaseModel):
    number: int
    line: int
    column: int
    kind: str = Field(description="setup, set, insert or query")
    head: str
    reads: list[str] = []
    writes: list[str] = []


class Validation(BaseModel):
    valid: bool
    errors: list[ScriptError]
    warnings: list[ScriptWarning]
    statements: list[StatementInfo]
    reads: list[str] = Field(description="Tables in full")
    writes: list[str]
    resources: list[str] = Field(description="Registered tables that it uses, as project/name")


@dataclass
class Report:
    errors: list[ScriptError] = field(default_factory=list)
    warnings: list[ScriptWarning] = field(default_factory=list)
    infos: list[StatementInfo] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)  # a table that could not be made -> its statement


def of_text(text: str, variables: Mapping[str, str], *, queries: bool) -> tuple[Script | None, Report]:
    """What can be said without Flink. With `queries` SELECTs are welcome, and no INSERT is needed."""
    report = Report()
    try:
        script = parse(filled(text, variables, field="variables"))
        check_script(script)
    except PenstockError as error:
        line, column = _place(error.message)
        report.errors.append(
            ScriptError(
                statement=0, line=line, column=column, message=error.message, code=error.code, remedy=error.remedy
            )
        )
        return None, report
    asked = {q.number for q in script.queries} if queries else set()
    misplaced = (item for item in script.misplaced if item.statement.number not in asked)
    for item in itertools.islice(misplaced, MAX_ERRORS):
        s = item.statement
        report.errors.append(
            ScriptError(
                statement=s.number,
                line=s.line,
                column=s.column,
                message=item.error.message,
                code=item.error.code,
                remedy=item.error.remedy,
            )
        )
    if not script.inserts and not queries and not report.errors:
        line, column = Lines(text).place(max(0, len(text.rstrip()) - 1))
        report.errors.append(
            ScriptError(
                statement=0,
                line=line,
                column=column,
                message="The script has no INSERT, so there is nothing to run.",
                code="sql_no_insert",
                remedy="Add INSERT INTO <table> SELECT ....",
            )
        )
    return script, report


def _place(message: str) -> tuple[int, int]:
    match = re.search(r"[Ll]ine (\d+), column (\d+)", message)
    return (int(match.group(1)), int(match.group(2))) if match else (1, 1)


async def validate(
    engine: SqlSessions, environment: Environment, report: Report, properties: dict[str, str], *, queries: bool = False
) -> Validation:
    """Check a script in its environment, and go on with the `report` of its text. Raises `Unreachable` when there is no
    gateway to ask."""
    named = {**properties, "pipeline.name": "validate"}
    async with prepared_session(engine, environment, named) as (gateway, session):
        await _run(gateway, session, environment.script, report, Trial.within(environment), queries=queries)
    for item in report.errors:
        item.message = scrub(item.message, environment.secrets)
    validation = summary(report, environment)
    try:
        environment.check([table_name(t) for t in validation.reads], [table_name(t) for t in validation.writes])
    except PenstockError as error:
        validation.valid = False
        validation.errors.append(
            ScriptError(statement=0, line=1, column=1, message=error.message, code=error.code, remedy=error.remedy)
        )
    return validation


def table_name(full: str) -> TableName:
    """From a full name of three parts; of a shorter one the catalog and the database are empty."""
    parts = full.split(".", 2)  # a JDBC catalog has tables with a schema in their names: `public.orders`
    return TableName(*parts) if len(parts) == 3 else TableName("", "", full)


def summary(report: Report, environment: Environment) -> Validation:
    """The answer: errors by their place, statements in order, and the names of the registered resources among what is
    read and written."""
    reads = sorted({t for i in report.infos for t in i.reads})
    writes = sorted({t for i in report.infos for t in i.writes})
    used = {environment.rights[t].label for t in (*reads, *writes) if t in environment.rights}
    return Validation(
        valid=not report.errors,
        errors=sorted(report.errors, key=lambda e: (e.line, e.column)),
        warnings=report.warnings,
        statements=sorted(report.infos, key=lambda i: i.number),
        reads=reads,
        writes=writes,
        resources=sorted(used),
    )


@dataclass
class Trial:
    """Sets a session up as a script says, and leaves what is outside of it as it is: `catalog` is where the script
    stands, `own` are those that end with the session."""

    catalog: str = CATALOG
    own: set[str] = field(default_factory=lambda: {CATALOG})
    _there: set[str] = field(default_factory=set)
    """Other catalogs that were there when it was last asked."""

    @classmethod
    def within(cls, environment: Environment) -> Trial:
        """In an environment that has been made."""
        return cls(own={CATALOG}.union(*(in_memory(tokens(statement)) for statement in environment.catalogs)))

    async def run(self, gateway: SqlGateway, session: str, statement: Statement) -> str:
        """Carry out a statement, or say why it is not tried. Raises `StatementFailed`."""
        changed = changed_outside(statement.tokens, self.catalog, self.own)
        text, why = harmless(statement, changed)
        if text is not None:
            if changed is not None:
                await self._check_there(gateway, session, changed[1])
            await gateway.execute(session, text)
            if "CATALOG" in (t.word for t in statement.tokens[:2]):
                self._there.clear()
            self.catalog = _catalog_after(statement, self.catalog)
            self.own |= in_memory(statement.tokens)
        return why

    async def _check_there(self, gateway: SqlGateway, session: str, catalog: str) -> None:
        """Of what is TEMPORARY Flink does not ask whether its catalog is there. Asked once for all that follows."""
        if catalog not in self._there:
            self._there = {str(name) for (name,) in await gateway.rows(session, "SHOW CATALOGS")}
        if catalog not in self._there:
            raise StatementFailed(f"Catalog {catalog} does not exist.")


async def _run(
    gateway: SqlGateway, session: str, script: Script, report: Report, trial: Trial, *, queries: bool
) -> None:
    asked = script.queries if queries else []
    for statement in sorted([*script.setup, *script.inserts, *asked], key=lambda s: s.number):
        planned = statement.kind in (StatementKind.INSERT, StatementKind.QUERY)
        info = StatementInfo(
            number=statement.number,
            line=statement.line,
            column=statement.column,
            kind=statement.kind.value,
            head=first_line(statement),
        )
        report.infos.append(info)
        try:
            if planned:
                await explain(gateway, session, statement, info, report)
                continue
            if why := await trial.run(gateway, session, statement):
                report.warnings.append(ScriptWarning(statement=statement.number, line=statement.line, message=why))
        except StatementFailed as error:
            _failed(statement, error, report, shift=1 if planned else 0)


async def explained_tables(gateway: SqlGateway, session: str, statement: Statement) -> StatementInfo:
    """The tables that a query or an INSERT reads and writes. Raises `StatementFailed`."""
    info = StatementInfo(
        number=statement.number, line=statement.line, column=statement.column, kind=statement.kind.value, head=""
    )
    await explain(gateway, session, statement, info, Report())
    return info


async def explain(gateway: SqlGateway, session: str, statement: Statement, info: StatementInfo, report: Report) -> None:
    """Write into `info` which tables the statement reads and writes, and into `report` what Flink's planner advises.
    Raises `StatementFailed`."""
    text = placed(statement.without_execute())
    try:
        rows = await gateway.rows(session, _EXPLAIN + text)
    except StatementFailed as error:
        if "PLAN_ADVICE" not in (error.stack or ""):
            raise
        rows = await gateway.rows(session, "EXPLAIN\n" + text)  # batch has no advice
    plan = str(rows[0][0]) if rows else ""
    info.reads = sorted({".".join(p.strip() for p in m.split(",")) for m in _READS.findall(plan)})
    info.writes = sorted({a or b for a, b in _WRITES.findall(plan)})
    for _, words in _ADVICE.findall(plan):
        report.warnings.append(ScriptWarning(statement=statement.number, line=statement.line, message=words.strip()))


def _failed(statement: Statement, error: StatementFailed, report: Report, *, shift: int) -> None:
    line, column, message = told(statement, error, shift=shift)
    missing = _MISSING.search(message)
    report.errors.append(
        ScriptError(
            statement=statement.number,
            line=line,
            column=column,
            message=message,
            code="sql_invalid",
            caused_by=report.failed.get(missing.group(1) or missing.group(2)) if missing else None,
        )
    )
    if table := created_by(statement.tokens):
        report.failed[table[-1]] = statement.number


def harmless(statement: Statement, changed: tuple[str, str] | None) -> tuple[str | None, str]:
    """What to send for a statement that sets something up, so that nothing outside the session changes; `changed` is
    what it would change there. None: it is not tried, for the reason that comes with it."""
    if changed is None:
        return placed(statement), ""
    first, second = (t.word for t in statement.tokens[:2])
    if first == "CREATE" and second in ("TABLE", "VIEW"):
        head = statement.tokens[0].text
        return placed(statement).replace(head, f"{head} TEMPORARY", 1), ""
    what, target = changed
    return None, f"{first} {what} in the catalog {target} is not tried, since it would change that catalog"


def _catalog_after(statement: Statement, catalog: str) -> str:
    parts = statement.tokens
    words = [t.word for t in parts[:2]]
    if words[:1] != ["USE"]:
        return catalog
    if words[1:2] == ["CATALOG"]:
        return (chain_at(parts, 2) or (catalog,))[0]
    chain = chain_at(parts, 1)
    return chain[0] if len(chain) == 2 else catalog
