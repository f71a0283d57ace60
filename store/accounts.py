"""Queries of accounts, members and tokens."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select, update

from core.access import Principal, Role
from core.access_tokens import CredentialKind
from core.errors import NotFound
from store.database import Session
from store.tables import Account, Credential, Member

USED = timedelta(minutes=10)
"""A token's last use is written down once in this time: not with each request."""


@dataclass(frozen=True)
class Shown:
    """Who showed a token. `is_news`: its last use is to be written down."""

    principal: Principal
    token: str
    kind: CredentialKind
    is_news: bool


async def by_token(session: Session, digest: str, now: datetime) -> Shown | None:
    """Who has the token of a digest; None for one that is unknown, revoked or over, or whose account is disabled."""
    query = (
        select(Credential, Account)
        .join(Account, Account.name == Credential.account)
        .where(Credential.digest == digest, Credential.revoked_at.is_(None), Account.disabled_at.is_(None))
    )
    found = (await session.execute(query)).one_or_none()
    if found is None:
        return None
    token, account = found
    if token.expires_at is not None and token.expires_at <= now:
        return None
    is_news = token.used_at is None or now - token.used_at > USED
    principal = await principal_of(session, account, token)
    return Shown(principal, token.id, CredentialKind(token.kind), is_news)


async def principal_of(session: Session, account: Account, token: Credential) -> Principal:
    """What an account may by a token: where that has a role, no more than it, and nothing on the platform."""
    everywhere = Role(account.everywhere) if account.everywhere else None
    roles: dict[str, Role] = {}
    if everywhere is not Role.OWNER:
        rows = await session.execute(select(Member.project, Member.role).where(Member.account == account.name))
        roles = {project: Role(role) for project, role in rows}
    made = Principal(account.name, account.is_administrator, everywhere, roles, token.id)
    return made.at_most(Role(token.role)) if token.role else made


async def used(session: Session, token: str, now: datetime) -> None:
    """Write down that a token was used."""
    await session.execute(update(Credential).where(Credential.id == token).values(used_at=now))


async def find(session: Session, name: str) -> Account | None:
    """The row of an account, disabled or not; None when there is none."""
    return await session.get(Account, name)


async def get(session: Session, name: str) -> Account:
    """Raises `NotFound`, also for one that is disabled."""
    row = await find(session, name)
    if row is None or row.disabled_at is not None:
        raise not_found(name)
    return row


def not_found(name: str) -> NotFound:
    """The error of an account that is not there, or not for who asks."""
    return NotFound(f"There is no account {name}.", code="account_not_found", field="account")


async def other_administrators(session: Session, name: str, now: datetime) -> bool:
    """Whether an administrator other than this one can get in: with a password, or a token."""
    others = [row for row in await all_(session) if row.is_administrator and row.name != name]
    for row in others:
        if row.password is not None or await tokens_of(session, row.name, now):
            return True
    return False


async def end_project(session: Session, project: str, now: datetime) -> None:
    """A project is deleted: nobody is a member of it any more, and its service accounts open nothing. Its name may be
    another team's tomorrow."""
    for account in await session.scalars(select(Account).where(Account.project == project)):
        if account.disabled_at is None:
            await disable(session, account, now)
    for row in await members(session, project):
        await session.delete(row)


async def all_(session: Session) -> Sequence[Account]:
    """Those that are not disabled, by name."""
    return (await session.scalars(select(Account).where(Account.disabled_at.is_(None)).order_by(Account.name))).all()


async def add(
    session: Session,
    name: str,
    *,
    by: str,
    now: datetime,
    project: str | None = None,
    password: str | None = None,
    is_administrator: bool = False,
    everywhere: Role | None = None,
) -> Account:
    """Write an account down; `Taken` is raised, here or later, when there is one by that name."""
    row = Account(
        name=name,
        project=project,
        password=password,
        is_administrator=is_administrator,
        everywhere=everywhere.value if everywhere else None,
        created_at=now,
        created_by=by,
    )
    session.add(row)
    await session.flush()
    return row


async def set_password(session: Session, row: Account, password: str, now: datetime) -> None:
    """`password` is the hash of the new one. Ends all sessions of the account."""
    row.password = password
    await end_sessions(session, row.name, now)


def set_administrator(row: Account, is_administrator: bool) -> None:
    """From the next request on the account is an administrator of the platform, or is none."""
    row.is_administrator = is_administrator


async def disable(session: Session, account: Account, now: datetime) -> None:
    """None of its tokens opens anything from now on, and it is a member of nothing."""
    account.disabled_at = now
    await _revoke(session, now, Credential.account == account.name)
    for member in await session.scalars(select(Member).where(Member.account == account.name)):
        await session.delete(member)


async def members(session: Session, project: str) -> Sequence[Member]:
    """The members of a project, by name."""
    return (await session.scalars(select(Member).where(Member.project == project).order_by(Member.account))).all()


async def member(session: Session, project: str, account: str) -> Member:
    """Raises `NotFound`."""
    row = await session.get(Member, (project, account))
    if row is None:
        raise NotFound(f"{account} is no member of the project {project}.", code="member_not_found", field="account")
    return row


async def set_member(session: Session, project: str, account: str, role: Role, *, by: str, now: datetime) -> Member:
    """Give an account a role in a project, in place of the one that it has there."""
    row = await session.get(Member, (project, account))
    if row is None:
        row = Member(project=project, account=account, role=role.value, created_at=now, created_by=by)
        session.add(row)
    else:
        row.role = role.value
    return row


async def remove_member(session: Session, row: Member) -> None:
    """From now on they are none."""
    await session.delete(row)


async def add_token(
    session: Session,
    account: str,
    digest: str,
    *,
    kind: CredentialKind,
    name: str,
    role: Role | None,
    expires_at: datetime | None,
    by: str,
    now: datetime,
) -> Credential:
    """Write down the digest of a token of an account."""
    row = Credential(
        id=uuid.uuid4().hex[:12],
        digest=digest,
        account=account,
        kind=kind.value,
        name=name,
        role=role.value if role else None,
        created_at=now,
        created_by=by,
        expires_at=expires_at,
    )
    session.add(row)
    return row


async def token_by_digest(session: Session, digest: str) -> Credential | None:
    """Also one that is revoked or over."""
    return (await session.scalars(select(Credential).where(Credential.digest == digest))).one_or_none()


async def tokens_of(session: Session, account: str, now: datetime) -> Sequence[Credential]:
    """Those that open something, and sessions of browsers, the newest first."""
    return await _tokens(session, now, Credential.account == account)


async def tokens_in(session: Session, project: str, now: datetime) -> Sequence[Credential]:
    """The same of all service accounts of a project."""
    return await _tokens(session, now, Credential.account.in_(select(Account.name).where(Account.project == project)))


async def _tokens(session: Session, now: datetime, which: ColumnElement[bool]) -> Sequence[Credential]:
    live = (Credential.revoked_at.is_(None), or_(Credential.expires_at.is_(None), Credential.expires_at > now))
    query = select(Credential).where(which, Credential.kind != CredentialKind.LINK.value, *live)
    return (await session.scalars(query.order_by(Credential.created_at.desc(), Credential.id))).all()


async def revoke(session: Session, token: Credential, now: datetime) -> bool:
    """From now on it opens nothing. False when that was so already: of two that take a link, one is told so."""
    return await _revoke(session, now, Credential.id == token.id)


async def revoke_named(session: Session, account: str, name: str, now: datetime, *, but: str | None) -> None:
    """The tokens of an account that have a name, but for the one of a digest."""
    others = [Credential.digest != but] if but is not None else []
    await _revoke(session, now, Credential.account == account, Credential.name == name, *others)


async def token(session: Session, token_id: str) -> Credential | None:
    """The row of a token, revoked or not."""
    return await session.get(Credential, token_id)


async def end_sessions(session: Session, account: str, now: datetime) -> None:
    """All sessions of browsers, and links to some, of an account."""
    await _revoke(session, now, Credential.account == account, Credential.kind != CredentialKind.TOKEN.value)


async def _revoke(session: Session, now: datetime, *which: ColumnElement[bool]) -> bool:
    """Those that are not revoked yet. Whether there was one."""
    live = update(Credential).where(*which, Credential.revoked_at.is_(None))
    return (await session.execute(live.values(revoked_at=now).returning(Credential.id))).first() is not None
