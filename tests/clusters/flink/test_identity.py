"""What tells one Flink from another, from what real ones answer (2.3.0)."""

from __future__ import annotations

import pytest

from clusters.flink.identity import cluster_identity
from clusters.flink.rest import FlinkRest

PLAIN = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.rpc.port": "6123",
    "rest.address": "127.0.0.1",
    "rest.port": "8081",
    "blob.server.port": "43267",
    "web.tmpdir": "/tmp/flink-web-0dc9ad0a",
}
OPTIONS = [
    "-Xmx512m",
    "-Dlog.file=/a/log/flink--standalonesession-0-vm.log",
    "-Dlog4j.configuration=file:/a/conf/log4j-console.properties",
    "-Dlog4j.configurationFile=file:/a/conf/log4j-console.properties",
]
ZOOKEEPER = PLAIN | {
    "high-availability.type": "zookeeper",
    "high-availability.cluster-id": "/one",
    "high-availability.storageDir": "hdfs:///ha",
    "high-availability.zookeeper.quorum": "zk:2181",
}


def test_it_can_be_read():
    assert cluster_identity(PLAIN, OPTIONS) == (
        "JobManager 127.0.0.1:6123, web 127.0.0.1:8081, folder /a/conf, folder /a/log"
    )


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (PLAIN | {"web.tmpdir": "/tmp/flink-web-b192b57c", "blob.server.port": "34625"}, OPTIONS),
        (PLAIN, [o.replace("session-0-", "session-1-") for o in OPTIONS]),
        (PLAIN | {"taskmanager.numberOfTaskSlots": "4"}, ["-Xmx1g", *OPTIONS]),
    ],
)
def test_the_same_that_was_started_again(config, options):
    assert cluster_identity(config, options) == cluster_identity(PLAIN, OPTIONS)


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (PLAIN | {"jobmanager.rpc.port": "6124"}, OPTIONS),
        (PLAIN | {"rest.port": "8082"}, OPTIONS),
        (PLAIN | {"jobmanager.rpc.address": "other"}, OPTIONS),
        (PLAIN, [o.replace("/a/", "/b/") for o in OPTIONS]),
        (ZOOKEEPER, OPTIONS),
        (PLAIN | {"kubernetes.cluster-id": "one"}, OPTIONS),
    ],
)
def test_another_one(config, options):
    assert cluster_identity(config, options) != cluster_identity(PLAIN, OPTIONS)


def test_with_high_availability_it_is_where_its_leaders_meet():
    standby = ZOOKEEPER | {"jobmanager.rpc.address": "other", "jobmanager.rpc.port": "1234", "rest.port": "8082"}
    assert cluster_identity(standby, []) == cluster_identity(ZOOKEEPER, OPTIONS)
    for key, value in (("cluster-id", "/two"), ("storageDir", "hdfs:///b"), ("zookeeper.quorum", "other:2181")):
        other = ZOOKEEPER | {f"high-availability.{key}": value}
        assert cluster_identity(other, OPTIONS) != cluster_identity(ZOOKEEPER, OPTIONS)


def test_what_does_not_tell_is_not_told_apart():
    assert cluster_identity({}, []) is None


async def test_its_options_are_asked_once_per_jobmanager(monkeypatch: pytest.MonkeyPatch):
    """They do not change while a process lives; the next one at the address may have others."""
    rest, asked, config, options = FlinkRest(["http://flink"]), [], dict(PLAIN), list(OPTIONS)

    async def call(method: str, path: str) -> object:
        asked.append(path)
        if path == "/jobmanager/environment":
            return {"jvm": {"options": list(options)}}
        return [{"key": key, "value": value} for key, value in config.items()]

    monkeypatch.setattr(rest.http, "call", call)
    first = (await rest.leader()).cluster
    assert [(await rest.leader()).cluster, asked.count("/jobmanager/environment")] == [first, 1]
    config["web.tmpdir"], options[1] = "/tmp/flink-web-b192b57c", "-Dlog.file=/b/log/flink.log"
    assert (await rest.leader()).cluster == cluster_identity(config, options) != first
    await rest.http.close()
