"""How long things are waited for, and how often they are asked: all numbers that no setting of a person's is.

What a person may choose is in `Settings`. Rules without effects keep their own (`core/jobs/condition.py`,
`core/jobs/retention.py`, `AHEAD_MS` of `core/jobs/observations.py`), workflows theirs (`workflows/calls.py` has the
time-outs of activities): what they say is replayed. A name says its unit: seconds, a `timedelta`, or a `Pace`.
`tests/test_architecture.py` finds numbers that stand elsewhere.

Where a number was seen, or follows from another one, its line says so. The others were chosen, and not measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta

from core.errors import TooSlow
from settings import Settings
from settings.polling import Pace

# Temporal --------------------------------------------------------------------------------------------------------

CONNECT_SECONDS = 60.0
"""For a Temporal that is still starting."""
CONNECT_PACE = Pace(0.5)
ANSWER_TIMEOUT = timedelta(seconds=5)
"""For a workflow that answers an update or a query. One whose worker is away answers later: somebody waits for it
meanwhile, and what is written down is delivered by the recovery."""
LIST_TIMEOUT = timedelta(seconds=20)
"""For a page of the list of workflows, of which there may be thousands."""
LEAVE_TIMEOUT = timedelta(seconds=10)
"""To tell a build that one who waited for it has gone; a build that is not told only goes on to its end."""
PREPARE_EVERY_SECONDS = 30.0
"""Between two looks whether Temporal still has our schedule: half of the recovery's own interval, so that a wiped
Temporal costs one run of it. With a jitter of a fifth."""
PREPARE_TIMEOUT_SECONDS = 20.0
"""Of one such look; below the interval, so that two are never under way."""
SEARCH_ATTRIBUTES_PACE = Pace(0.5, longest=4.0, growth=2.0)
SEARCH_ATTRIBUTES_SECONDS = 7.0
"""For a server that has just begun to take search attributes: five tries."""
HEARTBEAT_SECONDS = 2.0
"""Between two heartbeats of an activity; the time-out in `workflows/calls.py` (12 s) stands five that got lost."""
WATCH_HEARTBEAT_SECONDS = 5.0
"""The same of a watch, whose time-out is 20 s: there is one per cluster, all the time."""
RECOVERY_HEARTBEAT_SECONDS = 10.0
"""The same of the recovery, whose time-out is 30 s."""
HEARTBEAT_THROTTLE = timedelta(seconds=2)
"""The SDK sends heartbeats at most so often: not less often than they are made."""
WATCH_HEARTBEAT_THROTTLE = timedelta(seconds=60)
"""The default of the SDK, which itself stays below the heartbeat time-out."""
RECOVERY_CATCH_UP = timedelta(minutes=1)
"""Of a Temporal that was away, the runs of the recovery that were due in it are begun late; one makes up for all."""
STANDSTILL_SECONDS = 8.0
"""A process that gave no heartbeat for longer than this and one interval may have lost its activity to another: it
sends nothing any more. Below the heartbeat time-out in `workflows/calls.py`."""
SHUTDOWN_GRACE = timedelta(seconds=10)
"""For the activities of a worker that is told to stop, to end by themselves."""
WATCH_SHUTDOWN_GRACE = timedelta(seconds=1)
"""The same for watches, which lose nothing."""
RECORD_UNKNOWN_RETRY = timedelta(seconds=30)
"""Until a record is tried again whose job the database does not have (it was restored from a backup)."""

# Asking a cluster about an attempt ---------------------------------------------------------------------------------

UNREACHABLE_SECONDS = 120.0
"""For a cluster that does not answer, before an activity gives up: longer than task managers take to miss a JobManager
(50 s by default)."""
UNREACHABLE_PACE = Pace(2.0)
ADOPTION_SECONDS = 60.0
"""The same while a person waits for the adoption of a Flink job."""
CERTAIN_PAUSE_SECONDS = 1.0
"""Between two looks for an attempt that the cluster does not know, until that is believed."""
LOST_ANSWER_SECONDS = 20.0
"""That such a wait goes on without an answer: a request that is lost or times out once does not begin it anew."""
CERTAIN_SECONDS = 240.0
"""For task managers that hold slots of an attempt which their JobManager does not know: more than any heartbeat
time-out that we have seen (50 s by default)."""
FAILURE_CACHE_SECONDS = 5.0
"""For the cause of a failure to show: more than Flink's web.refresh-interval, 3 s by default."""
FAILURE_CACHE_PACE = Pace(0.3)
GROWTH_SECONDS = 5.0
"""Between two looks at files of checkpoints: what tasks that are ending write last is written within it."""
STARTING_PACE = Pace(0.1, longest=1.0, growth=1.25)
"""Until all tasks run. A job takes the first pause at the least; asking sooner only takes time from the one who deploys
it."""
PROVING_PAUSE_SECONDS = 1.0
"""Between two looks whether a resubmitted job has proven itself; it has minutes for it."""
RESTORE_TRIES = 3
"""Of Flink's own restarts, before a restore that fails is given up."""
STEADY_SECONDS = 10.0
"""That a job which takes no checkpoints has to run steadily to be healthy."""

# Submitting, stopping ----------------------------------------------------------------------------------------------

SUBMIT_PACE = Pace(2.0)
"""Until it is clear what became of a submission: each question is a look at all jobs."""
OPEN_SECONDS = 30.0
"""For an attempt to be written down, when it is sent in the same step."""
STARTS_SOON_SECONDS = 2.0
"""That an attempt is followed in the step that sends it; one that takes longer to run is followed by a step of its own,
and its job is shown as DEPLOYED meanwhile."""
LISTING_SECONDS = 10.0
"""For the listing of a job's checkpoint folders before a submission: without an answer it goes on."""
LAST_SEND_SECONDS = 30.0
"""That a send has at the least, when the time of the submission is nearly over."""
LAST_TRIES = 3
"""Tries of one submission whose workers died each time: when its time is over as well, a later one sends nothing. After
a long outage of all workers the second try sends once more, to the JobManager that led before."""
COMPLETER_SECONDS = 3.0
"""Who types waits so long for Flink's completer at the most, and ..."""
COMPLETER_PAUSE_SECONDS = 10.0
"""... so long after that it is not asked."""
COMPLETER_KEPT_SECONDS = 40.0
"""A session for completion is closed when nobody has completed for so long. Flink's gateway may close it after 60 s."""
UNWATCHED_LOOKS = 6
"""Looks of a watch that are due without one: what it has seen is not gone by any more."""
UNWATCHED_SECONDS = 120.0
"""Without a look at a cluster, at the least, until the recovery says so."""
CANCEL_PACE = Pace(0.3)
"""Until what a failed program has left is seen to end."""
FENCE_SECONDS = 90.0
"""To make sure that an attempt never runs: more than a heartbeat time-out (50 s) and a change of JobManagers."""
FENCE_PACE = Pace(1.0)
STOP_PACE = Pace(0.03, longest=1.0, growth=1.3)
"""Until an attempt is stopped, or a savepoint taken: done at once with little state, in minutes with much."""
STILL_RUNNING_SECONDS = 60.0
"""That a job may run on after its savepoint for the stop is complete: Flink ends it at once, unless it cannot."""

# Flink itself ------------------------------------------------------------------------------------------------------

FLINK_CONNECT_SECONDS = 5.0
"""For a connection to a Flink or a gateway to be there; the time for its answer comes on top."""
FLINK_HEARTBEAT_SECONDS = 50.0
"""Flink's default of `heartbeat.timeout`."""
RUN_SECONDS = 300.0
"""For the `main` of a jar's program to submit its job: Flink answers when it has."""
UPLOAD_SECONDS = 30.0
"""For the answer to an upload once all is sent; and a second per megabyte, for a proxy that keeps it first."""
STATEMENT_SECONDS = 300.0
"""For the first result of a statement, unless its caller has less time."""
STATEMENT_PACE = Pace(0.005, longest=0.25, growth=1.5)
"""Between two questions for the first result of a statement."""
PLAN_SECONDS = 0.02
"""That one takes at the least which plans, and submits perhaps: 30 ms and more on 2.3.0."""
PLAN_PACE = Pace(0.01, longest=0.25, growth=1.4)
"""Then between two questions for its result."""
ROWS_PACE = Pace(0.005)
"""The same for one whose rows are there at once (SHOW, DESCRIBE, EXPLAIN)."""
EXPLAIN_SECONDS = 30.0
"""For Flink to explain one of several INSERTs, to find the one that an error is about."""
DISPOSE_SECONDS = 60.0
"""For Flink to delete a savepoint, file by file."""
DISPOSE_PACE = Pace(0.1)
LEARN_SECONDS = 5.0
"""For the cluster to say where the checkpoints of an adopted attempt lie; it is asked again by the next check."""
RETAIN_SECONDS = 20.0
"""Of deleting what a policy does not keep, until a job's workflow does what else is due: a kill, an end that Flink
told."""
RETAIN_TRIES = 3
"""Points that cannot be deleted, and take their time, until the others wait for the next retention."""
FILES_SECONDS = 60.0
"""Without an answer of a file system, until it is said to hang. Of how many answers a look needs is not asked: hundreds
of restore points on an object store take minutes."""
INITIALIZING_SECONDS = 20.0
"""For a job that Flink still initializes to tell its configuration, where it matters."""
INITIALIZING_SHORT_SECONDS = 2.0
"""The same in a look at all jobs, which comes again soon."""
INITIALIZING_PACE = Pace(0.2)
SET_UP_SECONDS = 30.0
"""That a task may go without a change while it is being set up: 0.3 to 2 s with Flink's own functions (seen on 2.3.0).
One that takes longer hangs in what a function of its opens, which comes after its sink."""
SLOTS_SECONDS = 3.0
"""For tasks to get their slots, where there are any: from then on they wait for a task manager."""
FENCE_JOB_SECONDS = 30.0
"""For the job that spends an id to be taken, and to end."""
FENCE_JOB_PACE = Pace(0.1)
FORGOTTEN_LOOKS, FORGOTTEN_PAUSE_SECONDS = 5, 2.0
"""Tries to spend an id that Flink refuses and does not show, and between two of them: it is being taken at this moment,
or old."""
COMPILE_SECONDS = 120.0
"""For javac to build one of our small Java programs, once."""
PYTHON_PROGRAM_SECONDS = RUN_SECONDS
"""The same for a Python program."""
PROGRAM_GOES_ON_SECONDS = 5.0
"""That a program whose job is alive may take to end, to start another job or to say a word, before it counts as one
that waits for it."""
PROGRAM_TALKS_SECONDS = 15.0
"""As `PROGRAM_GOES_ON_SECONDS` for one that does not cease to work or to say words, as one that prints its rows."""
PROGRAM_LOOK_SECONDS = 1.0
"""Between two looks at a program that has not ended, and at its job."""
PROGRAM_QUICK_SECONDS, PROGRAM_SLOW_SECONDS = 60.0, 10.0
"""How long its job is asked for so often, and how often after that."""
PROGRAM_AFTER_SECONDS = 60.0
"""That such a program has after its job has finished, and how long a job of it is tried to be cancelled."""
PROGRAM_ALERT_SECONDS = 5.0
"""For a worker that ends to say that it takes the rows of a job no more."""
CLIENT_AFTER_SECONDS = 2.0
"""From a Python program to the start of the client that waits for the next one: first its job is deployed."""
CLIENT_IDLE_SECONDS = 900.0
"""That such a client waits, with 270 MB (seen on 2.3.0)."""

# Session clusters on this machine ----------------------------------------------------------------------------------

KEEPER_BEGIN_SECONDS = 60.0
"""For the process that keeps a session cluster to begin."""
KEEPER_PACE = Pace(0.05)
KEEPER_ORDER_SECONDS = 5.0
"""For another process to have written what it wants of a keeper."""
KEEPER_LAST_WORDS_SECONDS = 60.0
"""In which a keeper tries to write down how its cluster ended, where the disk is full."""
KEEPER_TICK_SECONDS = 0.5
"""Between two looks of a keeper at what is wanted of it, and at its processes."""
RECOVERY_KEPT_SECONDS = 600.0
"""How long a run of the recovery that ended well stays in Temporal's list of workflows: they would bury the jobs."""
REPEATED_SECONDS = 60.0
"""After which it is told that a line of a log still comes again and again."""
SWEEP_SECONDS = 60.0
"""Between two looks of a worker for what deleted session clusters have left on its machine."""
FORGET_REMOVED_SECONDS = 300.0
"""Between two looks of a process for clusters that others have removed: it keeps connections to them."""
LOGS_SECONDS = 1.0
"""Between two looks of a worker at the local stack's logs and at who writes them; a keeper looks with each tick."""
KEEPER_LOOK_SECONDS = 5.0
"""Between two questions to its Flink while nothing changes."""
LONG_LIFE_SECONDS = 60.0
"""After which the death of a process counts as its first one."""
KEEPER_LONGEST_PAUSE_SECONDS = 30.0
"""At most, before a process that died is started once more: at once after its first death, then after 1, 3, 7 s."""

# Watching ----------------------------------------------------------------------------------------------------------

HEALTH_SECONDS = 30.0
"""Between two questions for slots and versions of a cluster, which nobody acts on."""
TELL_AGAIN_PACE = Pace(30.0, longest=600.0, growth=2.0)
"""Until a workflow is told again what it has not acted upon: a signal is four events in a history, and a workflow may
be busy for hours."""
SETTLE_SECONDS = 5.0
"""That a workflow gets to write down what another process has told it."""
ASK_AGAIN_SECONDS = 10.0
"""Between two questions how a job fares, whatever changes: each is several requests, and jobs change often."""
TROUBLED_SECONDS = 30.0
"""The same for one that has a warning, though nothing changes: a checkpoint that completes changes nothing that the
look at all jobs would show."""
LEASE = timedelta(seconds=15)
"""Of a preview: when it has run out the API that streamed it has died. Renewed each third of it."""
SUBMISSION_GRACE = timedelta(seconds=60)
"""A preview that was written down a moment ago may not have reached the cluster yet: for so long after its lease it is
not taken for gone because the cluster does not show it."""

# Recovery ----------------------------------------------------------------------------------------------------------

UNDELIVERED_SECONDS = 15.0
"""After which a command that is not delivered is delivered by the recovery: the API gives up after `ANSWER_TIMEOUT`."""
INTERRUPTED_SECONDS = 60.0
"""After which a workflow is asked whether it carries a command out that it has begun."""
BEING_WRITTEN_SECONDS = 5.0
"""That a record of a workflow may take to be in the database, while that answers."""
UNFINISHED_SECONDS = 15.0
"""The same for a deletion that was begun."""
COMPARE_SECONDS = 3600.0
"""Between two comparisons of all workflows with all rows; every run compares their counts."""
MEND_SECONDS = 30.0
"""For one thing that is mended, so that it keeps no other from it."""
EXPIRY_MARGIN = timedelta(seconds=60)
"""That clocks of this machine and of Temporal may differ."""
FORGET_EVERY_SECONDS = 3600.0
"""Between two times that all old rows are looked for."""
FORGET_RUN_SECONDS = 5.0
"""That one run of the recovery may take for it: the next one goes on."""

# The database ------------------------------------------------------------------------------------------------------

IDLE_TRANSACTION_SECONDS = 15.0
"""After which PostgreSQL ends a transaction in which nothing is asked: a process that stands still, or whose machine is
gone, holds the locks of its rows no longer. Ours ask one statement after the other."""
DATABASE_BUSY_SECONDS = 15.0
"""That a transaction of SQLite waits for the one that writes."""

# Logs --------------------------------------------------------------------------------------------------------------

FLUSH_SECONDS = 0.3
"""Between two batches of lines of a command's log: a person who follows it sees no delay, and SQLite is not written to
for each line."""
FOLLOW_BUILD_SECONDS = 0.5
"""Between two looks at a build's log that is followed into a command's."""
FOLLOW_PACE = Pace(0.4)
"""Between two looks at a command's log that a person follows."""

ENDING_PACE = Pace(0.02, longest=0.25, growth=1.2)
"""Between two looks at all commands whose end somebody waits for, since the newest of them began to."""

# The API -----------------------------------------------------------------------------------------------------------

FRESH_SECONDS = 2.0
"""A page shows what was seen within it; else its cluster is asked first."""
REFRESH_SECONDS = 3.0
"""For that question: then the page shows what was known."""
WRITTEN_PACE = Pace(0.05)
WRITTEN_SECONDS = 0.5
"""For the workflow to write down what that question has told it; a page waits no longer."""
GATHER_SECONDS = 10.0
"""For the restore points of a job, when a page asks for them: its files may be slow to list."""
OUTPUT_SECONDS = 20.0
"""For what the task managers of a job have printed, when somebody asks for it."""
ADDRESS_SECONDS = 6.0
"""For whoever answers at an address that a person gives."""
READY_SECONDS = 5.0
"""For database and Temporal at /readyz, each."""
RECOVERY_RUN = timedelta(minutes=5)
"""For a run of the recovery that a person asks for."""
LAST_ANSWERS_SECONDS = 5
"""For requests that are being answered, when the API ends."""
USER_DATABASE_SECONDS = 15.0
"""For a user's own database to describe a table."""
TEST_OUTPUT_SECONDS = 120.0
"""For a script that is run to see what a new test has to expect."""

# SQL ---------------------------------------------------------------------------------------------------------------

PREVIEW_PACE = Pace(0.01, longest=0.1, growth=1.3)
"""Between two questions for rows of a preview, of which there are none."""
FAST_POLL_SECONDS = 5.0
"""From its beginning on a preview is asked for its first row at the fastest pace; then more and more slowly."""
NEXT_ROWS_SECONDS = 3.0
"""For a gateway that does not answer when it is asked for the next rows, before the preview is interrupted."""
NEXT_ROWS_PACE = Pace(0.3)
TABLE_SECONDS = 0.5
"""Between two times that the whole table of a preview is shown."""
ABANDONED_SECONDS = 15.0
"""After which a preview ends that nobody listens to."""
PREVIEW_KEPT_SECONDS = 120.0
"""That the rows of an ended preview can still be read."""
PREVIEW_GONE_SECONDS = 15.0
"""For a cluster to say that the jobs of an ended preview are gone; then its watch sees to it."""
PREVIEW_GONE_PACE = Pace(0.3)
PREVIEW_CANCEL_SECONDS = SET_UP_SECONDS + 10
"""For a cluster to take the cancel of a query whose tasks are being set up."""
PREVIEW_LOOK_SECONDS = 1.0
"""Between two looks at a preview's limits, listeners and progress."""
COUNTS_SECONDS = 21.0
"""For which zero records may be old news: Flink looks at its counts every 10 s (`metrics.fetcher.update-interval`), and
its task managers have looked at theirs before."""
LISTEN_SECONDS = 5.0
"""After which a stream to a listener says that there is nothing new."""
PREVIEWS_END_SECONDS = 5.0
"""For all previews to end, when the API does."""
SESSION_STATEMENT_PACE = Pace(0.01)
"""Between two questions for the result of a statement of a session, which is there at once as a rule."""
SAMPLE_SECONDS = 60.0
"""For the query by which Flink reads a sample back."""
SESSION_KEEP_SECONDS = 1800.0
"""A session that was used within it is kept on its gateway, which forgets idle ones (10 min by default)."""
SESSION_BEAT_SECONDS = 15.0
"""Between two signs of life for each."""
REMEDY_SECONDS = 20.0
"""For the search of a library that has a connector; without it the message of Flink has to do."""
CATALOG_NAMES_SECONDS = 5.0
"""For a catalog to say what it has, while somebody writes; the rest is offered without it."""
CATALOG_NAMES_KEPT_SECONDS = 60.0
"""That what a catalog has is remembered for those who write."""
OPTIONS_KEPT_SECONDS = 600.0
"""That the options of connectors are remembered: they change with a library only."""

TOKEN_KNOWN_SECONDS = 1.0
"""That who has a token is remembered: so long a token goes on that was revoked through another API process."""

# Processes on this machine, and the command line -------------------------------------------------------------------

START_SECONDS = 120.0
"""For a process of the local stack to answer."""
START_PACE = Pace(0.1)
LAST_WORDS_SECONDS = 1.0
"""For what a process printed as it died to arrive in its log."""
PORT_FREE_SECONDS = 3.0
"""For a port of a process that was killed: its sockets live on until the last of its threads is gone."""
STOP_GRACE_SECONDS = 20.0
"""For a process to end by itself, before it is killed."""
KILLED_SECONDS = 10.0
"""For the kernel to have ended what was killed."""
LEFT_BEHIND_SECONDS = 0.5
"""Between two looks whether a program has ended whose output is held open: then what it has left behind is ended."""
LEFT_BEHIND_LOOKS, LEFT_BEHIND_PAUSE_SECONDS = 100, 0.05
"""For what a program has left behind, at the most, and between two of them: it may start others meanwhile."""
LOCAL_ANSWER_SECONDS, LOCAL_CONNECT_SECONDS = 2.0, 1.0
"""For a server on this machine, when it is asked whether it is there."""
VERSION_SECONDS = 30.0
"""For a Java to say which one it is."""
CALL_SECONDS = 60.0
"""For the API to answer the command line, unless a command says otherwise."""
STREAM_SECONDS, STREAM_PACE = 30.0, Pace(1.0)
"""For an API that is exchanged while somebody follows a log or rows to be there again, and between two tries."""
DOCTOR_SECONDS = 15.0
"""For the API to say how its parts are: more than it gives each of them (`READY_SECONDS`)."""
PROMPT_SECONDS = 2.0
"""For all that a completion asks: somebody waits at the prompt."""
DOWNLOAD_SECONDS = 120.0
"""For the download of a Temporal CLI; then it is built."""
DEMO_SECONDS = 600.0
"""For the jobs of the demo to run: their first builds download what Maven and pip need."""
DEMO_PACE = Pace(0.3)
LIBRARY_PACE = Pace(1.0)
"""Between two looks at a library that is fetched or built."""
QUIET_SECONDS = 10.0
"""After which the local stack says again what it waits for."""
GIT_SECONDS = 300.0
"""For one command of Git that speaks to a server."""
BRANCH_SECONDS = 10.0
"""The same for a page that says where branches are."""


# -------------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def within(seconds: float, what: str, *, code: str, remedy: str) -> AsyncIterator[None]:
    """Raises `TooSlow` when the code inside has not ended after `seconds`; `what` says in words what was waited for. A
    time-out of something inside that has a limit of its own is left as it is."""
    try:
        async with asyncio.timeout(seconds) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise TooSlow(f"{what} took longer than {seconds:g} s.", code=code, remedy=remedy) from error


LINEAGE_SECONDS = 20.0
"""How long whoever asks for the lineage of all jobs waits for Flink to explain those without a plan; what is not
explained by then is unknown, until somebody asks again."""


def planning(settings: Settings, what: str) -> AbstractAsyncContextManager[None]:
    """For what Flink's planner does while somebody waits. Raises `TooSlow`."""
    remedy = "It may be too large, or the gateway too busy; PENSTOCK_PLAN_TIMEOUT is how long it may take."
    return within(settings.plan_timeout, what, code="flink_too_slow", remedy=remedy)
