"""Answers that no real Flink gives on demand: what counts as one, and whether what was asked may have arrived.

Who takes a lost answer for a no submits a job a second time; who takes a refused connection for a lost answer waits for
a job that was never sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from clusters.flink.gateway import RestGateway
from clusters.flink.http import Http, Refused
from clusters.flink.rest import FlinkRest
from clusters.flink.session import FlinkSession
from clusters.protocol import JarProgram, Ref, Submission, Unclear, Unreachable
from core.jobs.observations import EngineState
from tests.clusters.conftest import SimulatedCluster

FIRST, STANDBY = "http://jm:8081", "http://standby:8081"


class Cut(httpx.AsyncByteStream):
    """A body that ends before it is whole."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"jobs": [{"jid"'
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")


class Scripted(httpx.AsyncBaseTransport):
    """Answers by host; `asked` are all requests that arrived."""

    def __init__(self, **answers: Callable[[], httpx.Response]):
        self.answers, self.asked = answers, list[str]()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url.host}{request.url.path}")
        return self.answers[request.url.host]()


def answers(status: int, **more: Any) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(status, **more)


def raises(error: Exception) -> Callable[[], httpx.Response]:
    def answer() -> httpx.Response:
        raise error

    return answer


NO_ANSWERS = {
    "malformed JSON": answers(200, text='{"jobs": ['),
    "HTML": answers(200, html="<html>sign in</html>"),
    "bytes that are no text": answers(200, content=b"\xff\xfe\x00"),
    "503 with HTML": answers(503, html="<html>no upstream</html>"),
    "503 of an election": answers(503, json={"errors": ["leader election"]}),
    "502": answers(502, html="bad gateway"),
    "504 with JSON": answers(504, json={"errors": ["time is over"]}),
    "429": answers(429, json={"errors": ["too many"]}),
    "redirect": answers(302, headers={"location": f"{STANDBY}/login"}, html="moved"),
    "redirect with JSON": answers(307, headers={"location": STANDBY}, json={"errors": []}),
    "truncated body": answers(200, stream=Cut()),
    "reset after it was sent": raises(httpx.ReadError("Connection reset by peer")),
    "reset while it was sent": raises(httpx.WriteError("Broken pipe")),
    "closed without an answer": raises(httpx.RemoteProtocolError("Server disconnected without sending a response.")),
    "no answer in time": raises(httpx.ReadTimeout("")),
}
NOT_SENT = {
    "refused": raises(httpx.ConnectError("All connection attempts failed")),
    "no connection in time": raises(httpx.ConnectTimeout("")),
    "no connection free": raises(httpx.PoolTimeout("")),
}


def of(cases: dict[str, Callable[[], httpx.Response]]) -> Any:
    return pytest.mark.parametrize("answer", cases.values(), ids=cases.keys())


class TestOneRequest:
    @of(NO_ANSWERS)
    async def test_is_not_answered_and_may_have_arrived(self, answer: Callable[[], httpx.Response]):
        transport = Scripted(jm=answer)
        with pytest.raises(Unreachable) as error:
            await Http([FIRST], "JobManager", transport=transport).call("POST", "/jars/x/run")
        assert error.value.sent
        assert FIRST in error.value.message
        assert transport.asked == ["POST jm/jars/x/run"], "once, and no redirect is followed"

    @of(NOT_SENT)
    async def test_has_not_arrived(self, answer: Callable[[], httpx.Response]):
        with pytest.raises(Unreachable) as error:
            await Http([FIRST], "JobManager", transport=Scripted(jm=answer)).call("POST", "/jars/x/run")
        assert not error.value.sent

    @pytest.mark.parametrize("status", [400, 404, 409, 500])
    async def test_that_is_refused_is_answered(self, status: int):
        said = ["java.lang.IllegalStateException: no", "\tat Some.where"]
        transport = Scripted(jm=answers(status, json={"errors": said}))
        with pytest.raises(Refused) as error:
            await Http([FIRST], "JobManager", transport=transport).call("GET", "/jobs/overview")
        assert (error.value.status, error.value.message) == (status, "IllegalStateException: no")


class ByPath(httpx.AsyncBaseTransport):
    """Answers by path."""

    def __init__(self, answers_: dict[str, httpx.Response]):
        self._answers = answers_

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self._answers[request.url.path]


class TestANoThatTellsNothing:
    """A JobManager always tells of its jobs; a no in JSON is a proxy's, or that of one whose own parts time out."""

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
    async def test_is_no_answer(self, status: int):
        rest = FlinkRest([FIRST], transport=Scripted(jm=answers(status, json={"errors": ["AskTimeoutException: x"]})))
        for ask in (rest.overview, rest.cluster, rest.jars, lambda: rest.holders("a")):
            with pytest.raises(Unreachable) as error:
                await ask()
            assert str(status) in error.value.message

    @pytest.mark.parametrize(("status", "gone"), [(404, True), (500, False), (403, False)])
    async def test_a_task_manager_that_cannot_be_asked_may_hold_slots(self, status: int, gone: bool):
        managers = httpx.Response(200, json={"taskmanagers": [{"id": "tm-1"}]})
        one = httpx.Response(status, json={"errors": ["no"]})
        rest = FlinkRest([FIRST], transport=ByPath({"/taskmanagers": managers, "/taskmanagers/tm-1": one}))
        if gone:
            assert await rest.holders("a") == []
        else:
            with pytest.raises(Unreachable):
                await rest.holders("a")


class TestAStandby:
    @of(NO_ANSWERS)
    async def test_is_not_sent_what_the_first_may_have_taken(self, answer: Callable[[], httpx.Response]):
        transport = Scripted(jm=answer, standby=answers(200, json={}))
        with pytest.raises(Unreachable):
            await Http([FIRST, STANDBY], "JobManager", transport=transport).call("POST", "/jars/x/run")
        assert [words.split()[1].partition("/")[0] for words in transport.asked] == ["jm"]

    @of(NO_ANSWERS | NOT_SENT)
    async def test_is_asked_what_changes_nothing(self, answer: Callable[[], httpx.Response]):
        http = Http([FIRST, STANDBY], "JobManager", transport=Scripted(jm=answer, standby=answers(200, json={"a": 1})))
        assert await http.call("GET", "/overview") == {"a": 1}
        assert http.url == STANDBY, "it is asked first from now on"

    @of(NOT_SENT)
    async def test_is_sent_what_cannot_have_reached_the_first(self, answer: Callable[[], httpx.Response]):
        http = Http([FIRST, STANDBY], "JobManager", transport=Scripted(jm=answer, standby=answers(200, json={"a": 1})))
        assert await http.call("POST", "/jars/x/run") == {"a": 1}

    @of(NO_ANSWERS)
    async def test_that_refuses_connections_does_not_hide_that_the_first_was_asked(self, answer: Any):
        """Both were tried by a GET; what the first one got may have arrived."""
        transport = Scripted(jm=answer, standby=NOT_SENT["refused"])
        with pytest.raises(Unreachable) as error:
            await Http([FIRST, STANDBY], "JobManager", transport=transport).call("GET", "/overview")
        assert error.value.sent


NOT_FLINK = ["null", "[]", "{}", '{"jobs": null}', '{"jobs": [{"id": 1}]}', '{"status": "up"}', '"ok"', "7"]


class TestJsonThatIsNoneOfFlinks:
    """Another server may answer in its place, and have JSON of its own."""

    @pytest.mark.parametrize("body", NOT_FLINK)
    async def test_shows_no_jobs(self, body: str):
        with pytest.raises(Unreachable):
            await FlinkRest([FIRST], transport=Scripted(jm=answers(200, text=body))).overview()

    @pytest.mark.parametrize("body", ["null", '"ok"', "7"])
    async def test_is_no_overview(self, body: str):
        with pytest.raises(Unreachable):
            await FlinkRest([FIRST], transport=Scripted(jm=answers(200, text=body))).cluster()

    @pytest.mark.parametrize("body", NOT_FLINK)
    async def test_says_nothing_about_a_job_that_was_sent(self, body: str):
        with pytest.raises(Unreachable) as error:
            await FlinkRest([FIRST], transport=Scripted(jm=answers(200, text=body))).run("x", {})
        assert error.value.sent

    @pytest.mark.parametrize("body", NOT_FLINK)
    async def test_leads_nothing(self, body: str):
        rest = FlinkRest([FIRST], transport=Scripted(jm=answers(200, text=body)))
        try:
            leader = await rest.leader()
        except Unreachable:
            return
        assert (leader.identity, leader.cluster) == (None, None)

    @pytest.mark.parametrize("body", NOT_FLINK)
    async def test_takes_no_statement(self, body: str):
        gateway = RestGateway(FIRST, transport=Scripted(jm=answers(200, text=body)))
        with pytest.raises(Unreachable) as error:
            await gateway.start("s", "INSERT INTO t SELECT 1")
        assert error.value.sent
        with pytest.raises(Unreachable):
            await gateway.open({})


class Losing(httpx.AsyncBaseTransport):
    """The way to a simulated Flink, on which the answer to what begins with `path` is lost `times` times."""

    def __init__(
        self, inner: httpx.AsyncBaseTransport, path: str, answer: Callable[[], httpx.Response], times: int = 1
    ):
        self.inner, self.path, self.answer, self.left = inner, path, answer, times

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self.inner.handle_async_request(request)
        if self.left and request.url.path.startswith(self.path) and request.url.path.endswith("/run"):
            self.left -= 1
            return self.answer()
        return response


REF = Ref("a" * 32, "a" * 32)


@of({name: NO_ANSWERS[name] for name in ("reset after it was sent", "503 with HTML", "truncated body", "HTML")})
def test_a_submission_whose_answer_is_lost_is_unclear_and_runs_once(
    simulated: SimulatedCluster, tmp_path: Path, answer: Callable[[], httpx.Response]
):
    (tmp_path / "job.jar").write_bytes(b"jar")
    program = JarProgram(tmp_path / "job.jar", "0" * 64, "Main", [])
    submission = Submission(REF, "job", program, {}, None, None, False)
    simulated.transport = Losing(simulated.transport, "/jars/", answer)

    async def story(engine: FlinkSession) -> None:
        with pytest.raises(Unclear):
            await engine.submit(submission, lambda _: None)
        assert (await engine.look(REF)).state is not EngineState.MISSING
        await engine.submit(submission, lambda _: None)
        assert list((await engine.overview()).jobs) == [REF.handle]

    simulated.play(story)


class TestPathsOfRestorePoints:
    """Flink names the name node, also where the cluster's state_dir leaves it out."""

    async def test_are_told_as_the_state_dir_is_spelled(self):
        point = "hdfs://nn:8020/s/j/savepoint-1"
        checkpoint = {"status": "COMPLETED", "external_path": point, "trigger_timestamp": 1, "id": 3}
        checkpoint |= {"checkpoint_type": "SYNC_SAVEPOINT"}
        bodies = {
            "/jobs/a/checkpoints": {"history": [checkpoint], "latest": {"restored": {"external_path": point}}},
            "/jobs/a/checkpoints/config": {"interval": 1000},
            "/jobs/a/savepoints/t": {"status": {"id": "COMPLETED"}, "operation": {"location": point}},
        }

        class Told(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                return httpx.Response(200, json=bodies[request.url.path])

        engine, ref = FlinkSession(FIRST, [], transport=Told()), Ref("a", "a")
        for state_dir, one in (("hdfs:///s", "hdfs:///s/j/savepoint-1"), ("hdfs://nn:8020/s", point)):
            engine.keeps_state_in(state_dir)
            assert [(p.path, p.stops) for p in await engine.checkpoints(ref)] == [(one, True)]
            assert (await engine.origin(ref)).restored_from == one
            assert (await engine.trigger_status(ref, "t")).path == one
        await engine.close()


class Long(httpx.AsyncByteStream):
    """Many small pieces that are all there already."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for number in range(20_000):
            yield b"%07d\n" % number * 128


async def test_the_end_of_a_large_log_is_read_without_a_copy_per_piece_and_lets_others_go_on():
    http = Http([FIRST], "JobManager", transport=Scripted(jm=answers(200, stream=Long())))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    try:
        end = await asyncio.wait_for(http.last_of("/jobmanager/logs/a", 4_000_003), 10)
    finally:
        other.cancel()
    assert len(end) == 4_000_003
    assert end.endswith(b"0019998\n" + b"0019999\n" * 128)
    assert end[:11] == b"93\n0016093\n"
    assert turns > 10_000


@pytest.mark.parametrize(("last", "end"), [(3, b"cde"), (4, b"bcde"), (5, b"abcde"), (9, b"abcde"), (1, b"e")])
async def test_the_end_is_as_long_as_is_asked_for(last: int, end: bytes):
    class Pieces(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for piece in (b"ab", b"c", b"", b"de"):
                yield piece

    http = Http([FIRST], "JobManager", transport=Scripted(jm=answers(200, stream=Pieces())))
    assert await http.last_of("/x", last) == end


async def test_a_class_that_is_missing_comes_to_each_kind_of_program_in_its_own_way():
    """A JobManager says no to jars, a gateway to SQL: that has no jar to put a class into."""
    stack = "java.lang.NoClassDefFoundError: org/apache/hadoop/conf/Configuration\n\tat a.B.c(B.java:1)"
    refuses = Scripted(
        jm=answers(400, json={"errors": ["Internal server error.", f"<Exception on server side:{stack}"]})
    )
    rest, gateway = FlinkRest(["http://jm:8081"], transport=refuses), RestGateway("http://jm:8083", transport=refuses)
    with pytest.raises(Refused) as of_jar:
        await rest.run("x.jar", {})
    with pytest.raises(Refused) as of_sql:
        await gateway.http.call("POST", "/v2/sessions/s/statements")
    assert "hadoop-common (Flink comes without Hadoop): put it into the program's jar" in of_jar.value.message
    assert (
        "hadoop-common (Flink comes without Hadoop): register the jar that has it as a library" in of_sql.value.message
    )
    assert "Shade" not in of_sql.value.message
    await rest.http.close()
    await gateway.http.close()
