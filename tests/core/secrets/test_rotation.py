"""Secrets that were set anew reach one copy after the other, and stop where they break one."""

import pytest

from p2pool.client.secrets import secrets_table
from p2pool.codec.digests import task_id
from p2pool.codec.spec.secrets import renewal_json
from p2pool.codec.spec.spec import spec_json
from p2pool.core.fsm.requests import refusal
from p2pool.core.fsm.state import PoolState
from p2pool.core.secrets.placement import renewals
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.access.verdicts import FinalBlock
from p2pool.model.errors import BadSpec
from p2pool.model.features import DISTRUST_LEVEL
from p2pool.model.ids import AllocationId, Digest
from p2pool.model.log.entries import (
    NodeChanged,
    Outcome,
    Placed,
    Placement,
    ReportApplied,
    RequestApplied,
)
from p2pool.model.states import AllocationState, Intent, Reachability, StartRefusal
from p2pool.model.tasks.secrets import SecretUse, TaskSecrets
from tests.core.fsm.records import MANAGER, NODE, NOW_S, OTHER, POOL, feed

S = AllocationState
USES = (SecretUse("db"), SecretUse("key", False, "KEY"))


def table(number: int, uses: tuple[SecretUse, ...] = USES, auth: bool = False) -> dict[str, object]:
    return secrets_table(TaskSecrets(uses, f"{number:02x}" * 32, 5, registry_auth=auth))


class Rotated:
    """A task of two copies that run, with secrets of its submission."""

    def __init__(self, auth: bool = False, system: bool = False) -> None:
        self.state, self.number = PoolState(POOL, 1, level=DISTRUST_LEVEL), 0
        many = {"system": True} if system else {"replicas": 2}
        keys = {"name": "t", "image": "i", "secrets": table(0, auth=auth), **many}
        wanted = self._request(Action.SUBMIT, "", spec_json(keys))
        self.task = task_id(POOL, wanted)
        feed(self.state, RequestApplied(SignedRequest(wanted, b"s" * 65), NODE, MANAGER))
        self.first, self.second = (AllocationId(self.task, number) for number in range(2))
        self.nodes = {self.first: NODE, self.second: OTHER}
        for copy in (self.first, self.second):
            self.place(copy, 1)
            self.report(copy, 1, S.RUNNING)

    def _request(self, action: Action, target: str, text: str) -> TaskRequest:
        self.number += 1
        name = bytes([self.number]) * 32
        return TaskRequest(action, 0, target, text, name, NOW_S, NOW_S + 600)

    def request(self, uses: tuple[SecretUse, ...] = USES, auth: bool = False) -> TaskRequest:
        text = renewal_json(table(self.number + 1, uses, auth), restart=True)
        return self._request(Action.SET_SECRET, self.task.hex(), text)

    def renew(self, judged_at: FinalBlock | None = None) -> None:
        signed = SignedRequest(self.request(), b"s" * 65)
        feed(self.state, RequestApplied(signed, NODE, MANAGER, judged_at=judged_at))

    def place(self, copy: AllocationId, attempt: int) -> None:
        feed(self.state, Placement((Placed(copy, attempt, self.nodes[copy]),)))

    def report(
        self, copy: AllocationId, attempt: int, state: S, refused: StartRefusal = StartRefusal.NONE
    ) -> None:
        outcome = Outcome(copy, attempt, state, refused=refused)
        feed(self.state, ReportApplied(self.nodes[copy], (outcome,)))

    def to_stop(self) -> list[AllocationId]:
        """The copies that the leader would stop now."""
        return [o.allocation for record in renewals(self.state) for o in record.outcomes]

    def begin_anew(self) -> AllocationId:
        """The first copy is stopped and placed again."""
        (name,) = self.to_stop()
        self.report(name, 1, S.STOPPING)
        self.report(name, 1, S.STOPPED)
        assert self.to_stop() == []
        self.place(name, 2)
        assert self.to_stop() == []
        return name


def test_one_after_the_other() -> None:
    """The next goes when the one before runs; then nothing is left to look at."""
    rotated = Rotated()
    assert rotated.to_stop() == []
    rotated.renew()
    name = rotated.begin_anew()
    rotated.report(name, 2, S.RUNNING)
    (other,) = rotated.to_stop()
    assert other != name
    rotated.report(other, 1, S.STOPPING)
    rotated.report(other, 1, S.STOPPED)
    rotated.place(other, 2)
    rotated.report(other, 2, S.RUNNING)
    assert rotated.to_stop() == []
    assert not rotated.state.renewed


@pytest.mark.parametrize(
    ("ends", "refused"), [(S.FAILED, StartRefusal.NONE), (S.STOPPED, StartRefusal.LASTING)]
)
def test_secrets_that_break_a_copy_take_no_other_with_them(ends: S, refused: StartRefusal) -> None:
    """It fails with the new password, or no node can open them: the other runs on with the old
    ones, until somebody sets others."""
    rotated = Rotated()
    rotated.renew()
    name = rotated.begin_anew()
    rotated.report(name, 2, ends, refused)
    assert rotated.to_stop() == []
    rotated.renew()
    assert rotated.to_stop() == [rotated.second]


def test_a_system_tasks_copy_on_a_node_that_left_keeps_no_other() -> None:
    """Nothing replaces it elsewhere; on a node that is well it does."""
    rotated = Rotated(system=True)
    rotated.report(rotated.first, 1, S.STOPPING)
    rotated.report(rotated.first, 1, S.STOPPED)
    rotated.renew()
    assert rotated.to_stop() == []
    feed(rotated.state, NodeChanged(NODE, Reachability.UNREACHABLE, Intent.ELIGIBLE))
    assert rotated.to_stop() == [rotated.second]


def test_a_copy_that_comes_back_with_earlier_secrets_is_seen() -> None:
    """When none was left, the leader looked no more."""
    rotated = Rotated()
    rotated.renew()
    name = rotated.begin_anew()
    other = rotated.second
    rotated.report(other, 1, S.LOST)
    rotated.report(name, 2, S.RUNNING)
    assert rotated.to_stop() == []
    assert not rotated.state.renewed
    rotated.report(other, 1, S.RUNNING)
    assert rotated.to_stop() == [other]


@pytest.mark.parametrize(
    "uses",
    [
        (SecretUse("db"),),
        (*USES, SecretUse("more")),
        (SecretUse("db"), SecretUse("key", True, "KEY")),
        (SecretUse("db"), SecretUse("key", False, "OTHER")),
    ],
)
def test_a_copy_sees_what_it_was_made_for(uses: tuple[SecretUse, ...]) -> None:
    """Other names or forms could be given to no copy that is restarted: they are refused, with the
    names that there are."""
    rotated = Rotated()
    error = refusal(rotated.state, rotated.request(uses), NOW_S * 1000)
    assert isinstance(error, BadSpec)
    assert "db, key" in error.message
    assert refusal(rotated.state, rotated.request(USES[::-1]), NOW_S * 1000) is None


def test_credentials_for_the_image_stay() -> None:
    """Without them the next node could not fetch it; who adds some may."""
    rotated = Rotated(auth=True)
    error = refusal(rotated.state, rotated.request(), NOW_S * 1000)
    assert isinstance(error, BadSpec)
    assert "registry_auth" in error.message
    assert refusal(rotated.state, rotated.request(auth=True), NOW_S * 1000) is None
    assert refusal(Rotated().state, Rotated().request(auth=True), NOW_S * 1000) is None


def test_the_block_of_a_contracts_request_is_kept() -> None:
    """Nodes judge it by that block, as they do a submission."""
    rotated, block = Rotated(), FinalBlock(7, Digest(b"b" * 32))
    rotated.renew(block)
    kept = rotated.state.tasks[rotated.task].record.secrets
    assert kept is not None
    assert kept.judged_at == block
