"""What is known of a class that a program does not find, or finds in another version: the artifact that has it and how
it comes to the program, or that Flink has it no more."""

from __future__ import annotations

import re

_MISSING = re.compile(
    r"(?:ClassNotFoundException|NoClassDefFoundError): (?:Could not initialize class )?L?([\w$./]+);?"
)
# As Java 8 (`a.B.c(Ljava/lang/String;)V`), 11 and later (`'void a.B.c(java.lang.String)'`) and, of fields, 21 word it.
_OTHER = (
    re.compile(r"NoSuchMethodError: '?(?:[\w$.]+(?:\[\])* )*([\w$.]+)\.[\w$<>]+\("),
    re.compile(r"AbstractMethodError: .*the resolved method '.*' of (?:interface|abstract class) ([\w$.]+)\."),
    re.compile(r"NoSuchFieldError: Class ([\w$.]+) does not have member field"),
)

_DATASET = "the DataSet API: use DataStream (in batch mode) or Table"
_SOURCE = "use a Source; the old one is in source.legacy"
_SINK = "use a Sink of sink2; the old one is in sink.legacy"

# Classes of Flink 1.20 that 2.x has not, by looking into the jars of 1.20.5, 2.0.0 and 2.3.0: names or beginnings of
# names, the longest that fits counts.
_GONE = {
    "org.apache.flink.api.common.ExecutionMode": (
        "set execution.runtime-mode (RuntimeExecutionMode), and execution.batch-shuffle-mode"
    ),
    "org.apache.flink.api.common.restartstrategy.RestartStrategies": "set restart-strategy.* in the configuration",
    "org.apache.flink.api.common.time.Time": "use java.time.Duration",
    "org.apache.flink.api.connector.sink.": "use org.apache.flink.api.connector.sink2",
    "org.apache.flink.api.connector.sink2.StatefulSink": "implement SupportsWriterState of sink2",
    "org.apache.flink.api.connector.sink2.TwoPhaseCommittingSink": "implement SupportsCommitter of sink2",
    "org.apache.flink.api.java.aggregation.": _DATASET,
    "org.apache.flink.api.java.DataSet": _DATASET,
    "org.apache.flink.api.java.ExecutionEnvironment": _DATASET,
    "org.apache.flink.api.java.operators.": _DATASET,
    "org.apache.flink.api.java.utils.MultipleParameterTool": "it is org.apache.flink.util.MultipleParameterTool now",
    "org.apache.flink.api.java.utils.ParameterTool": "it is org.apache.flink.util.ParameterTool now",
    "org.apache.flink.api.scala.": "the Scala APIs: use those of Java",
    "org.apache.flink.contrib.streaming.state.RocksDBStateBackend": "set state.backend.type: rocksdb",
    "org.apache.flink.core.execution.RestoreMode": "it is RecoveryClaimMode now",
    "org.apache.flink.formats.json.JsonNodeDeserializationSchema": "use JsonDeserializationSchema of ObjectNode",
    "org.apache.flink.graph.": (
        "Gelly went with the DataSet API, and nothing has come in its place: use DataStream or Table"
    ),
    "org.apache.flink.runtime.state.filesystem.FsStateBackend": "set state.backend.type: hashmap",
    "org.apache.flink.runtime.state.memory.MemoryStateBackend": "set state.backend.type: hashmap",
    "org.apache.flink.streaming.api.datastream.IterativeStream": "there are no iterations of streams any more",
    "org.apache.flink.streaming.api.environment.CheckpointConfig$ExternalizedCheckpointCleanup": (
        "it is org.apache.flink.configuration.ExternalizedCheckpointRetention now"
    ),
    "org.apache.flink.streaming.api.environment.ExecutionCheckpointingOptions": (
        "it is org.apache.flink.configuration.CheckpointingOptions now"
    ),
    "org.apache.flink.streaming.api.functions.AscendingTimestampExtractor": "use WatermarkStrategy",
    "org.apache.flink.streaming.api.functions.AssignerWith": "use WatermarkStrategy",
    "org.apache.flink.streaming.api.functions.IngestionTimeExtractor": "use WatermarkStrategy",
    "org.apache.flink.streaming.api.functions.sink.DiscardingSink": (
        "use sink.v2.DiscardingSink with sinkTo; the old one is in sink.legacy"
    ),
    "org.apache.flink.streaming.api.functions.sink.filesystem.StreamingFileSink": "use FileSink",
    "org.apache.flink.streaming.api.functions.sink.OutputFormatSinkFunction": _SINK,
    "org.apache.flink.streaming.api.functions.sink.PrintSinkFunction": (
        "use sink.PrintSink with sinkTo; the old one is in sink.legacy"
    ),
    "org.apache.flink.streaming.api.functions.sink.RichSinkFunction": _SINK,
    "org.apache.flink.streaming.api.functions.sink.SinkFunction": _SINK,
    "org.apache.flink.streaming.api.functions.sink.SocketClientSink": _SINK,
    "org.apache.flink.streaming.api.functions.sink.TwoPhaseCommitSinkFunction": "use a Sink of sink2",
    "org.apache.flink.streaming.api.functions.source.ParallelSourceFunction": _SOURCE,
    "org.apache.flink.streaming.api.functions.source.RichParallelSourceFunction": _SOURCE,
    "org.apache.flink.streaming.api.functions.source.RichSourceFunction": _SOURCE,
    "org.apache.flink.streaming.api.functions.source.SourceFunction": _SOURCE,
    "org.apache.flink.streaming.api.scala.": "the Scala APIs: use those of Java",
    "org.apache.flink.streaming.api.TimeCharacteristic": "event time is what there is; use WatermarkStrategy",
    "org.apache.flink.streaming.api.windowing.time.Time": "use java.time.Duration",
    "org.apache.flink.streaming.util.serialization.": "use org.apache.flink.api.common.serialization",
    "org.apache.flink.table.api.TableSchema": "use Schema",
    "org.apache.flink.table.descriptors.": "write the table as DDL or with TableDescriptor",
    "org.apache.flink.table.sinks.": "use DynamicTableSink",
    "org.apache.flink.table.sources.": "use DynamicTableSource",
}
_ARTIFACTS = {
    "com.amazonaws.services.kinesisanalytics.": "com.amazonaws:aws-kinesisanalytics-runtime",
    "com.ververica.cdc.": "com.ververica:flink-cdc-...; newer ones are org.apache.flink:flink-cdc-...",
    "org.apache.flink.cdc.connectors.mysql.": "org.apache.flink:flink-connector-mysql-cdc",
    "org.apache.flink.cdc.connectors.postgres.": "org.apache.flink:flink-connector-postgres-cdc",
    "org.apache.flink.connector.cassandra.": "org.apache.flink:flink-connector-cassandra",
    "org.apache.flink.connector.dynamodb.": "org.apache.flink:flink-connector-dynamodb",
    "org.apache.flink.connector.elasticsearch.": "org.apache.flink:flink-connector-elasticsearch7 (or 8)",
    "org.apache.flink.connector.firehose.": "org.apache.flink:flink-connector-aws-kinesis-firehose",
    "org.apache.flink.connector.hbase": "org.apache.flink:flink-connector-hbase-2.2 (or hbase-2.6)",
    "org.apache.flink.connector.jdbc.": "org.apache.flink:flink-connector-jdbc (since 4.0 -core, and one per database)",
    "org.apache.flink.connector.kafka.": "org.apache.flink:flink-connector-kafka",
    "org.apache.flink.connector.kinesis.": "org.apache.flink:flink-connector-aws-kinesis-streams",
    "org.apache.flink.connector.mongodb.": "org.apache.flink:flink-connector-mongodb",
    "org.apache.flink.connector.opensearch.": "org.apache.flink:flink-connector-opensearch",
    "org.apache.flink.connector.prometheus.": "org.apache.flink:flink-connector-prometheus",
    "org.apache.flink.connector.pulsar.": "org.apache.flink:flink-connector-pulsar",
    "org.apache.flink.connector.sqs.": "org.apache.flink:flink-connector-sqs",
    "org.apache.flink.formats.avro.": "org.apache.flink:flink-avro",
    "org.apache.flink.formats.avro.registry.confluent.": "org.apache.flink:flink-avro-confluent-registry",
    "org.apache.flink.formats.orc.": "org.apache.flink:flink-orc",
    "org.apache.flink.formats.parquet.": "org.apache.flink:flink-parquet",
    "org.apache.flink.formats.protobuf.": "org.apache.flink:flink-protobuf",
    "org.apache.flink.state.api.": "org.apache.flink:flink-state-processor-api",
    "org.apache.flink.streaming.connectors.kafka.": "org.apache.flink:flink-connector-kafka",
    "org.apache.flink.streaming.connectors.kinesis.": "org.apache.flink:flink-connector-kinesis",
    "org.apache.flink.streaming.connectors.rabbitmq.": "org.apache.flink:flink-connector-rabbitmq",
    "org.apache.flink.walkthrough.common.": "org.apache.flink:flink-walkthrough-common (of the cluster's version)",
    "org.apache.hadoop.": "org.apache.hadoop:hadoop-common (Flink comes without Hadoop)",
    "org.apache.hadoop.hdfs.": "org.apache.hadoop:hadoop-hdfs-client (Flink comes without Hadoop)",
    "org.apache.hadoop.hive.": "org.apache.hive:hive-exec",
    "org.apache.hadoop.mapred": "org.apache.hadoop:hadoop-mapreduce-client-core (Flink comes without Hadoop)",
    "org.apache.iceberg.": "org.apache.iceberg:iceberg-flink-runtime-FLINK_VERSION",
    "org.apache.kafka.": "org.apache.kafka:kafka-clients (flink-connector-kafka brings it)",
    "org.apache.paimon.": "org.apache.paimon:paimon-flink-FLINK_VERSION",
    "software.amazon.awssdk.": "software.amazon.awssdk (the connector for AWS brings it)",
}


LIBRARY = "register the jar that has it as a library of the project, and name it under `libraries`"
_IN_JAR = "put it into the program's jar (scope compile, with the Shade or Shadow plugin)"


def explained(said: str, in_jar: bool | None = None) -> str | None:
    """What is known of the class that `said`, a message with the exception in front, is about; None of nothing.
    `in_jar` tells whether the program is a jar, which can have the class in itself, as SQL and Python cannot; None:
    nobody knows."""
    if match := _MISSING.search(said):
        return missing(match[1].replace("/", "."), in_jar)
    if match := next(filter(None, (pattern.search(said) for pattern in _OTHER)), None):
        return _of_another_version(match[1])
    return None


def missing(name: str, in_jar: bool | None) -> str | None:
    """The same of a class that is not there, by its name."""
    if (remedy := _of(name, _GONE)) is not None:
        return (
            f"Flink has it no more since 2.0: {remedy}; or run the program on a cluster of the version that it was "
            "written for."
        )
    if (artifact := _of(name, _ARTIFACTS)) is None:
        return None
    if in_jar is None:
        how = f"{LIBRARY}; or, where the program is a jar, {_IN_JAR}"
    else:
        how = f"{_IN_JAR}, or {LIBRARY}" if in_jar else LIBRARY
    return f"It is in {artifact}: {how}."


def _of_another_version(name: str) -> str:
    """The class is there, and not as it was where what calls it was compiled."""
    if (artifact := _of(name, _ARTIFACTS)) is not None:
        whose, what = f" ({artifact})", "Take one version of it for the program and for all its libraries."
    elif name.startswith("org.apache.flink."):
        whose, what = (
            ", a class of Flink",
            "Compile the program for the Flink of its cluster, and take connectors for it.",
        )
    else:
        whose, what = "", "See who brings it twice (`mvn dependency:tree`), and take one version of it, or relocate it."
    return f"It was compiled against another version of {name}{whose} than the one that it found. {what}"


def _of(name: str, table: dict[str, str]) -> str | None:
    """The entry that fits best: one that ends in no dot is a class with its inner ones, or a beginning."""
    fitting = [beginning for beginning in table if name.startswith(beginning)]
    return table[max(fitting, key=len)] if fitting else None
