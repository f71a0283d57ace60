"""Columns that were inferred, held to their samples by the one who will read with them: Flink."""

from __future__ import annotations

import uuid
from typing import Any

from clusters import state_files
from core.effects import EngineError
from core.errors import InvalidInput, PenstockError
from core.sql.resources import TableDefinition
from core.sql.samples import Inferred, read_back
from core.sql.script import parse
from core.sql.tokens import quoted_name
from services import Services
from settings import waits
from sql.compiling import scratch_of
from sql.previews import RunRequest, start
from sql.run_registry import Runs
from sql.streams import Ended, Limits
from store import clusters

MAX_ROUNDS = 3
MAX_RECORDS = 10_000


async def confirmed(
    services: Services, runs: Runs, project: str, cluster: str, inferred: Inferred
) -> tuple[Inferred, str | None]:
    """What was inferred, with STRING where Flink does not read a sample back as it is; and why it could not be asked,
    None where it was. Raises `InvalidInput` with Flink's words when it cannot read a sample at all."""
    try:
        async with services.database.read() as session:
            scratch = scratch_of(await clusters.get(session, cluster))
        folder = f"{scratch}/samples/{uuid.uuid4().hex}"
        try:
            await state_files.make_folder(folder)
            await state_files.write(f"{folder}/rows.json", "\n".join(inferred.lines[:MAX_RECORDS]) + "\n")
            return await _confirmed(services, runs, project, cluster, inferred, folder)
        finally:
            await state_files.remove(folder)
    except InvalidInput:
        raise
    except (EngineError, PenstockError) as error:
        return inferred, error.message


async def _confirmed(
    services: Services, runs: Runs, project: str, cluster: str, inferred: Inferred, folder: str
) -> tuple[Inferred, str | None]:
    for _ in range(MAX_ROUNDS):
        rows, ended, why = await _rows(services, runs, project, cluster, inferred, folder, lenient=True)
        if ended is not Ended.FINISHED and len(rows) < len(inferred.lines[:MAX_RECORDS]):
            return inferred, why
        if len(rows) != len(inferred.lines[:MAX_RECORDS]):
            _, _, why = await _rows(services, runs, project, cluster, inferred, folder, lenient=False)
            raise InvalidInput(f"Flink cannot read the samples: {why}", code="bad_sample", field="samples")
        checked = read_back(inferred, rows)
        if checked is inferred:
            return inferred, None
        inferred = checked
    return inferred, None


async def _rows(
    services: Services, runs: Runs, project: str, cluster: str, inferred: Inferred, folder: str, *, lenient: bool
) -> tuple[list[list[Any]], Ended, str]:
    """The samples as a table reads them, how that ended, and why. `lenient`: null for what cannot be read."""
    options = {
        "connector": "filesystem",
        "path": folder,
        **inferred.options(),
        "json.ignore-parse-errors": str(lenient),
    }
    table = TableDefinition(columns=inferred.columns(), options=options)
    name = f"samples_{uuid.uuid4().hex}"  # no table of the project
    ddl = table.ddl("default_catalog", "default_database", name)
    columns = ", ".join(quoted_name(column.name) for column in table.columns)
    request = RunRequest(
        project=project,
        cluster=cluster,
        script=parse(f"{ddl};\nSELECT {columns} FROM {name}"),
        limits=Limits(rows=MAX_RECORDS, seconds=waits.SAMPLE_SECONDS),
        asked={"kind": "sample"},
    )
    run = await start(services, runs, request)
    rows = [row["fields"] async for event in run.listen() if event.event == "rows" for row in event.data["rows"]]
    (stream,) = run.streams
    return rows, stream.ended or Ended.FAILED, stream.why
