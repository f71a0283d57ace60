"""Tables, and what programs read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer
import yaml
from rich.console import Console

from cli import output
from cli.output import Column, Format, as_yaml, field, show_list

ITEMS = [
    {"name": "a[b]", "state": "RUNNING", "sql": "SELECT 1;\nSELECT 2;"},
    {"name": "b", "state": "FAILED", "sql": ""},
]
COLUMNS = [Column("NAME", field("name")), Column("STATE", field("state")), Column("SQL", field("sql"), wide=True)]


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


def test_a_reason_is_cut_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch):
    for terminal, length in ((True, 10), (False, 50)):
        monkeypatch.setattr(output, "out", Console(force_terminal=terminal))
        assert len(output.short("x" * 50 + "\nmore", 10)) == length
