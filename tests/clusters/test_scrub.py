"""No value of a secret is shown, however much of it an answer of Flink's has."""

from __future__ import annotations

import pytest

from clusters.sql import scrub

KEY = "-----BEGIN KEY-----\n  MIIEvQ'IBADAN\n      \nabc\n-----END KEY-----"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Could not parse value '{KEY}'", "Could not parse value '******'"),
        ("as SQL has it: MIIEvQ''IBADAN", "as SQL has it: ******"),
        ("only its first line: -----BEGIN KEY-----", "only its first line: ******"),
        ("  MIIEvQ'IBADAN", "  ******"),
        ("abc is      a word of anything", "abc is      a word of anything"),
    ],
)
def test_of_a_secret_of_several_lines(text: str, shown: str):
    """Found by an attack: an answer that was told line by line, or of which the first line was a reason, showed them."""
    assert scrub(text, [KEY]) == shown


def test_of_a_short_one_of_one_line():
    assert scrub("x=abc", ["abc", ""]) == "x=******"
