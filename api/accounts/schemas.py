"""Bodies and answers of accounts, members and tokens."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field, SecretStr

from api.deps import Strict
from core.access import Role
from core.names import Name

MOST_DAYS = 3660
NEVER = "By default never"


class Me(BaseModel):
    """Who sends this request, and what they may do."""

    name: str
    administrator: bool = Field(description="Of the platform: clusters, projects, accounts, Flink jobs nobody owns")
    everywhere: Role | None = Field(description="The role in projects that do not name another one")
    projects: dict[str, Role] = Field(description="The role in each project of which they are a member")


class NewToken(Strict):
    name: Name
    role: Role | None = Field(default=None, description="The most that it gives; by default all that its account has")
    days: int | None = Field(default=None, ge=1, le=MOST_DAYS, description=f"Until it is over. {NEVER}")


class NewProjectToken(Strict):
    """`name` is the service account's: it is made with its first token, and shown as `project/name`."""

    name: Name
    role: Role
    days: int | None = Field(default=None, ge=1, le=MOST_DAYS, description=f"Until it is over. {NEVER}")


class TokenOut(BaseModel):
    """`used_at` is within ten minutes of the last use."""

    id: str
    account: str
    name: str
    role: Role | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    used_at: datetime | None


class TokenMade(TokenOut):
    token: str = Field(description="Told this once: Penstock keeps its hash only")


class Link(BaseModel):
    """Opens a page in a browser, once and within a minute, as who asked for it."""

    path: str
    expires_at: datetime


class MemberBody(Strict):
    role: Role


class MemberOut(BaseModel):
    project: str
    account: str
    role: Role
    created_at: datetime
    created_by: str


class NewAccount(Strict):
    name: Name
    password: SecretStr | None = Field(default=None, min_length=12, max_length=200)
    administrator: bool = False


class AccountPatch(Strict):
    """A new password ends all sessions of the account."""

    password: SecretStr | None = Field(default=None, min_length=12, max_length=200)
    administrator: bool | None = None


class AccountOut(BaseModel):
    name: str
    administrator: bool
    project: str | None = Field(description="Of a service account")
    has_password: bool
    created_at: datetime
    created_by: str


class PasswordBody(Strict):
    current: SecretStr = Field(max_length=200)
    new: SecretStr = Field(min_length=12, max_length=200)


class LoginBody(Strict):
    name: str = Field(max_length=80)
    password: SecretStr = Field(max_length=200)
