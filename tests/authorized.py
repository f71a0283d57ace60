"""What a test shows to an API that runs for it."""

from __future__ import annotations

from pathlib import Path

from core.access_tokens import new_token
from store.private_file import made_once


def authorized(home: Path) -> dict[str, str]:
    """The header with the token of a local stack, which is made here where its API has not yet."""
    return {"Authorization": f"Bearer {made_once(home / 'token', new_token).strip()}"}
