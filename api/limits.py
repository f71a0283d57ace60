"""How much of a request is read: a body is parsed in memory, and larger than it came."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import answer
from api.rules import DOORS

MOST_BODY = 16 * 1024 * 1024
"""Bytes of a body that is parsed. Rows of a test set may be megabytes; nothing else comes near it."""
MOST_OF_STRANGERS = 64 * 1024
"""The same of one that comes without a token."""
UPLOADS = "/content"
"""How the paths of uploads end. They are not parsed, and have a limit of their own."""


class BodyLimit:
    """Answers 413 for a body that is longer: by what it says of itself, or else as soon as that much has come."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith(UPLOADS):
            return await self._app(scope, receive, send)
        limit = MOST_OF_STRANGERS if scope["path"] in DOORS else MOST_BODY
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            return await answer(413, _words(limit), "too_large")(scope, receive, send)
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > limit:
                raise HTTPException(413, _words(limit))
            return message

        await self._app(scope, counted, send)


def _words(limit: int) -> str:
    return f"The body of this request may have {limit // 1024:,} KB, and has more."
