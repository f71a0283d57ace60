"""Temporal: connecting, and what has to be there once (search attributes, the recovery schedule)."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)
from temporalio.service import RPCError, RPCStatusCode

from core import search
from core.jobs import messages
from services import Services
from settings import waits
from settings.polling import poll
from temporal.client import connect

log = structlog.get_logger()

__all__ = ["connect", "keep_prepared", "prepare"]


async def prepare(services: Services) -> bool:
    """See that our search attributes and the recovery schedule are there. True when the schedule was not: it has
    begun a run of the recovery, which sees to watches and workflows."""
    client, installation, settings = services.client, services.installation, services.settings
    await _search_attributes(client)
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            messages.RECOVERY, id=installation.recovery_id, task_queue=installation.queues.main
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=settings.recovery_interval))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=waits.RECOVERY_CATCH_UP),
    )
    try:
        await client.create_schedule(installation.recovery_id, schedule, trigger_immediately=True)
    except ScheduleAlreadyRunningError:
        return False
    return True


async def keep_prepared(services: Services, *, every: float = waits.PREPARE_EVERY_SECONDS) -> None:
    """The same again and again, as a Temporal may be wiped, or exchanged, while workers run; the log says what it means
    that somebody has paused the schedule. Three requests each time.

    `every` is in seconds, with jitter. Runs until it is cancelled.
    """
    away = was_paused = False
    while True:
        await asyncio.sleep(every * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
        try:
            async with asyncio.timeout(waits.PREPARE_TIMEOUT_SECONDS):
                if await prepare(services):
                    log.warning("Temporal had no recovery schedule: was it wiped? All is started again from the rows")
                is_paused = await _is_paused(services)
            if is_paused and not was_paused:
                log.warning(
                    "the recovery schedule is paused in Temporal: lost workflows are not begun anew, and commands that "
                    "could not be delivered stay PENDING, until it is unpaused",
                    schedule=services.installation.recovery_id,
                )
            was_paused = is_paused
            away = False
        except Exception as error:
            if not away:
                log.warning(
                    "Temporal cannot be asked for the recovery schedule", why=str(error) or type(error).__name__
                )
            away = True


async def _is_paused(services: Services) -> bool:
    schedule = await services.client.get_schedule_handle(services.installation.recovery_id).describe()
    return schedule.schedule.state.paused


async def _search_attributes(client: Client) -> None:
    polling = poll(waits.SEARCH_ATTRIBUTES_PACE, seconds=waits.SEARCH_ATTRIBUTES_SECONDS)
    while True:
        try:
            have = await client.operator_service.list_search_attributes(
                ListSearchAttributesRequest(namespace=client.namespace)
            )
            missing = [name for name in search.ATTRIBUTES if name not in have.custom_attributes]
            if missing:
                keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
                await client.operator_service.add_search_attributes(
                    AddSearchAttributesRequest(
                        namespace=client.namespace, search_attributes=dict.fromkeys(missing, keyword)
                    )
                )
            return
        except RPCError as error:
            if error.status is RPCStatusCode.ALREADY_EXISTS:
                return
            log.info("waiting for Temporal's search attributes", why=str(error))
            if not await polling.again():
                raise
