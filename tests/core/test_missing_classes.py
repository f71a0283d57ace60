"""Where a class is that is not found."""

from __future__ import annotations

import pytest

from core.missing_classes import explained

GONE, IN = "Flink 2 has it no more: ", "It is in "


@pytest.mark.parametrize(
    ("said", "begins"),
    [
        (
            "NoClassDefFoundError: org/apache/flink/streaming/api/functions/source/SourceFunction",
            f"{GONE}use a Source; the old one is in source.legacy;",
        ),
        (
            "ClassNotFoundException: org.apache.flink.streaming.api.functions.source.SourceFunction$SourceContext",
            f"{GONE}use a Source",
        ),
        ("NoClassDefFoundError: org/apache/flink/api/java/ExecutionEnvironment", f"{GONE}the DataSet API"),
        (
            "ClassNotFoundException: org.apache.flink.api.java.utils.ParameterTool",
            f"{GONE}it is org.apache.flink.util.",
        ),
        ("ClassNotFoundException: org.apache.flink.streaming.api.scala.DataStream", f"{GONE}the Scala APIs"),
        ("NoClassDefFoundError: Lorg/apache/hadoop/conf/Configuration;", f"{IN}org.apache.hadoop:hadoop-common"),
        ("ClassNotFoundException: org.apache.hadoop.hdfs.DFSClient", f"{IN}org.apache.hadoop:hadoop-hdfs-client"),
        (
            "ClassNotFoundException: com.amazonaws.services.kinesisanalytics.runtime.KinesisAnalyticsRuntime",
            f"{IN}com.amazonaws:aws-kinesisanalytics-runtime",
        ),
        (
            "ClassNotFoundException: org.apache.flink.formats.avro.registry.confluent.ConfluentRegistryAvroDeserializationSchema",
            f"{IN}org.apache.flink:flink-avro-confluent-registry",
        ),
        ("ClassNotFoundException: org.apache.flink.formats.avro.AvroInputFormat", f"{IN}org.apache.flink:flink-avro:"),
        (
            "ClassNotFoundException: org.apache.flink.connector.kafka.source.KafkaSource",
            f"{IN}org.apache.flink:flink-connec",
        ),
    ],
)
def test_where_it_is(said: str, begins: str):
    assert str(explained(said)).startswith(begins)


@pytest.mark.parametrize(
    "said",
    [
        "ClassNotFoundException: com.acme.Clicks",
        "NullPointerException: org.apache.hadoop.conf.Configuration",
        "ClassNotFoundException: org.apache.flink.api.java.tuple.Tuple2",  # there, so nobody knows why
        "",
    ],
)
def test_what_nobody_knows(said: str):
    assert explained(said) is None
