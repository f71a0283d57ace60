"""What a person is told of a Java stack. The stacks are those of Flink 2.3.0, without their frames."""

from __future__ import annotations

import pytest

from clusters.flink.errors import is_forgotten, root_cause

FETCHING = """Internal server error.
<Exception on server side:
org.apache.flink.table.gateway.api.utils.SqlGatewayException: org.apache.flink.table.gateway.api.utils.SqlGatewayException: Failed to fetchResults.
\tat org.apache.flink.table.gateway.service.operation.OperationManager.fetchResults(OperationManager.java:180)
Caused by: org.apache.flink.table.gateway.api.utils.SqlGatewayException: Failed to fetchResults.
"""
RUNNING = f"""{FETCHING}Caused by: org.apache.flink.table.gateway.service.utils.SqlExecutionException: Error while retrieving result.
Caused by: java.lang.RuntimeException: Failed to fetch next result
Caused by: java.io.IOException: Failed to fetch job execution result
Caused by: java.util.concurrent.ExecutionException: org.apache.flink.client.program.ProgramInvocationException: Job failed (JobID: 0f0e179ff7862bbf1bc13b69d1afa076)
Caused by: org.apache.flink.runtime.client.JobExecutionException: Job execution failed.
Caused by: org.apache.flink.runtime.JobException: Recovery is suppressed by NoRestartBackoffTimeStrategy
Caused by: java.lang.RuntimeException: One or more fetchers have encountered exception
Caused by: java.lang.RuntimeException: SplitFetcher thread 0 received unexpected exception while polling the records
"""
MISSING = "File /operation/data does not exist or the user running Flink ('root') has insufficient permissions"


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        (
            '''java.lang.RuntimeException: Fail to deserialize at field: a.
Caused by: java.lang.NumberFormatException: For input string: "x"''',
            'Fail to deserialize at field: a: NumberFormatException: For input string: "x"',
        ),
        (
            """org.postgresql.util.PSQLException: The connection attempt to db:5432 failed.
Caused by: java.net.UnknownHostException: db""",
            "The connection attempt to db:5432 failed: UnknownHostException: db",
        ),
        ("java.lang.ArithmeticException: / by zero", "ArithmeticException: / by zero"),
        (
            """org.apache.flink.client.program.ProgramInvocationException: The main method caused an error
Caused by: java.lang.IllegalArgumentException: Job client must be a CoordinationRequestGateway. This is a bug.""",
            "The main method caused an error: IllegalArgumentException: Job client must be a CoordinationRequestGateway. This is a bug. The program wants rows "
            "back (`print()`, `collect()` on a result), which a jar that runs on a cluster cannot have: let it write to a "
            "sink, such as the connector `print`.",
        ),
        (
            "org.apache.flink.runtime.rest.handler.RestHandlerException: No jobs included in application.",
            "No jobs included in application. The program's `main` came to its end without a job: it never called "
            "`execute()`, or has caught an error and gone on. What it printed is in the JobManager's log.",
        ),
        (
            """java.lang.RuntimeException: java.net.ConnectException: Connection refused
Caused by: java.net.ConnectException: Connection refused""",
            "ConnectException: Connection refused",
        ),
        (
            """java.io.IOException: Failed to deserialize JSON '{"a": 1}'.
Caused by: org.apache.flink.formats.json.JsonParseException: Fail to deserialize at field: a.""",
            "Fail to deserialize at field: a.",
        ),
        (
            """org.apache.flink.table.api.ValidationException: SQL validation failed. Column 'x' not found
Caused by: org.apache.calcite.sql.validate.SqlValidatorException: Column 'x' not found""",
            "Column 'x' not found",
        ),
    ],
)
def test_the_deepest_cause_and_what_it_does_not_know(causes: str, told: str):
    assert root_cause(f"{RUNNING}Caused by: {causes}\n\nEnd of exception on server side>") == told


@pytest.mark.parametrize(
    ("stack", "is_it"),
    [
        (
            f"{FETCHING}Caused by: org.apache.flink.table.gateway.api.utils.SqlGatewayException: Session '1-2' does not exist.",
            True,
        ),
        (
            f"{FETCHING}Caused by: org.apache.flink.table.gateway.api.utils.SqlGatewayException: Can not find the submitted "
            "operation in the OperationManager with the 22222222-2222.",
            True,
        ),
        (f"{RUNNING}Caused by: java.io.FileNotFoundException: {MISSING}", False),
        (f"{RUNNING}Caused by: java.lang.RuntimeException: Session 'mine' does not exist.", False),
    ],
)
def test_only_the_gateway_itself_forgets(stack: str, is_it: bool):
    assert is_forgotten(stack) is is_it


def test_what_only_wraps_is_left_out():
    stack = f"{FETCHING}Caused by: java.lang.IllegalArgumentException: Avro does not support TIMESTAMP(6)"
    assert root_cause(stack) == "IllegalArgumentException: Avro does not support TIMESTAMP(6)"


@pytest.mark.parametrize(
    ("causes", "told"),
    [
        (
            """java.lang.NoClassDefFoundError: org/apache/hadoop/conf/Configuration
Caused by: java.lang.ClassNotFoundException: org.apache.hadoop.conf.Configuration""",
            "ClassNotFoundException: org.apache.hadoop.conf.Configuration. It is in org.apache.hadoop:hadoop-common ",
        ),
        (
            "java.lang.NoClassDefFoundError: org/apache/flink/api/java/utils/ParameterTool",
            "NoClassDefFoundError: org/apache/flink/api/java/utils/ParameterTool. Flink has it no more since 2.0: it is ",
        ),
        (
            "java.lang.UnsupportedClassVersionError: com/acme/Main has been compiled by a more recent version of the Java "
            "Runtime (class file version 65.0), this version of the Java Runtime only recognizes class file versions up "
            "to 61.0",
            "UnsupportedClassVersionError: com/acme/Main has been compiled by ",
        ),
        (
            "java.lang.NoSuchMethodError: 'void org.apache.flink.x.Y.z(int)'",
            "NoSuchMethodError: 'void org.apache.flink.x.Y.z(int)'. It was compiled against another version of org.apache",
        ),
        ("java.lang.ClassNotFoundException: com.acme.Clicks", "ClassNotFoundException: com.acme.Clicks"),
    ],
)
def test_what_is_missing_is_named(causes: str, told: str):
    cause = root_cause(f"{RUNNING}Caused by: {causes}")
    assert cause.startswith(told)
    assert ("compiled for Java 21, and what runs it is Java 17" in cause) is ("Unsupported" in cause)


def test_what_a_program_says_is_no_matter_of_its_java():
    said = "java.lang.IllegalStateException: error: release version 99 not supported, invalid target release: 99"
    assert root_cause(said) == said.removeprefix("java.lang.")
