"""What an answer to a project may not show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from clusters.protocol import Failure
from clusters.sql import scrub
from core.errors import PenstockError
from core.sql.resources import TableDefinition
from services import Services
from store import resources
from store.database import Session

NOT_SHOWN = "(not shown: a secret of the project cannot be opened by this process, and so not be cut out)"


async def hidden(services: Services, session: Session, project: str) -> list[str]:
    """The values that an answer to a project may not show: its own secrets, and those of tables granted to it."""
    names = {project: {row.name for row in await resources.secrets(session, project)}}
    for item in await resources.visible(session, project):
        if item.resource.project != project and not resources.is_view(item.resource):
            referred = TableDefinition.model_validate(item.resource.definition).secrets()
            names.setdefault(item.resource.project, set()).update(referred)
    values = []
    for owner, of_owner in names.items():
        sealed = await resources.sealed(session, owner, of_owner) if of_owner else {}
        values += [services.vault.open(value) for value in sealed.values()]
    return values


async def scrubber(services: Services, session: Session, projects: Iterable[str]) -> Callable[[str], str]:
    """Takes the values that these projects may not see out of texts. Secrets are read once. Where one cannot be opened,
    nothing of a text is shown."""
    try:
        values = [value for project in sorted(set(projects)) for value in await hidden(services, session, project)]
    except PenstockError:
        return lambda _: NOT_SHOWN
    return lambda text: scrub(text, values)


async def tellable(services: Services, session: Session, project: str, failure: Failure) -> Failure:
    """Why an attempt of a project failed, as it may be told: a program's own words can have what it was given."""
    scrubbed = await scrubber(services, session, [project])
    return replace(failure, message=scrubbed(failure.message))
