"""The token of whoever starts the API, or reads its files: nobody logs in on a laptop; a server needs a first one."""

from __future__ import annotations

import structlog

from core.access import Role
from core.access_tokens import LEAST_CHARACTERS, MOST_CHARACTERS, PREFIX, CredentialKind, digest, new_token
from core.errors import InvalidInput
from core.jobs.commands import LOCAL
from services import Services
from settings import clock
from store import accounts
from store.database import Taken
from store.private_file import made_once

log = structlog.get_logger()


async def keep(services: Services) -> None:
    """See that the database knows `PENSTOCK_BOOTSTRAP_TOKEN`, or else `home`/token, which is made where there is none
    that opens anything (mode 0600): the database may be a new one. The one before it, of this machine, opens nothing
    any more, also where there is to be none. Raises `InvalidInput` for a given one that can be guessed."""
    settings, now = services.settings, clock.now()
    token = settings.bootstrap_token.get_secret_value().strip()
    if token:
        _check(token)
    elif settings.local_token:
        token = await _of_file(services)
    name = f"of {settings.host}"[:80]
    try:
        async with services.database.write() as session:
            await accounts.revoke_named(session, LOCAL, name, now, but=digest(token) if token else None)
            if not token:
                return
            account = await accounts.find(session, LOCAL)
            if account is None:
                await accounts.add(session, LOCAL, by=LOCAL, now=now, is_administrator=True, everywhere=Role.OWNER)
            elif account.disabled_at is not None:
                log.warning("the account of the first token is disabled: the token opens nothing", account=LOCAL)
            if await accounts.token_by_digest(session, digest(token)) is None:
                await accounts.add_token(
                    session,
                    LOCAL,
                    digest(token),
                    kind=CredentialKind.TOKEN,
                    name=name,
                    role=None,
                    expires_at=None,
                    by=LOCAL,
                    now=now,
                )
    except Taken:
        return  # another API that starts at this moment has done it


def _check(token: str) -> None:
    if not LEAST_CHARACTERS <= len(token) <= MOST_CHARACTERS or not token.isascii() or not token.isprintable():
        raise InvalidInput(
            f"PENSTOCK_BOOTSTRAP_TOKEN has to have {LEAST_CHARACTERS} to {MOST_CHARACTERS} plain characters.",
            code="bad_token",
            remedy="Make one with `openssl rand -base64 32`.",
        )


async def _of_file(services: Services) -> str:
    """The token of the file; another one where that was revoked, or is none of ours."""
    file = services.settings.home / "token"
    token = made_once(file, new_token).strip()
    async with services.database.read() as session:
        row = await accounts.token_by_digest(session, digest(token))
    is_ours = token.startswith(PREFIX) and len(token) >= LEAST_CHARACTERS and file.stat().st_mode & 0o077 == 0
    if is_ours and (row is None or row.revoked_at is None):
        return token
    file.unlink()
    return made_once(file, new_token).strip()
