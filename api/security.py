"""Who calls: by a token, by the session of a browser, or, where authentication is switched off, whoever reaches us.

This is asked before anything of a request is read. What they may do is `api/rules.py`.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Annotated

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import told, unavailable
from api.rules import DOORS, OPEN, Caller, check
from core.access import Principal, Role, Unauthenticated
from core.access_tokens import MOST_CHARACTERS, CredentialKind, digest
from core.errors import InvalidInput, PenstockError
from core.jobs.commands import LOCAL
from services import Services
from settings import LOOPBACK, clock, waits
from store import accounts
from store.acting import acting_as
from store.database import DatabaseUnavailable

COOKIE = "penstock_session"
MOST_KNOWN = 1000
"""Tokens whose owners are kept in mind."""
_CHANGES_NOTHING = frozenset({"GET", "HEAD", "OPTIONS"})

EVERYBODY = Caller(Principal(LOCAL, is_administrator=True, everywhere=Role.OWNER))
"""Who calls where authentication is switched off."""


NOT_KNOWN = """<!doctype html><meta charset="utf-8"><title>Penstock</title>
<body style="font: 16px/1.5 system-ui; margin: 4em auto; max-width: 34em">
<h1>Who are you?</h1>
<p>This browser has no session here. On the machine of the command line, <code>penstock open</code> opens one, by a link
that works once.</p>
"""


class Misdirected(PenstockError):
    status = 421


def check_address(host: str, *, authentication: bool) -> None:
    """Raise `InvalidInput` for an address that other machines can reach, where everybody could do everything."""
    if host not in LOOPBACK and not authentication:
        raise InvalidInput(
            f"PENSTOCK_API_HOST={host} with PENSTOCK_AUTHENTICATION=false: everybody who reaches that address could do "
            "everything.",
            code="address_refused",
            remedy="Switch authentication on, or listen on 127.0.0.1.",
        )


class KnownTokens:
    """Who has which token, as the database said within the last second: to ask it with each request would cost a third
    of a short one. Whatever changes something through this process is seen by the next request; what another process
    takes away, a second later."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, accounts.Shown]] = {}
        self._changes = 0

    def forget(self) -> None:
        """Something has changed, perhaps accounts or tokens; also what is being asked in this moment is not kept."""
        self._known.clear()
        self._changes += 1

    async def who(self, services: Services, digest_: str) -> accounts.Shown | None:
        """None for a token that opens nothing."""
        at, known = self._known.get(digest_, (-math.inf, None))
        now, changes = clock.monotonic(), self._changes
        if known is not None and now - at < waits.TOKEN_KNOWN_SECONDS:
            return known
        async with services.database.read() as session:
            shown = await accounts.by_token(session, digest_, clock.now())
        if shown is not None and changes == self._changes:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[digest_] = now, shown
        return shown


class Authentication:
    """Answers 401 for who is not known, before the body of a request is read."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN:
            request = Request(scope)
            services: Services = request.app.state.services
            try:
                known = await _caller(request, services)
            except Unauthenticated as error:
                return await _refusal(request, error)(scope, receive, send)
            except PenstockError as error:
                return await told(error)(scope, receive, send)
            except DatabaseUnavailable as error:
                return await unavailable(request, error)(scope, receive, send)
            request.state.caller = known
            if request.method not in _CHANGES_NOTHING:
                send = _forgetting(request.app.state.tokens, send)
            with acting_as(known.principal) if known else nullcontext():
                return await self._app(scope, receive, send)
        await self._app(scope, receive, send)


def _forgetting(tokens: KnownTokens, send: Send) -> Send:
    """Before the answer is sent, so that whoever has it is not let in by what was known before."""

    async def forget_and_send(message: Message) -> None:
        if message["type"] == "http.response.start":
            tokens.forget()
        await send(message)

    return forget_and_send


def _refusal(request: Request, error: Unauthenticated) -> Response:
    """401: words for a person who looks with a browser, a problem for a program."""
    headers = {"WWW-Authenticate": "Bearer"}
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return HTMLResponse(NOT_KNOWN, 401, headers)
    refusal = told(error)
    refusal.headers.update(headers)
    return refusal


async def _caller(request: Request, services: Services) -> Caller | None:
    """None at a door. Raises `Unauthenticated` and `Misdirected`."""
    if not services.settings.authentication:
        _check_host(request)
        return EVERYBODY
    return None if request.scope["path"] in DOORS else Caller(await _known(request, services))


def _check_host(request: Request) -> None:
    """Raises `Misdirected` when it was sent to a name that is not a loopback's: a web page reaches us by a name of its
    own. With authentication it brings nothing: who comes by such a name has neither token nor cookie."""
    if (request.url.hostname or "").lower() not in (*LOOPBACK, "testserver"):
        raise Misdirected(
            "This API answers to loopback names only.", code="misdirected", remedy="Use http://127.0.0.1 or localhost."
        )


async def _known(request: Request, services: Services) -> Principal:
    """Raises `Unauthenticated`."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    is_cookie = not scheme
    if is_cookie:
        token = request.cookies.get(COOKIE, "")
        if token and request.method not in _CHANGES_NOTHING:
            _check_origin(request)
    elif scheme.lower() != "bearer":
        raise _unknown("Only bearer tokens are taken")
    token = token.strip()
    if not token:
        raise _unknown("The request has no token")
    if len(token) > MOST_CHARACTERS:
        raise _unknown("The token is none of ours")
    tokens: KnownTokens = request.app.state.tokens
    shown = await tokens.who(services, digest(token))
    if shown is None or (shown.kind is CredentialKind.SESSION) != is_cookie or shown.kind is CredentialKind.LINK:
        raise _unknown("The token is unknown, was revoked, or is over")
    if shown.is_news:
        async with services.database.write() as session:
            await accounts.used(session, shown.token, clock.now())
    return shown.principal


def _check_origin(request: Request) -> None:
    """Raises `Unauthenticated` for a change that a page of another origin has sent with our cookie."""
    origin = request.headers.get("origin", "")
    if origin.partition("://")[2] != request.headers.get("host", ""):
        raise _unknown(f"A page of {origin[:200] or 'an unknown origin'} cannot use this session")


async def not_from_elsewhere(request: Request) -> None:
    """At the doors. Raises `Unauthenticated` for what a page of another site has sent: it would let a browser in as
    somebody whom its user did not choose."""
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise _unknown("Another site has sent this browser here")
    if "origin" in request.headers:
        _check_origin(request)


def _unknown(why: str) -> Unauthenticated:
    return Unauthenticated(
        f"{why}.",
        code="unauthenticated",
        remedy="Send one as `Authorization: Bearer ...`. That of a local stack is in PENSTOCK_HOME/token, where the "
        "command line finds it by itself.",
    )


async def caller(request: Request) -> Caller:
    """Who sends this request, and that its route is for them. Raises `Forbidden` and `NotFound`. A coroutine, as those
    of `api.deps` are."""
    known: Caller = request.state.caller
    await check(request, known, request.app.state.services)
    return known


CurrentCaller = Annotated[Caller, Depends(caller)]
