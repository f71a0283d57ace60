"""The rows of a query are Flink's: bounded queries, by a bare gateway and by previews, sessions, debug runs and jobs.

`PENSTOCK_SAME_TEXTS=1000` asks that many; each test run asks a few, `PENSTOCK_SAME_SEED` gives others.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from core.sql.script import parse
from tests.real.conftest import Stack
from tests.real.same.bare import Answer, Bare
from tests.real.same.rows import VALUES_OF, Change, RowMaker, change, shown, table, tables
from tests.real.sse import whole

MANY = int(os.environ.get("PENSTOCK_SAME_TEXTS", "40"))
SEED = os.environ.get("PENSTOCK_SAME_SEED", "1")
IN_A_QUERY = 25
NO_SINK = re.compile(r"INTERVAL|^NULL$|NULL\)|MAP\[(?:1|DATE)|MAP_FROM")
"""Values that a file in JSON has no type for: they are asked in a query of their own."""
DEBUGGED_AT_ONCE = 4
IN_A_JOB = 20
MODES = ("streaming", "batch")

KNOWN: list[tuple[str, str]] = []
"""Differences that are meant: a pattern of the text, and why."""


@dataclass(frozen=True)
class Asked:
    """A text with what the bare gateway says of it."""

    mode: str
    text: str
    flink: Answer

    @property
    def changes(self) -> list[Change]:
        kinds = {"INSERT": "+I", "UPDATE_BEFORE": "-U", "UPDATE_AFTER": "+U", "DELETE": "-D"}
        types = [column["logicalType"] for column in self.flink.columns]
        return [
            change(kinds[row["kind"]], [shown(v, t) for v, t in zip(row["fields"], types, strict=True)])
            for row in self.flink.rows
        ]


@dataclass
class Told:
    """What Penstock says of a text: its rows, or why there are none."""

    changes: list[Change] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    error: str | None = None


def told(stack: Stack, run: str, stream: str = "") -> Told:
    events = [(event, data) for event, data in whole(stack.http, run) if data.get("stream") in (stream, None)]
    answer = Told()
    for event, data in events:
        match event:
            case "columns":
                answer.columns = [column["name"] for column in data["columns"]]
            case "rows":
                answer.changes += [change(row["kind"], row["fields"]) for row in data["rows"]]
            case "ended" if data["state"] != "FINISHED":
                answer.error = f"{data['state']}: {data['why']}"
    return answer


class Asking:
    """Of one thread: a session of the bare gateway and one of ours for each mode, with the same tables."""

    def __init__(self, stack: Stack, made_by: str):
        self.stack = stack
        self.tables = made_by
        self._bare: dict[str, Bare] = {}
        self._ours: dict[str, str] = {}

    def close(self) -> None:
        for bare in self._bare.values():
            bare.close()
        for session in self._ours.values():
            self.stack.http.delete(f"/sql/sessions/{session}")

    def bare(self, mode: str) -> Bare:
        """A gateway forgets sessions that nothing is asked of for a minute."""
        if mode not in self._bare or "does not exist" in (self._bare[mode].ask("SET").error or ""):
            self._bare[mode] = Bare(self.stack.gateway_url, {"execution.runtime-mode": mode})
            for statement in self.tables.split(";\n"):
                assert (answer := self._bare[mode].ask(statement)).error is None, answer.error
        return self._bare[mode]

    def session(self, mode: str, text: str) -> Told:
        if mode not in self._ours:
            config = {"execution.runtime-mode": mode}
            self._ours[mode] = self.stack.http.post("/sql/sessions", json={"config": config}).json()["id"]
            for statement in self.tables.split(";\n"):
                self.session(mode, statement)
        url = f"/sql/sessions/{self._ours[mode]}/statements"
        answer = self.stack.http.post(url, json={"statement": text}, timeout=120)
        if answer.status_code != 200:
            return Told(error=answer.json()["detail"])
        run = answer.json()["preview"]
        return told(self.stack, run) if run else Told()

    def preview(self, mode: str, text: str) -> Told:
        body = {"sql": f"{self.tables};\n{text}", "config": {"execution.runtime-mode": mode}}
        answer = self.stack.http.post("/sql/previews", json=body, timeout=120)
        if answer.status_code != 201:
            return Told(error=answer.json()["detail"])
        return told(self.stack, answer.json()["id"])


def difference(asked: Asked, ours: Told) -> str | None:
    """How the rows of ours differ from Flink's; None when they do not."""
    if (asked.flink.error is None) != (ours.error is None):
        return f"Flink: {asked.flink.causes or 'takes it'}; ours: {ours.error or 'takes it'}"
    if asked.flink.error is not None:
        return None
    if ours.columns and ours.columns != [column["name"] for column in asked.flink.columns]:
        return f"Flink's columns: {[column['name'] for column in asked.flink.columns]}; ours: {ours.columns}"
    if asked.changes == ours.changes:
        return None
    is_ordered = asked.mode == "batch" and "ORDER BY" in asked.text
    if table(asked.changes) == table(ours.changes) and not is_ordered:
        return None  # two inputs may come in another order
    return f"Flink: {asked.changes[:6]}; ours: {ours.changes[:6]}"


class Differences:
    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.not_the_same_twice: list[str] = []
        self.found: list[str] = []

    def note(self, how: str, many: int, asked: Asked, ours: Told, bare: Bare | None = None) -> None:
        """`many` texts in one query."""
        self.asked[f"{how}, {'refused' if asked.flink.error else 'rows'}"] += many
        found = difference(asked, ours)
        if found is None or any(re.search(pattern, asked.text) for pattern, _ in KNOWN):
            return
        for _ in range(3 if bare is not None else 0):
            assert bare is not None
            again = Asked(asked.mode, asked.text, bare.ask(asked.text))
            if difference(again, ours) is None or difference(asked, Told(again.changes, error=again.flink.error)):
                self.not_the_same_twice.append(asked.text)
                return
        self.found.append(f"{how}, {asked.mode}: {asked.text!r}\n    {found}")

    def check(self) -> None:
        print(f"seed {SEED}: {dict(self.asked)}; Flink itself differs: {len(self.not_the_same_twice)}")
        for text in self.not_the_same_twice:
            print(f"  {text!r}")
        assert not self.found, f"{len(self.found)} differ (seed {SEED}):\n" + "\n".join(self.found[:40])


@pytest.fixture
def made_by(tmp_path: Path) -> str:
    return tables(tmp_path)


@pytest.fixture
def asking(stack: Stack, made_by: str) -> Iterator[Asking]:
    made = Asking(stack, made_by)
    yield made
    made.close()


def queries(asking: Asking, folder: Path, mode: str, many: int) -> Iterator[tuple[int, Asked]]:
    """Queries that Flink takes, each with how many texts are in it: a whole query, or many values."""
    made = RowMaker(f"rows {SEED} {mode}", (folder / "other").as_uri())

    def takes(text: str) -> bool:
        try:
            if len(parse(text).statements()) != 1:
                return False
        except InvalidInput:
            return False
        return asking.bare(mode).ask(f"EXPLAIN\n{text}").error is None

    def asked(text: str) -> Asked:
        return Asked(mode, text, asking.bare(mode).ask(text))

    def of_values(values: list[str]) -> Iterator[tuple[int, Asked]]:
        """A value at which the query fails as it runs hides the others: it is found by halves."""
        if not takes(text := made.of_values(values)):
            return
        one = asked(text)
        if one.flink.error is None or len(values) == 1:
            yield len(values), one
            return
        half = len(values) // 2
        yield from of_values(values[:half])
        yield from of_values(values[half:])

    while many > 0:
        if takes(text := made.text()):
            yield 1, asked(text)
            many -= 1
        values = [made.value(VALUES_OF) for _ in range(min(many, IN_A_QUERY))]
        values = [value for value in values if takes(f"SELECT {value} FROM {VALUES_OF}")]
        many -= len(values)
        for some in ([v for v in values if not NO_SINK.search(v)], [v for v in values if NO_SINK.search(v)]):
            if some:
                yield from of_values(some)


def test_rows_are_flinks(stack: Stack, asking: Asking, made_by: str, tmp_path: Path):
    differences = Differences()
    for mode in MODES:
        kept: list[Asked] = []
        for number, (many, asked) in enumerate(queries(asking, tmp_path, mode, MANY // len(MODES))):
            how = ("preview", "session")[number // 2 % 2]
            differences.note(how, many, asked, getattr(asking, how)(mode, asked.text), asking.bare(mode))
            if asked.flink.error is None and asked.flink.rows:
                kept.append(asked)
        writable = [sunk for asked in kept if (sunk := Sunk.of(asked, asking.bare(mode))) is not None]
        for at in range(0, len(writable), DEBUGGED_AT_ONCE):
            debugged(stack, made_by, writable[at : at + DEBUGGED_AT_ONCE], differences)
        for at in range(0, len(writable), IN_A_JOB):
            some = writable[at : at + IN_A_JOB]
            run_as_job(stack, asking.bare(mode), made_by, some, tmp_path / f"written-{mode}-{at}", differences)
    differences.check()


# Into sinks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sunk:
    """A text that can be written into a sink of `columns`, which have its types."""

    asked: Asked
    columns: str

    @classmethod
    def of(cls, asked: Asked, bare: Bare) -> Sunk | None:
        """None of what has a type that no sink takes, or gives changes that a file does not take."""
        names = ", ".join(f"c{at}" for at in range(len(asked.flink.columns)))
        if bare.ask(f"CREATE TEMPORARY VIEW sunk ({names}) AS\n{asked.text}").error is not None:
            return None
        described = bare.ask("DESCRIBE sunk").rows
        bare.ask("DROP TEMPORARY VIEW sunk")
        made = cls(asked, ", ".join(f"{row['fields'][0]} {row['fields'][1]}" for row in described))
        if bare.ask(made.sink("sunk", "/dev/null")).error is not None:
            return None
        takes = bare.ask(f"EXPLAIN {made.insert('sunk')}").error is None
        bare.ask("DROP TEMPORARY TABLE sunk")
        return made if takes else None

    def sink(self, name: str, folder: str | None) -> str:
        options = f"'filesystem', 'format' = 'json', 'path' = '{folder}'" if folder else "'print'"
        return f"CREATE TEMPORARY TABLE {name} ({self.columns}) WITH ('connector' = {options})"

    def insert(self, name: str) -> str:
        return f"INSERT INTO {name}\n{self.asked.text}\n"


def debugged(stack: Stack, made_by: str, many: list[Sunk], differences: Differences) -> None:
    script = [made_by, *(one.sink(f"s{at}", None) for at, one in enumerate(many))]
    script += [one.insert(f"s{at}") for at, one in enumerate(many)]
    config = {"execution.runtime-mode": many[0].asked.mode}
    answer = stack.http.post("/sql/debug", json={"sql": ";\n".join(script), "config": config}, timeout=300)
    assert answer.status_code == 201, (answer.text, script)
    streams: list[dict[str, Any]] = answer.json()["streams"]
    for one, stream in zip(many, streams, strict=True):
        ours = told(stack, answer.json()["id"], stream["stream"])
        ours.columns = []  # they are the sink's
        differences.note("debug", 1, one.asked, ours)


def run_as_job(
    stack: Stack, bare: Bare, made_by: str, many: list[Sunk], folder: Path, differences: Differences
) -> None:
    """All of them in one Flink job, by the bare gateway and by a job of ours, into files. One that Flink itself fails to
    write is found by halves, and left out."""
    places = {who: folder / who for who in ("flink", "ours")}

    def sinks(who: str) -> list[str]:
        return [one.sink(f"s{at}", (places[who] / str(at)).as_uri()) for at, one in enumerate(many)]

    inserts = ";\n".join(one.insert(f"s{at}") for at, one in enumerate(many))
    for statement in sinks("flink"):
        assert (made := bare.ask(statement)).error is None, made.error
    ran = bare.ask(f"EXECUTE STATEMENT SET BEGIN\n{inserts};\nEND")
    assert ran.error is None, ran.error
    for at in range(len(many)):
        bare.ask(f"DROP TEMPORARY TABLE s{at}")
    if ended(stack, ran.rows[0]["fields"][0]) != "FINISHED":
        differences.asked["job, failed in Flink"] += len(many) == 1
        half = len(many) // 2
        for name, some in (("a", many[:half]), ("b", many[half:])):
            if len(many) > 1:
                run_as_job(stack, bare, made_by, some, folder / name, differences)
        return
    script = ";\n".join([f"SET 'execution.runtime-mode' = '{many[0].asked.mode}'", made_by, *sinks("ours"), inserts])
    job = stack.create(script)
    assert stack.send(job, "start").status_code == 202
    stack.state(job, "FINISHED")
    for at, one in enumerate(many):
        flink, ours = (sorted(written(places[who] / str(at))) for who in ("flink", "ours"))
        differences.asked["job, rows"] += 1
        if flink != ours:
            differences.found.append(f"job, {one.asked.mode}: {one.asked.text!r}\n    Flink: {flink}; ours: {ours}")


def ended(stack: Stack, flink_job: str) -> str:
    """How a Flink job has ended."""

    def look() -> str | None:
        state: str = stack.flink.get(f"/jobs/{flink_job}").json()["state"]
        return state if state in ("FINISHED", "FAILED") else None

    state: str = stack.until(look, "the bare job has ended")
    return state


def written(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_"))]
    return [line for path in files for line in path.read_text().splitlines()]
