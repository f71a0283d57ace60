"""What a SET may say: keys of the session's configuration that both 1.20 and 2.3 know, and values of some of them.

The keys are those of Flink's own classes of options (`ExecutionConfigOptions`, `OptimizerConfigOptions`,
`TableConfigOptions`, `CheckpointingOptions`, `PipelineOptions`, ...), without those that Penstock sets itself. Flink
cannot be asked for them: it takes any key.
"""

import difflib
import functools
from collections.abc import Iterable

_KEYS = """
    execution.batch-shuffle-mode execution.batch-state-backend.enabled execution.buffer-timeout.enabled
    execution.buffer-timeout.interval execution.checkpointing.aligned-checkpoint-timeout
    execution.checkpointing.checkpoints-after-tasks-finish execution.checkpointing.cleaner.parallel-mode
    execution.checkpointing.data-inline-threshold execution.checkpointing.file-merging.across-checkpoint-boundary
    execution.checkpointing.file-merging.enabled execution.checkpointing.file-merging.max-file-size
    execution.checkpointing.file-merging.max-space-amplification
    execution.checkpointing.file-merging.max-subtasks-per-file execution.checkpointing.file-merging.pool-blocking
    execution.checkpointing.incremental execution.checkpointing.interval execution.checkpointing.interval-during-backlog
    execution.checkpointing.local-backup.dirs execution.checkpointing.local-backup.enabled
    execution.checkpointing.max-concurrent-checkpoints execution.checkpointing.min-pause execution.checkpointing.mode
    execution.checkpointing.num-retained execution.checkpointing.snapshot-compression execution.checkpointing.storage
    execution.checkpointing.timeout execution.checkpointing.tolerable-failed-checkpoints
    execution.checkpointing.unaligned.enabled execution.checkpointing.unaligned.forced
    execution.checkpointing.unaligned.interruptible-timers.enabled
    execution.checkpointing.unaligned.max-subtasks-per-channel-state-file execution.checkpointing.write-buffer-size
    execution.runtime-mode execution.sort-keyed-partition.memory execution.sort-partition.memory
    execution.sorted-inputs.enabled execution.sorted-inputs.memory execution.state-recovery.approximate-local-recovery
    execution.state-recovery.from-local execution.state-recovery.without-channel-state.checkpoint-id parallelism.default
    pipeline.auto-generate-uids pipeline.auto-watermark-interval pipeline.cached-files pipeline.closure-cleaner-level
    pipeline.force-avro pipeline.force-kryo pipeline.force-kryo-avro pipeline.generic-types
    pipeline.global-job-parameters pipeline.jobvertex-parallelism-overrides pipeline.max-parallelism
    pipeline.object-reuse pipeline.operator-chaining.chain-operators-with-different-max-parallelism
    pipeline.operator-chaining.enabled pipeline.serialization-config pipeline.vertex-description-mode
    pipeline.vertex-name-include-index-prefix pipeline.watermark-alignment.allow-unaligned-source-splits
    restart-strategy.exponential-delay.attempts-before-reset-backoff
    restart-strategy.exponential-delay.backoff-multiplier restart-strategy.exponential-delay.initial-backoff
    restart-strategy.exponential-delay.jitter-factor restart-strategy.exponential-delay.max-backoff
    restart-strategy.exponential-delay.reset-backoff-threshold restart-strategy.failure-rate.delay
    restart-strategy.failure-rate.failure-rate-interval restart-strategy.failure-rate.max-failures-per-interval
    restart-strategy.fixed-delay.attempts restart-strategy.fixed-delay.delay restart-strategy.type state.backend.type
    table.builtin-catalog-name
    table.builtin-database-name table.catalog-modification.listeners table.column-expansion-strategy
    table.display.max-column-width table.dynamic-table-options.enabled table.exec.async-lookup.buffer-capacity
    table.exec.async-lookup.output-mode table.exec.async-lookup.timeout table.exec.async-scalar.max-attempts
    table.exec.async-scalar.retry-delay table.exec.async-scalar.retry-strategy table.exec.async-scalar.timeout
    table.exec.deduplicate.insert-update-after-sensitive-enabled
    table.exec.deduplicate.mini-batch.compact-changes-enabled table.exec.disabled-operators
    table.exec.interval-join.min-cleanup-interval table.exec.legacy-cast-behaviour
    table.exec.local-hash-agg.adaptive.distinct-value-rate-threshold table.exec.local-hash-agg.adaptive.enabled
    table.exec.local-hash-agg.adaptive.sampling-threshold table.exec.mini-batch.allow-latency
    table.exec.mini-batch.enabled table.exec.mini-batch.size table.exec.operator-fusion-codegen.enabled
    table.exec.rank.topn-cache-size table.exec.resource.default-parallelism table.exec.resource.external-buffer-memory
    table.exec.resource.hash-agg.memory table.exec.resource.hash-join.memory table.exec.resource.sort.memory
    table.exec.simplify-operator-name-enabled table.exec.sink.keyed-shuffle table.exec.sink.not-null-enforcer
    table.exec.sink.rowtime-inserter table.exec.sink.type-length-enforcer table.exec.sink.upsert-materialize
    table.exec.sort.async-merge-enabled table.exec.sort.default-limit table.exec.sort.max-num-file-handles
    table.exec.source.cdc-events-duplicate table.exec.source.idle-timeout table.exec.spill-compression.block-size
    table.exec.spill-compression.enabled table.exec.state.ttl table.exec.uid.format table.exec.uid.generation
    table.exec.window-agg.buffer-size-limit table.generated-code.max-length table.generated-code.max-members
    table.local-time-zone table.optimizer.agg-phase-strategy table.optimizer.bushy-join-reorder-threshold
    table.optimizer.distinct-agg.split.bucket-num table.optimizer.distinct-agg.split.enabled
    table.optimizer.dynamic-filtering.enabled table.optimizer.incremental-agg-enabled
    table.optimizer.join-reorder-enabled table.optimizer.join.broadcast-threshold table.optimizer.multiple-input-enabled
    table.optimizer.non-deterministic-update.strategy table.optimizer.reuse-optimize-block-with-digest-enabled
    table.optimizer.reuse-source-enabled table.optimizer.reuse-sub-plan-enabled table.optimizer.runtime-filter.enabled
    table.optimizer.runtime-filter.max-build-data-size table.optimizer.runtime-filter.min-filter-ratio
    table.optimizer.runtime-filter.min-probe-data-size table.optimizer.source.report-statistics-enabled
    table.optimizer.sql2rel.project-merge.enabled table.optimizer.union-all-as-breakpoint-enabled
    table.plan.compile.catalog-objects table.plan.force-recompile table.plan.restore.catalog-objects
    table.resources.download-dir table.rtas-ctas.atomicity-enabled table.sql-dialect
"""
KEYS = tuple(_KEYS.split())
_KNOWN = frozenset(KEYS)
LIKE = 0.9
"""How like a key has to be, from 0 to 1. Below that keys of Flink are like each other."""
VALUES = {
    "execution.checkpointing.mode": ("EXACTLY_ONCE", "AT_LEAST_ONCE"),
    "execution.runtime-mode": ("STREAMING", "BATCH"),
    "restart-strategy.type": ("disable", "exponential-delay", "failure-rate", "fixed-delay"),
    "state.backend.type": ("hashmap", "rocksdb"),
    "table.exec.async-lookup.output-mode": ("ORDERED", "ALLOW_UNORDERED"),
    "table.exec.legacy-cast-behaviour": ("DISABLED", "ENABLED"),
    "table.exec.sink.keyed-shuffle": ("NONE", "AUTO", "FORCE"),
    "table.exec.sink.not-null-enforcer": ("ERROR", "DROP"),
    "table.exec.sink.type-length-enforcer": ("IGNORE", "TRIM_PAD", "ERROR"),
    "table.exec.sink.upsert-materialize": ("NONE", "AUTO", "FORCE"),
    "table.optimizer.agg-phase-strategy": ("AUTO", "ONE_PHASE", "TWO_PHASE"),
    "table.optimizer.non-deterministic-update.strategy": ("IGNORE", "TRY_RESOLVE"),
}
_BOOLEAN = (".enabled", "-enabled")


def values_of(key: str) -> tuple[str, ...]:
    """What is known to be a value of a key; nothing where any may be."""
    return VALUES.get(key, ("true", "false") if key.endswith(_BOOLEAN) else ())


@functools.cache
def likely_meant(key: str) -> str | None:
    """The key of Flink that somebody has mistyped who wrote `key`; None for one that is known, or like none. What only
    goes on, or stops earlier, is no mistake in typing: older names of Flink are so (`execution.buffer-timeout`)."""
    if key in _KNOWN:
        return None
    for known in difflib.get_close_matches(key, KEYS, n=1, cutoff=LIKE):
        if not known.startswith(f"{key}.") and not key.startswith(f"{known}."):
            return known
    return None


def notes_on(config: Iterable[str]) -> list[str]:
    """What is said of keys that are likely to be mistyped. They are set all the same: a plugin may read them."""
    return [
        f"{key} is no key of Flink that is known here: is {meant} meant? It is set as it is; what nothing reads has no "
        "effect."
        for key in config
        if (meant := likely_meant(key)) is not None
    ]
