"""What a program has set in the place of Penstock, seen by what Flink really did."""

from __future__ import annotations

from core.paths import of_point

RESTORE_KEY = "execution.state-recovery.path"
DIRECTORY_KEY = "execution.checkpointing.dir"
MODE_KEY = "execution.runtime-mode"
CLAIM_KEY = "execution.state-recovery.claim-mode"
RETENTION_KEY = "execution.checkpointing.externalized-checkpoint-retention"


def overridden(
    asked: str | None,
    restored_from: str | None,
    keeps_checkpoints: bool | None,
    *,
    own_folder: str,
    folder_is_there: bool | None,
    claimed: bool = False,
    restores: bool = True,
) -> str | None:
    """Why an attempt is not what was asked for; None when it is, as far as can be told.

    `asked` and `restored_from` are paths of restore points, None for none; what lies in `own_folder` is a checkpoint of
    the attempt itself, which Flink's own restart goes back to. Flink makes that folder before the first task runs;
    `folder_is_there` is None where it cannot be told. A program's `env.configure(...)` wins over what it is submitted
    with. What is `claimed` Flink deletes by itself; where nothing `restores`, it runs in batch mode.
    """
    if asked is not None and not restores:
        return (
            f"it was to start from {asked}, and has begun from the beginning: its program runs in batch mode "
            f"({MODE_KEY}), in which Flink restores nothing"
        )
    really = of_point(restored_from) if restored_from else None
    own = really is not None and really.startswith(of_point(own_folder) + "/")
    if really is not None and not own and really != (of_point(asked) if asked else None):
        expected = f"from {asked}" if asked else "empty"
        return (
            f"it was to start {expected}, and Flink has restored it from {really}: its program sets {RESTORE_KEY} "
            "itself. Each start would begin with that state, whatever it had reached"
        )
    if really is not None and not own and claimed:
        return (
            f"its program sets {CLAIM_KEY} itself: Flink deletes {really} with the next checkpoint, and perhaps has "
            "done so, though it is a restore point that may be pinned, or that others start from; what it has reached "
            "since is in its own checkpoints"
        )
    if keeps_checkpoints is False:
        return (
            f"its program sets {RETENTION_KEY} itself: Flink would delete its checkpoints with each cancel, and "
            "nothing would be left to restart it from"
        )
    if folder_is_there is False:
        return (
            f"its program sets {DIRECTORY_KEY} itself, or its state.checkpoints.dir: its checkpoints do not go to "
            f"{own_folder}, and after a loss of its cluster the newest of them would not be found"
        )
    return None
