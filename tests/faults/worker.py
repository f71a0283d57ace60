"""The test build of the worker: the same activities, with crash points around them."""

from __future__ import annotations

import dataclasses
import os

import uvloop
from temporalio.client import Client

from core.queues import KINDS
from services import Services
from settings import settings
from settings.logs import configure
from tests.faults.points import CrashingEngines, CrashingRecorder, CrashPoints
from worker import main
from worker.temporal import connect, prepare


async def run() -> None:
    main.Recorder = CrashingRecorder  # type: ignore[misc]
    made = settings()
    plain = await connect(made)
    client = Client(**{**plain.config(), "interceptors": [CrashPoints()]})
    services = dataclasses.replace(Services.make(made, client), engines=CrashingEngines(made))
    services = await services.ready()
    await prepare(services)
    await main._serve(services, KINDS)


if __name__ == "__main__":
    os.environ.pop("LD_PRELOAD", None)  # a clock that steps is for this process, not for what it starts
    configure(settings())
    uvloop.run(run())
