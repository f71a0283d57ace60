"""Whoever gives a name that is not there is told what there is, the likest first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.whole.penstock import Penstock, sql

TABLE = {"columns": [{"name": "id", "type": "BIGINT"}], "options": {"connector": "datagen"}}


@pytest.fixture(scope="module", autouse=True)
def _house(penstock: Penstock) -> None:
    penstock.ok("POST", "/projects", json={"name": "shop"})
    penstock.ok("POST", "/projects", json={"name": "empty"})
    for name in ("views", "clicks"):
        new = {"name": name, "project": "shop", "spec": sql(name), "cluster": "a"}
        penstock.ok("POST", "/jobs", json=new)
        penstock.ok("PUT", f"/projects/shop/resources/{name}", json={"definition": TABLE})
        penstock.ok("PUT", f"/projects/shop/secrets/{name}", json={"value": "hidden"})
        options = {"type": "generic_in_memory"}
        penstock.ok("PUT", f"/projects/shop/catalogs/{name}", json={"options": options}, params={"cluster": "a"})
        penstock.ok("PUT", f"/projects/shop/test-sets/{name}", json={"tables": {"t": [{"id": 1}]}})
    for version in ("1.0", "1.1"):
        source = {"type": "upload", "file": "f.py"}
        new = {"name": "udfs", "version": version, "kind": "python", "source": source}
        penstock.ok("POST", "/projects/shop/libraries", json=new)


@pytest.mark.parametrize(
    ("path", "code", "remedy"),
    [
        ("/clusters/nope", "cluster_not_found", "There are: a."),
        ("/projects/shpo/resources", "project_not_found", "There are: shop, default, empty."),
        ("/jobs/shop:clocks", "job_not_found", "There are: shop:clicks, shop:views."),
        ("/jobs/empty:clocks", "job_not_found", "There are no jobs in the project empty."),
        ("/jobs/shpo:clicks", "job_not_found", "There is no project shpo. There are: shop, default, empty."),
        ("/jobs/0123", "job_not_found", "Name it by its id or as project:name."),
        ("/projects/shop/resources/vieuws", "resource_not_found", "There are: views, clicks."),
        ("/projects/empty/resources/x", "resource_not_found", "There are no resources in the project empty."),
        ("/projects/shop/catalogs/click", "catalog_not_found", "There are: clicks, views."),
        ("/projects/shop/libraries/udfs/1.2", "library_not_found", "There are: udfs:1.1, udfs:1.0."),
        ("/projects/shop/test-sets/view", "test_set_not_found", "There are: views, clicks."),
        ("/jobs/shop:click%00", "job_not_found", "There are: shop:clicks, shop:views."),
    ],
)
def test_it_is_told(penstock: Penstock, path: str, code: str, remedy: str):
    assert penstock.no("GET", path, 404, code)["remedy"] == remedy


def test_of_a_secret_that_is_deleted_or_named(penstock: Penstock):
    problem = penstock.no("DELETE", "/projects/shop/secrets/clocks", 404, "secret_not_found")
    assert problem["remedy"] == "There are: clicks, views."
    options = {"type": "jdbc", "password": "${secret:clocks}"}
    problem = penstock.no(
        "PUT",
        "/projects/shop/catalogs/new",
        404,
        "secret_not_found",
        json={"options": options},
        params={"cluster": "a"},
    )
    assert problem["remedy"].startswith("There are: clicks, views. Or store it: ")


def test_only_what_is_there_is_told(penstock: Penstock):
    """Not what was deleted, nor what is another project's."""
    penstock.ok("POST", "/projects", json={"name": "gone"})
    penstock.ok("DELETE", "/projects/gone")
    assert "gone" not in penstock.no("GET", "/projects/gon/resources", 404)["remedy"]
    new: dict[str, Any] = {"name": "brief", "project": "shop", "spec": sql("brief"), "cluster": "a"}
    made = penstock.ok("POST", "/jobs", json=new)
    penstock.ok("DELETE", f"/jobs/{made['id']}")
    assert penstock.no("GET", "/jobs/shop:brief", 404)["remedy"] == "There are: shop:views, shop:clicks."


def test_the_command_line_says_so(penstock: Penstock):
    said = penstock.cli("jobs", "show", "shop:clocks")
    assert "There are: shop:clicks, shop:views." in said.err
    assert "There are: shop, default, empty." in penstock.cli("projects", "show", "shpo").err
