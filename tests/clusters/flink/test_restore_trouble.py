"""Which failures are failures of the restore itself: texts of a real Flink 2.3.0."""

import pytest

from clusters.flink.errors import restore_trouble
from clusters.flink.identity import seconds
from core.jobs.observations import Trouble

TRUNCATED = """org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.
Caused by: java.util.concurrent.CompletionException: java.lang.RuntimeException: java.io.EOFException
Caused by: java.io.EOFException"""
MAPPING = """org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.
Caused by: java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint file:/c/chk-6. Cannot map \
checkpoint/savepoint state for operator 20ba6b65f97481d5570070de90e4e791 to the new program, because the operator is \
not available in the new program. If you want to allow to skip this, you can set the --allowNonRestoredState option."""
MIGRATION = """java.lang.RuntimeException: Error while getting state
Caused by: org.apache.flink.util.StateMigrationException: For heap backends, the new state serializer must not be \
incompatible with the old state serializer."""
STATE_FILE_GONE = """java.lang.Exception: Exception while creating StreamOperatorStateContext.
Caused by: org.apache.flink.util.FlinkException: Could not restore keyed state backend for KeyedProcessOperator_2_(1/1)
Caused by: java.io.FileNotFoundException: /c/chk-6/775f (No such file or directory)"""
NOT_THERE = """org.apache.flink.runtime.client.JobInitializationException: Could not start the JobMaster.
Caused by: java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory 'file:///n' on file \
system 'file'."""
SINK_IS_DOWN = """java.io.IOException: Connection to sink refused
Caused by: java.net.ConnectException: Connection refused"""
NO_SLOTS = "org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: Could not acquire the minimum"


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        (TRUNCATED, Trouble.UNREADABLE),
        (STATE_FILE_GONE, Trouble.UNREADABLE),
        (NOT_THERE, Trouble.UNREADABLE),
        (MAPPING, Trouble.UNMAPPABLE),
        (MIGRATION, Trouble.UNMAPPABLE),
        (SINK_IS_DOWN, None),
        (NO_SLOTS, None),
        ("", None),
    ],
)
def test_flinks_words(stack, expected):
    assert restore_trouble(stack) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20000", 20), ("20 s", 20), ("1 min", 60), ("500ms", 0.5), ("2h", 7200), (None, 50), ("soon", 50)],
)
def test_durations_of_flinks_configuration(text, expected):
    assert seconds(text, 50) == expected
