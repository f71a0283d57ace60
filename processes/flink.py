"""A Flink session cluster with its SQL gateway, as processes on this machine."""

from __future__ import annotations

import json
import os
import re
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import psutil

from processes import logs
from processes.supervised import Port, Spec, http_ok, local_client

# Flink's scripts number the processes of a folder by these files: with a folder of its own it is always number 0.
_FIRST_OF_ITS_FOLDER = 'rm -f "$FLINK_PID_DIR"/*.pid; exec bash "$@"'


# Python jobs that run at once in the metaspace and the direct memory that Flink gives a task manager by itself, 256 MB
# each, and what each further one takes, in MB. Measured on 2.3.0, one function per job: a job loads 3,800 classes of a
# PyFlink of its own (27 MB), with a Netty that holds 8.4 MB of buffers. They are given back when the job has ended and
# one of the two is full. The seventh job at once ended the task manager.
_PYTHON_JOBS, _METASPACE, _DIRECT = 6, 28, 10
# A tenth of a process is overhead, and half of what is left to Flink is managed and network memory. So the task heap
# stays the 384 MB of a process of 1728m where 0.9 * process >= 2 * (384 + 256 of Flink's own + off-heap) + metaspace.
_USUAL = 2 * (384 + 256) + 256
_MEMORY = re.compile(r"^(\d+)([mg])$")


def room_for_python(slots: int, memory: str) -> dict[str, str]:
    """Configuration of a task manager in which each slot may run a Python job; nothing where the whole process has no
    `memory` for that, since it would be taken from the heap."""
    more, told = max(0, slots - _PYTHON_JOBS), _MEMORY.match(memory)
    size = int(told[1]) * (1024 if told[2] == "g" else 1) if told else 0
    if not more or 9 * size < 10 * (_USUAL + more * (_METASPACE + 2 * _DIRECT)):
        return {}
    return {
        "taskmanager.memory.jvm-metaspace.size": f"{256 + more * _METASPACE}m",
        "taskmanager.memory.task.off-heap.size": f"{more * _DIRECT}m",
    }


@dataclass(frozen=True)
class Flink:
    """`home` is FLINK_HOME of an installed version, `folder` where configuration, logs and state go."""

    home: Path
    folder: Path
    rest_port: int
    rpc_port: int
    gateway_port: int
    slots: int = 16
    jobmanager_memory: str = "1100m"
    taskmanager_memory: str = "1728m"
    extra: dict[str, str] = field(default_factory=dict)
    state: str | None = None  # URI of the folder for checkpoints and savepoints; below `folder` by default

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def state_dir(self) -> str:
        """Where checkpoints and savepoints go, as a URI."""
        return self.state or (self.folder / "state").as_uri()

    def configuration(self) -> dict[str, str]:
        """As Flink's config.yaml has it, without quotes; `extra` wins."""
        temporary = self.folder / "tmp"
        return {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": str(self.rpc_port),
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.memory.process.size": self.jobmanager_memory,
            "jobmanager.execution.failover-strategy": "region",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.memory.process.size": self.taskmanager_memory,
            "taskmanager.numberOfTaskSlots": str(self.slots),
            "taskmanager.memory.network.min": "128mb",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": str(self.rest_port),
            # By default "*": any page in a browser of this machine could read what Flink and its gateway answer.
            "web.access-control-allow-origin": self.url,
            "web.upload.dir": str(self.folder / "upload"),
            "web.refresh-interval": "2000",
            # How long task managers run on without their JobManager, and so how long a restart has to wait
            # when it died (activities/looking.py). Flink's default is 50 s.
            "heartbeat.interval": "4000",
            "heartbeat.timeout": "20000",
            "jobstore.expiration-time": "604800",  # seconds that an ended job can still be asked about
            "io.tmp.dirs": str(temporary),
            "execution.checkpointing.dir": self.state_dir,
            # A session whose worker died is closed by the gateway.
            "sql-gateway.session.idle-timeout": "60 s",
            "sql-gateway.session.check-interval": "10 s",
            "sql-gateway.endpoint.rest.address": "127.0.0.1",
            "sql-gateway.endpoint.rest.bind-address": "127.0.0.1",
            "sql-gateway.endpoint.rest.port": str(self.gateway_port),
            **room_for_python(self.slots, self.taskmanager_memory),
            **self.extra,
        }

    def write(self) -> Path:
        """Write the configuration folder; returns it."""
        conf = self.folder / "conf"
        for path in (
            conf,
            self.folder / "log",
            self.folder / "tmp",
            self.folder / "upload",
            self.folder / "state",
        ):
            path.mkdir(parents=True, exist_ok=True)
        for source in (self.home / "conf").glob("*.properties"):
            text = logs.bounded(source.read_text())
            if source.name == "log4j-console.properties":
                # What programs print is then alone in a task manager's stdout; all of it is in the log of its process.
                text += "\nappender.console.target = SYSTEM_ERR\n"
            (conf / source.name).write_text(text)
        lines = [f"{key}: {json.dumps(value)}" for key, value in self.configuration().items()]
        opens = " ".join(java_options(self.home))
        (conf / "config.yaml").write_text("\n".join([*lines, f"env.java.opts.all: {json.dumps(opens)}", ""]))
        return conf

    def _spec(self, name: str, arguments: list[str], ports: list[Port], ready_url: str | None) -> Spec:
        conf = self.write()
        env = {
            "FLINK_CONF_DIR": str(conf),
            "FLINK_LOG_DIR": str(self.folder / "log"),
            "FLINK_PID_DIR": str(self.folder / "tmp"),
            "FLINK_HOME": str(self.home),
            "MAX_LOG_FILE_NUMBER": logs.FLINK_KEPT,
        }
        command = ["bash", *arguments]
        return Spec(
            name=name,
            command=command,
            env=env,
            ports=ports,
            ready=http_ok(ready_url) if ready_url else (lambda: True),
            fingerprint=(conf / "config.yaml").read_text() + " ".join(command),
        )

    def jobmanager(self) -> Spec:
        """How to start it, once its configuration is written, which this does; ready when /overview answers."""
        return self._spec(
            "jobmanager",
            [str(self.home / "bin" / "jobmanager.sh"), "start-foreground"],
            [Port(self.rest_port, "PENSTOCK_FLINK_PORT"), Port(self.rpc_port, "PENSTOCK_FLINK_RPC_PORT")],
            f"{self.url}/overview",
        )

    def taskmanager(self, number: int = 1, *more: str) -> Spec:
        """`more` are arguments such as `-D`, `key=value`. Its stdout goes where Flink's REST API looks for it: to the
        file of its log (`-Dlog.file`, named by `flink-console.sh`) with `.out` at its end."""
        name = "taskmanager" if number == 1 else f"taskmanager-{number}"
        script = [str(self.home / "bin" / "taskmanager.sh"), "start-foreground", *more]
        spec = self._spec(name, ["-c", _FIRST_OF_ITS_FOLDER, "bash", *script], [], None)
        host = socket.gethostname()
        own = {"FLINK_IDENT_STRING": name, "FLINK_PID_DIR": str(self.folder / "tmp" / name), "HOSTNAME": host}
        out = self.folder / "log" / f"flink-{name}-taskexecutor-0-{host}.out"
        return replace(spec, env=spec.env | own, stdout=out)

    def has_registered(self, taskmanager: psutil.Process | None, transport: httpx.BaseTransport | None = None) -> bool:
        """Whether the JobManager knows this task manager: by a port that the process listens on, for it remembers one
        that has just died."""
        try:
            ports = {c.laddr[1] for c in taskmanager.net_connections("tcp") if c.laddr} if taskmanager else set()
            with local_client(transport) as http:
                known = http.get(f"{self.url}/taskmanagers").json()["taskmanagers"]
            return any(one["dataPort"] in ports for one in known)
        except (psutil.Error, httpx.HTTPError, ValueError, KeyError, TypeError):
            return False

    def gateway(self) -> Spec:
        """The same of the SQL gateway; ready when /info answers."""
        return self._spec(
            "gateway",
            [str(self.home / "bin" / "sql-gateway.sh"), "start-foreground"],
            [Port(self.gateway_port, "PENSTOCK_GATEWAY_PORT")],
            f"{self.gateway_url}/info",
        )


def java_options(home: Path) -> list[str]:
    """The module openings that Flink's own configuration gives its JVMs for Java 17, in either file layout."""
    for name in ("config.yaml", "flink-conf.yaml"):
        path = home / "conf" / name
        for line in path.read_text().splitlines() if path.exists() else []:
            text = line.strip()
            if text.startswith(("all: --add", "env.java.opts.all: --add")):
                return text.partition(": ")[2].split()
    return os.environ.get("PENSTOCK_FLINK_JAVA_OPTS", "").split()
