"""A table as DESCRIBE tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Described(BaseModel):
    """A column as DESCRIBE tells it. `extras` is how it is computed, or of which metadata it is; `key` whether it is
    part of the primary key."""

    name: str
    type: str
    nullable: bool
    extras: str
    watermark: str
    key: bool = False

    @property
    def given(self) -> bool:
        """Whether its values come from outside: it is not computed."""
        return not self.extras.startswith("AS ")

    @property
    def persisted(self) -> bool:
        return self.given and not self.extras.endswith("VIRTUAL")


def described(rows: list[list[Any]]) -> list[Described]:
    """From the rows of DESCRIBE: name, type, null, key, extras, watermark."""
    return [
        Described(
            name=str(r[0]),
            type=str(r[1]).replace(" *ROWTIME*", "").replace(" *PROCTIME*", ""),
            nullable=bool(r[2]),
            key=str(r[3] or "").startswith("PRI("),
            extras=str(r[4] or ""),
            watermark=str(r[5] or ""),
        )
        for r in rows
    ]
