"""The production shape: a valid compose file, safe ports, settings that exist, an image that has all of us."""

from __future__ import annotations

import json
import re

import compose_spec
import pytest
import yaml

from settings import ApiSettings, Settings
from settings.code import ROOT

FILE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load(FILE.read_text())


def test_it_is_a_compose_file(compose):
    found = compose_spec.PyCompose.from_json(json.dumps(compose))
    assert {"postgresql", "temporal", "temporal-ui", "jobmanager", "taskmanager", "gateway", "api", "worker"} <= set(
        found.service_names()
    )


def test_a_broken_one_is_seen(compose):
    with pytest.raises(ValueError):
        compose_spec.PyCompose.from_json(json.dumps({**compose, "services": {"x": {"imagine": "y"}}}))


def test_every_port_is_on_loopback(compose):
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), (name, port)
    assert compose["services"]["api"]["network_mode"] == "host"


def test_every_setting_exists(compose):
    known = {f"PENSTOCK_{n.upper()}" for model in (Settings, ApiSettings) for n in model.model_fields}
    for name in ("api", "worker", "migrate"):
        assert set(compose["services"][name]["environment"]) <= known


def test_workers_scale_out_and_no_password_is_written_down(compose):
    assert "container_name" not in compose["services"]["worker"]
    assert compose["services"]["worker"]["deploy"]["replicas"] >= 2
    assert not re.search(r"PASSWORD: [^$]", FILE.read_text())


def test_the_image_has_every_package():
    text = (ROOT / "Dockerfile").read_text()
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert {p for p in packages if f"COPY {p} {p}" in text} == packages
