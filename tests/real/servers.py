"""A real Kafka broker and a real PostgreSQL that speaks TCP, for tests of connectors."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from processes.supervised import free_port
from stack.parts import DEPENDENCY_PLUGIN, StackParts

KAFKA = "4.1.2"
_POM = """<project><modelVersion>4.0.0</modelVersion><groupId>penstock</groupId><artifactId>kafka</artifactId>
<version>1</version><packaging>pom</packaging><dependencies>{}</dependencies></project>"""


def kafka_jars(parts: StackParts) -> Path:
    """The broker from Maven, once for this machine."""
    folder = parts.cache / "kafka" / KAFKA
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            wanted = [
                ("org.apache.kafka", "kafka_2.13", KAFKA),
                ("org.apache.kafka", "kafka-tools", KAFKA),
                ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.1"),
            ]
            items = "".join(
                f"<dependency><groupId>{g}</groupId><artifactId>{a}</artifactId><version>{v}</version></dependency>"
                for g, a, v in wanted
            )
            (folder / "pom.xml").write_text(_POM.format(items))
            subprocess.run(
                [
                    "mvn",
                    "-B",
                    "-ntp",
                    "-q",
                    "-f",
                    str(folder / "pom.xml"),
                    f"{DEPENDENCY_PLUGIN}:copy-dependencies",
                    f"-DoutputDirectory={folder / 'jars'}",
                    "-DincludeScope=runtime",
                ],
                check=True,
            )
            (folder / "complete").touch()
    return folder / "jars"


@contextmanager
def kafka(parts: StackParts, folder: Path) -> Iterator[str]:
    """A broker of one node; gives its address."""
    jars = kafka_jars(parts)
    port, controller = free_port(), free_port()
    properties = folder / "server.properties"
    properties.write_text(
        f"""process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={folder / "data"}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
"""
    )
    java = ["java", "-Xmx256m", "-cp", f"{jars}/*"]
    cluster = uuid.uuid4().hex[:22]
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(properties)],
        check=True,
        capture_output=True,
    )
    with open(folder / "kafka.log", "wb") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, (folder / "kafka.log").read_text()[-3000:]
                assert time.monotonic() < deadline, "Kafka does not answer"
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def produce(parts: StackParts, broker: str, topic: str, lines: list[str]) -> None:
    subprocess.run(
        [
            "java",
            "-Xmx128m",
            "-cp",
            f"{kafka_jars(parts)}/*",
            "org.apache.kafka.tools.ConsoleProducer",
            "--bootstrap-server",
            broker,
            "--topic",
            topic,
        ],
        input="\n".join(lines) + "\n",
        text=True,
        check=True,
        capture_output=True,
        timeout=120,
    )


@contextmanager
def postgres(folder: Path, password: str) -> Iterator[int]:
    """A PostgreSQL that wants a password over TCP; gives its port. From the wheel of the tests' own database."""
    pgserver = pytest.importorskip("pgserver", reason="its wheel needs Python < 3.13 on x86-64")
    server = pgserver.get_server(folder, cleanup_mode=None)
    user, port = server.system_user, free_port()
    server.psql(f"ALTER USER postgres PASSWORD '{password}'")
    pgserver.pg_ctl(["-w", "stop"], pgdata=folder, user=user)
    hba = folder / "pg_hba.conf"
    hba.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
    pgserver.pg_ctl(["-w", "-o", options, "-l", str(folder / "tcp.log"), "start"], pgdata=folder, user=user)
    try:
        yield port
    finally:
        pgserver.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=folder, user=user)


def psql(folder: Path, port: int, password: str, sql: str) -> str:
    import pgserver

    binary = Path(pgserver.__file__).parent / "pginstall" / "bin" / "psql"
    done = subprocess.run(
        [str(binary), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-At", "-c", sql],
        env={**os.environ, "PGPASSWORD": password},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()
