"""Cursor pages: the cursor names the last row seen, so that rows that come and go shift nothing."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

from core.errors import InvalidInput


def encode(values: list[Any]) -> str:
    """The cursor of a page whose last row has these `values` of what rows are sorted by."""
    raw = [v.isoformat() if isinstance(v, datetime) else v for v in values]
    return base64.urlsafe_b64encode(json.dumps(raw).encode()).decode().rstrip("=")


def decode(cursor: str, types: list[type]) -> list[Any]:
    """Raises `InvalidInput` for anything that `encode` did not make."""
    try:
        raw = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(raw, list) or len(raw) != len(types):
            raise ValueError
        values = [datetime.fromisoformat(v) if t is datetime else v for v, t in zip(raw, types, strict=True)]
        if not all(isinstance(v, t) and not isinstance(v, bool) for v, t in zip(values, types, strict=True)):
            raise ValueError
        if any(isinstance(v, int) and abs(v) >= 2**63 for v in values):
            raise ValueError
        if any(isinstance(v, str) and "\x00" in v for v in values):
            raise ValueError
    except (ValueError, TypeError) as error:
        raise InvalidInput(
            "The cursor is not one of ours.",
            code="bad_cursor",
            field="cursor",
            remedy="Use `next_cursor` of the last page.",
        ) from error
    return values
