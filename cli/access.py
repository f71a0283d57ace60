"""`penstock whoami`, `open`, and `penstock tokens|members|accounts ...`: who may do what."""

from __future__ import annotations

import webbrowser
from typing import Annotated, Any

import typer

from cli.client import PREFIX, Api, base_url, err, out
from cli.commands import Yes, sure
from cli.completion import complete_projects
from cli.output import Format, Item, Json, ListColumn, Output, ago, field, plain, show_item, show_list
from core.access import Role

tokens = typer.Typer(no_args_is_help=True, help="Tokens: what programs show to be let in.")
members = typer.Typer(no_args_is_help=True, help="Members of projects, and their roles.")
accounts = typer.Typer(no_args_is_help=True, help="Accounts of people, for administrators of the platform.")

Project = Annotated[
    str | None,
    typer.Option("--project", "-p", help="Of a service account of this project", autocompletion=complete_projects),
]
OfProject = Annotated[
    str, typer.Option("--project", "-p", help="Name of the project", autocompletion=complete_projects)
]
Account = Annotated[str, typer.Argument(help="Name of the account; project/name for a service account")]


def whoami(output: Output = Format.TABLE, as_json: Json = False) -> None:
    """Who you are to the API, and what you may do."""
    me = Api().call("GET", "/me")

    def lines() -> dict[str, str]:
        return {
            "name": plain(me["name"]),
            "platform": "administrator" if me["administrator"] else "-",
            "everywhere": me["everywhere"] or "-",
            "projects": plain("\n".join(f"{k}: {v}" for k, v in sorted(me["projects"].items())) or "-"),
        }

    show_item(me, output=output, as_json=as_json, name=str(me["name"]), lines=lines)


def open_(
    show: Annotated[bool, typer.Option("--print", help="Print the link in place of opening it")] = False,
) -> None:
    """Open the API's page in a browser, as yourself, by a link that works once."""
    link = Api().call("POST", "/me/link")
    url = base_url().removesuffix(PREFIX) + link["path"]
    if show or not webbrowser.open(url):
        print(url)
        err.print("It works once, within a minute.")


# Tokens -----------------------------------------------------------------------------------------


def _expires(token: Item) -> str:
    return plain(token["expires_at"][:16].replace("T", " ")) if token["expires_at"] else "never"


TOKENS = [
    ListColumn("ID", field("id")),
    ListColumn("ACCOUNT", field("account"), rank=1),
    ListColumn("NAME", field("name")),
    ListColumn("ROLE", lambda t: t["role"] or "all"),
    ListColumn("CREATED", lambda t: ago(t["created_at"]), rank=3),
    ListColumn("USED", lambda t: ago(t["used_at"]), rank=2),
    ListColumn("EXPIRES", _expires, rank=2),
]


def _tokens(project: str | None) -> str:
    return f"/projects/{project}/tokens" if project else "/me/tokens"


@tokens.command("list")
def list_tokens(project: Project = None, output: Output = Format.TABLE, as_json: Json = False) -> None:
    """List your tokens, or those of a project's service accounts."""
    items = Api().call("GET", _tokens(project))["items"]
    show_list(items, TOKENS, output=output, as_json=as_json, name=lambda t: str(t["id"]), empty="No tokens.")


@tokens.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What it is for; with --project the service account's name")],
    project: Project = None,
    role: Annotated[Role | None, typer.Option(help="The most that it gives; needed with --project")] = None,
    days: Annotated[int | None, typer.Option(min=1, help="Days until it is over; never by default")] = None,
) -> None:
    """Make a token, and print it: this once."""
    if project is not None and role is None:
        raise typer.BadParameter("a service account needs a role", param_hint="--role")
    body: dict[str, Any] = {"name": name, "days": days, "role": role}
    made = Api().call("POST", _tokens(project), json={k: v for k, v in body.items() if v is not None})
    print(made["token"])
    err.print(f"Token {made['id']} of {made['account']}. It is not shown again.", markup=False, highlight=False)


@tokens.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="Id of the token, as `tokens list` shows it")], project: Project = None
) -> None:
    """Take a token back: it opens nothing from now on."""
    Api().call("DELETE", f"{_tokens(project)}/{token}")
    out.print(f"Revoked {token}.", markup=False)


# Members ----------------------------------------------------------------------------------------

MEMBERS = [
    ListColumn("ACCOUNT", field("account")),
    ListColumn("ROLE", field("role")),
    ListColumn("SINCE", lambda m: ago(m["created_at"]), rank=1),
    ListColumn("BY", field("created_by"), rank=2),
]


@members.command("list")
def list_members(project: OfProject = "default", output: Output = Format.TABLE, as_json: Json = False) -> None:
    """List the members of a project."""
    items = Api().call("GET", f"/projects/{project}/members")["items"]
    show_list(items, MEMBERS, output=output, as_json=as_json, name=lambda m: str(m["account"]), empty="No members.")


@members.command("set")
def set_member(
    account: Account, role: Annotated[Role, typer.Argument(help="Their role")], project: OfProject = "default"
) -> None:
    """Give somebody a role in a project, in place of the one that they have there."""
    Api().call("PUT", f"/projects/{project}/members/{account}", json={"role": role})
    out.print(f"{account} is {role} of {project}.", markup=False)


@members.command("remove")
def remove_member(account: Account, project: OfProject = "default", yes: Yes = False) -> None:
    """Remove somebody from a project; a service account is disabled, with its tokens."""
    sure(f"Remove {account} from {project}?", yes)
    Api().call("DELETE", f"/projects/{project}/members/{account}")
    out.print(f"Removed {account} from {project}.", markup=False)


# Accounts ---------------------------------------------------------------------------------------

ACCOUNTS = [
    ListColumn("NAME", field("name")),
    ListColumn("ADMINISTRATOR", lambda a: "yes" if a["administrator"] else "-"),
    ListColumn("PROJECT", lambda a: plain(a["project"] or "-"), rank=1),
    ListColumn("CREATED", lambda a: ago(a["created_at"]), rank=2),
]


@accounts.command("list")
def list_accounts(output: Output = Format.TABLE, as_json: Json = False) -> None:
    """List accounts."""
    items = Api().call("GET", "/accounts")["items"]
    show_list(items, ACCOUNTS, output=output, as_json=as_json, name=lambda a: str(a["name"]), empty="No accounts.")


def _password() -> str:
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))


@accounts.command("create")
def create_account(
    name: Annotated[str, typer.Argument(help="Name of the new account")],
    administrator: Annotated[bool, typer.Option("--administrator", help="Of the platform")] = False,
    password: Annotated[bool, typer.Option("--password", help="Ask for one, to log in with in a browser")] = False,
) -> None:
    """Make an account for a person. It is a member of nothing yet: see `members set`."""
    body: dict[str, Any] = {"name": name, "administrator": administrator}
    if password:
        body["password"] = _password()
    Api().call("POST", "/accounts", json=body)
    out.print(f"Created {name}.", markup=False)


@accounts.command("set")
def set_account(
    name: Account,
    administrator: Annotated[bool | None, typer.Option("--administrator/--no-administrator")] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for a new one; it ends their sessions")] = False,
) -> None:
    """Change an account."""
    body: dict[str, Any] = {} if administrator is None else {"administrator": administrator}
    if password:
        body["password"] = _password()
    if not body:
        raise typer.BadParameter("nothing to change is given", param_hint="--administrator or --password")
    Api().call("PATCH", f"/accounts/{name}", json=body)
    out.print(f"Changed {name}.", markup=False)


@accounts.command("disable")
def disable_account(name: Account, yes: Yes = False) -> None:
    """End an account: its tokens and sessions open nothing any more, and its name stays taken."""
    sure(f"Disable {name}?", yes)
    Api().call("DELETE", f"/accounts/{name}")
    out.print(f"Disabled {name}.", markup=False)
