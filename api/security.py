"""Who calls. The one place where authentication will live.

Until it does, the API listens on loopback only (`check_address`), takes requests for loopback names only
(so that no web page can reach it by a name of its own), and every caller is the same one.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import BaseModel

from core.errors import InvalidInput, PenstockError
from core.jobs.commands import LOCAL
from settings import LOOPBACK


class Caller(BaseModel):
    """Who calls. `name` is kept with the commands that they send."""

    name: str


def check_address(host: str) -> None:
    """Raise `InvalidInput` for an address that other machines can reach."""
    if host not in LOOPBACK:
        raise InvalidInput(
            f"PENSTOCK_API_HOST={host}: the API has no authentication yet, so it binds to 127.0.0.1 only.",
            code="address_refused",
            remedy="Put a proxy that authenticates in front of it, or use an SSH tunnel.",
        )


class Misdirected(PenstockError):
    status = 421


async def caller(request: Request) -> Caller:
    """Who sends this request. Raises `Misdirected` when it was sent to a name that is not a loopback's. A coroutine, as
    those of `api.deps` are."""
    host = (request.url.hostname or "").lower()
    if host not in (*LOOPBACK, "testserver"):
        raise Misdirected(
            "This API answers to loopback names only.", code="misdirected", remedy="Use http://127.0.0.1 or localhost."
        )
    return Caller(name=LOCAL)


CurrentCaller = Annotated[Caller, Depends(caller)]
