"""What `make lint` cannot say of the rooms."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from core.jobs import messages
from settings.code import ROOT
from store.tables import Base
from tests import drawing

ROOMS = sorted(p.parent for p in ROOT.glob("*/__init__.py") if p.parent.name not in ("tests", "benchmarks"))
ASKING = {"add", "add_all", "connection", "delete", "execute", "flush", "get", "merge", "scalar", "scalars", "stream"}

SPEAKING = {
    *("signal", "update", "query"),  # what a workflow says of itself, and what a handle is told
    *("execute_update", "execute_update_with_start_workflow", "start_workflow", "execute_workflow"),
}


def production() -> list[str]:
    """Of all modules but migrations, which are of their day."""
    found = (path.relative_to(ROOT).as_posix() for room in ROOMS for path in room.rglob("*.py"))
    return sorted(path for path in found if not path.startswith("store/migrations/"))


def sources() -> list[str]:
    return [path for path in production() if not path.startswith("store/")]


def test_a_name_of_a_class_is_of_one_class():
    """A reader finds a class by its name; one of two is the wrong one. What is the same needs one class, what is not
    needs two names."""
    places = defaultdict(list)
    for path in production():
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path}:{node.lineno}")
    twice = {name: found for name, found in places.items() if len(found) > 1}
    assert len(places) > 400
    assert not twice


def is_plain(node: ast.AST) -> bool:
    """A property that is one expression: its name and its type say it."""
    decorators = {ast.unparse(decorator) for decorator in getattr(node, "decorator_list", [])}
    return "property" in decorators and len(node.body) == 1 and isinstance(node.body[0], ast.Return)


def bare(module: str, body: list[ast.stmt], within: str = "") -> Iterator[str]:
    """Public functions and methods of which `help()` has nothing to say. What takes the place of a method that says
    what it does (of a protocol, of a library) need not say it again."""
    for node in body:
        name = within + getattr(node, "name", "_")
        if name.rpartition(".")[2].startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            yield from bare(module, node.body, f"{name}.")
        elif not (ast.get_docstring(node) or is_plain(node) or inspect.getdoc(attrgetter(name)(import_module(module)))):
            yield f"{module}.{name}"


def test_a_public_function_says_what_its_signature_does_not():
    """Shapes and units, what it gives when there is nothing, what it raises, where a fact comes from."""
    trees = {path: ast.parse((ROOT / path).read_text()) for path in production()}
    modules = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): t for path, t in trees.items()}
    assert not [name for module, tree in modules.items() for name in bare(module, tree.body)]


def test_only_the_store_asks_a_session():
    asked = [
        f"{path}:{node.lineno} session.{node.attr}"
        for path in sources()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id == "session" and node.attr in ASKING
    ]
    assert not asked, "queries stand in store/, as functions that are given the session"


class TestRows:
    """Only `store/` makes and changes rows. Found is what is made by a class of `store.tables`, and what is changed of a
    parameter that is a row, or of what a function of `store/` has given."""

    CLASSES = {mapper.class_.__name__ for mapper in Base.registry.mappers}

    def is_row(self, annotation: ast.expr | None) -> bool:
        names = set(re.findall(r"\w+", ast.unparse(annotation))) - {"None"} if annotation else set()
        return bool(names) and names <= self.CLASSES

    def giving(self) -> set[str]:
        """The functions of `store/` that give a row."""
        return {
            f"{path.stem}.{function.name}"
            for path in (ROOT / "store").glob("*.py")
            for function in functions(ast.parse(path.read_text()))
            if self.is_row(function.returns)
        }

    def written(self, text: str, giving: set[str]) -> list[str]:
        tree = ast.parse(text)
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        modules = {name.asname or name.name: name.name for i in imports if i.module == "store" for name in i.names}
        classes = {name.asname or name.name for i in imports if i.module == "store.tables" for name in i.names}
        found = set()
        for function in functions(tree):
            arguments = [*function.args.args, *function.args.kwonlyargs]
            rows = {argument.arg for argument in arguments if self.is_row(argument.annotation)}
            for node in ast.walk(function):
                match node:
                    case ast.Assign(targets=[ast.Name(name)], value=value):
                        match value.value if isinstance(value, ast.Await) else value:
                            case ast.Call(ast.Attribute(ast.Name(module), asked)):
                                if f"{modules.get(module)}.{asked}" in giving:
                                    rows.add(name)
            for node in ast.walk(function):
                match node:
                    case ast.Attribute(ast.Name(name), column, ast.Store()) if name in rows:
                        found.add(f"{node.lineno} {name}.{column} =")
                    case ast.Call(ast.Name("setattr"), [ast.Name(name), *_]) if name in rows:
                        found.add(f"{node.lineno} setattr({name})")
        for node in ast.walk(tree):
            match node:
                case ast.Call(ast.Name(name)) if name in classes:
                    found.add(f"{node.lineno} {name}()")
                case ast.Call(ast.Attribute(ast.Name("tables"), name)) if modules.get("tables"):
                    found.add(f"{node.lineno} {name}()")
        return sorted(found)

    def test_only_the_store_makes_and_changes_them(self):
        giving = self.giving()
        assert "jobs.get" in giving
        written = [f"{path}:{what}" for path in sources() for what in self.written((ROOT / path).read_text(), giving)]
        assert not written, "rows are written by functions of store/, which are named for what it means"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("from store.tables import Job\njob = Job(id='x')", ["2 Job()"]),
            ("from store import tables\njob = tables.Job(id='x')", ["2 Job()"]),
            ("from api.schemas import Event\nevent = Event(id=1)", []),
            ("def end(job: Job): job.state, job.reason = 'KILLED', ''", ["1 job.reason =", "1 job.state ="]),
            ("def end(*, job: Job | None): setattr(job, 'state', 'KILLED')", ["1 setattr(job)"]),
            ("def end(out: JobOut): out.state = 'KILLED'", []),
            (
                "from store import jobs as j\nasync def f():\n  job = await j.get(s, 'x')\n  job.busy = None",
                ["4 job.busy ="],
            ),
        ],
    )
    def test_what_is_found(self, text: str, found: list[str]):
        assert self.written(text, {"jobs.get"}) == found


def test_who_speaks_http_takes_a_transport():
    """So that what no real server answers on demand can be tried."""
    without = []
    for path in production():
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            match node:
                case ast.Call(ast.Attribute(ast.Name("httpx"), "Client" | "AsyncClient"), keywords=given):
                    if "transport" not in {keyword.arg for keyword in given}:
                        without.append(f"{path}:{node.lineno}")
                case ast.Call(
                    ast.Attribute(ast.Name("httpx"), "get" | "post" | "put" | "delete" | "request" | "stream")
                ):
                    without.append(f"{path}:{node.lineno}")
    assert not without, "make an httpx.Client with a transport that is given"


class TestWaiting:
    """How long is waited, and how often asked, stands in `settings/waits.py`; rules without effects and workflows keep
    their own, as it says."""

    OWN = ("core/", "settings/", "workflows/")
    NAME = re.compile(r"(^|_)(SECONDS|TRIES|LOOKS|TIMEOUT|PAUSE|PACE)$")

    def numbers(self, text: str) -> list[str]:
        found = []
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Assign([ast.Name(name)]) | ast.AnnAssign(ast.Name(name)) if self.NAME.search(name):
                    found.append(f"{node.lineno} {name}")
                case ast.keyword(str(name), ast.Constant(value)) if "timeout" in name and self.is_wait(value):
                    found.append(f"{node.lineno} {name}={value}")
                case ast.Call(ast.Attribute(_, "sleep" | "settimeout" | "timeout"), [ast.Constant(value)]):
                    if self.is_wait(value):
                        found.append(f"{node.lineno} {value}")
                case ast.Call(ast.Name("Pace"), [ast.Constant(), *_]):
                    found.append(f"{node.lineno} Pace")
        return found

    def is_wait(self, value: object) -> bool:
        return isinstance(value, int | float) and value > 0

    def test_its_numbers_stand_in_one_file(self):
        paths = [path for path in production() if not path.startswith(self.OWN)]
        found = [f"{path}:{what}" for path in paths for what in self.numbers((ROOT / path).read_text())]
        assert not found, "numbers of waiting stand in settings/waits.py, each with what it is for"

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("RUN_TIMEOUT = 300.0", ["1 RUN_TIMEOUT"]),
            ("TRIES: int = 3", ["1 TRIES"]),
            ("client = httpx.Client(timeout=2)", ["1 timeout=2"]),
            ("client = httpx.Client(timeout=waits.CALL_SECONDS)", []),
            ("time.sleep(0.05)", ["1 0.05"]),
            ("await asyncio.sleep(0)", []),
            ("polling = poll(Pace(0.5), seconds=waits.START_SECONDS)", ["1 Pace"]),
        ],
    )
    def test_what_is_found(self, text: str, found: list[str]):
        assert self.numbers(text) == found


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_workflows_are_spoken_to_by_names_of_one_module():
    """A name that is misspelled on one side is found by nothing before it is used."""
    ours = {value for value in vars(messages).values() if isinstance(value, str) and value.endswith("Workflow")}
    bare = []
    for path in sources():
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Constant) and node.value in ours and path != "core/jobs/messages.py":
                bare.append(f"{path}:{node.lineno} {node.value}")
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SPEAKING:
                names = [*node.args[:1], *(k.value for k in node.keywords if k.arg in ("name", "start_signal"))]
                bare += [f"{path}:{n.lineno} {n.value}" for n in names if isinstance(n, ast.Constant)]
    assert len(ours) == 5
    assert not bare, "take the name from core/jobs/messages.py"


@pytest.mark.parametrize("folder", sorted(p.parent for p in ROOT.glob("api/*/__init__.py")), ids=lambda p: p.name)
def test_a_resource_of_the_api_has_a_router_schemas_and_a_service(folder: Path):
    assert {path.name for path in folder.glob("*.py")} >= {"router.py", "schemas.py", "service.py"}


def test_a_router_of_the_api_stands_in_a_folder():
    """But for what is of the process itself: health and metrics."""
    made = [p.name for p in ROOT.glob("api/*.py") if "= APIRouter(" in p.read_text()]
    assert made == ["system.py"]


class TestRules:
    """The rules of `lint-imports` name rooms and resources one by one: one that is new has to be named, too."""

    LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    NAMES = {room.name for room in ROOMS}

    def contract(self, words: str) -> dict[str, Any]:
        (found,) = (contract for contract in self.LINTER["contracts"] if words in contract["name"])
        return found

    def test_of_every_room(self):
        assert set(self.LINTER["root_packages"]) == self.NAMES
        layers = self.contract("one way")["layers"]
        assert {name for layer in layers for name in re.split(r" [|:] ", layer)} == self.NAMES

    @pytest.mark.parametrize(
        ("words", "but"), [("queries stand", {"store"}), ("no adapter of a cluster", {"clusters", "services"})]
    )
    def test_of_every_room_but(self, words: str, but: set[str]):
        assert set(self.contract(words)["source_modules"]) == self.NAMES - but

    def test_of_every_resource_of_the_api(self):
        resources = {f"api.{folder.parent.name}" for folder in ROOT.glob("api/*/__init__.py")}
        assert set(self.contract("does not know another one")["modules"]) == resources - {"api.commands"}


class TestDrawing:
    def test_it_shows_what_the_code_imports(self):
        text = drawing.PAGE.read_text()
        assert drawing.page(text) == text, "the drawing of the rooms is old: `make docs` makes it anew"

    def test_arrows_that_others_stand_for_are_left_out(self):
        graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "x": {"d"}}
        assert drawing.reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "x": {"d"}}

    def test_a_circle_is_told(self):
        with pytest.raises(ValueError, match="b > c > b"):
            drawing.reduced({"a": {"b"}, "b": {"c"}, "c": {"b"}})

    @pytest.mark.parametrize(
        ("module", "room"),
        [
            ("api.jobs.service", "api"),
            ("clusters", "clusters"),
            ("clusters.flink.rest", "clusters.flink"),
            ("clusters.registry", "clusters.registry"),
            ("core.paths", "core"),
            ("core.jobs.states", "core.jobs"),
        ],
    )
    def test_what_is_drawn_where(self, module: str, room: str):
        assert drawing.room(module) == room
