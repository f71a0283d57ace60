"""The API as seen from a terminal: one client, errors in words, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import typer
from rich.console import Console

# Where nobody looks (a pipe, a file) lines are not folded to the width of a terminal.
out = Console(width=None if sys.stdout.isatty() else 1000)
err = Console(stderr=True, width=None if sys.stderr.isatty() else 1000)

# Exit codes: 0 done, 1 the command or job failed, 2 wrong usage, 3 the API cannot be reached, 4 not found, 5 conflict.
FAILED, USAGE, UNREACHABLE, NOT_FOUND, CONFLICT = 1, 2, 3, 4, 5


def base_url() -> str:
    """`PENSTOCK_URL`, with or without /api/v1; else the local stack's."""
    given = os.environ.get("PENSTOCK_URL") or f"http://127.0.0.1:{os.environ.get('PENSTOCK_API_PORT', '8000')}"
    given = given.rstrip("/")
    return given if given.endswith("/api/v1") else given + "/api/v1"


class Api:
    def __init__(self) -> None:
        self._http = httpx.Client(base_url=base_url(), timeout=60, trust_env=False)

    def call(self, method: str, path: str, **more: Any) -> Any:
        """The JSON answer, None for an empty one. Ends the program with words and a code on an error."""
        try:
            response = self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise unreachable(error) from error
        if response.is_error:
            raise refused(response)
        if response.status_code == 204:
            return None
        return response.json() if "json" in response.headers.get("content-type", "") else response.text

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events as (event, data)."""
        try:
            with self._http.stream("GET", path, timeout=None) as response:
                if response.is_error:
                    response.read()
                    raise refused(response)
                event, data = "message", ""
                for line in response.iter_lines():
                    if line.startswith("event:"):
                        event = line[6:].strip()
                    elif line.startswith("data:"):
                        data += line[5:].strip()
                    elif not line and data:
                        yield event, json.loads(data)
                        event, data = "message", ""
        except httpx.HTTPError as error:
            raise unreachable(error) from error


def unreachable(error: Exception) -> typer.Exit:
    err.print(f"[red]The Penstock API at {base_url()} cannot be reached[/red] ({error or type(error).__name__}).")
    err.print("Start the local stack with `penstock up`, or set PENSTOCK_URL.")
    return typer.Exit(UNREACHABLE)


def refused(response: httpx.Response) -> typer.Exit:
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": response.text[:500]}
    err.print(str(problem.get("detail", response.reason_phrase)), style="red", markup=False, highlight=False)
    for item in (problem.get("errors") or [])[:20]:
        err.print(f"  {item['field']}: {item['message']}", markup=False, highlight=False)
    if remedy := problem.get("remedy"):
        err.print(remedy, markup=False, highlight=False)
    codes = {404: NOT_FOUND, 409: CONFLICT, 422: USAGE, 503: UNREACHABLE}
    return typer.Exit(codes.get(response.status_code, FAILED))


def show_json(value: Any) -> None:
    out.print_json(json.dumps(value))


def complete_jobs(incomplete: str) -> list[str]:
    """Shell completion: jobs as `project:name`."""
    try:
        found = httpx.get(f"{base_url()}/jobs", params={"limit": 200}, timeout=2, trust_env=False).json()["items"]
    except (httpx.HTTPError, ValueError, KeyError):
        return []
    names = [f"{j['project']}:{j['name']}" for j in found]
    return [n for n in names if n.startswith(incomplete)]
