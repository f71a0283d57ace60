"""The token of whoever starts the API, or reads its files: nobody logs in on a laptop; a server needs a first one."""

from __future__ import annotations

from core.access import Role
from core.access_tokens import LEAST_CHARACTERS, CredentialKind, digest, new_token
from core.errors import InvalidInput
from core.jobs.commands import LOCAL
from services import Services
from settings import clock
from store import accounts
from store.database import Taken
from store.private_file import made_once


async def keep(services: Services) -> None:
    """See that the database knows `PENSTOCK_BOOTSTRAP_TOKEN`, or else `home`/token, which is made where there is none
    (mode 0600): the database may be a new one. One that was revoked stays so. The one before it, of this machine, opens
    nothing any more. Raises `InvalidInput` for a given one that can be guessed."""
    settings, now = services.settings, clock.now()
    token = settings.bootstrap_token.get_secret_value().strip()
    if token and len(token) < LEAST_CHARACTERS:
        raise InvalidInput(
            f"PENSTOCK_BOOTSTRAP_TOKEN has less than {LEAST_CHARACTERS} characters.",
            code="token_too_short",
            remedy="Make one with `openssl rand -base64 32`.",
        )
    if not token:
        if not settings.local_token:
            return
        token = made_once(settings.home / "token", new_token).strip()
    name = f"of {settings.host}"[:80]
    try:
        async with services.database.write() as session:
            if await accounts.find(session, LOCAL) is None:
                await accounts.add(session, LOCAL, by=LOCAL, now=now, is_administrator=True, everywhere=Role.OWNER)
            if await accounts.token_by_digest(session, digest(token)) is None:
                await accounts.revoke_named(session, LOCAL, name, now)
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
