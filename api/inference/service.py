"""Columns from what the data looks like."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter

from api.deps import SqlRuntime
from api.inference import database
from api.inference.schemas import InferenceBody, InferenceOut
from core.errors import InvalidInput
from core.specs import Use
from core.sql import inference
from core.sql.references import check_clear, resolved, secrets_in
from core.sql.samples import of_json
from core.sql.script import parse
from core.sql.tokens import quoted
from services import Services
from sql.previews import RunRequest, start
from sql.run_registry import Runs
from sql.samples import confirmed
from sql.streams import Ended, Limits
from store import jobs, resources

_JDBC = re.compile(r"^jdbc:postgresql://([A-Za-z0-9.-]+)(?::(\d{1,5}))?/([A-Za-z0-9_.-]+)(?:\?.*)?$")
_USES: TypeAdapter[list[Use]] = TypeAdapter(list[Use])


async def infer(services: Services, bench: SqlRuntime, project: str, body: InferenceBody) -> InferenceOut:
    """Raises `NotFound`, and `InvalidInput` when nothing can be inferred from it."""
    async with services.database.read() as session:
        await jobs.project(session, project)
    if body.kind == "json":
        return await _of_json(services, bench.runs, project, body.cluster, body.samples)
    if body.kind in ("avro", "json-schema"):
        read = inference.of_avro if body.kind == "avro" else inference.of_json_schema
        columns, notes = read(body.document or "")
        format_ = {"format": "avro"} if body.kind == "avro" else inference.json_options(columns)
        return InferenceOut(columns=columns, primary_key=[], options=format_, notes=notes, records=None, sample=[])
    if body.kind == "database":
        return await _of_database(services, project, body)
    return await _of_kafka(services, bench.runs, project, body)


async def _of_json(services: Services, runs: Runs, project: str, cluster: str, samples: list[str]) -> InferenceOut:
    inferred, why_not = await confirmed(services, runs, project, cluster, of_json(samples))
    unsure = (
        [] if why_not is None else [f"Flink was not asked whether it reads the samples with these columns: {why_not}"]
    )
    return InferenceOut(
        columns=inferred.columns(),
        primary_key=[],
        options=inferred.options(),
        notes=[*inferred.notes, *unsure],
        records=len(inferred.records),
        sample=[_shown(record) for record in inferred.records[:5]],
        read_back=why_not is None,
    )


def _shown(value: Any) -> Any:
    """As it can be sent: with a mark for half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_shown(item) for item in value]
        case dict():
            return {_shown(name): _shown(item) for name, item in value.items()}
    return value


async def _of_database(services: Services, project: str, body: InferenceBody) -> InferenceOut:
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
    user, password = body.user, body.password
    if names := secrets_in(f"{user or ''}\n{password or ''}"):
        async with services.database.read() as session:
            sealed = await resources.sealed(session, project, names)
        secret = {n: services.vault.open(v) for n, v in sealed.items()}
        user, password = (text and resolved(text, secret) for text in (user, password))
    host, port, name = match.groups()
    place = database.Place(host, int(port or 5432), name, user, password)
    described, key = await database.describe(place, body.table)
    columns, notes = inference.of_database(described)
    return InferenceOut(columns=columns, primary_key=key, options=options, notes=notes, records=None, sample=[])


async def _of_kafka(services: Services, runs: Runs, project: str, body: InferenceBody) -> InferenceOut:
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
    request = RunRequest(
        project=project,
        cluster=body.cluster,
        script=parse(sql),
        libraries=_USES.validate_python(body.libraries),
        limits=Limits(rows=body.records, seconds=60),
        asked={"kind": "sample"},
    )
    run = await start(services, runs, request)
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
    inferred = await _of_json(services, runs, project, body.cluster, samples)
    inferred.options = {**body.options, "connector": "kafka", **inferred.options}
    return inferred
