"""Accounts, members of projects, tokens, and sessions of browsers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from api.accounts import passwords
from api.accounts import schemas as out
from api.rules import Caller
from core.access import RIGHTS, Forbidden, Role, Unauthenticated
from core.access_tokens import CredentialKind, digest, new_token
from core.errors import Conflict, InvalidInput, NotFound
from services import Services
from settings import clock
from store import accounts, jobs
from store.database import Session, Taken
from store.tables import Account, Credential, Member

SESSION = timedelta(hours=12)
LINK = timedelta(minutes=1)
MOST_TOKENS = 100


def me(caller: Caller) -> out.Me:
    """Who calls, and their roles."""
    who = caller.principal
    return out.Me(
        name=who.name, administrator=who.is_administrator, everywhere=who.everywhere, projects=dict(who.roles)
    )


# Tokens -----------------------------------------------------------------------------------------


async def own_tokens(services: Services, caller: Caller) -> list[out.TokenOut]:
    """Those of the caller that open something, the newest first."""
    async with services.database.read() as session:
        return [_token(row) for row in await accounts.tokens_of(session, caller.name, clock.now())]


async def make_own_token(services: Services, caller: Caller, new: out.NewToken) -> out.TokenMade:
    """Raises `Conflict` where authentication is off, and for one token too many. It has no more than the token that it
    is asked for with, and does not outlive it."""
    async with services.database.write() as session:
        account = await _account_of(services, session, caller)
        shown = await _shown(session, caller)
        most = Role(shown.role) if shown is not None and shown.role else None
        role = most if new.role is None or (most is not None and _is_less(most, new.role)) else new.role
        return await _make(session, account, caller, name=new.name, role=role, days=new.days, until=_end_of(shown))


async def revoke_own_token(services: Services, caller: Caller, token_id: str) -> None:
    """Raises `NotFound`."""
    async with services.database.write() as session:
        shown = await _shown(session, caller)
        if shown is not None and shown.role and shown.id != token_id:
            raise Forbidden(
                f"The token of this request has the role {shown.role} only: it revokes no other one than itself.",
                code="forbidden",
                remedy=_WITH_ANOTHER,
            )
        rows = await accounts.tokens_of(session, caller.name, clock.now())
        await accounts.revoke(session, _one(rows, token_id), clock.now())


async def project_tokens(services: Services, project: str) -> list[out.TokenOut]:
    """Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        return [_token(row) for row in await accounts.tokens_in(session, project, clock.now())]


async def make_project_token(
    services: Services, caller: Caller, project: str, new: out.NewProjectToken
) -> out.TokenMade:
    """A token of a service account, which is made with its first one. Raises `NotFound`, `Forbidden` for a role above
    the caller's own, and `Conflict` for an account that has another role."""
    _check_no_more(caller, project, new.role)
    name, now = f"{project}/{new.name}", clock.now()
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        account = await accounts.find(session, name)
        if account is None:
            account = await accounts.add(session, name, by=caller.name, now=now, project=project)
            await accounts.set_member(session, project, name, new.role, by=caller.name, now=now)
        elif account.disabled_at is not None:
            raise Conflict(f"The account {name} is disabled.", code="account_disabled", remedy="Take another name.")
        elif (held := (await accounts.member(session, project, name)).role) != new.role.value:
            raise Conflict(
                f"The service account {name} is {held} already.",
                code="role_differs",
                remedy=f"Take another name, or make it {new.role.value}: PUT /projects/{project}/members/{name}.",
            )
        return await _make(session, account, caller, name=new.name, role=new.role, days=new.days)


async def revoke_project_token(services: Services, project: str, token_id: str) -> None:
    """Raises `NotFound`."""
    async with services.database.write() as session:
        rows = await accounts.tokens_in(session, project, clock.now())
        await accounts.revoke(session, _one(rows, token_id), clock.now())


async def _make(
    session: Session,
    account: Account,
    caller: Caller,
    *,
    name: str,
    role: Role | None,
    days: int | None,
    until: datetime | None = None,
) -> out.TokenMade:
    now = clock.now()
    ends = [end for end in (until, now + timedelta(days=days) if days is not None else None) if end is not None]
    if len(await accounts.tokens_of(session, account.name, now)) >= MOST_TOKENS:
        raise Conflict(f"{account.name} has {MOST_TOKENS} tokens.", code="too_many_tokens", remedy="Revoke some first.")
    until = min(ends, default=None)
    token, row = await _issue(
        session, account.name, kind=CredentialKind.TOKEN, name=name, role=role, until=until, by=caller.name
    )
    return out.TokenMade(**_token(row).model_dump(), token=token)


async def _issue(
    session: Session,
    account: str,
    *,
    kind: CredentialKind,
    name: str,
    by: str,
    until: datetime | None,
    role: Role | None = None,
) -> tuple[str, Credential]:
    """A new token, which is told this once, and its row."""
    token = new_token()
    row = await accounts.add_token(
        session, account, digest(token), kind=kind, name=name, role=role, expires_at=until, by=by, now=clock.now()
    )
    return token, row


async def _account_of(services: Services, session: Session, caller: Caller) -> Account:
    """Raises `Conflict` for who calls without authentication."""
    if not services.settings.authentication:
        raise Conflict(
            "Authentication is switched off, so nobody has an account.",
            code="no_authentication",
            remedy="Start the API with PENSTOCK_AUTHENTICATION=true.",
        )
    return await accounts.get(session, caller.name)


_WITH_ANOTHER = "Use a token without a role, or a session."


async def _shown(session: Session, caller: Caller) -> Credential | None:
    """What the caller came with; None without authentication."""
    return await accounts.token(session, caller.principal.token) if caller.principal.token else None


def _end_of(shown: Credential | None) -> datetime | None:
    """When what the caller came with is over; None for never, and for the session of a browser: that ends every day."""
    return shown.expires_at if shown is not None and shown.kind == CredentialKind.TOKEN.value else None


def _is_less(role: Role, other: Role) -> bool:
    return RIGHTS[role] < RIGHTS[other]


def _one(rows: Sequence[Credential], token_id: str) -> Credential:
    for row in rows:
        if row.id == token_id:
            return row
    raise NotFound(f"There is no token {token_id[:80]}.", code="token_not_found")


def _token(row: Credential) -> out.TokenOut:
    return out.TokenOut(
        id=row.id,
        account=row.account,
        name=row.name,
        role=Role(row.role) if row.role else None,
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )


# Members ----------------------------------------------------------------------------------------


async def members(services: Services, project: str) -> list[out.MemberOut]:
    """Raises `NotFound`."""
    async with services.database.read() as session:
        await jobs.project(session, project)
        return [_member(row) for row in await accounts.members(session, project)]


async def set_member(services: Services, caller: Caller, project: str, account: str, role: Role) -> out.MemberOut:
    """Raises `NotFound`, `Forbidden` for a role above the caller's own, and `NotFound` for another project's
    service account, too."""
    _check_no_more(caller, project, role)
    async with services.database.write() as session:
        await jobs.project(session, project, hold=True)
        row = await accounts.get(session, account)
        if row.project is not None and row.project != project:
            raise accounts.not_found(account)  # whose it is, and that it is there, is that project's
        return _member(await accounts.set_member(session, project, account, role, by=caller.name, now=clock.now()))


async def remove_member(services: Services, project: str, account: str) -> None:
    """Raises `NotFound`. A service account goes with its membership, and its tokens with it."""
    async with services.database.write() as session:
        await accounts.remove_member(session, await accounts.member(session, project, account))
        row = await accounts.get(session, account)
        if row.project == project:
            await accounts.disable(session, row, clock.now())


def _check_no_more(caller: Caller, project: str, role: Role) -> None:
    """Nobody gives a role that they do not have themselves; an administrator gives all."""
    if caller.principal.is_administrator or RIGHTS[role] <= caller.principal.rights_in(project):
        return
    raise Forbidden(
        f"{caller.name} is no {role.value} of the project {project}, and cannot make one.",
        code="forbidden",
        remedy="Ask an owner of the project.",
    )


def _member(row: Member) -> out.MemberOut:
    return out.MemberOut(
        project=row.project,
        account=row.account,
        role=Role(row.role),
        created_at=row.created_at,
        created_by=row.created_by,
    )


# Accounts ---------------------------------------------------------------------------------------


async def all_(services: Services) -> list[out.AccountOut]:
    """By name; without those that are disabled."""
    async with services.database.read() as session:
        return [_account(row) for row in await accounts.all_(session)]


async def create(services: Services, caller: Caller, new: out.NewAccount) -> out.AccountOut:
    """Raises `Conflict` when there is one by that name, or was."""
    password = await passwords.hashed(new.password.get_secret_value()) if new.password else None
    try:
        async with services.database.write() as session:
            if await accounts.find(session, new.name) is not None:
                raise _account_exists(new.name)
            row = await accounts.add(
                session,
                new.name,
                by=caller.name,
                now=clock.now(),
                password=password,
                is_administrator=new.administrator,
            )
    except Taken as error:
        raise _account_exists(new.name) from error
    return _account(row)


def _account_exists(name: str) -> Conflict:
    return Conflict(
        f"There is an account {name} already, or was: what it did stands by that name.", code="account_exists"
    )


async def patch(services: Services, caller: Caller, name: str, changes: out.AccountPatch) -> out.AccountOut:
    """Raises `NotFound`, and `Conflict` when nobody would be left who can."""
    password = await passwords.hashed(changes.password.get_secret_value()) if changes.password else None
    async with services.database.write() as session:
        row = await accounts.get(session, name)
        if password is not None:
            if row.project is not None:
                raise InvalidInput(
                    f"{name} is a service account: it has tokens, and no password.", code="service_account"
                )
            await accounts.set_password(session, row, password, clock.now())
        if changes.administrator is not None:
            if not changes.administrator:
                await _check_another(session, row)
            accounts.set_administrator(row, changes.administrator)
    return _account(row)


async def delete(services: Services, name: str) -> None:
    """It opens nothing any more; its name stays taken. Raises `NotFound`, and `Conflict` for the last administrator."""
    async with services.database.write() as session:
        row = await accounts.get(session, name)
        await _check_another(session, row)
        await accounts.disable(session, row, clock.now())


async def _check_another(session: Session, row: Account) -> None:
    if row.is_administrator and not await accounts.other_administrators(session, row.name, clock.now()):
        raise Conflict(
            f"{row.name} is the only administrator.", code="last_administrator", remedy="Make another one first."
        )


def _account(row: Account) -> out.AccountOut:
    return out.AccountOut(
        name=row.name,
        administrator=row.is_administrator,
        project=row.project,
        has_password=row.password is not None,
        created_at=row.created_at,
        created_by=row.created_by,
    )


# Sessions ---------------------------------------------------------------------------------------


async def login(services: Services, body: out.LoginBody) -> tuple[str, datetime]:
    """The token of a new session, and until when it is one. Raises `Unauthenticated`."""
    async with services.database.read() as session:
        row = await accounts.find(session, body.name) if "\x00" not in body.name else None
    kept = row.password if row is not None and row.disabled_at is None else None
    if not await passwords.fits(body.password.get_secret_value(), kept, is_known=False) or row is None:
        raise _login_refused()
    async with services.database.write() as session:
        # Seconds may have passed: who was locked out meanwhile is not let in by what was true before.
        now = await accounts.find(session, body.name)
        if now is None or now.disabled_at is not None or now.password != kept:
            raise _login_refused()
        return await _open(session, row.name, row.name, CredentialKind.SESSION, SESSION)


def _login_refused() -> Unauthenticated:
    return Unauthenticated("No account has that name and that password.", code="login_refused")


async def change_password(services: Services, caller: Caller, body: out.PasswordBody) -> None:
    """Ends all sessions of the account. Raises `Forbidden` when the present one is another."""
    async with services.database.read() as session:
        row = await _account_of(services, session, caller)
    if not await passwords.fits(body.current.get_secret_value(), row.password, is_known=True):
        raise Forbidden("That is not the present password.", code="password_wrong")
    password = await passwords.hashed(body.new.get_secret_value())
    async with services.database.write() as session:
        row = await accounts.get(session, caller.name)
        await accounts.set_password(session, row, password, clock.now())


async def link(services: Services, caller: Caller) -> out.Link:
    """Raises `Conflict` where authentication is off, and `Forbidden` for what may be less than its account, or be over
    sooner: a session is all of a person."""
    async with services.database.write() as session:
        account = await _account_of(services, session, caller)
        shown = await _shown(session, caller)
        is_less = shown is not None and (shown.role or _end_of(shown))
        if account.project is not None or is_less:
            raise Forbidden(
                "Sessions of browsers are for people, and may do all that their account may; this token has a role or "
                "an end, or is a program's.",
                code="forbidden",
                remedy=_WITH_ANOTHER,
            )
        code, until = await _open(session, caller.name, caller.name, CredentialKind.LINK, LINK)
    return out.Link(path=f"/login?code={code}", expires_at=until)


async def follow(services: Services, code: str) -> tuple[str, datetime]:
    """A session for who has a link, once. Raises `Unauthenticated`."""
    async with services.database.write() as session:
        shown = await accounts.by_token(session, digest(code), clock.now())
        is_link = shown is not None and shown.kind is CredentialKind.LINK
        row = await accounts.token(session, shown.token) if shown and is_link else None
        if row is None or not await accounts.revoke(session, row, clock.now()):
            raise Unauthenticated(
                "That link is unknown, over, or was used.",
                code="link_refused",
                remedy="`penstock open` makes a new one.",
            )
        return await _open(session, row.account, row.created_by, CredentialKind.SESSION, SESSION)


async def logout(services: Services, caller: Caller) -> None:
    """The token or session of this request opens nothing any more."""
    async with services.database.write() as session:
        shown = await _shown(session, caller)
        if shown is not None:
            await accounts.revoke(session, shown, clock.now())


async def _open(
    session: Session, account: str, by: str, kind: CredentialKind, lasts: timedelta
) -> tuple[str, datetime]:
    until = clock.now() + lasts
    token, _ = await _issue(session, account, kind=kind, name=kind.value, until=until, by=by)
    return token, until
