"""`--wait`: what is shown of a command while it is carried out, and of its end."""

from __future__ import annotations

import pytest

from cli.client import Api
from tests.whole.penstock import STATE, VERSION, Penstock, sql

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


def test_ctrl_c_ends_the_looking_and_not_the_command(penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
    penstock.create("looked-at")

    def interrupted(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(Api, "events", interrupted)
    done = penstock.cli("jobs", "start", "looked-at", "--wait", columns=120)
    monkeypatch.undo()
    assert done.code == 130, done
    follow = "penstock jobs log default:looked-at 1 --follow"
    assert done.err == f"\nCommand 1 (start) of default:looked-at goes on. Follow it again with: {follow}\n"
    assert penstock.ended("looked-at", 1)["state"] == "SUCCEEDED"
    done = penstock.cli(*follow.split()[1:])
    assert (done.code, "statement 1" in done.out) == (0, True), done


@pytest.fixture(scope="module")
def stopped(penstock: Penstock) -> None:
    """A session cluster that was stopped, and a job that is to run on it."""
    machine = {"name": "machine", "kind": "processes", "flink_version": VERSION, "state_dir": STATE}
    penstock.ok("POST", "/clusters", json=machine)
    penstock.running("studio", {"type": "session-cluster"}, cluster="machine")
    penstock.create("on-studio", cluster="studio")
    penstock.done("studio", "kill")


@pytest.mark.usefixtures("stopped")
class TestAStoppedSessionCluster:
    """A person is offered to start it first; a script is told."""

    OFFER = "Start the cluster now, and this when it is up?"

    def test_a_script_is_not_asked(self, penstock: Penstock):
        done = penstock.cli("jobs", "start", "on-studio")
        assert (done.code, self.OFFER in done.out, "penstock jobs start default:studio" in done.err) == (5, False, True)

    def test_a_person_may_decline(self, penstock: Penstock):
        done = penstock.cli("jobs", "start", "on-studio", text="n\n", columns=120)
        assert (done.code, self.OFFER in done.out) == (5, True), done
        assert (penstock.state("studio"), penstock.state("on-studio")) == ("KILLED", "CREATED")

    def test_ctrl_c_while_it_starts(self, penstock: Penstock, monkeypatch: pytest.MonkeyPatch):
        def interrupted(*_: object) -> object:
            raise KeyboardInterrupt

        monkeypatch.setattr(Api, "events", interrupted)
        done = penstock.cli("jobs", "start", "on-studio", text="y\n", columns=120)
        assert done.code == 130, done
        assert "default:studio goes on starting; default:on-studio was not started." in done.err
        penstock.until(lambda: penstock.state("studio") == "RUNNING")
        assert penstock.state("on-studio") == "CREATED"
        penstock.done("studio", "kill")

    def test_a_person_accepts(self, penstock: Penstock):
        done = penstock.cli("jobs", "start", "on-studio", "--wait", text="\n", columns=120)
        assert (done.code, self.OFFER in done.out) == (0, True), done
        assert (penstock.state("studio"), penstock.state("on-studio")) == ("RUNNING", "RUNNING")
