"""Requests with rows: numbers come as they were written."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from core.sql.values import loads


class _ExactRequest(Request):
    async def json(self) -> Any:
        """The body; a number that a float would change is text (`core.sql.values.loads`)."""
        if not hasattr(self, "_exact"):
            self._exact = loads(await self.body())
        return self._exact


class ExactRoute(APIRoute):
    """A route whose JSON body may have values of rows."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, given a request whose JSON keeps numbers as they are written."""
        handle = super().get_route_handler()

        async def exactly(request: Request) -> Response:
            return await handle(_ExactRequest(request.scope, request.receive))

        return exactly
