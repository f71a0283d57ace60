"""A client of Temporal that speaks our models."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter

from settings import Settings, waits
from settings.polling import poll


async def connect(settings: Settings, *, lazy: bool = False) -> Client:
    """Connect, waiting up to a minute for a Temporal that is still starting. `lazy` connects at first use."""
    polling = poll(waits.CONNECT_PACE, seconds=waits.CONNECT_SECONDS)
    while True:
        try:
            return await Client.connect(
                settings.temporal_address,
                namespace=settings.temporal_namespace,
                data_converter=pydantic_data_converter,
                lazy=lazy,
            )
        except RuntimeError:
            if not await polling.again():
                raise
