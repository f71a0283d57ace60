"""A client of Temporal that speaks our models."""

from __future__ import annotations

import asyncio

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from settings import Settings, clock

PATIENCE = 60.0


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """Connect, waiting up to a minute for a Temporal that is still starting. `lazy` connects at first use."""
    deadline = clock.monotonic() + PATIENCE
    while True:
        try:
            return await Client.connect(
                settings.temporal_address,
                namespace=settings.temporal_namespace,
                data_converter=pydantic_data_converter,
                lazy=lazy,
            )
        except RuntimeError:
            if clock.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
