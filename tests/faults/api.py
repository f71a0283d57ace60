"""The test build of the API: the same application, with crash points around the delivery of a command."""

from __future__ import annotations

import os
from typing import Any

from api.app import serve
from api.commands import service
from settings import ApiSettings, settings
from settings.logs import configure
from tests.faults.points import reached

_deliver = service.deliver


async def deliver(services: Any, job: Any, cluster: Any, command: Any) -> None:
    reached("api.written", job.id)
    await _deliver(services, job, cluster, command)
    reached("api.delivered", job.id)


if __name__ == "__main__":
    os.environ.pop("LD_PRELOAD", None)  # a clock that steps is for this process, not for what it starts
    service.deliver = deliver
    configure(settings())
    serve(settings(), ApiSettings())
