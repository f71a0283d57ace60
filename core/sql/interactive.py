"""What may stand in an interactive session: one statement that writes nothing."""

from __future__ import annotations

from core.config import check_key
from core.errors import InvalidInput
from core.sql.references import check_script
from core.sql.script import Script, Statement, StatementKind, creates_as_query
from core.sql.tokens import TokenKind, literal

SETUP = ("CREATE", "DROP", "ALTER", "USE", "LOAD", "UNLOAD")
_REFUSED = {
    "INSERT": "what writes is a job: create one with this text, or debug it to see what it would write",
    "EXECUTE": "what writes is a job",
    "BEGIN": "what writes is a job",
    "STATEMENT": "what writes is a job",
    "UPDATE": "it changes data outside the session",
    "DELETE": "it changes data outside the session",
    "TRUNCATE": "it changes data outside the session",
    "CALL": "a procedure may start jobs that Penstock does not know",
    "STOP": "jobs are stopped with commands of Penstock",
    "COMPILE": "plans are kept by Penstock",
    "ANALYZE": "it runs a job of its own",
    "REPLACE": "it runs a job of its own",
    "ADD": "jars come from the project's libraries",
    "REMOVE": "jars come from the project's libraries",
    "QUIT": "close the session instead",
    "EXIT": "close the session instead",
    "SOURCE": "files of the server cannot be read",
}


def session_statement(script: Script) -> Statement:
    """The one statement of a script. Raises `InvalidInput` unless it may stand in a session."""
    check_script(script)
    statement = script.only_statement()
    if statement is None:
        raise InvalidInput(
            f"One statement at a time; these are {len(script.statements())}.",
            code="not_one_statement",
            field="statement",
        )
    if statement.kind is StatementKind.QUERY:
        return statement
    first = statement.first
    why = _REFUSED.get(first)
    if first in ("CREATE", "ALTER") and "MATERIALIZED" in [t.word for t in statement.tokens[1:4]]:
        why = "a materialized table runs jobs of its own"
    if first == "CREATE" and creates_as_query(statement.tokens):
        why = "it starts a job; write CREATE TABLE, and create a job with INSERT INTO"
    if why is not None:
        raise InvalidInput(f"{first} has no place in a session: {why}.", code="statement_refused", field="statement")
    if first == "SET" and len(statement.tokens) > 1:
        setting_of(statement)
    return statement


def setting_of(statement: Statement) -> tuple[str, str]:
    """Key and value of a SET. Raises `InvalidInput`."""
    parts = statement.tokens[1:4]
    if [t.kind for t in parts] != [TokenKind.STRING, TokenKind.OTHER, TokenKind.STRING]:
        raise InvalidInput("SET is written SET 'key' = 'value'.", code="sql_script", field="statement")
    key, value = literal(parts[0].text), literal(parts[2].text)
    check_key(key, "statement")
    return key, value
