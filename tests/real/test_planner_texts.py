"""The SQL of Flink's own planner tests, some 6,000 texts that we did not write: what Penstock says of each is what a
bare gateway says.

Each test run asks some of them, `PENSTOCK_SAME_SEED` gives others; `PENSTOCK_SAME_TEXTS=9999` asks all.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from random import Random

import pytest

from core.errors import InvalidInput
from core.sql.layout import formatted
from core.sql.script import parse
from core.sql.tokens import tokens
from stack.parts import StackParts
from tests.real.conftest import Stack
from tests.real.same import planner
from tests.real.same.differences import difference, explained, newlines, session, validated

MANY = int(os.environ.get("PENSTOCK_SAME_TEXTS", "150"))
SEED = os.environ.get("PENSTOCK_SAME_SEED", "1")
BATCH = 25

KNOWN: list[tuple[str, str]] = []
"""Differences that are meant: a pattern of the text, and why."""


@dataclass
class Texts:
    """By what they are for us."""

    planned: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    more_than_one: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def texts(parts: StackParts) -> Texts:
    found = Texts()
    for text in planner.texts(parts):
        if re.match(r"(?i)(EXECUTE\s+)?STATEMENT\s+SET|BEGIN\b", text):  # it begins something: what follows is inside
            continue
        try:
            script = parse(text)
        except InvalidInput:  # something is not closed
            found.more_than_one.append(text)
            continue
        if len(script.statements()) != 1:
            found.more_than_one.append(text)
        elif script.queries or script.inserts:
            found.planned.append(text)
        elif script.setup:
            found.setup.append(text)
    assert len(found.planned) > 4000
    assert len(found.setup) > 500
    return found


def some(texts: list[str], many: int) -> list[str]:
    return Random(SEED).sample(texts, min(many, len(texts)))


def differences_in(found: list[tuple[str, str]], asked: int) -> str:
    found = [(text, how) for text, how in found if not any(re.search(pattern, text) for pattern, _ in KNOWN)]
    told = "\n".join(f"{text!r}\n    {how}" for text, how in found[:40])
    return f"{len(found)} of {asked} (seed {SEED}):\n{told}" if found else ""


def test_queries_and_inserts(stack: Stack, texts: Texts):
    asked, found, taken = some(texts.planned, MANY), [], 0
    for at in range(0, len(asked), BATCH):
        batch = asked[at : at + BATCH]
        place = newlines(planner.TABLES) + 2
        with session(stack, planner.TABLES) as bare:
            for text, errors in zip(batch, validated(stack, planner.TABLES, batch), strict=True):
                flink = explained(bare, text)
                taken += flink.error is None
                if how := difference(flink, errors, place):
                    found.append((text, how))
                place += newlines(text) + 2
    assert taken > len(asked) / 5, "the tables are no longer those that the texts are about"
    assert not (told := differences_in(found, len(asked))), told


def test_what_sets_a_session_up(stack: Stack, texts: Texts):
    asked, found = some(texts.setup, MANY // 4), []
    tables = ";\n".join(planner.TABLES.split(";\n")[:3])
    for text in asked:
        with session(stack, tables) as bare:
            flink = bare.ask(text)
        [errors] = validated(stack, tables, [text])
        if how := difference(flink, errors, newlines(tables) + 2, shift=0):
            found.append((text, how))
    assert not (told := differences_in(found, len(asked))), told


def test_what_is_more_than_one_statement_for_us_is_none_for_flink(stack: Stack, texts: Texts):
    assert texts.more_than_one
    with session(stack, planner.TABLES) as bare:
        taken = [text for text in texts.more_than_one if bare.ask(text).error is None]
    assert not taken


def test_laying_them_out_changes_no_token(texts: Texts):
    for text in [*texts.planned, *texts.setup]:
        laid_out = formatted(text)
        assert [t.text.upper() for t in tokens(laid_out)] == [t.text.upper() for t in tokens(text)], text
        assert formatted(laid_out) == laid_out, text
