"""What is inferred from samples reads those samples: Flink is asked, strictly, with the definition as it was given."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from clusters.flink.gateway import RestGateway
from core.sql.resources import TableDefinition
from tests.real.conftest import Stack

TIMES = [
    "2026-01-01T10:00:00Z",
    "2026-01-01T10:00:00.123456789Z",
    "2026-01-01T10:00Z",
    "2026-01-01T10:00:00+02:00",
    "2026-01-01T10:00:00+0200",
    "2026-01-01T10:00:00.5",
    "2026-01-01T10:00",
    "2026-01-01T25:00:00",
    "2026-02-30T10:00:00",
    "2026-01-01 10:00:00",
    "2026-01-01 10:00:00.123",
    "2026-01-01 10:00:00Z",
    "2026-01-01 10:00",
    "2026-01-01",
    "2026-02-30",
    "10:00:00",
    "10:00",
    "99:99:99",
]
OTHERS = [
    10**37,
    10**41,
    -(2**63),
    1e300,
    True,
    "",
    {"deep": [{"at": "2026-01-01T10:00:00Z", "n": None}, {"at": "2026-13-01T10:00:00Z", "n": 10**41}]},
    {"https://name": 1, "`--` /*": [[1, 2.5], []]},
]


def infer(stack: Stack, *samples: Any, status: int = 200) -> dict[str, Any]:
    texts = [sample if isinstance(sample, str) else json.dumps(sample) for sample in samples]
    answer = stack.http.post("/projects/default/resources/infer", json={"kind": "json", "samples": texts})
    assert answer.status_code == status, answer.text
    return answer.json()


def strictly_read(stack: Stack, folder: Path, found: dict[str, Any], *samples: Any) -> list[list[Any]]:
    folder.mkdir()
    (folder / "rows.json").write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    options = {**found["options"], "connector": "filesystem", "path": str(folder)}
    table = TableDefinition.model_validate({"columns": found["columns"], "options": options})

    async def ask() -> list[list[Any]]:
        gateway = RestGateway(stack.gateway_url)
        async with gateway.session({}) as session:
            await gateway.execute(session, table.ddl("t"))
            rows = await gateway.rows(session, "SELECT * FROM t")
        await gateway.http.close()
        return rows

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "values", [TIMES[:9], TIMES[9:], OTHERS, TIMES], ids=["with a T", "with a space", "others", "all"]
)
def test_every_definition_reads_its_samples(stack: Stack, tmp_path: Path, values: list[Any]):
    samples = [{f"f{number}": value for number, value in enumerate(values)}, {"f0": None}]
    found = infer(stack, *samples)
    assert found["read_back"], found["notes"]
    rows = strictly_read(stack, tmp_path / "samples", found, *samples)
    assert len(rows) == 2
    assert None not in rows[0], (found["columns"], rows)
    assert rows[1] == [None] * len(values)


def test_what_cannot_be_read_back_is_text_and_the_note_says_why(stack: Stack):
    found = infer(stack, {"day": "2026-02-30", "in": {"at": "2026-01-01T25:00:00", "n": 1}})
    assert [c["type"] for c in found["columns"]] == ["STRING", "ROW<`at` STRING, `n` BIGINT>"]
    assert found["notes"] == [
        'day: Flink does not read "2026-02-30" as DATE: STRING',
        'in.at: Flink does not read "2026-01-01T25:00:00" as TIMESTAMP(3): STRING',
    ]


def test_what_flink_reads_as_another_value_is_text(stack: Stack, tmp_path: Path):
    values = [0.5, "2026-02-30 10:00:00", "2026-01-01 24:00:00", "24:00:00"]
    samples = [
        {"n": 2**53 + 1, "kept": 2**53},
        {f"v{number}": value for number, value in enumerate(values)} | {"n": 0.5},
    ]
    found = infer(stack, *samples)
    assert found["read_back"]
    types = {c["name"]: c["type"] for c in found["columns"]}
    assert types == {"n": "STRING", "kept": "BIGINT", "v0": "DOUBLE", "v1": "STRING", "v2": "STRING", "v3": "STRING"}
    first, second = strictly_read(stack, tmp_path / "samples", found, *samples)
    assert first[:2] == [str(2**53 + 1), 2**53]
    assert second[2:] == values


def test_a_number_that_a_double_would_round_is_text_with_all_digits(stack: Stack):
    found = infer(stack, '{"a": 12345678901234567.25}')
    assert (found["columns"][0]["type"], found["read_back"]) == ("STRING", True)
    assert "would round" in found["notes"][0]


def test_what_flink_cannot_read_at_all_is_refused_with_its_words(stack: Stack):
    assert "NaN" in infer(stack, '{"a": NaN}', status=422)["detail"]


def test_a_list_of_objects_is_as_many_records(stack: Stack):
    found = infer(stack, [{"a": 1}, {"a": 2}])
    assert (found["records"], found["read_back"]) == (2, True)


def test_without_a_cluster_to_ask_a_note_says_so(stack: Stack):
    body = {"kind": "json", "samples": ['{"a": 1}'], "cluster": "nowhere"}
    found = stack.http.post("/projects/default/resources/infer", json=body).json()
    assert not found["read_back"]
    assert "nowhere" in found["notes"][0]
