"""Python's garbage collector, in processes that have come up and serve for long."""

from __future__ import annotations

import gc

YOUNG = 10_000


def settle() -> None:
    """What is there now stays: modules, models, statements. They are not looked through again with every collection,
    and one comes after `YOUNG` new objects, not after 700."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
