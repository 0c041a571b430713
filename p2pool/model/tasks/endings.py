"""How a copy of a task can end, or not end, whatever happens: one row for each case.

The rows are the promise to users; each names the test that shows it on a real engine, and
`python -m p2pool.model.tasks.endings` prints them as the table in the README. "Placed anew" means
another attempt, on any node that suits; the old one ends before the new one gets its GPUs.
Source: design, section 9 (Endings).
"""

import attrs


@attrs.frozen
class Ending:
    """One case: what becomes of the copy, and what the pool does then. `state`: how it is shown,
    empty where it runs on. `shown_by`: the test."""

    case: str
    state: str
    copy: str
    pool: str
    shown_by: str


ENDINGS = (
    Ending("it ends by itself, exit code 0", "succeeded", "kept with its log for a day",
           "nothing", "test_exit_codes_decide"),
    Ending("it ends by itself, another code or a signal", "failed",
           "started again as its restart policy says, else kept with its log", "nothing",
           "test_exit_codes_decide"),
    Ending("its owner stops the task", "stopped", "SIGTERM, after the grace SIGKILL",
           "nothing", "test_a_stop_asks_before_it_kills"),
    Ending("its deadline passes", "failed", "as a stop", "nothing",
           "test_a_deadline_ends_it"),
    Ending("it takes more memory than it has", "failed",
           "killed by the kernel, told apart from exit code 137", "nothing",
           "test_out_of_memory_is_told_apart"),
    Ending("its image is not to be had", "failed", "never began; the registry's own words",
           "nothing", "test_a_missing_image_fails_and_an_absent_registry_waits"),
    Ending("its registry is away", "", "waits, is tried again with back-off, shows why",
           "nothing", "test_a_missing_image_fails_and_an_absent_registry_waits"),
    Ending("the disk of its node is full", "", "waits, is tried again with back-off, shows why",
           "gives the node no more work", "test_an_image_that_fills_the_disk_is_told"),
    Ending("its GPU is lost", "stopped", "as a stop", "placed anew on another GPU",
           "test_a_lost_gpu_moves_it"),
    Ending("its agent stops, crashes or is upgraded", "", "runs on, found again by the next agent",
           "nothing; what ended meanwhile is reported once",
           "test_an_agent_may_come_and_go"),
    Ending("the engine restarts, with live-restore", "", "runs on", "nothing",
           "test_with_live_restore_it_runs_on"),
    Ending("the engine restarts, without live-restore", "stopped",
           "ended by the engine; started again here if its restart policy says so",
           "placed anew", "test_what_ended_with_the_engine_is_placed_anew"),
    Ending("its host reboots", "stopped", "as a restart of the engine", "placed anew",
           "test_what_ended_with_the_engine_is_placed_anew"),
    Ending("its node is drained", "stopped", "as a stop", "placed anew elsewhere",
           "test_a_drain_moves_it"),
    Ending("its node is banned", "stopped", "as a stop", "placed anew elsewhere",
           "test_a_ban_moves_it"),
    Ending("its node leaves the pool, is ejected or blacklisted", "stopped",
           "as a stop, once final blocks say so", "placed anew elsewhere",
           "test_who_leaves_the_pool_ends_its_tasks"),
    Ending("the pool ends on the chain", "stopped", "as a stop, once final blocks say so",
           "takes no task any more", "test_the_end_of_the_pool_ends_all"),
    Ending("the master changes", "", "runs on", "the next one goes on from the log",
           "test_a_change_of_master_touches_nothing"),
    Ending("its node is unreachable, and back within its reconnect window", "", "runs on",
           "waits", "test_back_in_time_it_runs_on"),
    Ending("its node is unreachable for longer", "lost", "runs on; stopped when it is heard again",
           "placed anew elsewhere", "test_back_too_late_the_older_copy_ends"),
    Ending("the same, with onDisconnect = stop", "stopped",
           "ends by itself at the end of the window", "placed anew 30 s after that",
           "test_it_ends_once_its_window_is_over"),
)  # fmt: skip

COLUMNS = ("What happens", "State", "The copy", "The pool")


def markdown() -> str:
    """The table as the README has it."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    rows += [(e.case, e.state or "(goes on)", e.copy, e.pool) for e in ENDINGS]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(markdown())
