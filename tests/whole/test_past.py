"""Years later. In a world of its own, where time is let go on for an hour and one job alone is watched in it."""

from __future__ import annotations

from tests.whole.penstock import Penstock


def test_the_past_is_forgotten(penstock: Penstock):
    penstock.running("old")
    for _ in range(3):
        penstock.done("old", "savepoint")
    world = penstock.world
    lines = "SELECT COUNT(*) FROM log_lines"
    assert world.row(lines)[0] > 0
    years = 3 * 366 * 86400
    for process in [world.api.process, world.temporal.process, *(h.process for h in world.workers.values())]:
        process.offset += years
    world.clock.offset += years
    for instance in world.temporal.running.values():
        instance.process.offset += years
    penstock.wait(3700)
    assert penstock.state("old") in ("RUNNING", "RESTARTING", "BLOCKED")
    assert world.row(lines)[0] == 0
