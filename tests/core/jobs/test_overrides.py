"""What a program has set in the place of Penstock is seen by what Flink really did."""

from __future__ import annotations

import pytest

from core.jobs.overrides import overridden

OWN = "file:///s/j/checkpoints/aaaa"


@pytest.mark.parametrize(
    ("asked", "really", "keeps", "says"),
    [
        (None, None, True, None),
        ("file:///s/p", "file:/s/p/", True, None),
        (None, "file:///other/savepoint-1", True, "start empty"),
        ("file:///s/p", "file:///other/savepoint-1", True, "restored it from file:///other/savepoint-1"),
        ("file:///s/p", f"{OWN}/chk-7", True, None),  # Flink's own restart, before anybody looked
        (None, f"{OWN}bbbb/chk-7", True, "start empty"),
        (None, None, False, "delete its checkpoints"),
        (None, None, None, None),  # it takes none
        ("file:///s/p", None, True, None),  # Flink does not tell
    ],
)
def test_what_flink_did_is_what_was_asked_for(asked, really, keeps, says):
    why = overridden(asked, really, keeps, own_folder=OWN, folder_is_there=None)
    assert (why is None) if says is None else (says in str(why))


@pytest.mark.parametrize(("there", "says"), [(True, None), (None, None), (False, "execution.checkpointing.dir")])
def test_where_its_checkpoints_go_is_where_they_were_to_go(there, says):
    why = overridden("file:///s/p", "file:///s/p", True, own_folder=OWN, folder_is_there=there)
    assert (why is None) if says is None else (says in str(why))


@pytest.mark.parametrize(
    ("really", "claimed", "says"),
    [
        ("file:///s/p", False, None),
        ("file:///s/p", True, "execution.state-recovery.claim-mode"),
        (f"{OWN}/chk-7", True, None),  # its own checkpoint, which Flink's own restart goes back to
        (None, True, None),
    ],
)
def test_a_restore_point_is_not_given_away(really, claimed, says):
    why = overridden("file:///s/p", really, True, own_folder=OWN, folder_is_there=True, claimed=claimed)
    assert (why is None) if says is None else (says in str(why))


@pytest.mark.parametrize(("asked", "says"), [("file:///s/p", "execution.runtime-mode"), (None, None)])
def test_what_runs_in_batch_mode_goes_on_from_nothing(asked, says):
    why = overridden(asked, None, None, own_folder=OWN, folder_is_there=None, restores=False)
    assert (why is None) if says is None else (says in str(why))
