"""Tables, and what programs read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import typer
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cli import output
from cli.output import Format, ListColumn, as_yaml, field, show_list
from cli.tables import Shape, fitted
from tests.whole.penstock import Penstock, sql

ITEMS = [
    {"name": "a[b]", "state": "RUNNING", "sql": "SELECT 1;\nSELECT 2;"},
    {"name": "b", "state": "FAILED", "sql": ""},
]
COLUMNS = [
    ListColumn("NAME", field("name")),
    ListColumn("STATE", field("state")),
    ListColumn("SQL", field("sql"), wide=True),
]


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(width=1 << 20, record=True)
    monkeypatch.setattr(output, "out", console)
    return console


def shown(console: Console, **more: Any) -> str:
    with console.capture() as captured:
        show_list(ITEMS, COLUMNS, name=lambda i: str(i["name"]), empty="None.", **more)
    return captured.get()


def test_a_table_leaves_out_what_is_wide(console: Console):
    text = shown(console)
    assert text.split("\n")[0].split() == ["NAME", "STATE"]
    assert "a[b]" in text
    assert shown(console, output=Format.WIDE).split("\n")[0].split() == ["NAME", "STATE", "SQL"]


def test_columns_are_chosen_by_name(console: Console):
    assert shown(console, chosen="sql, NAME").split("\n")[0].split() == ["SQL", "NAME"]


def test_a_column_that_is_not_there_names_those_that_are(console: Console, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(typer.Exit) as ended:
        shown(console, chosen="nmae")
    assert ended.value.exit_code == 2


def test_what_programs_read(console: Console):
    assert json.loads(shown(console, output=Format.JSON)) == ITEMS
    assert json.loads(shown(console, as_json=True)) == ITEMS
    assert yaml.safe_load(shown(console, output=Format.YAML)) == ITEMS
    assert shown(console, output=Format.NAME).splitlines() == ["a[b]", "b"]


def test_texts_of_several_lines_are_blocks():
    assert as_yaml({"sql": "SELECT 1;\nSELECT 2;\n", "type": "sql"}) == "sql: |\n  SELECT 1;\n  SELECT 2;\ntype: sql\n"


class TestANarrowTerminal:
    SHAPES = (
        Shape("JOB"),
        Shape("STATE"),
        Shape("TYPE", rank=2),
        Shape("SEEN", rank=5),
        Shape("REASON", rank=1, folds=True),
    )

    @pytest.mark.parametrize(
        ("room", "widths", "shown"),
        [
            (200, [48, 7, 3, 10, 80], {0: 48, 1: 7, 2: 4, 3: 10, 4: 80}),
            (120, [48, 7, 3, 10, 80], {0: 48, 1: 7, 2: 4, 3: 10, 4: 43}),
            (80, [48, 7, 3, 10, 80], {0: 48, 1: 7, 2: 4, 4: 15}),
            (80, [48, 13, 15, 10, 80], {0: 48, 1: 13, 4: 15}),
            (60, [48, 7, 3, 10, 80], {0: 48, 1: 7}),
            (40, [48, 7, 3, 10, 80], {0: 31, 1: 7}),
            (80, [48, 7, 3, 10, 0], {0: 48, 1: 7, 2: 4, 3: 10}),
        ],
    )
    def test_what_matters_least_is_left_out_first(self, room: int, widths: list[int], shown: dict[int, int]):
        assert fitted(self.SHAPES, widths, room) == shown

    @given(
        st.integers(10, 200),
        st.lists(st.tuples(st.integers(0, 90), st.integers(0, 5), st.booleans()), min_size=1, max_size=9),
    )
    def test_it_fits_and_nothing_essential_is_left_out(self, room: int, columns: list[tuple[int, int, bool]]):
        shapes = [Shape("T", rank, folds) for _, rank, folds in columns]
        shown = fitted(shapes, [width for width, _, _ in columns], room)
        if 3 * len(shown) - 2 <= room:
            assert sum(shown.values()) + 2 * (len(shown) - 1) <= room
        assert {n for n, shape in enumerate(shapes) if not shape.rank} <= shown.keys()
        left = [shape.rank for n, shape in enumerate(shapes) if n not in shown and columns[n][0]]
        kept = [shape.rank for n, shape in enumerate(shapes) if n in shown and columns[n][0]]
        assert not left or not kept or max(kept) <= min(left)

    def test_jobs_with_long_names(self, penstock: Penstock):
        for state, spec in (("RUNNING", None), ("DEPLOY_FAILED", sql("nowhere", "nothing"))):
            name = f"{state.lower():-<40}".replace("_", "-").rstrip("-").ljust(40, "x")
            penstock.create(name, spec)
            penstock.do(name, "start")
            for columns, titles in {
                60: "JOB STATE",
                80: "JOB STATE TYPE" if spec is None else "JOB STATE REASON",
                120: "JOB STATE TYPE CLUSTER VERSION SEEN REASON",
            }.items():
                done = penstock.cli("jobs", "list", "--text", name, columns=columns)
                head, *rows = re.sub(r"\x1b\[[0-9;]*m", "", done.out).splitlines()
                assert max(map(len, [head, *rows])) <= columns
                assert (head.split()[: len(titles.split())], state in rows[0]) == (titles.split(), True)
                assert ("No room for " in "".join(rows)) == (columns < 120), rows
            wide = penstock.cli("jobs", "list", "--text", name, "-o", "wide", columns=60).out
            assert f"default:{name}" in wide
            assert penstock.job(name)["id"] in wide

    def test_attempts_and_points(self, penstock: Penstock):
        penstock.running("narrow")
        penstock.done("narrow", "savepoint")
        id_ = penstock.job("narrow")["current_attempt"]["flink_job_id"]
        (point, *_) = penstock.ok("GET", "/jobs/default:narrow/restore-points")["items"]
        attempts = penstock.cli("jobs", "attempts", "narrow", columns=80).out
        assert re.search(r"NUMBER.*STATE.*FLINK JOB.*VERSION.*STARTED.*CAUSE", attempts)
        assert (f"{id_[:8]}…" in attempts, id_ in attempts) == (True, False)
        assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", attempts)
        assert id_ in penstock.cli("jobs", "attempts", "narrow", "-o", "wide", columns=80).out
        assert id_ in penstock.cli("jobs", "attempts", "narrow").out
        points = re.sub(r"\x1b\[[0-9;]*m", "", penstock.cli("jobs", "restore-points", "narrow", columns=80).out)
        assert re.search(r"ID.*KIND.*COMPLETED.*PATH", points)
        assert point["id"] in points
        at = points.index("PATH")
        rows = points.splitlines()[1 : 1 + -(-len(point["path"]) // (80 - at))]
        assert "".join(row[at:].strip() for row in rows) == point["path"]

    def test_a_text_is_cut_on_a_terminal_only(self, monkeypatch: pytest.MonkeyPatch):
        columns = [ListColumn("WHAT", lambda _: "x" * 50, most=10)]
        for terminal, form, length in ((True, Format.TABLE, 10), (True, Format.WIDE, 50), (False, Format.TABLE, 50)):
            console = Console(force_terminal=terminal, width=30)
            monkeypatch.setattr(output, "out", console)
            with console.capture() as captured:
                show_list([{}], columns, output=form, name=str, empty="")
            assert len(captured.get().splitlines()[1]) == length
