"""What Penstock says of a SQL text is what Flink says: thousands of texts, to a bare gateway and through ours.

`PENSTOCK_SAME_TEXTS=3000` asks that many; each test run asks the same few hundred, `PENSTOCK_SAME_SEED` gives others.
"""

from __future__ import annotations

import os
import re

from tests.real.conftest import Stack
from tests.real.same.differences import difference, explained, is_one, newlines, session, validated
from tests.real.same.texts import TABLES, Maker

MANY = int(os.environ.get("PENSTOCK_SAME_TEXTS", "200"))
SEED = os.environ.get("PENSTOCK_SAME_SEED", "1")
BATCH = 25

KNOWN: list[tuple[str, str]] = []
"""Differences that are meant: a pattern of the text, and why."""


def test_validation_says_what_flink_says(stack: Stack):
    made = Maker(f"validate {SEED}")
    differences = []
    asked = 0
    with session(stack, TABLES) as bare:
        while asked < MANY:
            texts: list[str] = []
            while len(texts) < BATCH:
                text = made.text()
                if is_one(text):
                    texts.append(text)
                elif explained(bare, text).error is None:  # the rest of the script would go with it
                    differences.append(f"{text!r}\n    Flink takes it; ours: not closed, or more than one statement")
            place = newlines(TABLES) + 2
            for text, errors in zip(texts, validated(stack, TABLES, texts), strict=True):
                how = difference(explained(bare, text), errors, place)
                if how is not None and not any(re.search(pattern, text) for pattern, _ in KNOWN):
                    differences.append(f"{text!r}\n    {how}")
                place += newlines(text) + 2
            asked += BATCH
    assert not differences, f"{len(differences)} of {asked} (seed {SEED}):\n" + "\n".join(differences[:20])
