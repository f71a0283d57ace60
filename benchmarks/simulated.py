"""A Flink and its gateway as a small HTTP server: jobs that run for ever and cost nothing.

It stands in for a cluster where a thousand real jobs would not fit on the machine; it counts what it is asked.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class _Counting:
    """Counts requests by their path. What this server costs is taken from those that are measured: so it is plain."""

    def __init__(self, app: ASGIApp, calls: Counter[str]):
        self._app, self._calls = app, calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._calls[scope["path"]] += 1
        await self._app(scope, receive, send)


class SimulatedFlink:
    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"
        self.calls: Counter[str] = Counter()
        self.jobs: dict[str, dict[str, Any]] = {}
        self._sessions: dict[str, dict[str, str]] = {}
        self._server = uvicorn.Server(
            uvicorn.Config(self._app(), host="127.0.0.1", port=port, log_level="error", access_log=False)
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> SimulatedFlink:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _app(self) -> FastAPI:
        app = FastAPI()
        app.add_middleware(_Counting, calls=self.calls)

        @app.get("/overview")
        async def overview() -> Any:
            return {"taskmanagers": 1, "slots-total": 9999, "slots-available": 1, "flink-version": "2.3.0"}

        @app.get("/jobmanager/config")
        async def config() -> Any:
            return [{"key": "web.tmpdir", "value": "/tmp/flink-web-simulated"}]

        @app.get("/jobmanager/environment")
        async def environment() -> Any:
            return {"jvm": {"options": []}}

        @app.get("/jobs/overview")
        async def jobs() -> Any:
            return JSONResponse({"jobs": list(self.jobs.values())})

        @app.get("/info")
        async def info() -> Any:
            return {"productName": "Apache Flink", "version": "2.3.0"}

        @app.post("/v2/sessions")
        async def session(request: Request) -> Any:
            properties = (await request.json())["properties"]
            handle = f"s{len(self._sessions)}"
            self._sessions[handle] = properties
            return {"sessionHandle": handle}

        @app.delete("/v2/sessions/{handle}")
        async def close(handle: str) -> Any:
            return {"status": "CLOSED"}

        @app.post("/v2/sessions/{handle}/statements")
        async def statement(handle: str, request: Request) -> Any:
            if "INSERT" in (await request.json())["statement"]:
                properties = self._sessions[handle]
                self._add(properties["$internal.pipeline.job-id"], properties["pipeline.name"])
            return {"operationHandle": "o"}

        @app.post("/v2/sessions/{handle}/configure-session")
        async def configure(handle: str) -> Any:
            return {}

        @app.get("/v2/sessions/{handle}/operations/{operation}/result/0")
        async def result(handle: str, operation: str) -> Any:
            return {"resultType": "PAYLOAD", "results": {"data": []}}

        return app

    def _add(self, job_id: str, name: str) -> None:
        tasks = {"total": 2, "running": 2, "finished": 0}
        now = int(time.time() * 1000)
        self.jobs[job_id] = {"jid": job_id, "name": name, "state": "RUNNING", "start-time": now, "tasks": tasks}
