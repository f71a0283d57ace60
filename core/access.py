"""Who may do what: the rights of each role, as a table, and what a caller may by them.

Rights are given per project. What is not in the table nobody may: a new route needs a right before anybody can use it
(`api/rules.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from core.errors import PenstockError


class Role(StrEnum):
    """What a member of a project is, from little to much."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    EDITOR = "editor"
    OWNER = "owner"


class Right(StrEnum):
    """What may be done in a project, or, from `ADOPT` on, on the platform. `MEANS` has it in words."""

    READ = "read"
    READ_DETAILS = "read_details"
    READ_RESOURCES = "read_resources"
    WRITE_TESTS = "write_tests"
    OPERATE = "operate"
    OVERRIDE = "override"
    WRITE_CODE = "write_code"
    WRITE_RESOURCES = "write_resources"
    SEE_SECRETS = "see_secrets"
    USE_SECRETS = "use_secrets"
    SET_SECRETS = "set_secrets"
    GRANT = "grant"
    MANAGE_MEMBERS = "manage_members"
    READ_AUDIT = "read_audit"
    ADOPT = "adopt"
    CONFIGURE_ALL = "configure_all"
    MANAGE_PLATFORM = "manage_platform"


MEANS: Mapping[Right, str] = {
    Right.READ: "see jobs, timelines and lineage",
    Right.READ_DETAILS: "see versions, logs, plans and test sets",
    Right.READ_RESOURCES: "see tables, views, catalogs and libraries",
    Right.WRITE_TESTS: "write test sets and tests",
    Right.OPERATE: "start, stop, scale and take savepoints",
    Right.OVERRIDE: "choose a restore point, start empty, and accept that state is lost",
    Right.WRITE_CODE: "write jobs, versions and libraries, and run SQL",
    Right.WRITE_RESOURCES: "write tables, views and catalogs",
    Right.SEE_SECRETS: "see names of secrets",
    Right.USE_SECRETS: "use secrets",
    Right.SET_SECRETS: "set secrets",
    Right.GRANT: "grant tables to other projects",
    Right.MANAGE_MEMBERS: "manage members and tokens of the project",
    Right.READ_AUDIT: "read the audit of the project",
    Right.ADOPT: "restore from paths of others, adopt and stop Flink jobs that nobody owns, and run the recovery",
    Right.CONFIGURE_ALL: "set configuration outside of the list of allowed keys",
    Right.MANAGE_PLATFORM: "manage clusters, projects and accounts",
}

_VIEWER = frozenset({Right.READ, Right.READ_DETAILS, Right.READ_RESOURCES})
_OPERATOR = _VIEWER | {Right.OPERATE, Right.SEE_SECRETS}
_EDITOR = _OPERATOR | {
    Right.WRITE_TESTS,
    Right.OVERRIDE,
    Right.WRITE_CODE,
    Right.WRITE_RESOURCES,
    Right.USE_SECRETS,
}
_OWNER = _EDITOR | {Right.SET_SECRETS, Right.GRANT, Right.MANAGE_MEMBERS, Right.READ_AUDIT}

RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.EDITOR: _EDITOR,
    Role.OWNER: _OWNER,
}

OF_ADMINISTRATORS = frozenset(
    {
        Right.READ,
        Right.MANAGE_MEMBERS,
        Right.READ_AUDIT,
        Right.ADOPT,
        Right.CONFIGURE_ALL,
        Right.MANAGE_PLATFORM,
    }
)
"""In every project. An administrator of the platform reads no logs and starts no jobs, unless they are a member."""


@dataclass(frozen=True)
class Principal:
    """Who calls. `name` is kept with what they do; `roles` are those in projects, `everywhere` one in all of them;
    `token` is the id of the token that they came with."""

    name: str
    is_administrator: bool = False
    everywhere: Role | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    token: str | None = None

    def role_in(self, project: str) -> Role | None:
        """The higher of the one there and the one everywhere; None for who is no member."""
        held = [role for role in (self.everywhere, self.roles.get(project)) if role is not None]
        return max(held, key=list(Role).index) if held else None

    def rights_in(self, project: str) -> frozenset[Right]:
        """All rights in a project; none where the caller is no member."""
        role = self.role_in(project)
        given = RIGHTS[role] if role is not None else frozenset[Right]()
        return given | OF_ADMINISTRATORS if self.is_administrator else given

    def may(self, right: Right, project: str | None = None) -> bool:
        """Whether they have a right in a project; None: on the platform."""
        if project is None:
            return self.is_administrator and right in OF_ADMINISTRATORS
        return right in self.rights_in(project)

    def at_most(self, role: Role) -> Principal:
        """The same with no higher role anywhere, and nothing on the platform."""
        order = list(Role)

        def lower(held: Role) -> Role:
            return min(held, role, key=order.index)

        roles = {project: lower(held) for project, held in self.roles.items()}
        everywhere = lower(self.everywhere) if self.everywhere is not None else None
        return replace(self, is_administrator=False, everywhere=everywhere, roles=roles)

    def projects(self) -> frozenset[str] | None:
        """Those whose jobs they may read; None: all."""
        return None if self.is_administrator or self.everywhere is not None else frozenset(self.roles)


class Unauthenticated(PenstockError):
    """Nobody knows who calls."""

    status = 401


class Forbidden(PenstockError):
    """It is known who calls, and that they may see the thing; but not do this."""

    status = 403


def forbidden(caller: Principal, right: Right, project: str | None) -> Forbidden:
    """The error of a caller who lacks a right: what they are, and who may."""
    able = [f"{role.value}s" for role in Role if right in RIGHTS[role]]
    if right in OF_ADMINISTRATORS:
        able.append("administrators of the platform")
    role = caller.role_in(project) if project is not None else None
    what = f"{role.value} of the project {project}" if role else "no administrator of the platform"
    return Forbidden(
        f"{caller.name} is {what}, and may not {MEANS[right]}.",
        code="forbidden",
        remedy=f"These may: {', '.join(able)}.",
    )
