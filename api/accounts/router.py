"""/me, /accounts, members and tokens of projects, and the doors: /login and /logout."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.accounts import service
from api.accounts.schemas import (
    AccountOut,
    AccountPatch,
    Link,
    LoginBody,
    Me,
    MemberBody,
    MemberOut,
    NewAccount,
    NewProjectToken,
    NewToken,
    PasswordBody,
    TokenMade,
    TokenOut,
)
from api.deps import Page, Parts
from api.problems import responses
from api.security import COOKIE, CurrentCaller

router = APIRouter(tags=["access"])
door = APIRouter(tags=["access"])
Project = Annotated[str, Path(max_length=100)]
Account = Annotated[str, Path(max_length=160)]
TokenId = Annotated[str, Path(alias="id", max_length=80)]


@router.get("/me", responses=responses(503), summary="Who am I?")
async def get_me(caller: CurrentCaller) -> Me:
    """Who sends this request, and their roles."""
    return service.me(caller)


@router.get("/me/tokens", responses=responses(503), summary="List your tokens")
async def list_own_tokens(parts: Parts, caller: CurrentCaller) -> Page[TokenOut]:
    """Those that open something, the newest first. The tokens themselves are told once, when they are made."""
    return Page(items=await service.own_tokens(parts, caller))


@router.post("/me/tokens", status_code=201, responses=responses(409, 422, 503), summary="Make a token of yours")
async def make_own_token(new: NewToken, parts: Parts, caller: CurrentCaller) -> TokenMade:
    """A token that may do what you may, or less. It is told this once."""
    return await service.make_own_token(parts, caller, new)


@router.delete(
    "/me/tokens/{id}", status_code=204, responses=responses(404, 422, 503), summary="Revoke a token of yours"
)
async def revoke_own_token(token: TokenId, parts: Parts, caller: CurrentCaller) -> None:
    """It opens nothing from this moment on."""
    await service.revoke_own_token(parts, caller, token)


@router.put("/me/password", status_code=204, responses=responses(409, 422, 503), summary="Change your password")
async def change_password(body: PasswordBody, parts: Parts, caller: CurrentCaller) -> None:
    """Ends your sessions; your tokens stay."""
    await service.change_password(parts, caller, body)


@router.post("/me/link", status_code=201, responses=responses(409, 503), summary="Open a page as yourself")
async def make_link(parts: Parts, caller: CurrentCaller) -> Link:
    """A link that opens one session in a browser, once and within a minute."""
    return await service.link(parts, caller)


@router.get("/projects/{project}/members", responses=responses(404, 422, 503), summary="List members")
async def list_members(project: Project, parts: Parts) -> Page[MemberOut]:
    """Who has which role in a project."""
    return Page(items=await service.members(parts, project))


@router.put(
    "/projects/{project}/members/{account:path}", responses=responses(404, 422, 503), summary="Give somebody a role"
)
async def set_member(
    project: Project, account: Account, body: MemberBody, parts: Parts, caller: CurrentCaller
) -> MemberOut:
    """In place of the role that they have there. Nobody gives a role that they do not have themselves."""
    return await service.set_member(parts, caller, project, account, body.role)


@router.delete(
    "/projects/{project}/members/{account:path}",
    status_code=204,
    responses=responses(404, 422, 503),
    summary="Remove a member",
)
async def remove_member(project: Project, account: Account, parts: Parts) -> None:
    """A service account is disabled by it, with its tokens."""
    await service.remove_member(parts, project, account)


@router.get("/projects/{project}/tokens", responses=responses(404, 422, 503), summary="List tokens of a project")
async def list_project_tokens(project: Project, parts: Parts) -> Page[TokenOut]:
    """Those of its service accounts that open something, the newest first."""
    return Page(items=await service.project_tokens(parts, project))


@router.post(
    "/projects/{project}/tokens",
    status_code=201,
    responses=responses(404, 409, 422, 503),
    summary="Make a token for a program",
)
async def make_project_token(project: Project, new: NewProjectToken, parts: Parts, caller: CurrentCaller) -> TokenMade:
    """A token of a service account of the project, which is made with its first one. It is told this once."""
    return await service.make_project_token(parts, caller, project, new)


@router.delete(
    "/projects/{project}/tokens/{id}", status_code=204, responses=responses(404, 422, 503), summary="Revoke a token"
)
async def revoke_project_token(project: Project, token: TokenId, parts: Parts) -> None:
    """It opens nothing from this moment on."""
    await service.revoke_project_token(parts, project, token)


@router.get("/accounts", responses=responses(503), summary="List accounts")
async def list_accounts(parts: Parts) -> Page[AccountOut]:
    """People and service accounts; without those that are disabled."""
    return Page(items=await service.all_(parts))


@router.post("/accounts", status_code=201, responses=responses(409, 422, 503), summary="Make an account")
async def create_account(new: NewAccount, parts: Parts, caller: CurrentCaller) -> AccountOut:
    """For a person, with a password, where there is no identity provider. It is a member of nothing yet."""
    return await service.create(parts, caller, new)


@router.patch("/accounts/{account:path}", responses=responses(404, 409, 422, 503), summary="Change an account")
async def patch_account(account: Account, changes: AccountPatch, parts: Parts, caller: CurrentCaller) -> AccountOut:
    """Set its password, make it an administrator of the platform, or take that back."""
    return await service.patch(parts, caller, account, changes)


@router.delete(
    "/accounts/{account:path}", status_code=204, responses=responses(404, 409, 422, 503), summary="Disable an account"
)
async def delete_account(account: Account, parts: Parts) -> None:
    """Its tokens and sessions open nothing from this moment on. What it did stays by its name, which stays taken."""
    await service.delete(parts, account)


@router.post("/logout", status_code=204, responses=responses(503), summary="Log out")
async def logout(parts: Parts, caller: CurrentCaller, response: Response) -> None:
    """The session, or token, that this request came with opens nothing any more."""
    await service.logout(parts, caller)
    response.delete_cookie(COOKIE)


@door.post("/api/v1/login", status_code=204, responses=responses(401, 422, 503), summary="Log in with a password")
async def login(body: LoginBody, parts: Parts, request: Request, response: Response) -> None:
    """Opens a session of twelve hours, in a cookie that only this API reads."""
    _keep(request, response, *await service.login(parts, body))


@door.get("/login", include_in_schema=False)
async def follow(parts: Parts, request: Request, code: Annotated[str, Query(max_length=200)]) -> Response:
    """Where a one-time link leads."""
    response = RedirectResponse("docs", status_code=303, headers={"Referrer-Policy": "no-referrer"})
    _keep(request, response, *await service.follow(parts, code))
    return response


def _keep(request: Request, response: Response, token: str, until: datetime) -> None:
    is_secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, expires=until, httponly=True, samesite="strict", secure=is_secure)
