"""What the API says becomes something to type."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.wording import REQUEST, as_commands

ROOT = Path(__file__).parents[2]
ROOMS = ("api", "core", "activities", "observation", "workflows", "sql", "temporal", "services", "store")
SAID = re.compile(r"(?:remedy=|message=|raise \w+\(|Conflict\(|InvalidInput\()(.{0,900})", re.DOTALL)


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("GET /jobs/{id}/restore-points lists them.", "penstock jobs restore-points JOB lists them."),
        (
            "Look at GET /jobs/{id}/versions/{number}/verdict. With `force` it is dropped.",
            "Look at penstock jobs verdict JOB --version VERSION. With --force it is dropped.",
        ),
        ("Start it first: POST /jobs/team:studio/commands.", "Start it first: penstock jobs start team:studio."),
        ("Use b, or change it: PATCH /clusters/b.x. With", "Use b, or change it: penstock clusters set b.x. With"),
        ("GET /jobs/default:a/commands/12 tells", "penstock jobs log default:a 12 tells"),
        ("Use a cluster (GET /clusters).", "Use a cluster (penstock clusters list)."),
        ("nothing to say of /jobs here", "nothing to say of /jobs here"),
    ],
)
def test_requests_become_commands(said: str, typed: str):
    assert as_commands(said) == typed


def test_every_request_that_the_api_names_to_a_person_has_a_command():
    """Strings in the code that name a request, but for docstrings and descriptions of fields."""
    named = {}
    for room in ROOMS:
        for path in (ROOT / room).rglob("*.py"):
            text = re.sub(r'"\s*f?"', "", path.read_text())  # of strings in several pieces
            for said in SAID.findall(text):
                for request in REQUEST.findall(said):
                    named[re.sub(r"\{[\w.]+\}", "x", request).rstrip(".")] = path
    assert len(named) >= 5
    left = {request: str(path) for request, path in named.items() if REQUEST.search(as_commands(request))}
    assert not left
