"""How a copy of a task can end, or survive: one row for each case.

The rows are the promise to users; each names the test that proves it, on a real engine or, where
that takes nodes of several owners, on simulated ones, and
`python -m p2pool.model.tasks.endings` prints them as the table in `docs/containers.md`.
"Rescheduled" means another attempt, on any suitable node; the old one ends before the new one gets
its GPUs.
Source: docs/design/tasks.md, "Endings".
"""

import attrs


@attrs.frozen
class Ending:
    """One case: what happens to the copy, and what the pool does then. `state`: the state shown,
    empty if it runs on. `shown_by`: the test."""

    case: str
    state: str
    copy: str
    pool: str
    shown_by: str


ENDINGS = (
    Ending(
        case="it ends by itself, exit code 0",
        state="succeeded",
        copy="kept with its log for a day",
        pool="nothing",
        shown_by="test_exit_codes_decide",
    ),
    Ending(
        case="it ends by itself, another code or a signal",
        state="failed",
        copy="started again as its restart policy says, else kept with its log",
        pool="nothing",
        shown_by="test_exit_codes_decide",
    ),
    Ending(
        case="the pool's creator or manager, or its submitter, stops the task",
        state="stopped",
        copy="SIGTERM, after the grace SIGKILL",
        pool="nothing",
        shown_by="test_a_stop_asks_before_it_kills",
    ),
    Ending(
        case="its deadline passes",
        state="failed",
        copy="stopped with its grace period",
        pool="nothing",
        shown_by="test_a_deadline_ends_it",
    ),
    Ending(
        case="it takes more memory than it has",
        state="failed",
        copy="killed by the kernel, told apart from exit code 137",
        pool="nothing",
        shown_by="test_out_of_memory_is_told_apart",
    ),
    Ending(
        case="its image is not available",
        state="failed",
        copy="never began; the registry's own words",
        pool="nothing",
        shown_by="test_a_missing_image_fails_and_an_absent_registry_waits",
    ),
    Ending(
        case="its registry is away",
        state="",
        copy="waits, is tried again with back-off, shows why",
        pool="tries another node after five minutes",
        shown_by="test_a_missing_image_fails_and_an_absent_registry_waits",
    ),
    Ending(
        case="its node refuses to start it: a registry, a login, a platform, a directory",
        state="",
        copy="never began there; shows why",
        pool="starts it on another node, and tries this one again ever more rarely",
        shown_by="test_what_one_node_refuses_runs_on_another",
    ),
    Ending(
        case="every node that could run it refuses so",
        state="failed",
        copy="never began; each node's words",
        pool="nothing",
        shown_by="test_what_every_node_refuses_for_good_ends_and_names_why",
    ),
    Ending(
        case="a published port is in use on its node, or its disk is full",
        state="",
        copy="never began there; waits if no other node takes it, and shows why",
        pool="starts it on another node, or here once that has passed",
        shown_by="test_a_taken_port_is_no_failure",
    ),
    Ending(
        case="its GPU is lost",
        state="stopped",
        copy="stopped with its grace period",
        pool="rescheduled on another GPU",
        shown_by="test_a_lost_gpu_moves_it",
    ),
    Ending(
        case="its agent stops, crashes or is upgraded",
        state="",
        copy="runs on, found again by the next agent",
        pool="nothing; what ended meanwhile is reported once",
        shown_by="test_an_agent_may_come_and_go",
    ),
    Ending(
        case="the engine restarts, with live-restore",
        state="",
        copy="runs on",
        pool="nothing",
        shown_by="test_with_live_restore_it_runs_on",
    ),
    Ending(
        case="the engine restarts, without live-restore",
        state="stopped",
        copy="ended by the engine; started again here if its restart policy says so",
        pool="rescheduled",
        shown_by="test_what_ended_with_the_engine_is_placed_anew",
    ),
    Ending(
        case="its host reboots",
        state="stopped",
        copy="as a restart of the engine",
        pool="rescheduled",
        shown_by="test_what_ended_with_the_engine_is_placed_anew",
    ),
    Ending(
        case="its node is drained",
        state="stopped",
        copy="stopped with its grace period",
        pool="rescheduled on another node",
        shown_by="test_a_drain_moves_it",
    ),
    Ending(
        case="its node is banned, or it or its provider blacklisted",
        state="stopped",
        copy="stopped with its grace period",
        pool="rescheduled on another node",
        shown_by="test_a_ban_moves_it",
    ),
    Ending(
        case="its node leaves the pool or is ejected",
        state="lost",
        copy="stopped with its grace period, once final blocks say so",
        pool="rescheduled on another node",
        shown_by="test_who_leaves_the_pool_ends_its_tasks",
    ),
    Ending(
        case="the pool ends on the chain",
        state="stopped",
        copy="stopped with its grace period, once final blocks say so",
        pool="accepts no more tasks",
        shown_by="test_the_end_of_the_pool_ends_all",
    ),
    Ending(
        case="the leader changes",
        state="",
        copy="runs on",
        pool="the next one carries on from the log",
        shown_by="test_a_change_of_master_touches_nothing",
    ),
    Ending(
        case="its node is unreachable, and back within its reconnect window",
        state="",
        copy="runs on",
        pool="waits",
        shown_by="test_back_in_time_it_runs_on",
    ),
    Ending(
        case="its node is unreachable for longer",
        state="lost",
        copy="runs on; stopped when it is heard again",
        pool="rescheduled on another node",
        shown_by="test_back_too_late_the_older_copy_ends",
    ),
    Ending(
        case="the same, with on_disconnect = stop",
        state="stopped",
        copy="ends by itself at the end of the window",
        pool="rescheduled 30 s after that",
        shown_by="test_it_ends_once_its_window_is_over",
    ),
)

COLUMNS = ("What happens", "State", "The copy", "The pool")


def markdown() -> str:
    """The table as `docs/containers.md` has it."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    rows += [(e.case, e.state or "(goes on)", e.copy, e.pool) for e in ENDINGS]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(markdown())
