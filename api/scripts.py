"""A script and what it is run with: what validation, previews and tests are all given."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from api.deps import Strict
from core.errors import InvalidInput
from core.names import Name
from core.specs import MAX_SQL, Use, Variables
from services import Services
from sql.debugging import Given, given
from store import testsets

Sql = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SQL)]
Rows = list[dict[str, Any]]
EXAMPLE_QUERY = (
    "CREATE TABLE clicks (id BIGINT, at TIMESTAMP(3)) WITH ('connector' = 'datagen', 'rows-per-second' = '5');\n"
    "SELECT * FROM clicks;"
)


class ScriptBody(Strict):
    """A text with what it is run with."""

    project: Name = "default"
    cluster: Name = Field(default="local", description="Whose Flink says what is right")
    sql: Sql
    variables: Variables = Field(default={}, description="Values of ${NAME} in `sql`")
    libraries: list[Use] = Field(default=[], max_length=50)
    config: dict[str, str] = Field(default={}, max_length=200, description="Flink configuration")


class Source(Strict):
    """Rows in place of a table: objects, CSV with a header, or those of a test set. A row of a table that gives changes
    may have `$kind`: +I, -U, +U or -D."""

    rows: Rows | None = Field(default=None, max_length=10_000)
    csv: Annotated[str, StringConstraints(max_length=10_000_000)] | None = None
    test_set: Name | None = None
    table: str | None = Field(default=None, max_length=200, description="With `test_set`: another table of it")

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(x is not None for x in (self.rows, self.csv, self.test_set)) != 1:
            raise ValueError("give one of `rows`, `csv` and `test_set`")
        return self


async def rows_of(services: Services, project: str, name: str, source: Source) -> Given:
    """The rows that stand for the table `name`. Raises `InvalidInput` when the test set has none for it."""
    if source.test_set is None:
        return given(name, source.rows, source.csv)
    async with services.database.read() as session:
        test_set = await testsets.get(session, project, source.test_set)
    table = source.table or name
    if table not in test_set.tables:
        raise InvalidInput(
            f"The test set {test_set.name} has no rows for {table}.",
            code="table_not_in_test_set",
            field=f"sources.{name}",
            remedy=f"It has: {', '.join(test_set.tables)}.",
        )
    return Given(test_set.tables[table])
