"""A client of Temporal that speaks our models."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter

from core.jobs.messages import Query, Signal
from settings import Settings, waits
from settings.polling import poll
from settings.waits import ANSWER_TIMEOUT

T = TypeVar("T")


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


async def tell(
    handle: WorkflowHandle[Any, Any], signal: Signal[T], value: T, *, within: timedelta | None = ANSWER_TIMEOUT
) -> None:
    """Tell a workflow something. Raises one of `delivery.NO_ANSWER` when Temporal does not take it `within` that time;
    None: however long that takes."""
    await handle.signal(signal.name, value, rpc_timeout=within)


async def ask_for(handle: WorkflowHandle[Any, Any], query: Query[T]) -> T:
    """What a workflow answers. Raises `WorkflowQueryFailedError`, and one of `delivery.NO_ANSWER` when it does not."""
    found: T = await handle.query(query.name, result_type=query.gives, rpc_timeout=ANSWER_TIMEOUT)
    return found
