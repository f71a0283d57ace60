"""`--wait`: what is shown of a command while it is carried out, and of its end."""

from __future__ import annotations

from tests.whole.penstock import Penstock, sql

FULL = "The savepoint failed; the job runs on: IOException: No space left on device"
REMEDY = "Without a savepoint: `kill` keeps the retained checkpoints"


def full(penstock: Penstock, name: str) -> None:
    penstock.running(name, sql(name.replace("-", "_"), "id"))
    penstock.world.disk.full = True


def test_a_reason_is_read_once_where_both_streams_go_to_the_same_place(penstock: Penstock):
    full(penstock, "no-space")
    together = penstock.cli("jobs", "savepoint", "no-space", "--wait", together=True)
    apart = penstock.cli("jobs", "savepoint", "no-space", "--wait")
    penstock.world.disk.full = False
    assert (together.code, apart.code) == (1, 1)
    assert (together.out.count(FULL), together.out.count(REMEDY)) == (1, 1), together
    assert together.out.splitlines()[-1].startswith(REMEDY)
    assert [said.count(FULL) for said in (apart.out, apart.err)] == [1, 1], "each has it alone"


def test_what_was_not_shown_is_told(penstock: Penstock):
    full(penstock, "unseen")
    done = penstock.cli("jobs", "savepoint", "unseen", "--wait", "--json", together=True)
    penstock.world.disk.full = False
    assert (done.code, done.out.count(FULL)) == (1, 1), done
