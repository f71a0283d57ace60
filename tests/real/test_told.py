"""A job that fails by itself, behind a way that only delays: whatever Flink finally says, our view says it soon."""

from __future__ import annotations

import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.real.conftest import PRINT, Stack

pytestmark = pytest.mark.real

FAILS = (
    "SET 'restart-strategy.type' = 'none';\nSET 'execution.checkpointing.interval' = '1 h';\n"
    "CREATE TABLE src (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '50', "
    "'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '20000');\n"
    f"{PRINT}\nINSERT INTO sink SELECT 1 / (40 - id) FROM src;"
)
AGAIN = {"initial_backoff": 0.3, "multiplier": 1, "jitter": 0, "max_restarts": 1000}
SECONDS = 75.0
BOUND = 15.0


class Delay(ThreadingHTTPServer):
    """Hands everything on; a question for all jobs waits for up to two seconds before it gets there."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who asked has gone. By then another test may look at what is printed."""

    def __init__(self, target: str):
        chance = random.Random(7)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _hand_on(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length) if length else None
                if self.path.startswith("/jobs/overview"):
                    time.sleep(chance.uniform(0, 2))
                kept = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "accept")}
                request = urllib.request.Request(target + self.path, data=body, method=self.command, headers=kept)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        status, data, kind = answer.status, answer.read(), answer.headers.get("content-type", "")
                except urllib.error.HTTPError as error:
                    status, data, kind = error.code, error.read(), error.headers.get("content-type", "")
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _hand_on

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def delayed(stack: Stack) -> Iterator[str]:
    made = Delay(stack.flink_url)
    stack.add_cluster("delayed", jobmanager_url=f"http://127.0.0.1:{made.server_port}")
    yield "delayed"
    made.shutdown()
    made.server_close()


def test_a_job_that_has_failed_is_not_shown_running(stack: Stack, delayed: str):
    job = stack.create(FAILS, cluster=delayed, restart_policy=AGAIN)
    stack.send(job, "start")
    began, since, longest = time.monotonic(), 0.0, 0.0
    while time.monotonic() - began < SECONDS:
        time.sleep(0.3)
        # The list shows what is written; one job would be asked for afresh.
        shown = next(j for j in stack.http.get("/jobs", params={"cluster": delayed}).json()["items"])
        attempt = shown["current_attempt"]
        failed = {j["jid"] for j in stack.flink_jobs(job) if j["state"] == "FAILED"}
        if attempt and shown["state"] in ("RUNNING", "DEPLOYED") and attempt["flink_job_id"] in failed:
            since = since or time.monotonic()
            longest = max(longest, time.monotonic() - since)
            assert longest < BOUND, f"attempt {attempt['number']} failed {longest:.0f} s ago, and is {shown['state']}"
        else:
            since = 0.0
    assert len(stack.items(job, "attempts")) > 4, "it went on being restarted"
    stack.do(job, "kill")
