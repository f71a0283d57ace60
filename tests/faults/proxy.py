"""A small TCP proxy on loopback that can be told to misbehave, as networks and load balancers do."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from enum import StrEnum

_SESSION = re.compile(rb'"sessionHandle"\s*:\s*"([0-9a-f-]{36})"')


def _answer(status: str, kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


UNAVAILABLE = _answer("503 Service Unavailable", "application/json", b'{"errors":["ongoing leader election"]}')
HTML = _answer("200 OK", "text/html", b"<html><body>It works!</body></html>")


class Mode(StrEnum):
    PASS = "pass"
    REFUSE = "refuse"  # connections are closed at once, open ones too
    HANG = "hang"  # nothing moves until it ends; then all that was sent arrives, late
    DROP = "drop"  # what is sent arrives; before the answer the connection is closed
    UNAVAILABLE = "503"
    HTML = "html"
    DELAY = "delay"  # single answers come up to LATE seconds after they were given: an older one after a younger


LATE = 3.0


class Proxy:
    """Runs in a thread of its own. `sessions` are the handles of SQL sessions seen in answers, `delayed` counts the
    answers that were kept back."""

    def __init__(self, port: int, target: int):
        self.port, self._target = port, target
        self.mode = Mode.PASS
        self.sessions: set[str] = set()
        self.delayed = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        ready.set()
        self._loop.run_forever()

    def set(self, mode: Mode) -> None:
        self.mode = mode
        if mode in (Mode.REFUSE, Mode.UNAVAILABLE, Mode.HTML):
            self._loop.call_soon_threadsafe(self._cut)

    def retarget(self, target: int) -> None:
        """Another server answers at this address from now on."""
        self._target = target
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _end(self) -> None:
        self._server.close()
        self._cut()
        serving = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self.mode is Mode.REFUSE:
                return
            if self.mode in (Mode.UNAVAILABLE, Mode.HTML):
                await reader.read(65536)
                writer.write(UNAVAILABLE if self.mode is Mode.UNAVAILABLE else HTML)
                await writer.drain()
                return
            try:
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            except OSError:
                return
            self._open.add(far_writer)
            there = asyncio.create_task(self._pump(reader, far_writer, answers=False))
            back = asyncio.create_task(self._pump(far_reader, writer, answers=True))
            await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            for task in (there, back):
                task.cancel()
            self._open.discard(far_writer)
            far_writer.transport.abort()
        except OSError:
            return
        finally:
            self._open.discard(writer)
            with contextlib.suppress(Exception):
                writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if answers:
                    self.sessions.update(m.decode() for m in _SESSION.findall(data))
                if self.mode is Mode.DELAY and answers and random.random() < 0.4:
                    self.delayed += 1
                    await asyncio.sleep(random.uniform(0.2, LATE))
                while self.mode is Mode.HANG:
                    await asyncio.sleep(0.05)
                if self.mode is Mode.DROP and answers:
                    return
                if self.mode is Mode.REFUSE:
                    return
                writer.write(data)
                await writer.drain()
