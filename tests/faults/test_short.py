"""The short form of `make faults`: some boundaries of each command, some faults at random, and all invariants."""

from __future__ import annotations

import pytest

from tests.faults.rounds import Rounds
from tests.faults.run import Run

pytestmark = pytest.mark.real

BOUNDARIES = [
    ("start", "attempt.written"),
    ("start", "engine.submit.before"),
    ("restart", "gather.end"),
    ("restart", "engine.submit.after"),
    ("resubmit", "stop_with_savepoint.end"),
    ("pause", "engine.stop_with_savepoint.before"),
    ("kill", "engine.cancel.after"),
    ("savepoint", "api.written"),
    ("restart", "record.begin"),
]


def test_faults(run: Run):
    run.at_boundaries(list(BOUNDARIES))
    rounds = Rounds(run)
    faults = {
        "changed-sql": "delay",
        "delete-race": "kill",
        "fails-itself": "delay",
        "named-point": "temporal-wiped",
        "adopt": "disk-full" if run.world.disks else "cut",
    }
    for verb, fault in faults.items():
        rounds.play_one(verb, [fault])
    run.view()
    run.output()
    run.clean()
    report = run.report()
    assert report["broken"] == []
    assert len(report["boundaries"]) >= len(BOUNDARIES)
    assert report["looks_at_the_clusters"] > 100
    assert report["invariants"]["one attempt alive"] > 0
    assert report["invariants"]["no second writer"] > 100
    assert report["invariants"]["state never swapped"] > 100
    assert set(report["verbs"]) >= set(faults)
