"""Passwords: hashed by argon2 with the parameters that its library recommends, in a thread, and so many at a time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from core.errors import Unavailable

_hasher = PasswordHasher()
AT_ONCE, MOST_WAITING = 2, 16
"""Each takes 64 MB and some 50 ms of a core: who guesses passwords takes no more than that, and has no long queue made
for everybody else."""


class _Turns:
    """`AT_ONCE` at a time, and `MOST_WAITING` behind them."""

    def __init__(self) -> None:
        self._turns, self._waiting = asyncio.Semaphore(AT_ONCE), 0

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Raises `Unavailable` when as many wait as may."""
        if self._waiting >= MOST_WAITING:
            raise Unavailable(
                "Too many passwords are being looked at.", code="too_many_logins", remedy="Try again in some seconds."
            )
        self._waiting += 1
        try:
            async with self._turns:
                yield
        finally:
            self._waiting -= 1


_of_strangers, _of_callers = _Turns(), _Turns()
"""Who is not known yet holds nobody up who is."""


async def hashed(password: str) -> str:
    """As it is kept. Raises `Unavailable`."""
    async with _of_callers.one():
        return await asyncio.to_thread(_hasher.hash, password)


async def fits(password: str, kept: str | None, *, is_known: bool) -> bool:
    """Whether it is the password of which `kept` is the hash. It takes as long for an account that is not there. Raises
    `Unavailable`."""
    async with (_of_callers if is_known else _of_strangers).one():
        return await asyncio.to_thread(_verify, password, kept)


def _verify(password: str, kept: str | None) -> bool:
    nobodys = _nobodys()
    try:
        return _hasher.verify(kept or nobodys, password) and kept is not None
    except (Argon2Error, InvalidHashError, UnicodeEncodeError):
        return False


@functools.cache
def _nobodys() -> str:
    """The hash of a password that nobody has; made at the first login, for all that came before does without."""
    return _hasher.hash("nobody has this password")
