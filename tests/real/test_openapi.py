"""The OpenAPI description against the real API: complete, true, and nothing that it allows is a 5xx."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks
from schemathesis.specs.openapi import checks as openapi

from tests.real.conftest import SQL, Stack

pytestmark = pytest.mark.real
CHECKS = [
    checks.not_a_server_error,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
]


def test_whatever_is_sent_is_answered_as_described(stack: Stack):
    """Schemathesis makes requests for every operation from the description, good ones and bad ones."""
    headers = {"Authorization": stack.http.headers["Authorization"]}
    # What is followed until its end would keep a fuzzer waiting for ever; and who has logged out finds nothing more.
    schema = schemathesis.openapi.from_url(f"{stack.local.api_url}/openapi.json", headers=headers).exclude(
        path_regex="(log/stream|/events|/logout)$"
    )
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:

            @settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(case=operation.as_strategy(generation_mode=mode))
            def send(case):
                nonlocal tried
                tried += 1
                case.call_and_validate(checks=CHECKS, timeout=60, headers=headers)

            try:
                send()
            except Unsatisfiable:
                continue  # an operation without input has no bad input
    assert tried > 300


class TestDescription:
    @pytest.fixture
    def described(self, stack: Stack):
        return stack.http.get(f"{stack.local.api_url}/openapi.json").json()

    def test_every_operation_says_what_it_is_and_how_it_fails(self, described):
        for path, operations in described["paths"].items():
            for method, operation in operations.items():
                assert operation["summary"], (method, path)
                for status, answer in operation["responses"].items():
                    if status.startswith(("4", "5")) and not path.startswith("/readyz"):
                        assert list(answer["content"]) == ["application/problem+json"], (method, path, status)

    def test_bodies_have_examples(self, described):
        for name in ("NewJob", "NewCommand", "NewCluster"):
            assert described["components"]["schemas"][name]["examples"]

    def test_the_examples_are_good_input(self, described):
        from api.clusters.schemas import NewCluster
        from api.commands.schemas import NewCommand
        from api.jobs.schemas import NewJob

        for model in (NewJob, NewCommand, NewCluster):
            for example in described["components"]["schemas"][model.__name__]["examples"]:
                model.model_validate(example)


class TestBadInput:
    """A 4xx that names the field and the remedy, and changes nothing."""

    @pytest.mark.parametrize(
        ("spec", "field", "says"),
        [
            ({"type": "sql", "sql": SQL, "more": 1}, "spec.more", "unknown field"),
            ({"type": "jar", "git": {"url": "ext::sh -c id"}}, "spec.git.url", "https"),
            (
                {"type": "jar", "git": {"url": "https://x.example.com/r", "ref": "--upload-pack=x"}},
                "spec.git.ref",
                "branch",
            ),
            ({"type": "jar", "git": {"url": "/etc"}}, "spec.git.url", "PENSTOCK_GIT_LOCAL_ROOTS"),
            (
                {"type": "jar", "git": {"url": "https://x.example.com/r", "subdirectory": "../x"}},
                "spec.git.subdirectory",
                "out of",
            ),
            (
                {"type": "sql", "sql": SQL, "config": {"pipeline.name": "x"}},
                "spec.config.pipeline.name",
                "cannot be set",
            ),
            ({"type": "sql", "sql": "SELECT 1"}, "spec.sql", "INSERT"),
            ({"type": "sql", "sql": "INSERT INTO a SELECT 'x"}, "spec.sql", "not closed"),
        ],
    )
    def test_of_a_spec(self, stack: Stack, spec, field, says):
        before = len(stack.http.get("/jobs", params={"limit": 500, "text": "never-made"}).json()["items"])
        answer = stack.http.post("/jobs", json={"name": "never-made", "spec": spec})
        assert answer.status_code == 422
        problem = answer.json()
        assert problem["field"] == field, problem
        assert says in problem["detail"] + problem.get("remedy", "")
        after = len(stack.http.get("/jobs", params={"limit": 500, "text": "never-made"}).json()["items"])
        assert after == before

    @pytest.mark.parametrize("name", ["", "A", "a b", "../x", "a" * 64, "-a", "a/b", "ä"])
    def test_of_a_name(self, stack: Stack, name):
        answer = stack.http.post("/jobs", json={"name": name, "spec": {"type": "sql", "sql": SQL}})
        assert answer.status_code == 422
        assert answer.json()["field"] == "name"

    def test_who_has_no_token_gets_nothing(self, stack: Stack):
        """A web page that has its own name point to 127.0.0.1, too."""
        answer = httpx.get(f"{stack.api_url}/jobs", headers={"Host": "evil.example.com"}, trust_env=False)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_a_form_from_another_page_is_no_json(self, stack: Stack):
        text = {"Content-Type": "text/plain"}
        answer = stack.http.post("/jobs", content='{"name": "x", "spec": {"type": "sql", "sql": "x"}}', headers=text)
        assert answer.status_code == 422

    def test_without_authentication_it_binds_to_loopback_only(self):
        from api.security import check_address
        from core.errors import InvalidInput

        for host in ("0.0.0.0", "::", "192.168.1.1", "example.com"):
            with pytest.raises(InvalidInput, match="everybody"):
                check_address(host, authentication=False)
            check_address(host, authentication=True)
        check_address("127.0.0.1", authentication=False)
