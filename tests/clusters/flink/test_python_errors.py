"""Why a Python program has failed. The outputs are those of real clients (2.3.0), with their stacks cut."""

from __future__ import annotations

import pytest

from clusters.flink.python_errors import why
from processes.child import ProcessFailed

CLIENT = """
2026-11-29T01:54:46.544396563Z main ERROR Run python process failed
java.lang.RuntimeException: Python process exits with code: 1
\tat org.apache.flink.client.python.PythonDriver.main(PythonDriver.java:127)

2026-11-29T01:54:46.750814191Z main ERROR Fatal error while running command line interface.
org.apache.flink.client.program.ProgramAbortException: java.lang.RuntimeException: Python process exits with code: 1
Caused by: java.lang.RuntimeException: Python process exits with code: 1
\t... 15 more
"""
PLACE = """Traceback (most recent call last):
  File "job.py", line 3, in <module>
    t.execute_sql('SELECT x FROM nowhere')
"""
JAVA = """{}An error occurred while calling o8.executeSql.
: org.apache.flink.table.api.ValidationException: SQL validation failed. From line 1, column 15: Object 'x' not found
\tat org.apache.flink.table.planner.calcite.FlinkPlannerImpl.validate(FlinkPlannerImpl.scala:228)
Caused by: org.apache.calcite.sql.validate.SqlValidatorException: Object 'x' not found
\t... 34 more
"""
CLASS = """py4j.protocol.Py4JJavaError: An error occurred while calling z:java.lang.Class.forName.
: java.lang.ClassNotFoundException: a.b.C
\tat java.base/jdk.internal.loader.BuiltinClassLoader.loadClass(BuiltinClassLoader.java:641)
"""
METHOD = """py4j.protocol.Py4JError: An error occurred while calling o8.executeSql. Trace:
py4j.Py4JException: Method executeSql([class java.lang.Integer]) does not exist
\tat py4j.reflection.ReflectionEngine.getMethod(ReflectionEngine.java:321)
"""
CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
OWN = 'Traceback (most recent call last):\n  File "job.py", line 6\nRuntimeError: the table\n'


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (PLACE + JAVA.format("py4j.protocol.Py4JJavaError: "), "SqlValidatorException: Object 'x' not found"),
        (PLACE + JAVA.format("RuntimeError: "), "SqlValidatorException: Object 'x' not found"),
        (PLACE + CLASS, "ClassNotFoundException: a.b.C"),
        (
            PLACE + CLASS.replace("a.b.C", "org.apache.flink.connector.kafka.source.KafkaSource"),
            "ClassNotFoundException: org.apache.flink.connector.kafka.source.KafkaSource. It is in "
            "org.apache.flink:flink-connector-kafka: register the jar that has it as a library of the project, and name it "
            "under `libraries`.",
        ),
        (PLACE + METHOD, "Py4JException: Method executeSql([class java.lang.Integer]) does not exist"),
        (PLACE + "ValueError: half-way\n", "ValueError: half-way"),
        (
            PLACE
            + "TypeError: Could not found the Java class 'a.B'. The Java dependencies could be specified via command "
            "line argument '--jarfile' or the config option 'pipeline.jars'\n",
            "TypeError: Could not found the Java class 'a.B'. Register the jar that has it as a library of the project, and "
            "name it under `libraries`.",
        ),
        (
            PLACE
            + "TypeError: Could not found the Java class 'org.apache.flink.connector.kafka.sink.KafkaSink.builder'. The "
            "Java dependencies could be specified via command line argument '--jarfile' or the config option 'pipeline.jars'\n",
            "TypeError: Could not found the Java class 'org.apache.flink.connector.kafka.sink.KafkaSink.builder'. It is in "
            "org.apache.flink:flink-connector-kafka: register the jar that has it as a library of the project, and name it "
            "under `libraries`.",
        ),
        (
            PLACE
            + "py4j.protocol.Py4JError: org.apache.flink.formats.avro.AvroRowSerializationSchema does not exist in "
            "the JVM\n",
            "py4j.protocol.Py4JError: org.apache.flink.formats.avro.AvroRowSerializationSchema does not exist in the JVM. It "
            "is in org.apache.flink:flink-avro: register the jar that has it as a library of the project, and name it "
            "under `libraries`.",
        ),
        (
            PLACE + JAVA.format("py4j.protocol.Py4JJavaError: ") + CAUSED + OWN,
            "RuntimeError: the table: Object 'x' not found",
        ),
        (PLACE + "KeyError: 'a'\n" + CAUSED + OWN, "RuntimeError: the table"),
        ("", "Python ended with exit code 1"),
    ],
)
def test_the_cause_and_nothing_of_the_client(output: str, said: str):
    error = ProcessFailed("java ended with status 1", (output + CLIENT).splitlines())
    assert why(error) == f"The program failed: {said}".replace("SqlValidatorException: ", "")
