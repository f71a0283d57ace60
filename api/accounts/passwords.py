"""Passwords: hashed by argon2 with the parameters that its library recommends, in a thread, and so many at a time."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

_hasher = PasswordHasher()
_at_once = asyncio.Semaphore(2)
"""Each takes 64 MB and some 50 ms of a core: who guesses passwords takes no more than that."""
_NOBODYS = _hasher.hash("nobody has this password")


async def hashed(password: str) -> str:
    """As it is kept."""
    async with _at_once:
        return await asyncio.to_thread(_hasher.hash, password)


async def fits(password: str, kept: str | None) -> bool:
    """Whether it is the password of which `kept` is the hash. It takes as long for an account that is not there."""

    def verify() -> bool:
        try:
            return _hasher.verify(kept or _NOBODYS, password) and kept is not None
        except (Argon2Error, InvalidHashError):
            return False

    async with _at_once:
        return await asyncio.to_thread(verify)
