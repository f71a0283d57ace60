"""Tokens: what they look like, and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum

PREFIX = "penstock_"
"""Scanners of repositories and logs know a token by it."""
BYTES = 32
LEAST_CHARACTERS = 32
"""Of a token that was not made here."""
MOST_CHARACTERS = 200


class CredentialKind(StrEnum):
    """A token for programs; the session of a browser; a link that opens one such session, once."""

    TOKEN = "token"  # noqa: S105 - a kind, no secret
    SESSION = "session"
    LINK = "link"


def new_token() -> str:
    """256 random bits."""
    return PREFIX + secrets.token_urlsafe(BYTES)


def digest(token: str) -> str:
    """What is kept of it. A plain hash is enough: nobody guesses 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()
