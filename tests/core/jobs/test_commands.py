"""A command as one model: what it reads of before, and which fields go with which kind."""

from __future__ import annotations

import pytest

from core.jobs.commands import CommandFields, CommandRequest
from core.jobs.states import CommandKind

STARTS = {"start", "restart", "resubmit"}
GIVEN = {
    "restore": ({"mode": "newest"}, STARTS),
    "version": (1, STARTS | {"adopt"}),
    "rollback_within": (60, {"resubmit"}),
    "force": (True, STARTS | {"kill"}),
    "flink_job_id": ("f" * 32, {"adopt"}),
    "reason": ("because", set(CommandKind)),
}


def test_every_field_is_in_the_table():
    assert {*GIVEN, "kind"} == set(CommandFields.model_fields)


@pytest.mark.parametrize("kind", CommandKind)
@pytest.mark.parametrize("field", GIVEN)
def test_a_field_goes_with_its_kinds_only(kind: CommandKind, field: str):
    value, kinds = GIVEN[field]
    command = CommandFields.model_validate({"kind": kind, field: value})
    assert list(command.without_meaning()) == ([] if kind in kinds else [field])


def test_what_is_not_given_is_not_unused():
    assert not list(CommandFields.model_validate({"kind": "pause", "force": False, "version": None}).without_meaning())


def test_a_payload_of_before_is_read():
    old = {"id": "c#1", "number": 1, "kind": "adopt", "restore": None, "version": None, "flink_job_id": "c" * 32}
    command = CommandRequest.model_validate(old)
    assert (command.requested_by, command.reason, command.force, command.job_id) == ("local", None, False, None)


def test_a_payload_of_a_later_one_is_read():
    later = {"id": "c#1", "number": 1, "kind": "start", "requested_by": "x", "not_yet": True}
    assert CommandRequest.model_validate(later).requested_by == "x"
