"""Who may do what, over HTTP: every route with a real token of every role."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.accounts import passwords
from api.accounts import service as accounts_service
from api.deps import SqlRuntime
from api.local_token import keep
from api.rules import PREFIX, RULES, Of
from api.security import COOKIE, check_address
from core.access import MEANS, OF_ADMINISTRATORS, RIGHTS, Right, Role
from core.access_tokens import PREFIX as TOKEN_PREFIX
from core.access_tokens import CredentialKind, digest
from core.errors import InvalidInput
from services import Services
from settings import clock, waits
from sql.completer import Completer
from sql.run_registry import Runs
from sql.sessions import Sessions
from store import accounts, jobs
from tests.api.conftest import client_of, create
from tests.whole.description import operations
from tests.whole.penstock import the_app

PEOPLE = [*Role, "administrator", "outsider"]


@dataclass
class Team:
    """A project `team` with a job, people of each role in it, an administrator of the platform and a stranger."""

    http: httpx.AsyncClient
    services: Services
    job: str
    tokens: dict[str, str]

    async def ask(self, who: str, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.http.request(method, path, headers={"Authorization": f"Bearer {self.tokens[who]}"}, **more)

    async def ok(self, who: str, method: str, path: str, **more: Any) -> Any:
        answer = await self.ask(who, method, path, **more)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


@pytest.fixture
async def team(services: Services) -> AsyncIterator[Team]:
    services = replace(services, settings=services.settings.model_copy(update={"authentication": True}))
    await keep(services)
    local = (services.settings.home / "token").read_text()
    async with services.database.write() as session:
        await jobs.add_project(session, "team", {}, clock.now())
        await jobs.add_project(session, "other", {}, clock.now())
    job = (await create(services, project="team")).id
    runs = Runs()
    async with client_of(services, SqlRuntime(runs, Sessions(services, runs), Completer(services))) as http:
        made = Team(http, services, job, {"local": local})
        for who in PEOPLE:
            await made.ok("local", "POST", "/accounts", json={"name": who, "administrator": who == "administrator"})
            project = "other" if who == "outsider" else "team"
            if who != "administrator":
                role = Role.OWNER if who == "outsider" else who
                await made.ok("local", "PUT", f"/projects/{project}/members/{who}", json={"role": role})
            made.tokens[who] = await _token_of(services, who)
        yield made


async def _token_of(services: Services, name: str) -> str:
    """As a person gets the first one: by a link that somebody else gave them, or by a password."""
    kind = CredentialKind.TOKEN
    async with services.database.write() as session:
        token, _ = await accounts_service._open(session, name, name, kind, timedelta(days=1))
        row = await accounts.token_by_digest(session, digest(token))
        assert row is not None
        row.expires_at = None
    return token


def test_every_operation_has_a_rule_and_every_rule_an_operation():
    described = {f"{o.partition(' ')[0]} {o.partition(' ')[2].removeprefix(PREFIX)}" for o in operations(the_app())}
    open_ = {"GET /healthz", "GET /readyz", "GET /metrics", "POST /login"}
    assert described - open_ == set(RULES)


def test_the_documentation_has_the_table():
    lines = (Path(__file__).parents[2] / "docs" / "security.md").read_text().splitlines()
    for right, words in MEANS.items():
        cells = [*(right in RIGHTS[role] for role in Role), right in OF_ADMINISTRATORS]
        assert f"| {words} | {' | '.join('yes' if cell else '–' for cell in cells)} |" in lines


def _may(who: str, right: Right, of: Of) -> bool:
    if of is Of.NOBODY:
        return True
    if who in tuple(Role) and of is not Of.PLATFORM:
        return right in RIGHTS[Role(who)]
    return who == "administrator" and right in OF_ADMINISTRATORS


@pytest.mark.parametrize("who", PEOPLE)
async def test_the_table_cell_by_cell(team: Team, who: str):
    """Where a right is lacking: 403 for who may see the project, 404 for who may not; else anything but these, as what
    is sent here is mostly nonsense."""
    path_values = {"id": team.job, "project": "team", "name": "x", "number": "1", "a": "1", "b": "1", "point": "rp-x"}
    path_values |= {
        "account": "nobody",
        "part": "jobmanager",
        "file": "x",
        "flink_job_id": "0" * 32,
        "grantee": "other",
    }
    path_values |= {"version": "1", "database": "d", "table": "t"}
    wrong = []
    for operation, (right, of) in RULES.items():
        method, _, path = operation.partition(" ")
        if of is Of.SERVICE or operation == "POST /logout":
            continue
        values = path_values | ({"id": "nothing"} if "/tokens/" in path else {})
        params = {"project": "team"} if of in (Of.QUERY, Of.QUERY_OR_DEFAULT) else None
        body = {"project": "team"} if method in ("POST", "PUT", "PATCH") else None
        answer = await team.ask(who, method, path.format(**values), params=params, json=body)
        may = _may(who, right, of)
        code = answer.json().get("code") if "json" in answer.headers.get("content-type", "") else None
        sees = who != "outsider" or of is Of.PLATFORM
        refused = code == "forbidden" if sees else code in ("project_not_found", "job_not_found")
        if refused == may or answer.status_code in (401, 500):
            wrong.append((operation, who, answer.status_code, code))
    assert not wrong


async def test_without_a_token_nothing_but_health_is_answered(team: Team):
    for path in ("/jobs", f"/jobs/{team.job}", "/projects", "/nothing"):
        answer = await team.http.get(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    root = "http://127.0.0.1"
    for path in ("/metrics", "/openapi.json", "/docs", "/", "/docs/assets/swagger-ui.css"):
        assert (await team.http.get(f"{root}{path}")).status_code == 401
    assert (await team.http.get(f"{root}/healthz")).status_code == 200
    page = await team.http.get(f"{root}/docs", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, "penstock open" in page.text) == (401, True)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", f"Bearer {TOKEN_PREFIX}x", "Bearer " + "x" * 9000]
)
async def test_a_token_that_is_none(team: Team, header: str):
    answer = await team.http.get("/jobs", headers={"Authorization": header})
    assert answer.status_code == 401
    assert "x" * 20 not in answer.text


async def test_a_token_is_told_once_and_kept_as_a_hash(team: Team):
    made = await team.ok("editor", "POST", "/me/tokens", json={"name": "ci", "days": 3})
    assert made["token"].startswith(TOKEN_PREFIX)
    listed = (await team.ok("editor", "GET", "/me/tokens"))["items"]
    assert "token" not in listed[0]
    path = Path(str(team.services.database.engine.url.database))
    stored = b"".join(p.read_bytes() for p in path.parent.glob(f"{path.name}*"))
    assert made["token"].encode() not in stored
    assert made["id"].encode() in stored


async def test_a_token_that_was_revoked_opens_nothing(team: Team):
    made = await team.ok("editor", "POST", "/me/tokens", json={"name": "ci"})
    team.tokens["ci"] = made["token"]
    assert (await team.ok("ci", "GET", "/me"))["projects"] == {"team": "editor"}
    await team.ok("editor", "DELETE", f"/me/tokens/{made['id']}")
    assert (await team.ask("ci", "GET", "/me")).status_code == 401


async def test_a_token_that_was_revoked_while_it_was_asked_for(team: Team, monkeypatch: pytest.MonkeyPatch):
    """What was read before is not remembered after."""
    made = await team.ok("editor", "POST", "/me/tokens", json={"name": "ci"})
    team.tokens["ci"] = made["token"]
    by_token = accounts.by_token

    async def slow(session: Any, digest_: str, now: Any) -> Any:
        shown = await by_token(session, digest_, now)
        if digest_ == digest(made["token"]):
            monkeypatch.setattr(accounts, "by_token", by_token)
            await team.ok("editor", "DELETE", f"/me/tokens/{made['id']}")
        return shown

    monkeypatch.setattr(accounts, "by_token", slow)
    assert (await team.ask("ci", "GET", "/me")).status_code == 200
    assert (await team.ask("ci", "GET", "/me")).status_code == 401


async def test_another_process_hears_of_it_within_a_second(team: Team, monkeypatch: pytest.MonkeyPatch):
    made = await team.ok("editor", "POST", "/me/tokens", json={"name": "ci"})
    header = {"Authorization": f"Bearer {made['token']}"}
    async with client_of(team.services) as another:
        assert (await another.get("/me", headers=header)).status_code == 200
        await team.ok("editor", "DELETE", f"/me/tokens/{made['id']}")
        later = clock.monotonic() + waits.TOKEN_KNOWN_SECONDS
        monkeypatch.setattr(clock, "monotonic", lambda: later)
        assert (await another.get("/me", headers=header)).status_code == 401


async def test_a_token_that_is_over(team: Team, monkeypatch: pytest.MonkeyPatch):
    team.tokens["ci"] = (await team.ok("editor", "POST", "/me/tokens", json={"name": "ci", "days": 1}))["token"]
    now = clock.now() + timedelta(days=1, seconds=1)
    monkeypatch.setattr(clock, "now", lambda: now)
    assert (await team.ask("ci", "GET", "/me")).status_code == 401


async def test_a_token_has_no_more_than_its_role_and_makes_none_that_has(team: Team):
    made = await team.ok("owner", "POST", "/me/tokens", json={"name": "reads", "role": "viewer"})
    team.tokens["reads"] = made["token"]
    assert (await team.ask("reads", "DELETE", f"/jobs/{team.job}")).status_code == 403
    again = await team.ok("reads", "POST", "/me/tokens", json={"name": "more", "role": "owner"})
    assert again["role"] == "viewer"
    capped = await team.ok("administrator", "POST", "/me/tokens", json={"name": "small", "role": "owner"})
    team.tokens["small"] = capped["token"]
    assert (await team.ask("small", "GET", "/accounts")).status_code == 403


async def test_an_account_that_is_disabled_opens_nothing(team: Team):
    await team.ok("administrator", "DELETE", "/accounts/editor")
    assert (await team.ask("editor", "GET", "/me")).status_code == 401
    again = await team.ask("administrator", "POST", "/accounts", json={"name": "editor"})
    assert again.json()["code"] == "account_exists"


async def test_a_member_who_is_removed_sees_nothing(team: Team):
    assert (await team.ask("viewer", "GET", f"/jobs/{team.job}")).status_code == 200
    await team.ok("owner", "DELETE", "/projects/team/members/viewer")
    assert (await team.ask("viewer", "GET", f"/jobs/{team.job}")).status_code == 404


async def test_nobody_gives_more_than_they_have(team: Team):
    body = {"name": "ci", "role": "owner"}
    assert (await team.ask("editor", "POST", "/projects/team/tokens", json=body)).status_code == 403
    made = await team.ok("owner", "POST", "/projects/team/tokens", json={"name": "ci", "role": "operator"})
    assert made["account"] == "team/ci"
    team.tokens["ci"] = made["token"]
    assert (await team.ask("ci", "DELETE", f"/jobs/{team.job}")).status_code == 403
    differs = await team.ask("owner", "POST", "/projects/team/tokens", json=body)
    assert differs.json()["code"] == "role_differs"
    for account in ("team/ci", "team/none"):
        foreign = await team.ask("outsider", "PUT", f"/projects/other/members/{account}", json={"role": "owner"})
        assert (foreign.json()["code"], foreign.json()["detail"]) == (
            "account_not_found",
            f"There is no account {account}.",
        )
    await team.ok("owner", "DELETE", "/projects/team/members/team/ci")
    assert (await team.ask("ci", "GET", "/me")).status_code == 401


async def test_what_is_not_there_and_what_is_not_yours_look_the_same(team: Team):
    """Neither by its status nor by its words can be told that a job or project of others is there."""
    for there, missing in (
        (f"/jobs/{team.job}", f"/jobs/{team.job[:-1]}{'0' if team.job[-1] != '0' else '1'}"),
        ("/jobs/team:j", "/jobs/team:k"),
        ("/projects/team/members", "/projects/none/members"),
        ("/projects/team/resources/x", "/projects/none/resources/x"),
    ):
        one, other = await team.ask("outsider", "GET", there), await team.ask("outsider", "GET", missing)
        assert one.status_code == other.status_code == 404
        names = [there.rpartition("/")[2], missing.rpartition("/")[2], "team", "none"]
        texts = [one.text, other.text]
        for name in names:
            texts = [text.replace(name, "*") for text in texts]
        assert texts[0] == texts[1]


async def test_lists_have_what_a_caller_may_see(team: Team):
    await create(team.services, "mine", project="other")
    for who, names in (("viewer", {"j"}), ("outsider", {"mine"}), ("administrator", {"j", "mine"})):
        assert {job["name"] for job in (await team.ok(who, "GET", "/jobs"))["items"]} == names
    assert [p["name"] for p in (await team.ok("viewer", "GET", "/projects"))["items"]] == ["team"]
    assert (await team.ok("outsider", "GET", "/lineage"))["unknown"] == ["other:mine"]
    assert (await team.ask("outsider", "GET", "/jobs", params={"project": "team"})).status_code == 404


@pytest.mark.parametrize(
    ("command", "may"),
    [
        ({"kind": "start"}, ["operator", "editor", "owner"]),
        ({"kind": "start", "force": True}, ["editor", "owner"]),
        ({"kind": "start", "restore": {"mode": "none"}}, ["editor", "owner"]),
        ({"kind": "start", "restore": {"mode": "newest", "allow_non_restored_state": True}}, ["editor", "owner"]),
        ({"kind": "start", "restore": {"mode": "point", "point": "rp-x"}}, ["editor", "owner"]),
        ({"kind": "start", "restore": {"mode": "point", "point": "/somebody/elses"}}, []),
        ({"kind": "adopt", "flink_job_id": "0" * 32}, []),
    ],
)
async def test_what_a_command_overrides(team: Team, command: dict[str, Any], may: list[str]):
    for who in Role:
        answer = await team.ask(who, "POST", f"/jobs/{team.job}/commands", json=command)
        assert (answer.status_code != 403) == (who in may), (who, answer.text)


async def test_an_administrator_of_the_platform_who_is_an_owner_may_adopt(team: Team):
    answer = await team.ask(
        "local", "POST", f"/jobs/{team.job}/commands", json={"kind": "adopt", "flink_job_id": "0" * 32}
    )
    assert answer.status_code != 403


# What an attack found ------------------------------------------------------------------------------


async def test_a_token_that_is_less_than_its_account_opens_no_session(team: Team):
    """By a link it was all that its account is, and went on when it was revoked."""
    for new in ({"name": "reads", "role": "viewer"}, {"name": "short", "days": 1}):
        team.tokens["less"] = (await team.ok("owner", "POST", "/me/tokens", json=new))["token"]
        assert (await team.ask("less", "POST", "/me/link")).status_code == 403
    made = await team.ok("owner", "POST", "/projects/team/tokens", json={"name": "ci", "role": "viewer"})
    team.tokens["ci"] = made["token"]
    assert (await team.ask("ci", "POST", "/me/link")).status_code == 403


async def test_a_token_makes_none_that_outlives_it(team: Team):
    short = await team.ok("editor", "POST", "/me/tokens", json={"name": "short", "days": 2})
    team.tokens["short"] = short["token"]
    for days in ({}, {"days": 30}):
        assert (await team.ok("short", "POST", "/me/tokens", json={"name": "x", **days}))["expires_at"] == short[
            "expires_at"
        ]


async def test_a_token_with_a_role_revokes_itself_only(team: Team):
    reads = await team.ok("owner", "POST", "/me/tokens", json={"name": "reads", "role": "viewer"})
    other = await team.ok("owner", "POST", "/me/tokens", json={"name": "other"})
    team.tokens["reads"] = reads["token"]
    assert (await team.ask("reads", "DELETE", f"/me/tokens/{other['id']}")).status_code == 403
    await team.ok("reads", "DELETE", f"/me/tokens/{reads['id']}")


async def test_a_session_can_be_seen_and_ended(team: Team):
    link = await team.ok("viewer", "POST", "/me/link")
    async with client_of(team.services) as browser:
        await browser.get(f"http://127.0.0.1{link['path']}")
        (session,) = [t for t in (await team.ok("viewer", "GET", "/me/tokens"))["items"] if t["name"] == "session"]
        await team.ok("viewer", "DELETE", f"/me/tokens/{session['id']}")
        assert (await browser.get("/me")).status_code == 401


async def test_who_was_in_a_deleted_project_is_not_in_the_next_of_its_name(team: Team):
    await team.ok("local", "POST", "/projects", json={"name": "fresh"})
    await team.ok("local", "PUT", "/projects/fresh/members/viewer", json={"role": "owner"})
    made = await team.ok("viewer", "POST", "/projects/fresh/tokens", json={"name": "ci", "role": "owner"})
    team.tokens["ci"] = made["token"]
    await team.ok("local", "DELETE", "/projects/fresh")
    await team.ok("local", "POST", "/projects", json={"name": "fresh"})
    assert (await team.ask("viewer", "GET", "/projects/fresh/members")).status_code == 404
    assert (await team.ask("ci", "GET", "/me")).status_code == 401


async def test_a_first_token_that_is_taken_back(team: Team):
    given = team.services.settings.model_copy(update={"bootstrap_token": SecretStr("b" * 40)})
    await keep(replace(team.services, settings=given))
    team.tokens["first"] = "b" * 40
    assert (await team.ok("first", "GET", "/me"))["administrator"]
    await keep(team.services)  # without it, there is the file's again
    team.tokens["file"] = (team.services.settings.home / "token").read_text()
    assert (await team.ok("file", "GET", "/me"))["administrator"]
    none = team.services.settings.model_copy(update={"local_token": False})
    await keep(replace(team.services, settings=none))
    async with client_of(team.services) as another:
        for who in ("first", "file"):
            header = {"Authorization": f"Bearer {team.tokens[who]}"}
            assert (await another.get("/me", headers=header)).status_code == 401


@pytest.mark.parametrize("token", ["short", "x" * 300, "ä" * 40, "a b" * 20 + "\n"])
async def test_a_first_token_that_would_open_nothing(team: Team, token: str):
    given = team.services.settings.model_copy(update={"bootstrap_token": SecretStr(token)})
    if token.strip().isascii() and 32 <= len(token.strip()) <= 200:
        await keep(replace(team.services, settings=given))
        return
    with pytest.raises(InvalidInput):
        await keep(replace(team.services, settings=given))


async def test_a_file_that_others_can_read_is_no_token(team: Team):
    file = team.services.settings.home / "token"
    before = file.read_text()
    file.chmod(0o644)
    await keep(team.services)
    assert file.read_text() != before
    assert file.stat().st_mode & 0o777 == 0o600


async def test_half_a_character_at_the_door(team: Team):
    body = b'{"name": "viewer", "password": "\\ud800"}'
    answer = await team.http.post("/login", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


async def test_a_door_takes_nobody_that_another_site_sends(team: Team):
    link = await team.ok("viewer", "POST", "/me/link")
    url = f"http://127.0.0.1{link['path']}"
    async with client_of(team.services) as browser:
        assert (await browser.get(url, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 401
        elsewhere = {"Origin": "http://evil.example.com"}
        body = {"name": "viewer", "password": "x" * 12}
        assert (await browser.post("/login", json=body, headers=elsewhere)).json()["code"] == "unauthenticated"
        assert (await browser.get(url)).status_code == 303


async def test_many_logins_hold_up_nobody_for_long(team: Team, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    body = {"name": "viewer", "password": "x" * 12}
    answers = await asyncio.gather(*(team.http.post("/login", json=body) for _ in range(12)))
    codes = Counter(answer.json()["code"] for answer in answers)
    assert codes["too_many_logins"] >= 8
    assert codes["login_refused"] >= 1


async def test_the_plan_of_another_project_is_not_compared(team: Team):
    path = f"/jobs/{team.job}/versions/1/verdict"
    for who in ("viewer", "owner"):
        refused = await team.ask(who, "GET", path, params={"point": "/state/of/another/savepoint-1"})
        assert refused.json()["code"] == "forbidden"


async def test_methods_that_are_made_up_make_no_series(team: Team):
    for n in range(5):
        await team.http.request(f"M{n}", "/jobs")
    text = (await team.ask("local", "GET", "http://127.0.0.1/metrics")).text
    assert 'method="other"' in text
    assert 'method="M1"' not in text


# Browsers ---------------------------------------------------------------------------------------


async def test_a_link_opens_one_session_once(team: Team):
    link = await team.ok("viewer", "POST", "/me/link")
    async with client_of(team.services) as browser:
        came = await browser.get(f"http://127.0.0.1{link['path']}")
        assert came.status_code == 303
        cookie = came.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", COOKIE))
        assert (await browser.get("/me")).json()["name"] == "viewer"
        # Another page of the same machine has the cookie sent along, and is told from ours by its origin.
        for origin in ({}, {"Origin": "http://evil.example.com"}, {"Origin": "null"}):
            assert (await browser.post("/me/tokens", json={"name": "x"}, headers=origin)).status_code == 401
        ours = {"Origin": "http://127.0.0.1"}
        assert (await browser.post("/me/tokens", json={"name": "x"}, headers=ours)).status_code == 201
        assert (await browser.post("/logout", headers=ours)).status_code == 204
        browser.cookies.set(COOKIE, came.cookies[COOKIE])
        assert (await browser.get("/me")).status_code == 401
    async with client_of(team.services) as another:
        assert (await another.get(f"http://127.0.0.1{link['path']}")).status_code == 401


async def test_what_is_in_a_cookie_is_no_bearer_token_and_the_other_way_round(team: Team):
    link = await team.ok("viewer", "POST", "/me/link")
    async with client_of(team.services) as browser:
        session = (await browser.get(f"http://127.0.0.1{link['path']}")).cookies[COOKIE]
    assert (await team.http.get("/me", headers={"Authorization": f"Bearer {session}"})).status_code == 401
    async with client_of(team.services) as browser:
        browser.cookies.set(COOKIE, team.tokens["viewer"])
        assert (await browser.get("/me")).status_code == 401
    code = (await team.ok("viewer", "POST", "/me/link"))["path"].partition("=")[2]
    assert (await team.http.get("/me", headers={"Authorization": f"Bearer {code}"})).status_code == 401


async def test_a_password(team: Team):
    long, new = "correct horse battery", "staple battery horse"
    await team.ok("administrator", "PATCH", "/accounts/viewer", json={"password": long})
    async with client_of(team.services) as browser:
        for name, password in (("viewer", "wrong"), ("nobody", long), ("owner", long), ("viewer\0", long)):
            refused = await browser.post("/login", json={"name": name, "password": password})
            assert (refused.status_code, refused.json()["code"]) == (401, "login_refused")
        assert (await browser.post("/login", json={"name": "viewer", "password": long})).status_code == 204
        assert (await browser.get("/me")).json()["name"] == "viewer"
        changed = {"current": long, "new": new}
        answer = await browser.put("/me/password", json=changed, headers={"Origin": "http://127.0.0.1"})
        assert answer.status_code == 204
        assert (await browser.get("/me")).status_code == 401  # all sessions have ended
    assert long not in (await team.ask("administrator", "GET", "/accounts")).text


async def test_the_last_administrator_stays(team: Team):
    await team.ok("administrator", "DELETE", "/accounts/local")
    refused = await team.ask("administrator", "PATCH", "/accounts/administrator", json={"administrator": False})
    assert refused.json()["code"] == "last_administrator"


# A laptop ---------------------------------------------------------------------------------------


async def test_the_token_of_a_laptop(team: Team, monkeypatch: pytest.MonkeyPatch):
    file = team.services.settings.home / "token"
    assert file.stat().st_mode & 0o777 == 0o600
    me = await team.ok("local", "GET", "/me")
    assert (me["administrator"], me["everywhere"]) == (True, "owner")
    before = file.read_text()
    await keep(team.services)
    assert file.read_text() == before
    file.unlink()  # the next one is another one, and the one before opens nothing any more
    await keep(team.services)
    team.tokens["next"] = file.read_text()
    assert file.read_text() != before
    assert (await team.ok("next", "GET", "/me"))["name"] == "local"
    later = clock.monotonic() + waits.TOKEN_KNOWN_SECONDS
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert (await team.ask("local", "GET", "/me")).status_code == 401


async def test_the_first_token_of_a_server(team: Team):
    given = team.services.settings.model_copy(update={"bootstrap_token": SecretStr("short"), "host": "server"})
    with pytest.raises(InvalidInput, match="32 to 200"):
        await keep(replace(team.services, settings=given))
    team.tokens["first"] = "of-a-vault-" + "x" * 32
    given = given.model_copy(update={"bootstrap_token": SecretStr(team.tokens["first"])})
    await keep(replace(team.services, settings=given))
    assert (await team.ok("first", "GET", "/me"))["administrator"]
    assert (await team.ok("local", "GET", "/me"))["name"] == "local"  # that of another machine


def test_an_open_door_is_refused():
    for host in ("0.0.0.0", "::", "192.168.1.1", "example.com"):
        with pytest.raises(InvalidInput, match="everybody"):
            check_address(host, authentication=False)
        check_address(host, authentication=True)
    check_address("127.0.0.1", authentication=False)
