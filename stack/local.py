"""The local stack: which processes it has, and how each is started."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

from core.search import ATTRIBUTES
from processes.flink import Flink
from processes.supervised import KEYS, Port, Processes, Spec, http_ok, listens
from settings import ApiSettings, Settings, StackSettings, code, local_stack_roots
from settings.code import ROOT
from stack.parts import StackParts

EXAMPLES = Path(__file__).with_name("examples")
ORDER = ["temporal", "jobmanager", "taskmanager", "gateway", "api", "worker", "keeper"]


@contextmanager
def alone(home: Path, *, wait: bool = True) -> Iterator[bool]:
    """One `up` or `down` at a time a data folder, and nothing is started again beside it. Without `wait` it gives False
    where another one is at work."""
    home.mkdir(parents=True, exist_ok=True)
    with open(home / "stack.lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


class LocalStack:
    """Everything that `penstock up` starts, in the folder `settings.home`. `env` is added to what the API
    and the workers are given."""

    def __init__(
        self,
        settings: Settings,
        stack: StackSettings,
        api: ApiSettings,
        parts: StackParts,
        env: dict[str, str] | None = None,
    ):
        self.env = env or {}
        self.settings = settings
        self.stack = stack
        self.api = api
        self.parts = parts
        self.processes = Processes(settings.home)

    @property
    def own_temporal(self) -> bool:
        """Whether we run Temporal ourselves: unless `PENSTOCK_TEMPORAL_ADDRESS` or `TEMPORAL_ADDRESS` names one."""
        return not (os.environ.get("PENSTOCK_TEMPORAL_ADDRESS") or os.environ.get("TEMPORAL_ADDRESS"))

    @property
    def temporal_address(self) -> str:
        """`host:port`: what the environment names, else that of the stack's own."""
        given = os.environ.get("PENSTOCK_TEMPORAL_ADDRESS") or os.environ.get("TEMPORAL_ADDRESS")
        return given or f"127.0.0.1:{self.stack.temporal_port}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api.api_port}"

    @property
    def temporal_ui_url(self) -> str:
        return f"http://127.0.0.1:{self.stack.temporal_ui_port}"

    def flink(self) -> Flink:
        """The Flink of the stack, with ports and memory from the settings. It need not be installed to be described."""
        return Flink(
            home=self.parts.flink_home(self.stack.flink_version),
            folder=self.settings.home / "flink",
            rest_port=self.stack.flink_port,
            rpc_port=self.stack.flink_rpc_port,
            gateway_port=self.stack.gateway_port,
            slots=self.stack.flink_slots,
            jobmanager_memory=self.stack.flink_jobmanager_memory,
            taskmanager_memory=self.stack.flink_taskmanager_memory,
            extra=self.stack.flink_config,
        )

    def taskmanager(self) -> Spec:
        """Ready when it has registered: by itself a task manager answers nobody. One that is started again takes the
        place of the one that died, by its id, and is not counted beside it."""
        flink = self.flink()
        spec = flink.taskmanager(1, "-D", "taskmanager.resource-id=tm-1")
        return replace(spec, ready=lambda: flink.has_registered(self.processes.find("taskmanager")))

    def kept(self) -> list[Spec]:
        """What the keeper starts again; it waits for none of it."""
        flink = self.flink()
        specs = [flink.jobmanager(), self.taskmanager(), flink.gateway()]
        return [replace(spec, ready=lambda: True) for spec in specs]

    def temporal(self) -> Spec:
        """How to start a development server whose database is a file of the stack. Raises `InstallFailed` when it
        cannot be installed."""
        command = [
            str(self.parts.temporal()),
            "server",
            "start-dev",
            "--ip",
            "127.0.0.1",
            "--port",
            str(self.stack.temporal_port),
            "--ui-port",
            str(self.stack.temporal_ui_port),
            "--db-filename",
            str(self.settings.home / "temporal.db"),
            "--sqlite-pragma",
            "journal_mode=WAL",
            "--sqlite-pragma",
            "synchronous=NORMAL",
            "--log-level",
            "warn",
            # An activity of a queue that the worker serves itself comes back with the workflow task's answer.
            "--dynamic-config-value",
            "system.enableActivityEagerExecution=true",
            "--dynamic-config-value",
            "matching.numTaskqueueReadPartitions=1",
            "--dynamic-config-value",
            "matching.numTaskqueueWritePartitions=1",
        ]
        for name in ATTRIBUTES:
            command += ["--search-attribute", f"{name}=Keyword"]
        return Spec(
            name="temporal",
            command=command,
            ports=[
                Port(self.stack.temporal_port, "PENSTOCK_TEMPORAL_PORT"),
                Port(self.stack.temporal_ui_port, "PENSTOCK_TEMPORAL_UI_PORT"),
            ],
            ready=lambda: listens(self.stack.temporal_port)() and listens(self.stack.temporal_ui_port)(),
            fingerprint=" ".join(command),
        )

    def _python(self, name: str, arguments: list[str], **more: object) -> Spec:
        env = {
            **code.environment(),
            "PYTHONUNBUFFERED": "1",
            "PENSTOCK_HOME": str(self.settings.home),
            "PENSTOCK_CACHE": str(self.settings.cache),
            "PENSTOCK_TEMPORAL_ADDRESS": self.temporal_address,
            "PENSTOCK_HOST": os.environ.get("PENSTOCK_HOST", "local"),  # a laptop's own name may change
        }
        env |= {name: os.environ[name] for name in KEYS if name in os.environ} | self.env
        if not self.settings.git_local_roots and "PENSTOCK_GIT_LOCAL_ROOTS" not in env:
            roots = ",".join(f'"{root}"' for root in (*local_stack_roots(), self.settings.home))
            env["PENSTOCK_GIT_LOCAL_ROOTS"] = f"[{roots}]"
        command = code.command(*arguments)
        fingerprint = f"{command} {sorted(env.items())} {_source_hash()} {self.settings!r}"
        return Spec(
            name=name,
            command=command,
            env=env,
            fingerprint=hashlib.sha256(fingerprint.encode()).hexdigest(),
            **more,  # type: ignore[arg-type]
        )

    def api_process(self) -> Spec:
        """How to start the API; ready when /readyz answers 200, for which it needs Temporal and its database."""
        return self._python(
            "api",
            ["cli", "serve"],
            ports=[Port(self.api.api_port, "PENSTOCK_API_PORT")],
            ready=http_ok(f"{self.api_url}/readyz"),
        )

    def worker(self) -> Spec:
        """How to start one worker."""
        return self._python("worker", ["cli", "worker"])

    def keeper(self) -> Spec:
        """It starts Flink with what it was itself started with, as `up` does, so it is given no settings."""
        command = code.command("stack.keeper")
        what = f"{command} {_source_hash()} {self.settings!r} {self.stack!r}"
        return Spec(
            name="keeper",
            command=command,
            env=code.environment(),
            fingerprint=hashlib.sha256(what.encode()).hexdigest(),
        )


def _source_hash() -> str:
    """Changes when our own code does, so that `up` after an edit, a pull or an upgrade starts the new code."""
    digest = hashlib.sha256()
    for folder in packages():
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(ROOT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def packages() -> list[Path]:
    """The folders of our packages: those of a checkout that are installed, as in pyproject.toml, or what was installed
    (the folders beside it are others')."""
    if not code.CHECKOUT:
        return sorted(ROOT / name for name in str(distribution("penstock-flink").read_text("top_level.txt")).split())
    folders = {path.parent for path in ROOT.glob("*/__init__.py")}
    return sorted(folder for folder in folders if folder.name not in ("tests", "benchmarks"))
