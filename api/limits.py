"""How much of a request is read: a body is parsed in memory, and larger than it came."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import answer

MOST_BODY = 16 * 1024 * 1024
"""Bytes of a body that is parsed. Rows of a test set may be megabytes; nothing else comes near it."""
UPLOADS = "/content"
"""How the paths of uploads end. They are not parsed, and have a limit of their own."""


class BodyLimit:
    """Answers 413 for a body that is longer: by what it says of itself, or else as soon as that much has come."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].endswith(UPLOADS):
            return await self._app(scope, receive, send)
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > MOST_BODY:
            return await answer(413, _words(), "too_large")(scope, receive, send)
        came = 0

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > MOST_BODY:
                raise HTTPException(413, _words())
            return message

        await self._app(scope, counted, send)


def _words() -> str:
    return f"The body of a request may have {MOST_BODY // 1024 // 1024} MB, and this one has more."
