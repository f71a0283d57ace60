"""HTTP to a Flink or a gateway: which answers are answers, and which are not."""

from __future__ import annotations

import json
from typing import Any

import httpx

from engine.base import EngineError, Unreachable
from engine.flink_errors import root_cause

LIMITS = httpx.Limits(max_connections=40, max_keepalive_connections=20)


class Refused(EngineError):
    """An answer of the server itself that says no: `status` is the HTTP status, `stack` its full text."""

    def __init__(self, status: int, message: str, stack: str):
        super().__init__(message, stack=stack)
        self.status = status


class Http:
    """A client of one server. `what` names it in messages, for example `JobManager http://...`."""

    def __init__(self, base_url: str, what: str, *, timeout: float = 15):
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/"),
            timeout=httpx.Timeout(timeout, connect=5),
            limits=LIMITS,
            trust_env=False,
        )
        self._what = what

    async def close(self) -> None:
        await self._client.aclose()

    async def call(self, method: str, path: str, **more: Any) -> Any:
        """The JSON answer. Raises `Unreachable` when there is none of a leader, `Refused` on its no."""
        try:
            response = await self._client.request(method, path, **more)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unreachable(f"{self._what} cannot be reached: {_words(error)}", sent=False) from error
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._what} did not answer: {_words(error)}") from error
        try:
            body = response.json()
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise Unreachable(
                f"{self._what} answered {response.status_code} with something that is not JSON; "
                "a proxy or another server may be in its place"
            ) from None
        if response.status_code == 503 or response.status_code in (301, 302, 307, 308, 429, 502, 504):
            raise Unreachable(f"{self._what} has no leader at the moment (HTTP {response.status_code})")
        if response.status_code >= 400:
            stack = _errors(body)
            raise Refused(response.status_code, root_cause(stack), stack)
        return body


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _errors(body: Any) -> str:
    errors = body.get("errors") if isinstance(body, dict) else None
    return "\n".join(str(e) for e in errors) if isinstance(errors, list) else json.dumps(body)[:4000]
