"""Server-sent events of a preview, as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx


def events(http: httpx.Client, run: str, *, last: int | None = None) -> Iterator[tuple[str, Any, int]]:
    headers = {"Last-Event-ID": str(last)} if last is not None else {}
    with http.stream("GET", f"/sql/previews/{run}/events", headers=headers, timeout=120) as response:
        assert response.status_code == 200, response.read()
        event, data, number = "", "", 0
        for line in response.iter_lines():
            if line.startswith("event:"):
                event = line[6:].strip()
            elif line.startswith("id:"):
                number = int(line[3:])
            elif line.startswith("data:"):
                data += line[5:].strip()
            elif not line and data:
                yield event, json.loads(data), number
                event, data = "", ""


def whole(http: httpx.Client, run: str) -> list[tuple[str, Any]]:
    return [(event, data) for event, data, _ in events(http, run)]


def rows(found: list[tuple[str, Any]], stream: str = "") -> list[tuple[str, list[Any]]]:
    return [(r["kind"], r["fields"]) for e, d in found if e == "rows" and d["stream"] == stream for r in d["rows"]]


def table(found: list[tuple[str, Any]], stream: str = "") -> list[list[Any]]:
    return [d["rows"] for e, d in found if e == "table" and d["stream"] == stream][-1]
