"""The stdouts of a job's task managers: one that is gone, has no file, is too large, or does not answer."""

from __future__ import annotations

import asyncio
from functools import partial

import httpx
import pytest

from clusters.flink import printed
from clusters.flink.http import AnswerTooLarge
from clusters.flink.network import Network
from clusters.flink.session import FlinkSession
from clusters.protocol import Ref, TaskManagerOutput, Unreachable
from core.jobs.output import LastLines

REF = Ref("f" * 32, "f" * 32)
NOT_THERE = "org.apache.flink.util.FlinkException: The file STDOUT does not exist on the TaskExecutor."
UNREACHED = (
    "java.util.concurrent.CompletionException: org.apache.flink.runtime.rpc.exceptions.RecipientUnreachableException: "
    "Could not send message [RemoteRpcInvocation(TaskExecutorGateway.requestFileUploadByType)] from sender [unknown]"
)


def answer(request: httpx.Request) -> httpx.Response:
    path = request.url.path
    job = f"/jobs/{REF.flink_job_id}"
    match path.removeprefix(job):
        case "":
            return httpx.Response(200, json={"vertices": [{"id": "v1"}, {"id": "v2"}]})
        case "/vertices/v1/taskmanagers":
            places = [{"taskmanager-id": id_, "endpoint": f"{id_}:1"} for id_ in ("a", "gone", "b:1-2")]
            return httpx.Response(200, json={"taskmanagers": places})
        case "/vertices/v2/taskmanagers":  # Flink 1.20's word for the place, and one without a task manager yet
            places = [{"taskmanager-id": "large", "host": "h"}, {"taskmanager-id": "(unassigned)"}]
            places.append({"taskmanager-id": "unreached", "host": "u"})
            return httpx.Response(200, json={"taskmanagers": [*places, {"taskmanager-id": "a", "endpoint": "a:1"}]})
        case "/taskmanagers":
            return httpx.Response(
                200, json={"taskmanagers": [{"id": i} for i in ("a", "b:1-2", "large", "other", "unreached")]}
            )
        case "/taskmanagers/a/stdout":
            return httpx.Response(200, content=b"one\ntwo\n\xff three")
        case "/taskmanagers/b:1-2/stdout":
            return httpx.Response(404, json={"errors": ["Not found.", NOT_THERE]})
        case "/taskmanagers/unreached/stdout":
            return httpx.Response(500, json={"errors": ["Internal server error.", UNREACHED]})
        case "/taskmanagers/large/stdout":
            return httpx.Response(200, content=b"x" * 100)
    raise AssertionError(path)


def outputs(answering: object = answer) -> list[TaskManagerOutput] | None:
    async def ask() -> list[TaskManagerOutput] | None:
        engine = FlinkSession("http://jm:8081", [], transport=httpx.MockTransport(answering))  # type: ignore[arg-type]
        return await engine.outputs(REF, partial(LastLines, 2))

    return asyncio.run(ask())


def test_each_says_what_it_has_or_why_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(printed, "MOST", 50)
    found = outputs()
    assert found is not None
    a, b, gone, large, unreached = found
    assert (a.lines, a.left_out, a.size, a.why) == (["two", "\ufffd three"], 1, 15, None)
    assert (b.lines, b.why) == ([], printed.NO_FILE)
    assert (gone.lines, gone.why) == ([], "it has gone, and its stdout cannot be read by Flink any more")
    assert (large.lines, large.size, large.host) == ([], 100, "h")
    assert "are not read" in (large.why or "")
    assert unreached.why == printed.NOT_REACHED


def test_a_job_that_is_not_known_is_no_job_without_output():
    assert outputs(lambda _: httpx.Response(404, json={"errors": ["Could not find Flink job"]})) is None


def test_a_jobmanager_that_does_not_answer_is_no_answer():
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable):
        outputs(refuse)


def test_a_body_without_a_length_is_read_no_further_than_it_may_be():
    """Over a real socket, by the client that is used: `MockTransport` is not."""
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        try:
            while sent < 2**24:
                writer.write(b"y\n" * 2**15)
                await writer.drain()
                sent += 2**16
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        engine = FlinkSession(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", [])
        http = engine._rest.http
        assert isinstance(http._client, Network)
        last = LastLines(3)
        with pytest.raises(AnswerTooLarge):
            await http.read("/x", last.feed, most=2**20)
        assert 0 < last.seen <= 2**19
        await engine.close()
        server.close()

    asyncio.run(ask())
    assert sent < 2**24
