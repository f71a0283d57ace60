"""What each route needs: the one table of it, and the check.

A route without a line here is refused to everybody, and `tests/api/test_access.py` fails. What depends on more than the
route is checked in its service: what a command overrides, whose preview it is, which jobs a list has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from fastapi import Request

from core.access import Forbidden, Principal, Right, forbidden
from core.errors import NotFound
from services import Services
from store import jobs, sessions
from store.tables import SqlSession

PREFIX = "/api/v1"
LONGEST_REF = 200
"""Characters of what names a job."""


class Of(Enum):
    """Where a request says which project it is about."""

    JOB = auto()
    """The job in its path."""
    PATH = auto()
    """In its path."""
    BODY = auto()
    """The field `project` of its body; `default` without one."""
    QUERY = auto()
    """The parameter `project`; without one its service shows what the caller may see."""
    QUERY_OR_DEFAULT = auto()
    """The parameter `project`, `default` without one."""
    SERVICE = auto()
    """What it is about has a project, which its service looks up and checks (`Caller.check`)."""
    PLATFORM = auto()
    NOBODY = auto()
    """About no project: whoever is known."""


Rule = tuple[Right, Of]


def _table(text: str) -> dict[str, Rule]:
    """Lines of method, path, right and where."""
    lines = (line.split() for line in text.splitlines() if line.strip())
    return {f"{method} {path}": (Right(right), Of[of.upper()]) for method, path, right, of in lines}


RULES: Mapping[str, Rule] = _table(
    """
    POST   /jobs                                     write_code     body
    GET    /jobs                                     read           query
    GET    /jobs/{id}                                read           job
    PATCH  /jobs/{id}                                write_code     job
    DELETE /jobs/{id}                                write_code     job
    POST   /jobs/{id}/versions                       write_code     job
    GET    /jobs/{id}/versions                       read_details   job
    GET    /jobs/{id}/versions/{number}              read_details   job
    GET    /jobs/{id}/versions/{a}/diff/{b}          read_details   job
    GET    /jobs/{id}/versions/{number}/verdict      read_details   job
    GET    /jobs/{id}/versions/{number}/plan         read_details   job
    GET    /jobs/{id}/config                         read_details   job
    POST   /jobs/{id}/commands                       operate        job
    GET    /jobs/{id}/commands                       read           job
    GET    /jobs/{id}/commands/{number}              read           job
    GET    /jobs/{id}/commands/{number}/log          read_details   job
    GET    /jobs/{id}/commands/{number}/log/stream   read_details   job
    GET    /jobs/{id}/attempts                       read           job
    GET    /jobs/{id}/restore-points                 read           job
    PUT    /jobs/{id}/restore-points/{point}/pin     operate        job
    DELETE /jobs/{id}/restore-points/{point}/pin     override       job
    GET    /jobs/{id}/timeline                       read           job
    GET    /jobs/{id}/exceptions                     read_details   job
    GET    /jobs/{id}/logs                           read_details   job
    GET    /jobs/{id}/logs/{part}/{file}             read_details   job
    GET    /jobs/{id}/output                         read_details   job
    GET    /jobs/{id}/lineage                        read           job
    GET    /jobs/{id}/versions/{number}/tests        read_details   job
    PUT    /jobs/{id}/versions/{number}/tests/{name} write_tests    job
    DELETE /jobs/{id}/versions/{number}/tests/{name} write_tests    job
    POST   /jobs/{id}/versions/{number}/tests/run    write_code     job
    POST   /jobs/{id}/versions/{a}/diff/{b}/rows     write_code     job

    GET    /cluster-kinds                            read           nobody
    GET    /clusters                                 read           nobody
    POST   /clusters                                 manage_platform platform
    GET    /clusters/{name}                          read           nobody
    PATCH  /clusters/{name}                          manage_platform platform
    DELETE /clusters/{name}                          manage_platform platform
    POST   /clusters/{name}/scale                    operate        service
    POST   /clusters/{name}/orphans/{flink_job_id}/stop adopt       platform
    GET    /orphans                                  adopt          platform
    POST   /recovery                                 adopt          platform

    GET    /projects                                 read           query
    POST   /projects                                 manage_platform platform
    PATCH  /projects/{name}                          manage_platform platform
    DELETE /projects/{name}                          manage_platform platform
    GET    /projects/{project}/members               read           path
    PUT    /projects/{project}/members/{account}     manage_members path
    DELETE /projects/{project}/members/{account}     manage_members path
    GET    /projects/{project}/tokens                manage_members path
    POST   /projects/{project}/tokens                manage_members path
    DELETE /projects/{project}/tokens/{id}           manage_members path

    GET    /me                                       read           nobody
    GET    /me/tokens                                read           nobody
    POST   /me/tokens                                read           nobody
    DELETE /me/tokens/{id}                           read           nobody
    PUT    /me/password                              read           nobody
    POST   /me/link                                  read           nobody
    POST   /logout                                   read           nobody
    GET    /accounts                                 manage_platform platform
    POST   /accounts                                 manage_platform platform
    PATCH  /accounts/{account}                       manage_platform platform
    DELETE /accounts/{account}                       manage_platform platform

    GET    /lineage                                  read           query
    GET    /lineage/impact                           read           query

    POST   /sql/validate                             write_code     body
    POST   /sql/complete                             write_code     body
    POST   /sql/format                               read           nobody
    GET    /sql/templates                            read           nobody
    GET    /sql/templates/{name}                     read           nobody
    POST   /sql/previews                             write_code     body
    GET    /sql/previews                             write_code     query_or_default
    POST   /sql/debug                                write_code     body
    GET    /sql/previews/{id}                        write_code     service
    DELETE /sql/previews/{id}                        write_code     service
    POST   /sql/previews/{id}/resume                 write_code     service
    GET    /sql/previews/{id}/events                 write_code     service
    POST   /sql/sessions                             write_code     body
    GET    /sql/sessions                             write_code     query_or_default
    GET    /sql/sessions/{id}                        write_code     service
    DELETE /sql/sessions/{id}                        write_code     service
    POST   /sql/sessions/{id}/statements             write_code     service

    GET    /projects/{project}/test-sets             read_details   path
    PUT    /projects/{project}/test-sets/{name}      write_tests    path
    GET    /projects/{project}/test-sets/{name}      read_details   path
    DELETE /projects/{project}/test-sets/{name}      write_tests    path
    POST   /projects/{project}/test-sets/{name}/sample write_code path
    POST   /projects/{project}/resources/infer       write_resources path
    GET    /projects/{project}/resources             read_resources path
    POST   /projects/{project}/resources/import      write_resources path
    PUT    /projects/{project}/resources/{name}      write_resources path
    GET    /projects/{project}/resources/{name}      read_resources path
    DELETE /projects/{project}/resources/{name}      write_resources path
    PUT    /projects/{project}/resources/{name}/grants/{grantee} grant path
    DELETE /projects/{project}/resources/{name}/grants/{grantee} grant path
    GET    /projects/{project}/secrets               see_secrets    path
    PUT    /projects/{project}/secrets/{name}        set_secrets    path
    DELETE /projects/{project}/secrets/{name}        set_secrets    path
    GET    /projects/{project}/catalogs              read_resources path
    PUT    /projects/{project}/catalogs/{name}       write_resources path
    GET    /projects/{project}/catalogs/{name}       read_resources path
    DELETE /projects/{project}/catalogs/{name}       write_resources path
    GET    /projects/{project}/catalogs/{name}/databases read_resources path
    GET    /projects/{project}/catalogs/{name}/databases/{database}/tables read_resources path
    GET    /projects/{project}/catalogs/{name}/databases/{database}/tables/{table} read_resources path
    GET    /projects/{project}/libraries             read_resources path
    POST   /projects/{project}/libraries             write_code     path
    GET    /projects/{project}/libraries/{name}/{version} read_resources path
    DELETE /projects/{project}/libraries/{name}/{version} write_code path
    GET    /projects/{project}/libraries/{name}/{version}/log read_resources path
    PUT    /projects/{project}/libraries/{name}/{version}/content write_code path

    GET    /settings                                 read           nobody
    """
)
GUARDED = frozenset(operation.partition(" ")[2] for operation in RULES)
"""Paths that not everybody may use."""
DOORS = frozenset({f"{PREFIX}/login", "/login"})
"""Where somebody who is not known yet says who they are."""
OPEN = frozenset({"/healthz", "/readyz"})
"""Without a token."""


@dataclass(frozen=True)
class Caller:
    """Who sends a request, as services are given it."""

    principal: Principal

    @property
    def name(self) -> str:
        return self.principal.name

    def check(self, right: Right, project: str, what: NotFound | None = None) -> None:
        """Raises `NotFound` where they may see nothing of the project, as if neither it nor `what` was there, and
        `Forbidden` where they may see it and lack the right."""
        if self.principal.may(right, project):
            return
        if not self.principal.may(Right.READ, project):
            raise what or no_project(project)
        raise forbidden(self.principal, right, project)

    def check_own(self, right: Right, project: str, opened_by: str | None, what: NotFound) -> None:
        """The same of what belongs to who opened it; owners of the project have it, too. Raises `what` for others, as
        if it was not there."""
        self.check(right, project, what)
        if not self.has(project, opened_by):
            raise what

    def has(self, project: str, opened_by: str | None) -> bool:
        """Whether a session or preview is theirs, or of their project; one of before there were accounts is
        everybody's."""
        return opened_by in (None, self.name) or self.principal.may(Right.MANAGE_MEMBERS, project)

    def check_platform(self, right: Right) -> None:
        """Raises `Forbidden`."""
        if not self.principal.may(right):
            raise forbidden(self.principal, right, None)


def no_project(name: str) -> NotFound:
    """The words of the store, for a project that is there and not for this caller."""
    return NotFound(f"There is no project {name}.", code="project_not_found", field="project")


async def check(request: Request, caller: Caller, services: Services) -> None:
    """Whether the route of a request is for its caller. Raises `Forbidden` or `NotFound`."""
    path = str(request.scope["route"].path).replace(":path}", "}")
    rule = RULES.get(f"{request.method} {path.removeprefix(PREFIX)}")
    if rule is None:
        raise Forbidden(f"No rule says who may {request.method} {path}, so nobody may.", code="no_rule")
    right, of = rule
    match of:
        case Of.NOBODY | Of.SERVICE:
            return
        case Of.PLATFORM:
            caller.check_platform(right)
        case Of.JOB:
            await _check_job(request.path_params["id"], right, caller, services)
        case Of.PATH:
            caller.check(right, request.path_params["project"])
        case Of.BODY:
            caller.check(right, await _project_in_body(request))
        case Of.QUERY_OR_DEFAULT:
            caller.check(right, request.query_params.get("project", "default"))
        case Of.QUERY:
            if (project := request.query_params.get("project")) is not None:
                caller.check(right, project)


async def _check_job(ref: str, right: Right, caller: Caller, services: Services) -> None:
    """A job is not there for who may see nothing of its project."""
    if len(ref) > LONGEST_REF:
        return  # it is refused for that, with 422
    missing = jobs.not_found(ref)
    if ":" in ref:
        caller.check(right, ref.partition(":")[0], missing)
    elif (project := await _project_of(ref, services)) is not None:
        caller.check(right, project, missing)
    else:
        raise missing


_projects: dict[str, str] = {}
_MOST_KEPT = 20_000


async def _project_of(job_id: str, services: Services) -> str | None:
    """A job stays in its project, and ids are used once: what was read is kept."""
    if (known := _projects.get(job_id)) is not None:
        return known
    async with services.database.read() as session:
        row = await jobs.by_id(session, job_id)
    if row is None:
        return None
    if len(_projects) >= _MOST_KEPT:
        _projects.clear()
    return _projects.setdefault(job_id, row.project)


async def _project_in_body(request: Request) -> str:
    """As it is read a moment later, by the same parser: what is no text there is refused then."""
    try:
        body: Any = await request.json()
    except ValueError:
        return "default"
    project = body.get("project", "default") if isinstance(body, dict) else "default"
    return project if isinstance(project, str) else "default"


async def own_session(services: Services, caller: Caller, session_id: str) -> SqlSession:
    """An open SQL session. Raises `NotFound`, also for who may not see it."""
    async with services.database.read() as session:
        row = await sessions.get(session, session_id)
    caller.check_own(Right.WRITE_CODE, row.project, row.opened_by, sessions.not_found(session_id))
    return row
