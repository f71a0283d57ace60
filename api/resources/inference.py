"""POST /projects/{project}/resources/infer: columns from what the data looks like."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import TypeAdapter
from sqlalchemy import URL, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from api.deps import Parts, Workbench
from api.problems import responses
from api.resources.schemas import InferenceBody, InferenceOut
from core.errors import InvalidInput
from core.specs import Use
from core.sql import inference
from core.sql.references import check_clear, quoted, resolved, secrets_in
from services import Services
from sql.previews import Wanted, start
from sql.runs import Ended, Limits, Runs
from store import jobs, resources

router = APIRouter(prefix="/projects/{project}/resources", tags=["resources"])
_JDBC = re.compile(r"^jdbc:postgresql://([A-Za-z0-9.-]+)(?::(\d{1,5}))?/([A-Za-z0-9_.-]+)(?:\?.*)?$")
_USES: TypeAdapter[list[Use]] = TypeAdapter(list[Use])
DATABASE_SECONDS = 15.0


@router.post("/infer", responses=responses(404, 409, 422, 503), summary="Columns from samples, a schema or a source")
async def infer(
    project: Annotated[str, Path(max_length=80)], body: InferenceBody, parts: Parts, bench: Workbench
) -> InferenceOut:
    """Nothing is registered: look at the columns, then PUT the resource."""
    async with parts.database.read() as session:
        await jobs.project(session, project)
    if body.kind == "json":
        return _of_json(body.samples)
    if body.kind in ("avro", "json-schema"):
        read = inference.of_avro if body.kind == "avro" else inference.of_json_schema
        columns, notes = read(body.document or "")
        format_ = {"format": "avro"} if body.kind == "avro" else inference.json_options(columns)
        return InferenceOut(columns=columns, primary_key=[], options=format_, notes=notes, records=None, sample=[])
    if body.kind == "database":
        return await _of_database(parts, project, body)
    return await _of_kafka(parts, bench.runs, project, body)


def _of_json(samples: list[str]) -> InferenceOut:
    columns, notes = inference.of_json(samples)
    return InferenceOut(
        columns=columns,
        primary_key=[],
        options=inference.json_options(columns),
        notes=notes,
        records=len(samples),
        sample=[json.loads(s) for s in samples[:5]],
    )


async def _of_database(parts: Services, project: str, body: InferenceBody) -> InferenceOut:
    match = _JDBC.match(body.url or "")
    if match is None or not body.table:
        raise InvalidInput(
            "A database is named by url (jdbc:postgresql://host:port/database) and table.",
            code="bad_database",
            field="url",
        )
    options = {"url": str(body.url), "table-name": body.table, "connector": "jdbc"}
    if body.user:
        options["username"] = body.user
    if body.password:
        options["password"] = body.password
    check_clear(options, "password")
    password = body.password
    if password and (names := secrets_in(password)):
        async with parts.database.read() as session:
            sealed = await resources.sealed(session, project, names)
        password = resolved(password, {n: parts.vault.open(v) for n, v in sealed.items()})
    host, port, database = match.groups()
    url = URL.create("postgresql+asyncpg", body.user, password, host, int(port or 5432), database)
    schema, _, table = body.table.rpartition(".")
    engine = create_async_engine(url, connect_args={"timeout": DATABASE_SECONDS})
    try:
        async with asyncio.timeout(DATABASE_SECONDS), engine.connect() as connection:
            found, key = await connection.run_sync(lambda c: _reflected(c, schema or None, table))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        words = str(getattr(error, "orig", None) or error) or type(error).__name__
        raise InvalidInput(
            f"The table {body.table} cannot be read: {words[:300]}", code="database_refused", field="url"
        ) from error
    finally:
        await engine.dispose()
    columns, notes = inference.of_database(found)
    return InferenceOut(columns=columns, primary_key=key, options=options, notes=notes, records=None, sample=[])


def _reflected(connection: Any, schema: str | None, table: str) -> tuple[list[tuple[str, str, bool]], list[str]]:
    inspector = inspect(connection)
    columns = [
        (str(c["name"]), c["type"].compile(connection.dialect), bool(c["nullable"]))
        for c in inspector.get_columns(table, schema)
    ]
    return columns, list(inspector.get_pk_constraint(table, schema).get("constrained_columns") or [])


async def _of_kafka(parts: Services, runs: Runs, project: str, body: InferenceBody) -> InferenceOut:
    """The records themselves, read by Flink as it will read them later."""
    if not body.options.get("topic") or not body.options.get("properties.bootstrap.servers"):
        raise InvalidInput(
            "A topic is named by options: topic and properties.bootstrap.servers.", code="bad_topic", field="options"
        )
    check_clear(body.options, "options")
    reading = {
        **{k: v for k, v in body.options.items() if not k.startswith(("format", "value.format", "json."))},
        "connector": "kafka",
        "format": "raw",
        "scan.startup.mode": "earliest-offset",
        "scan.bounded.mode": "latest-offset",
    }
    with_ = ", ".join(f"{quoted(k)} = {quoted(v)}" for k, v in reading.items())
    sql = f"CREATE TABLE `records` (`value` STRING) WITH ({with_});\nSELECT `value` FROM `records`"
    wanted = Wanted(
        project=project,
        cluster=body.cluster,
        sql=sql,
        libraries=_USES.validate_python(body.libraries),
        limits=Limits(rows=body.records, seconds=60),
        request={"kind": "sample"},
    )
    run = await start(parts, runs, wanted)
    async for _ in run.listen():
        pass
    (stream,) = run.streams
    if stream.ended is Ended.FAILED:
        raise InvalidInput(f"The topic cannot be read: {stream.why}", code="topic_refused", field="options")
    samples = [str(row[0]) for row in stream.table.rows() if row[0]]
    if not samples:
        raise InvalidInput(
            f"The topic {body.options['topic']} has no records.",
            code="no_data",
            field="options",
            remedy="Give samples by hand, or a schema.",
        )
    found = _of_json(samples)
    found.options = {**body.options, "connector": "kafka", **found.options}
    return found
