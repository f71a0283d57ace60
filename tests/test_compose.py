"""The production shape: a valid compose file, safe ports, settings that exist, an image that has all of us."""

from __future__ import annotations

import json
import re
import tomllib
from fnmatch import fnmatch

import compose_spec
import pytest
import yaml

from settings import ApiSettings, Settings
from settings.code import ROOT
from stack.local import packages

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
    assert "COPY . .\n" in (ROOT / "Dockerfile").read_text()
    left_out = (ROOT / ".dockerignore").read_text().splitlines()
    assert not {folder.name for folder in packages()} & set(left_out)


def test_every_package_is_installed_and_held_to_the_import_rules():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    names = [folder.name for folder in packages()]
    assert project["importlinter"]["root_packages"] == names
    not_installed = project["setuptools"]["packages"]["find"]["exclude"]
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert sorted(n for n in found if not any(fnmatch(n, pattern) for pattern in not_installed)) == names
