"""The last lines of a stdout, from pieces of any size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.output import MAX_LINE, LastLines

PRINTED = "start\n+I[1]\nmine> +I[2]\nmine:3> -U[ü]\r\nminer> +I[4]\nnot mine> +I[5]\nmine> last"


def last(text: bytes, many: int, *identifiers: str, piece: int = 7) -> LastLines:
    made = LastLines(many, identifiers)
    for at in range(0, len(text), piece):
        made.feed(text[at : at + piece])
    return made


@pytest.mark.parametrize(
    ("identifiers", "lines"),
    [
        ((), ["miner> +I[4]", "not mine> +I[5]", "mine> last"]),
        (("mine",), ["mine> +I[2]", "mine:3> -U[ü]", "mine> last"]),
        (("miner", "not mine"), ["miner> +I[4]", "not mine> +I[5]"]),
        (("m.ne", "mine:3> "), []),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_rows_are_chosen_by_their_identifiers(identifiers: tuple[str, ...], lines: list[str], piece: int):
    assert last(PRINTED.encode(), 3, *identifiers, piece=piece).lines() == lines


def test_it_says_how_many_it_has_left_out():
    made = last(PRINTED.encode(), 1, "mine")
    assert made.lines() == ["mine> last"]
    assert made.seen == 3


def test_a_line_without_an_end_takes_no_room():
    made = LastLines(2)
    for _ in range(50):
        made.feed(b"x" * 1000)
        assert len(made._rest) <= MAX_LINE
    made.feed(b"\ny\n")
    assert made.lines() == ["x" * MAX_LINE + "...", "y"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=5), max_size=9), st.data())
def test_pieces_make_no_difference(texts: list[str], data: st.DataObject):
    text = "".join(f"{t}\n" for t in texts).encode()
    piece = data.draw(st.integers(1, 9))
    assert last(text, 100, piece=piece).lines() == texts
