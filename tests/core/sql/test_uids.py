"""Whether the ids of a compiled plan say which state goes to which operator."""

from __future__ import annotations

import pytest

from core.sql.plan import ids_tell

GENERATION, FORMAT = "table.exec.uid.generation", "table.exec.uid.format"


@pytest.mark.parametrize(
    ("made_with", "now", "tells"),
    [
        ({}, {}, True),
        ({GENERATION: "PLAN_ONLY"}, {GENERATION: "always"}, True),
        ({FORMAT: "<id>_<transformation>"}, {}, True),
        ({FORMAT: "<id>_<type>"}, {FORMAT: "<id>_<type>"}, True),
        ({FORMAT: "<id>_<type>"}, {}, False),
        ({}, {GENERATION: "disabled"}, False),
        ({GENERATION: "DISABLED"}, {}, False),
        ({FORMAT: "<type>_<version>"}, {FORMAT: "<type>_<version>"}, False),
    ],
)
def test_of_two_configurations(made_with: dict[str, str], now: dict[str, str], tells: bool):
    assert ids_tell(made_with, now) is tells
