"""What a script of a project finds: its registered tables and catalogs, tables granted to it, its libraries, its
secrets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from clusters.protocol import SqlSessions
from clusters.sql import SqlGateway, scrub
from core.effects import EngineError, no_log
from core.errors import InvalidInput
from core.libraries import LibraryState
from core.specs import Use
from core.sql.catalogs import (
    BEGINNING,
    OWN_CATALOG,
    OWN_DATABASE,
    Position,
    catalogs_created,
    catalogs_named,
    compatible,
    everything_is_shown,
    merged,
    shadows,
)
from core.sql.operators import TableName
from core.sql.positions import table_names
from core.sql.references import (
    created,
    definition_overrides,
    has_options_hint,
    named,
    read_names,
    resolved_script,
    secrets_in,
    written,
)
from core.sql.resources import TableDefinition
from core.sql.script import Script, parse
from core.sql.tokens import Chain, quoted, quoted_name
from services import Services
from settings.installed import flink_python
from sql.views import in_order, those_without, views_in
from store import catalogs, resources
from store.database import Session
from store.tables import Catalog, Cluster, Library

CATALOG, DATABASE = OWN_CATALOG, OWN_DATABASE
OF_CATALOGS = (
    "It names a catalog that outlives the session: Flink restores the tables of a compiled plan by their connectors, "
    "not by their catalog."
)
OF_HINTS = (
    "It has an OPTIONS hint: a compiled plan takes the options of a table from the session, where nothing is hinted. "
    "Options in the WITH of a table count in a plan."
)


@dataclass(frozen=True)
class TableAccess:
    """How a project may use a table of the session. `label` is `project/name` of the resource."""

    label: str
    read: bool
    write: bool


@dataclass(frozen=True)
class Made:
    """A statement that makes a table of the environment (`name` None: its database), with references for secrets;
    they are those of the project `owner`."""

    owner: str
    name: str | None
    statement: str


_OF_LIBRARY = ("project", "name", "version", "kind", "files", "functions")


@dataclass(frozen=True)
class Environment:
    """`before` are statements to run first, then comes the `script`. With secrets opened, `secrets` are their values,
    and all of it stays in the process that asked for it. `inputs` is the hash of what a plan is made from. `catalogs`
    are those of `before` that make registered catalogs, with the jars that they need. `without_plan` is why it cannot
    run from a compiled plan, empty where nothing speaks against it. `through_views` are the names in the queries of
    its views."""

    before: list[str]
    script: Script
    secrets: list[str]
    rights: Mapping[str, TableAccess]
    properties: Mapping[str, str]
    inputs: str
    libraries: list[Library] = field(default_factory=list)
    tables: list[Made] = field(default_factory=list)
    catalogs: list[str] = field(default_factory=list)
    without_plan: str = ""
    through_views: frozenset[Chain] = frozenset()

    @property
    def made_of(self) -> dict[str, Any]:
        """What is written down of it with an attempt, so that the same can be run again (`as_it_was`)."""
        return {
            "inputs": self.inputs,
            "tables": [asdict(table) for table in self.tables],
            "libraries": [{key: getattr(library, key) for key in _OF_LIBRARY} for library in self.libraries],
        }

    def check(self, reads: Sequence[TableName], writes: Sequence[TableName]) -> None:
        """Raise `InvalidInput` when a table is read or written that the project may not."""
        for verb, tables in (("read", reads), ("write", writes)):
            for table in tables:
                right = self.rights.get(str(table))
                if right is not None and not getattr(right, verb):
                    owner = right.label.partition("/")[0]
                    raise InvalidInput(
                        f"The script {verb}s {right.label}, which this project may not {verb}.",
                        code="access_denied",
                        field="spec.sql",
                        remedy=f"Ask the project {owner} to grant `{verb}` on it.",
                    )

    def check_text(self) -> None:
        """The same from the text alone, for what Flink cannot compile to a plan: a table behind INSERT INTO is
        written, every name elsewhere is read, and what views name."""
        names, targets = read_names(self.script) | self.through_views, written(self.script)
        # A name alone is one of the database that a session begins in, unless the script leaves that.
        longest = 3 if _moves(self.script) else 2
        for full in self.rights:
            short = {tuple(full.split(".")[i:]) for i in range(longest)}
            table = TableName(*full.split("."))
            if short & targets:
                self.check([], [table])
            if short & names:
                self.check([table], [])


async def environment(
    services: Services,
    session: Session,
    project: str,
    script: Script,
    *,
    uses: Sequence[Use] = (),
    open_secrets: bool,
    table_options: Mapping[str, str] | None = None,
    everything: bool = False,
    where: Position = BEGINNING,
    registered: Sequence[Catalog] | None = None,
) -> Environment:
    """The environment of a script. With `everything` all tables of the project are made, also those that the
    text does not name. Without `open_secrets` references stay as they are, but for those of catalogs, which are
    connected to when they are made. `where` is the place of the session, where a short name may be another project's
    table, or one of a catalog. `registered` are the catalogs that there are; None: those of the project.

    Raises `NotFound` for a library or a secret that is not there, `InvalidInput` for what may not be done.
    """
    if registered is None:
        registered = await catalogs.of_project(session, project)
    names, own, reads = named(script), created(script), table_names(script)
    all_visible = await resources.visible(session, project)
    views = views_in(all_visible, project)
    known = {row.name for row in registered}
    # They are made where a session begins; what the script makes itself goes first.
    made_views = [] if where != BEGINNING else in_order(reads, {v for v in views if (v,) not in own}, views)
    if everything:
        made_views = those_without(known, views)
    of_views = [parse(views[name].query) for name in made_views]
    through_views = frozenset[Chain]().union(*map(table_names, of_views))
    names |= through_views
    wanted = catalogs_named(script, known).union({where.catalog}, *(catalogs_named(query, known) for query in of_views))
    wanted -= catalogs_created(script)  # the script makes a catalog of this name itself
    in_use = [(row.name, catalogs.definition_of(row)) for row in registered if row.name in wanted]
    if everything_is_shown(script):
        in_use = compatible(uses, in_use)
    uses = merged(uses, [(name, definition.libraries) for name, definition in in_use])
    before: list[str] = []
    plain: list[str] = []
    rights: dict[str, TableAccess] = {}
    values: list[str] = []
    databases: set[str] = set()
    foreign: list[tuple[str, str]] = []
    tables: list[Made] = []

    async def add(statement: str, owner: str, *, opened: bool = open_secrets) -> None:
        plain.append(statement)
        before.append(await _opened_text(services, session, owner, statement, values) if opened else statement)

    libraries = await ready_libraries(session, project, uses)
    properties: dict[str, str] = {}
    for statement in _library_statements(services, libraries, properties):
        await add(statement, project)
    of_catalogs = [s for s in before if in_use and s.startswith("ADD JAR")]
    for name, definition in in_use:
        below = [statement for query in of_views for statement in shadows(definition, name, query)]
        for statement in dict.fromkeys([definition.ddl(name), *shadows(definition, name, script, where), *below]):
            tables.append(Made(project, None, statement))
            await add(statement, project, opened=True)
            of_catalogs.append(before[-1])
    for item in all_visible:
        row = item.resource
        mine = row.project == project
        if resources.is_view(row):
            continue
        label = f"{row.project}/{row.name}"
        if not mine:  # also when it is not named in full: a session may be in its database
            foreign.append((row.project, row.name))
            rights[str(TableName(CATALOG, row.project, row.name))] = TableAccess(label, item.read, item.write)
        chains = {(row.project, row.name), *({(row.name,)} if mine else set())}
        if not everything and not chains & names:
            continue
        table = TableDefinition.model_validate(row.definition)
        for database in [DATABASE, row.project] if mine else [row.project]:
            in_default = database == DATABASE
            if in_default and (row.name,) in own:
                continue  # the script makes a table of this name itself
            if not in_default and not everything and (row.project, row.name) not in names:
                continue
            if not in_default and database not in databases:
                databases.add(database)
                statement = f"CREATE DATABASE IF NOT EXISTS {quoted_name(CATALOG, database)}"
                tables.append(Made(row.project, None, statement))
                await add(statement, row.project)
            # A session may have it already, and a script may make it itself, under a condition.
            statement = table.ddl(CATALOG, database, row.name, if_not_exists=True)
            tables.append(Made(row.project, row.name, statement))
            await add(statement, row.project)
            rights[str(TableName(CATALOG, database, row.name))] = TableAccess(label, item.read, item.write)
    for name in made_views:
        statement = views[name].ddl(CATALOG, DATABASE, name, if_not_exists=True)
        tables.append(Made(project, name, statement))
        await add(statement, project)
    for text in [script, *of_views] if foreign else []:
        _check_overrides(text, foreign, moved=where != BEGINNING or _moves(script))
    opened = await _opened(services, session, project, script, values) if open_secrets else script
    kept = {k: v for k, v in (table_options or {}).items() if k.startswith("table.")}
    made_of = json.dumps(
        [script.text, plain, kept, [f["sha256"] for lib in libraries for f in lib.files]], sort_keys=True
    )
    return Environment(
        before=before,
        script=opened,
        secrets=values,
        rights=rights,
        properties=properties,
        inputs=hashlib.sha256(made_of.encode()).hexdigest(),
        libraries=libraries,
        tables=tables,
        catalogs=of_catalogs,
        without_plan=OF_CATALOGS
        if any(definition.outlives for _, definition in in_use)
        else _hinted(script, *of_views),
        through_views=through_views,
    )


async def ready_libraries(session: Session, project: str, uses: Sequence[Use]) -> list[Library]:
    """Libraries of a project. Raises `NotFound`, and `InvalidInput` for one that is not there yet."""
    libraries = [await resources.library(session, project, use.name, use.version) for use in uses]
    for library in libraries:
        if library.state != LibraryState.READY.value:
            raise InvalidInput(
                f"The library {library.name} {library.version} is {library.state}. {library.why or ''}".strip(),
                code="library_not_ready",
                field="spec.libraries",
            )
    return libraries


async def to_run(
    services: Services,
    session: Session,
    project: str,
    script: Script,
    made_of: Mapping[str, Any],
    *,
    uses: Sequence[Use],
    table_options: Mapping[str, str],
) -> Environment:
    """The environment that an attempt runs in: as it was, where `made_of` says what the one had that it runs like;
    else as it is now. Raises as `as_it_was` and `environment` do."""
    if "tables" in made_of:
        return await as_it_was(services, session, project, script, made_of)
    return await environment(
        services, session, project, script, uses=uses, open_secrets=True, table_options=table_options
    )


async def as_it_was(
    services: Services, session: Session, project: str, script: Script, made_of: Mapping[str, Any]
) -> Environment:
    """The environment that an attempt ran in, from what was written down with it: the tables and libraries as they were
    then, secrets as they are now.

    Raises `NotFound` for a secret that is not there, `InvalidInput` for a table of another project to which access is
    not granted any more.
    """
    values: list[str] = []
    properties: dict[str, str] = {}
    libraries = [resources.library_as_kept(columns) for columns in made_of["libraries"]]
    tables = [Made(**table) for table in made_of["tables"]]
    foreign = [table for table in tables if table.owner != project and table.name is not None]
    visible = await resources.visible(session, project) if foreign else []
    granted = {(i.resource.project, i.resource.name) for i in visible}
    for table in foreign:
        if (table.owner, table.name) not in granted:
            raise InvalidInput(
                f"It ran with {table.owner}/{table.name}, which this project may not use any more.",
                code="access_denied",
                field="spec.sql",
                remedy=f"Ask the project {table.owner} to grant it again.",
            )
    before = []
    for statement in _library_statements(services, libraries, properties):
        before.append(await _opened_text(services, session, project, statement, values))
    for table in tables:
        before.append(await _opened_text(services, session, table.owner, table.statement, values))
    return Environment(
        before=before,
        script=await _opened(services, session, project, script, values),
        secrets=values,
        rights={},
        properties=properties,
        inputs=made_of["inputs"],
        libraries=libraries,
        tables=tables,
        without_plan=_hinted(script),
    )


@asynccontextmanager
async def prepared_session(
    engine: SqlSessions, env: Environment, properties: Mapping[str, str]
) -> AsyncIterator[tuple[SqlGateway, str]]:
    """A session in which an environment is made, closed at the end. What the engine says against anything in it is
    told without the values of secrets. Raises `Unreachable` when there is no gateway to ask, `Rejected`."""
    gateway, session = await engine.open_session(properties)
    try:
        await gateway.prepare(session, env.before, no_log)
        yield gateway, session
    except EngineError as error:
        error.message = scrub(error.message, env.secrets)
        raise
    finally:
        await gateway.close(session)


def python_properties(services: Services, cluster: Cluster, env: Environment) -> dict[str, str]:
    """What Python functions need of a session: their files, and an interpreter with PyFlink."""
    if "python.files" not in env.properties:
        return dict(env.properties)
    python = str(flink_python(services.settings.cache, cluster.flink_version))
    return {**env.properties, "python.executable": python, "python.client.executable": python}


def _hinted(*texts: Script) -> str:
    return OF_HINTS if any(map(has_options_hint, texts)) else ""


def _moves(script: Script) -> bool:
    return any(parts[0].word == "USE" for parts in script.statements())


def _check_overrides(script: Script, foreign: Sequence[tuple[str, str]], *, moved: bool) -> None:
    """Raise `InvalidInput` when a text takes or changes the definition of another project's table: with it goes
    access that was not granted."""
    for how, chain, token in definition_overrides(script):
        for project, name in foreign:
            short = len(chain) == 1 and moved and chain[0] == name
            if short or chain[-2:] == (project, name):
                line, column = script.place(token)
                raise InvalidInput(
                    f"Line {line}, column {column}: {how} of {project}.{name}, a table of another project, which "
                    "may only be read or written as it is.",
                    code="access_denied",
                    field="spec.sql",
                )


async def _opened_text(services: Services, session: Session, project: str, text: str, values: list[str]) -> str:
    """A statement of ours with its references replaced; one without any is not even tokenized."""
    if not secrets_in(text):
        return text
    return (await _opened(services, session, project, parse(text), values)).text


async def _opened(services: Services, session: Session, project: str, script: Script, values: list[str]) -> Script:
    """A script with its references replaced; the values come to `values`."""
    names = secrets_in(script.text)
    if not names:
        return script
    sealed = await resources.sealed(session, project, names)
    secret = {name: services.vault.open(value) for name, value in sealed.items()}
    values += secret.values()
    return resolved_script(script, secret)


def _library_statements(services: Services, libraries: Sequence[Library], properties: dict[str, str]) -> list[str]:
    """ADD JAR and CREATE FUNCTION for what a script uses. Python functions go by properties of the session."""
    statements = []
    archives = []
    for row in libraries:
        for file in row.files:
            if row.kind == "jar":
                statements.append(f"ADD JAR {quoted(str(services.artifacts.jar(file['sha256'])))}")
            else:
                archives.append(str(services.artifacts.python_file(file["sha256"], file["name"])))
        language = "JAVA" if row.kind == "jar" else "PYTHON"
        for function in row.functions:
            name = quoted_name(str(function["name"]))
            statements.append(
                f"CREATE TEMPORARY SYSTEM FUNCTION {name} AS {quoted(str(function['class']))} LANGUAGE {language}"
            )
    if archives:
        properties["python.files"] = ",".join(archives)
    return statements
