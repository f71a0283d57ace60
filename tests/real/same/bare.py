"""Flink's SQL gateway, spoken to as its documentation says and by nothing of ours."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

_PLACE = re.compile(r"(?<! to )[Ll]ine (\d+), column (\d+)")


@dataclass(frozen=True)
class Answer:
    """Of a statement: its rows and the Flink job that it has started, or the errors of Flink in full. `place` is where
    the last error that names one says. Numbers with a fraction are `Decimal`s."""

    rows: list[dict[str, Any]]
    error: str | None = None
    job_id: str | None = None
    columns: list[dict[str, Any]] = field(default_factory=list)

    @property
    def causes(self) -> str:
        """Its errors without their stacks."""
        return " | ".join(line for line in (self.error or "").splitlines() if line.startswith("Caused by: "))

    @property
    def place(self) -> tuple[int, int] | None:
        places = _PLACE.findall(self.error or "")
        return (int(places[-1][0]), int(places[-1][1])) if places else None


class Bare:
    """A session."""

    def __init__(self, url: str, properties: dict[str, str] | None = None):
        self._http = httpx.Client(base_url=f"{url}/v2", timeout=120, trust_env=False)
        made = self._http.post("/sessions", json={"properties": properties or {}}).raise_for_status()
        self._session = made.json()["sessionHandle"]

    def close(self) -> None:
        self._http.delete(f"/sessions/{self._session}")
        self._http.close()

    def ask(self, statement: str, seconds: float = 120) -> Answer:
        """Run one statement to its end."""
        sent = self._http.post(f"/sessions/{self._session}/statements", json={"statement": statement})
        if not sent.is_success:
            return Answer([], "\n".join(sent.json()["errors"]))
        operation = sent.json()["operationHandle"]
        path: str | None = f"/sessions/{self._session}/operations/{operation}/result/0?rowFormat=JSON"
        rows: list[dict[str, Any]] = []
        job_id: str | None = None
        columns: list[dict[str, Any]] = []
        until = time.monotonic() + seconds
        while path is not None:
            page = self._http.get(path)
            body = json.loads(page.content, parse_float=Decimal)
            if not page.is_success:
                return Answer(rows, "\n".join(body["errors"]))
            if body["resultType"] == "NOT_READY":
                assert time.monotonic() < until, f"Flink did not come to an end with {statement}"
                time.sleep(0.01)
                continue
            rows += body["results"]["data"]
            columns = columns or body["results"].get("columns") or []
            job_id = body.get("jobID") or job_id
            following = body.get("nextResultUri")
            path = following.partition("/v2")[2] or following.removeprefix("/v2") if following else None
            if path is not None and not body["results"]["data"]:
                time.sleep(0.01)
        self._http.delete(f"/sessions/{self._session}/operations/{operation}/close")
        return Answer(rows, job_id=job_id, columns=columns)
