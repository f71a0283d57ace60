"""Where a class is that is not found."""

from __future__ import annotations

import pytest

from core.missing_classes import explained

GONE, IN = "Flink has it no more since 2.0: ", "It is in "


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
        (
            "NoClassDefFoundError: org/apache/flink/streaming/api/environment/CheckpointConfig$ExternalizedCheckpointCleanup",
            f"{GONE}it is org.apache.flink.configuration.ExternalizedCheckpointRetention now;",
        ),
        (
            "ClassNotFoundException: org.apache.flink.streaming.api.functions.sink.DiscardingSink",
            f"{GONE}use sink.v2.DiscardingSink with sinkTo; the old one is in sink.legacy;",
        ),
        (
            "ClassNotFoundException: org.apache.flink.streaming.api.functions.sink.PrintSinkFunction",
            f"{GONE}use sink.PrintSink with sinkTo",
        ),
        ("NoClassDefFoundError: org/apache/flink/api/common/ExecutionMode", f"{GONE}set execution.runtime-mode"),
        ("ClassNotFoundException: org.apache.flink.graph.Graph", f"{GONE}Gelly went with the DataSet API"),
        (
            "ClassNotFoundException: org.apache.flink.walkthrough.common.entity.Transaction",
            f"{IN}org.apache.flink:flink-walkthrough-common (of the cluster's version)",
        ),
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


def test_how_it_comes_to_the_program():
    """Found by an attack: who writes SQL or Python was told of the scope of a dependency in his jar."""
    said = "NoClassDefFoundError: org/apache/flink/connector/kafka/source/KafkaSource"
    of_jar, of_others, unknown = (str(explained(said, in_jar)) for in_jar in (True, False, None))
    assert "It is in org.apache.flink:flink-connector-kafka: put it into the program's jar (scope compile" in of_jar
    assert all("register the jar that has it as a library" in words for words in (of_jar, of_others, unknown))
    assert "scope compile" not in of_others
    assert "where the program is a jar, put it into" in unknown


@pytest.mark.parametrize(
    ("said", "words"),
    [
        # As a JVM of 17 words it: the class is named, what it is called with is not.
        (
            "NoSuchMethodError: 'java.lang.String org.apache.kafka.clients.L.f(int[], java.lang.String[])'",
            "another version of org.apache.kafka.clients.L (org.apache.kafka:kafka-clients (flink-connector-kafka ",
        ),
        (
            "NoSuchMethodError: 'void org.apache.flink.streaming.api.datastream.DataStreamSink.<init>(int)'",
            "another version of org.apache.flink.streaming.api.datastream.DataStreamSink, a class of Flink than",
        ),
        ("NoSuchMethodError: 'int[] com.acme.Inner$Deep.f()'", "another version of com.acme.Inner$Deep than the one"),
        (
            "NoSuchMethodError: com.google.common.base.X.f(Ljava/lang/String;)V",
            "version of com.google.common.base.X than",
        ),
        (
            "AbstractMethodError: Receiver class a.B does not define or inherit an implementation of the resolved method "
            "'abstract void c()' of interface org.apache.flink.api.connector.source.Source.",
            "another version of org.apache.flink.api.connector.source.Source, a class of Flink",
        ),
        ("NoSuchFieldError: Class a.B does not have member field 'int g'", "another version of a.B than"),
    ],
)
def test_one_that_is_there_in_another_version(said: str, words: str):
    assert words in str(explained(said))


@pytest.mark.parametrize(
    "said",
    [
        "NoSuchFieldError: g",  # nobody tells of what class
        "NoSuchMethodError: nothing to read here",
        "ClassNotFoundException: com.acme.Clicks",
        "NullPointerException: org.apache.hadoop.conf.Configuration",
        "ClassNotFoundException: org.apache.flink.api.java.tuple.Tuple2",  # there, so nobody knows why
        "",
    ],
)
def test_what_nobody_knows(said: str):
    assert explained(said) is None
