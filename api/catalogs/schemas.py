"""Shapes of registered catalogs, and of what is in them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from core.specs import Use
from core.sql.catalogs import CatalogDefinition

EXAMPLE: JsonDict = {
    "options": {
        "type": "jdbc",
        "base-url": "jdbc:postgresql://db:5432",
        "default-database": "shop",
        "username": "penstock",
        "password": "${secret:shop-password}",
    },
    "libraries": [{"name": "jdbc", "version": "4.0.0"}],
    "description": "The shop's own database",
}


class CatalogBody(CatalogDefinition):
    description: str = Field(default="", max_length=4000)
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})


class CatalogOut(BaseModel):
    project: str
    name: str
    type: str = Field(examples=["jdbc"])
    options: dict[str, str] = Field(description="As they were registered: secrets are their references")
    libraries: list[Use]
    ddl: str = Field(description="The CREATE CATALOG that is put in front of scripts that name it")
    description: str
    revision: int
    created_at: datetime
    updated_at: datetime


class InCatalog(BaseModel):
    """A database, a table or a view of a catalog."""

    name: str


class CatalogColumn(BaseModel):
    name: str
    type: str = Field(examples=["DECIMAL(10, 2)"])
    nullable: bool
    key: bool = Field(description="Whether it is part of the primary key")
    extras: str = Field(description="How it is computed, or of which metadata it is; empty for an ordinary column")
    watermark: str


class CatalogTable(BaseModel):
    catalog: str
    database: str
    name: str
    columns: list[CatalogColumn]
    options: dict[str, str] = Field(description="As the catalog has them; what is secret in them is ******")
