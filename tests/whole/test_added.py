"""What is said of a version that was added: each command that is offered works, and does what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.output import as_yaml
from tests.whole.penstock import Penstock, sql


def offered(penstock: Penstock, name: str, spec: dict[str, Any]) -> list[list[str]]:
    """Adds a version by the command line; the commands that it offers."""
    done = penstock.cli("jobs", "add-version", name, "-f", "-", text=as_yaml(spec))
    assert done.code == 0, done
    lines = [line.partition(": penstock ") for line in done.out.splitlines() if ": penstock " in line]
    assert [line[0] for line in lines] == ["Run it with", "Or with"][: len(lines)]
    return [line[2].partition("#")[0].split() for line in lines]


def spec_of(case: str, name: str) -> dict[str, Any]:
    changed = sql(name, "SUM(amt)")
    return {
        "fits": {**sql(name), "parallelism": 2},
        "changed": changed,
        "unknown": {**changed, "config": {"table.exec.uid.generation": "DISABLED"}},
    }[case]


@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("fits", [[]]),
        ("changed", [["--force"], None]),
        ("unknown", [["--accept-unknown-state"], None]),
    ],
)
def test_what_is_offered_works(penstock: Penstock, case: str, options: list[list[str] | None]):
    for number, accepted in enumerate(options):
        name = f"{case}_{number}"
        penstock.running(name, sql(name))
        penstock.wait(15)
        lines = offered(penstock, name, spec_of(case, name))
        assert lines == [
            ["jobs", "resubmit", name, "--restore", *(["none"] if way is None else ["newest", *way]), "--wait"]
            for way in options
        ]
        done = penstock.cli(*lines[number])
        assert done.code == 0, (accepted, done)
        assert penstock.job(name)["version"] == 2


def test_one_with_nothing_to_lose(penstock: Penstock):
    penstock.create("never-ran", sql("never_ran"))
    ((*words,),) = offered(penstock, "never-ran", sql("never_ran", "SUM(amt)"))
    assert words == ["jobs", "start", "never-ran", "--wait"]
    assert penstock.cli(*words).code == 0


def test_one_that_flink_refuses(penstock: Penstock, tmp_path: Path):
    penstock.running("refused", sql("refused"))
    penstock.wait(15)
    file = tmp_path / "two.sql"
    file.write_text(sql("refused", "nothing")["sql"])
    refuses = penstock.world.gateways["flink-a"].refuses
    refuses["EXPLAIN"] = "no such function"
    done = penstock.cli("jobs", "add-version", "refused", "-f", str(file))
    refuses.clear()
    assert done.code == 2, done
    assert done.out.splitlines() == ["Version 2 was added.", "Version 2 does not run as it is."]
    assert "Flink refuses version 2" in done.err


def test_one_that_has_no_plan_takes_no_state_of_one(penstock: Penstock):
    """It was UNKNOWN: accepted, the job was stopped, and its next attempt refused."""
    penstock.running("planless", sql("planless"))
    penstock.wait(15)
    (words,) = offered(penstock, "planless", sql("planless", "nothing"))
    body = {"kind": "resubmit", "restore": {"mode": "newest", "accept_unknown_state": True}}
    penstock.no("POST", "/jobs/default:planless/commands", 422, "state_of_a_plan", json=body)
    assert penstock.state("planless") == "RUNNING"
    assert words[-3:] == ["--restore", "none", "--wait"]
