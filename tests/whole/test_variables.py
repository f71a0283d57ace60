"""Variables of SQL jobs: what runs is the text with their values."""

from __future__ import annotations

import json

import pytest

from tests.whole.penstock import SQL, Penstock

TEXT = SQL.format(sink="snk_${TEAM}", what="COUNT(*)").replace("'5'", "'${TPS:-7}'")


def spec(**variables: str) -> dict:
    return {"type": "sql", "sql": TEXT, "variables": variables}


def plan(penstock: Penstock, name: str) -> str:
    return json.dumps(penstock.ok("GET", f"/jobs/default:{name}/versions/1/plan")["plan"])


class TestJobs:
    def test_the_values_of_a_job_are_what_runs(self, penstock: Penstock):
        penstock.running("valued", spec(TEAM="shop", TPS="9"))
        assert "snk_shop" in plan(penstock, "valued")
        penstock.running("other", spec(TEAM="web"))
        assert "snk_web" in plan(penstock, "other")
        penstock.done("other", "restart")
        assert penstock.state("other") == "RUNNING"

    @pytest.mark.parametrize(
        ("variables", "code"),
        [
            ({}, "variable_missing"),
            ({"TEAM": "shop", "TSP": "9"}, "unknown_variable"),
        ],
    )
    def test_what_does_not_fit_the_text_is_refused(self, penstock: Penstock, variables: dict[str, str], code: str):
        body = {"name": "never", "cluster": "a", "spec": spec(**variables)}
        penstock.no("POST", "/jobs", 422, code, json=body)
        penstock.no("GET", "/jobs/default:never", 404)

    def test_a_secret_is_no_value(self, penstock: Penstock):
        text = TEXT.replace("'rows-per-second'", "'password' = '${DB_PASSWORD}', 'rows-per-second'")
        body = {"name": "never", "cluster": "a", "spec": {**spec(TEAM="shop", DB_PASSWORD="x"), "sql": text}}
        penstock.no("POST", "/jobs", 422, "secret_in_clear", json=body)


class TestScripts:
    def test_validate_preview_and_the_command_line(self, penstock: Penstock):
        body = {"cluster": "a", "sql": TEXT, "variables": {"TEAM": "shop"}}
        assert penstock.ok("POST", "/sql/validate", json=body)["writes"] == [
            "default_catalog.default_database.snk_shop"
        ]
        missing = penstock.ok("POST", "/sql/validate", json={**body, "variables": {}})
        assert (missing["valid"], missing["errors"][0]["code"]) == (False, "variable_missing")
        query = {"cluster": "a", "sql": "SELECT ${x:-1}", "limits": {"rows": 1, "seconds": 5}}
        penstock.ok("POST", "/sql/previews", json=query)
        penstock.no("POST", "/sql/previews", 422, "unknown_variable", json={**query, "variables": {"y": "1"}})
        file = penstock.home / "variables.sql"
        file.write_text(TEXT)
        said = penstock.cli("sql", "validate", str(file), "--cluster", "a", "--var", "TEAM=shop")
        assert said.code == 0, said
        said = penstock.cli("jobs", "create", "by-hand", "-f", str(file), "--cluster", "a", "--var", "TEAM=shop")
        assert said.code == 0, said
        said = penstock.cli("jobs", "copy", "by-hand", "by-hand-2", "--var", "TEAM=web")
        assert said.code == 0, said
        assert penstock.ok("GET", "/jobs/default:by-hand-2/versions/1")["spec"]["variables"] == {"TEAM": "web"}
