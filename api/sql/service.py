"""Scripts: checked, completed, laid out."""

from __future__ import annotations

from api.deps import SqlRuntime
from api.rules import Caller, own_session
from api.sql import schemas as out
from core.config import check_new_config
from core.effects import Rejected
from core.errors import InvalidInput
from core.sql.catalogs import BEGINNING
from core.sql.layout import formatted
from core.sql.script import EMPTY
from services import Services
from settings.waits import planning
from sql.complete import candidates, cursor_in
from sql.environment import environment, python_properties
from sql.options import remedy
from sql.templates import Template, template, templates
from sql.validate import Validation, of_text, summary, validate
from store import clusters, jobs, sessions


async def check(services: Services, body: out.ValidateBody) -> Validation:
    """Raises `InvalidInput` when Flink refuses the script as a whole, `TooSlow`."""
    check_new_config(body.config, "config")
    async with services.database.read() as session:
        await jobs.project(session, body.project)
        cluster = await clusters.get(session, body.cluster)
        script, report = of_text(body.sql, body.variables, queries=body.queries)
        if script is None:
            made = await environment(services, session, body.project, EMPTY, open_secrets=False)
            return summary(report, made)
        # A catalog is connected to when it is made; nothing else needs a secret to be checked.
        secrets = any([t.word for t in statement[:2]] == ["CREATE", "CATALOG"] for statement in script.statements())
        made = await environment(services, session, body.project, script, uses=body.libraries, open_secrets=secrets)
    properties = {**body.config, **python_properties(services, cluster, made)}
    try:
        async with planning(services.settings, "Checking the script"):
            found = await validate(services.engines.compiler(cluster), made, report, properties, queries=body.queries)
    except Rejected as error:
        raise InvalidInput(error.message, code="sql_invalid", field="sql") from error
    remedies: dict[str, str | None] = {}
    for item in found.errors:
        if item.remedy is None and item.code == "sql_invalid":
            if item.message not in remedies:
                remedies[item.message] = await remedy(
                    services, body.project, body.cluster, body.libraries, item.message
                )
            item.remedy = remedies[item.message]
    return found


async def complete(services: Services, bench: SqlRuntime, caller: Caller, body: out.CompleteBody) -> out.CompleteOut:
    """At most `sql.complete.MAX_CANDIDATES`. With a session what was made in it counts, and its libraries in place of
    the body's. Raises `NotFound` for project, cluster and session."""
    words, uses, where = None, body.libraries, BEGINNING
    cursor = cursor_in(body.sql, min(body.position, len(body.sql)))
    if body.session is not None:
        if (await own_session(services, caller, body.session)).project != body.project:
            raise sessions.not_found(body.session)
        words = await bench.sessions.complete(body.session, cursor.text, cursor.position)
        uses, where = await bench.sessions.libraries(body.session), await bench.sessions.position(body.session)
    at, found = await candidates(services, body.project, body.cluster, cursor, bench.completer, words, uses, where)
    return out.CompleteOut(start=at, candidates=found)


def lay_out(body: out.FormatBody) -> out.FormatOut:
    """Raises `InvalidInput` for a text with a string, a name or a comment that is not closed."""
    made = formatted(body.sql)
    return out.FormatOut(sql=made, changed=made != body.sql)


def all_templates() -> list[Template]:
    """By name; they come with the code, and no database is asked."""
    return list(templates())


def one_template(name: str) -> Template:
    """Raises `NotFound`."""
    return template(name)
