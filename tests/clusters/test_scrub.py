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


@pytest.mark.parametrize(
    "text",
    ["S3cr3t%26/%2B%3D", "S3cr3t%26%2F%2B%3D", "UzNjcjN0Ji8rPQ==", "UzNjcjN0Ji8rPQ", "S3cr3t&/+="],
)
def test_as_urls_and_base64_write_it(text: str):
    """Found by an attack: a program that printed its connection string showed the password in it."""
    assert scrub(f"jdbc:x?password={text}&a=b", ["S3cr3t&/+="]) == "jdbc:x?password=******&a=b"


def test_as_json_writes_it():
    assert scrub(r'{"k": "a\"b\nc d"}', ['a"b\nc d']) == '{"k": "******"}'


def test_of_a_short_one_of_one_line():
    assert scrub("x=abc", ["abc", ""]) == "x=******"
