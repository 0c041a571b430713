"""Every route of the API answers over real HTTP what the agent knows, and every failure as a
problem document that says what to do."""

import json
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from p2pool.api.server import ApiSettings
from p2pool.codec.json import requests
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.proofs import TwoMessages, read_evidence, read_proof, voter_json
from p2pool.codec.spec import spec
from p2pool.model import features, limits
from p2pool.model.access.requests import Action, SignedRequest, TaskRequest
from p2pool.model.chain.invite import Invite
from p2pool.model.errors import (
    BadSpec,
    Conflict,
    Malformed,
    NoLeader,
    NotAllowed,
    NotForUs,
    NotFound,
    P2poolError,
    Stale,
    Unavailable,
)
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.ids import NodeId, PoolRef
from p2pool.model.log.certificates import Evidence
from p2pool.model.ports.agent import InviteOffered, ReadIndexCommand, SubmitCommand
from p2pool.model.ports.view import LaggingView
from p2pool.model.tasks.spec import TaskSpec
from p2pool.wire import typed_data
from p2pool.wire.leader_verification import verify_leader
from tests.api.conftest import Served, serving
from tests.api.fakes import FAILING_RECEIVER, NOT_YOURS, OTHER_NODE, TASK_ID, sample_view
from tests.codec.next_version import NEXT_LEVEL, next_version
from tests.wire.committee import FOUNDING, A, B, C, lies, proven
from tests.wire.samples import ACCOUNT, NODE_ID, NOW_MS, POOL

thread = trio.to_thread.run_sync
ME = "0x" + NODE_ID.hex()


def signed(pool: PoolRef = POOL, **change: Any) -> SignedRequest:
    """A submission signed for now."""
    now_s = int(time.time())
    spec = '{"image":"busybox","name":"a"}'
    request = TaskRequest(Action.SUBMIT, pool.pool_id, "", spec, b"r" * 32, now_s - 5, now_s + 600)
    return typed_data.sign_request(pool, ACCOUNT, attrs.evolve(request, **change))


async def test_reads_say_what_the_agent_knows_and_from_when(served: Served) -> None:
    """Nodes, tasks, allocations, leader, committee, roster and pool, each with its `meta`."""
    client = served.client
    answer = await thread(client.get, "/v1/nodes")
    assert answer["meta"] == {
        "as_of_ms": 1_800_000_000_000,
        "revision": 7,
        "node_id": ME,
        "epoch": 1,
        "term": 3,
        "leader": ME,
        "commit_index": 12,
        "applied_index": 12,
        "roster_block": 100,
        "roster_age_ms": 500,
        "leader_since_ms": 1_800_000_000_000,
    }
    first, second = answer["nodes"]
    assert (first["node_id"], first["reachability"], first["leader"]) == (ME, "healthy", True)
    assert first["hardware"]["gpus"][0]["uuid"] == "GPU-1"
    assert (second["reachability"], second["hardware"]) == ("dead", None)
    one = await thread(client.node, ME.removeprefix("0x"))
    assert [a["state"] for a in one["allocations"]] == ["running"]
    task = await thread(client.task, TASK_ID.hex())
    assert task["spec"] == {
        "name": "train",
        "image": "busybox:1",
        "command": ["echo", "hi"],
        "env": {"LR": "0.1"},
    }
    assert (await thread(client.tasks)) == [task]
    allocation = f"{TASK_ID.hex()}.0"
    found = await thread(client.get, f"/v1/allocations/{allocation}")
    assert found["allocation"]["gpus"] == ["GPU-1"]
    assert len((await thread(client.get, "/v1/allocations"))["allocations"]) == 1
    assert (await thread(client.get, "/v1/leader"))["leader"]["term"] == 3
    committee = (await thread(client.get, "/v1/committee"))["committee"]
    assert (committee["quorum"], committee["members"][0]["voter"]) == (1, True)
    assert (await thread(client.get, "/v1/roster"))["roster"]["block_number"] == 100
    pool = await thread(client.pool)
    assert (pool["name"], pool["gpus"], pool["tasks"]) == ("demo", 1, {"running": 1})
    assert await thread(client.pool_ref) == POOL
    assert (await thread(client.get, "/v1/agent"))["agent"]["role"] == "leader"


async def test_a_receiver_that_is_away_is_a_warning_of_the_agent(served: Served) -> None:
    """With its numbers beside it; one that takes what it is sent is none."""
    served.port.receivers = (FAILING_RECEIVER,)
    agent = (await thread(served.client.get, "/v1/agent"))["agent"]
    (warning,) = agent["warnings"]
    assert "billing" in warning
    assert "status 503; 1 messages were given up" in warning
    (told,) = agent["webhooks"]
    assert (told["delivered"], told["failed"], told["given_up"]) == (3, 2, 1)
    served.port.receivers = (attrs.evolve(FAILING_RECEIVER, given_up=0, problem=""),)
    assert (await thread(served.client.get, "/v1/agent"))["agent"]["warnings"] == []


async def test_a_roster_that_is_not_known_is_null_and_never_empty(served: Served) -> None:
    """Unknown is the absence of a roster; readiness says why, with 503."""
    served.port.seen = attrs.evolve(served.port.seen, roster=None)
    answer = await thread(served.client.get, "/v1/roster")
    assert (answer["roster"], answer["meta"]["roster_block"]) == (None, None)
    ready = await thread(served.client.ready)
    assert not ready["ready"]
    assert "chain" in ready["problems"][0]


async def test_a_consistent_read_asks_the_leader_first(served: Served) -> None:
    """The view is taken after the answer, and where there is none the read fails."""
    answer = await thread(lambda: served.client.get("/v1/nodes", consistent="true"))
    assert served.port.asked == [ReadIndexCommand()]
    assert answer["meta"]["applied_index"] == 13
    served.port.failures = [NoLeader("No leader is known.", hint="Wait.")]
    with pytest.raises(NoLeader, match=r"No leader is known\. Wait\."):
        await thread(lambda: served.client.tasks(consistent=True))


SAID = {Action.SET: '{"value":"5"}', Action.REVOKE: '{"beforeS":5}'}


@pytest.mark.parametrize(
    ("action", "target", "about"),
    [
        (Action.STOP, "AB" * 16, {"task_id": "ab" * 16}),
        (Action.DRAIN, "0x" + "cd" * 20, {"node_id": "0x" + "cd" * 20}),
        (Action.UNBAN, "cd" * 20, {"node_id": "0x" + "cd" * 20}),
        (Action.SET, "committee", {"setting": "committee"}),
        (Action.REVOKE, "cd" * 20, {}),
        (Action.SET_SECRET, "AB" * 16, {"task_id": "ab" * 16}),
    ],
)
async def test_an_answer_names_what_the_request_is_about(
    served: Served, action: Action, target: str, about: dict[str, str]
) -> None:
    """Not the request: the pool knows it by an id of the same form as a task's."""
    served.port.seen = attrs.evolve(served.port.seen, feature_level=DISTRUST_LEVEL)
    accepted = await thread(
        served.client.send, signed(action=action, target=target, spec_json=SAID.get(action, ""))
    )
    assert accepted["action"] == action.value
    named = {key: accepted[key] for key in ("task_id", "node_id", "setting") if accepted[key]}
    assert named == about


async def test_a_pool_without_a_word_for_a_request_is_not_asked(served: Served) -> None:
    """A leader of the first feature level could not read it, and would never answer."""
    served.port.seen = attrs.evolve(served.port.seen, feature_level=BASE_LEVEL)
    other = signed(action=Action.SET_SECRET, target="ab" * 16, spec_json="")
    with pytest.raises(Conflict, match="feature level 1, which knows no such request"):
        await thread(served.client.send, other)
    assert served.port.asked == []


async def test_a_signed_request_reaches_the_agent_with_its_signer(served: Served) -> None:
    """The signer is recovered from the signature, whoever held the token."""
    request = signed()
    accepted = await thread(served.client.send, request)
    assert accepted == {
        "action": "submit",
        "task_id": TASK_ID.hex(),
        "node_id": None,
        "setting": None,
        "index": 13,
        "leader": ME,
        "replicated": True,
        "duplicate": False,
    }
    (asked,) = served.port.asked
    assert asked == SubmitCommand(request, typed_data.recover_request(POOL, request))


async def test_a_request_is_sent_again_while_there_is_no_leader(served: Served) -> None:
    """The same bytes, so that it is carried out once; and not for ever."""
    served.port.failures = [NoLeader("No leader is known.")]
    told: list[P2poolError] = []
    await thread(lambda: served.client.send(signed(), waiting=told.append))
    first, second = served.port.asked
    assert first == second
    assert [type(error) for error in told] == [NoLeader]
    served.port.failures = [NoLeader("No leader is known.")]
    with pytest.raises(NoLeader):
        await thread(lambda: served.client.send(signed(), patience_ms=0))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"pool": attrs.evolve(POOL, pool_id=2)}, NotForUs),
        ({"not_before_s": 1, "not_after_s": 2}, Stale),
        ({"spec_json": '{"image":"busybox","name":"a","replica":2}'}, BadSpec),
        ({"spec_json": '{"image":"busybox","name":"a","secrets":["token"]}'}, BadSpec),
        ({"spec_json": '{"image":"busybox","name":"a","run_until_s":60}'}, BadSpec),
        ({"target": "somewhere"}, Malformed),
        ({"action": Action.STOP, "target": "00", "spec_json": '{"grace_s":5}'}, Malformed),
        (
            {"spec_json": '{"env":{"NVIDIA_VISIBLE_DEVICES":"all"},"image":"busybox","name":"a"}'},
            BadSpec,
        ),
    ],
)
async def test_a_request_that_cannot_be_meant_is_refused_here(
    served: Served, change: dict[str, Any], kind: type[P2poolError]
) -> None:
    """Another pool's, an expired one and a bad specification never reach the agent."""
    with pytest.raises(kind):
        await thread(served.client.send, signed(**change))
    assert served.port.asked == []


async def test_requirements_that_cannot_be_read_are_refused_here(served: Served) -> None:
    """With what is wrong with them, in a pool that takes those that can be."""
    served.port.seen = attrs.evolve(sample_view(), feature_level=DISTRUST_LEVEL)
    text = '{"image":"busybox","name":"a","requirements":"%s"}'
    with pytest.raises(BadSpec, match="requirements cannot be read: ram_mb='64GB' is not a number"):
        await thread(served.client.send, signed(spec_json=text % "ram_mb=64GB"))
    assert served.port.asked == []
    await thread(served.client.send, signed(spec_json=text % "ram_mb=64000"))
    assert len(served.port.asked) == 1


@pytest.mark.usefixtures("as_first_version")
async def test_a_key_above_the_pools_level_is_refused_with_who_keeps_it_there(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The level that the key needs, the pool's, and which node is to be upgraded."""
    key = attrs.fields(TaskSpec).priority
    monkeypatch.setattr(features, "level_of", lambda f: NEXT_LEVEL if f == key else BASE_LEVEL)
    spec._later_keys.cache_clear()
    lagging = (LaggingView(OTHER_NODE, "0.2.0", BASE_LEVEL),)
    served.port.seen = attrs.evolve(sample_view(), lagging=lagging)
    text = '{"image":"busybox","name":"a","priority":7}'
    with next_version(), pytest.raises(BadSpec) as refused:
        await thread(served.client.send, signed(spec_json=text))
    spec._later_keys.cache_clear()
    assert "priority needs feature level 2, and the pool is at 1" in str(refused.value)
    assert f"because 0x{OTHER_NODE.hex()} runs 0.2.0: upgrade that." in str(refused.value)
    assert served.port.asked == []


async def test_no_right_is_403_and_what_the_agent_says_is_told(served: Served) -> None:
    """The agent's refusal comes back as itself, with its hint."""
    served.port.failures = [NOT_YOURS]
    with pytest.raises(NotAllowed, match=r"may not submit\. Ask the manager\."):
        await thread(served.client.send, signed())
    status, _ = await thread(lambda: served.client._exchange("GET", "/v1/nodes/0x12", None))
    assert status == 400


async def test_all_that_is_wrong_with_a_body_is_said_at_once(served: Served) -> None:
    """Unknown keys with the nearest known one, missing ones, and wrong types."""
    body = requests.request_json(signed()) | {"signatur": "0x00"}
    body["request"] |= {"pool_id": "one", "request_id": "00"}
    del body["request"]["action"]
    with pytest.raises(Malformed) as caught:
        await thread(served.client._json, "POST", "/v1/requests", body)
    assert caught.value.problems == (
        "body.request.action is missing",
        "body.request.pool_id is not a whole number but text",
        "body.request.request_id is not 32 bytes in hex",
        "body has an unknown key 'signatur' (did you mean 'signature'?)",
    )


@pytest.mark.parametrize(
    ("method", "path", "kind", "status"),
    [
        ("GET", f"/v1/tasks/{'00' * 16}", NotFound, 404),
        ("GET", f"/v1/nodes/{'00' * 20}", NotFound, 404),
        ("GET", f"/v1/allocations/{TASK_ID.hex()}.7", NotFound, 404),
        ("GET", "/v1/tasks/nonsense", NotFound, 404),
        ("GET", "/v1/allocations/nonsense", Malformed, 400),
        ("GET", "/v1/events?after=1.2", Malformed, 400),
        ("GET", "/v1/nodes?consistent=perhaps", Malformed, 400),
        ("GET", "/v1/nothing", NotFound, 404),
        ("GET", "/", NotFound, 404),
        ("POST", "/v1/invites", Malformed, 400),
    ],
)
async def test_what_is_not_there_or_not_meant(
    served: Served, method: str, path: str, kind: type[P2poolError], status: int
) -> None:
    """Each is a problem document with a code of the tree."""
    code, body = await thread(
        served.client._exchange, method, path, {} if method == "POST" else None
    )
    document = json.loads(body)
    assert (code, document["status"], document["code"]) == (status, status, kind.code)
    assert document["type"] == f"urn:p2pool:error:{kind.code}"


async def test_a_defect_of_ours_is_told_without_its_insides(served: Served) -> None:
    """500, and the server goes on."""
    served.port.bug = True
    status, body = await thread(
        served.client._exchange, "POST", "/v1/requests", requests.request_json(signed())
    )
    assert (status, json.loads(body)["code"]) == (500, "internal")
    assert b"insides" not in body
    assert await thread(served.client.nodes)


async def test_an_agent_that_does_not_answer_is_not_waited_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The deadline holds even when the port forgets it, and says that sending again is safe."""

    async def never(*_: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(type(served.port), "ask", never)
    monkeypatch.setattr(limits, "REQUEST_DEADLINE_MS", 50)
    monkeypatch.setattr(limits, "API_ASK_SLACK_MS", 50)
    with pytest.raises(Unavailable, match="carries it out once"):
        await thread(lambda: served.client.send(signed(), patience_ms=0))


async def test_an_invite_reaches_the_agent(served: Served) -> None:
    """As it was made, with a nonce that no JavaScript number holds."""
    invite = Invite(1, 1, NodeId(b"n" * 20), 2**200 + 1, 2_000_000_000, b"s" * 65)
    await thread(served.client.invite, invite)
    assert served.port.asked == [InviteOffered(invite)]
    served.port.failures = [Conflict("The invite was used.")]
    with pytest.raises(Conflict):
        await thread(served.client.invite, invite)


async def test_the_api_describes_itself(served: Served) -> None:
    """OpenAPI 3.1 names every route and the shape of what it answers; metrics are text."""
    schema = await thread(served.client.get, "/v1/openapi.json")
    assert schema["openapi"].startswith("3.1")
    assert {"/v1/nodes", "/v1/requests", "/v1/allocations/{allocation_id}/logs"} <= set(
        schema["paths"]
    )
    assert "reachability" in json.dumps(schema["components"]["schemas"])
    status, text = await thread(served.client._exchange, "GET", "/metrics", None)
    assert (status, text) == (200, served.port.metrics())


async def test_metrics_that_are_turned_off_are_not_found(tmp_path: Path) -> None:
    """With the key that turns them on; everything else answers as ever."""
    async with serving(tmp_path, ApiSettings("127.0.0.1:0", metrics=False)) as served:
        with pytest.raises(NotFound, match="turned off") as refused:
            await thread(served.client.get, "/metrics")
        assert "[metrics] enabled = true" in refused.value.hint
        status, _ = await thread(served.client._exchange, "GET", "/metrics", None)
        assert status == 404
        assert (await thread(served.client.get, "/v1/health"))["status"] == "ok"


async def test_what_a_task_says_of_itself_is_asked_of_every_node_that_runs_it(
    served: Served,
) -> None:
    """Numbers with their times; a node that does not answer is a problem of its copy alone."""
    (copy,) = await thread(served.client.task_metrics, TASK_ID.hex())
    assert copy["allocation"] == f"{TASK_ID.hex()}.0"
    assert [(m["name"], m["value"]) for m in copy["metrics"]] == [("loss", 0.25), ("step", 7.0)]
    assert (copy["refused_lines"], copy["problem"]) == (3, "")
    served.port.failures.append(Unavailable("The node is away."))
    (copy,) = await thread(served.client.task_metrics, TASK_ID.hex())
    assert (copy["metrics"], copy["problem"]) == ([], "The node is away.")


async def test_the_proof_of_who_leads_is_served_and_can_be_checked(served: Served) -> None:
    """By whoever reads it, from the root record on; and a summary for people stands beside it."""
    leader = (await thread(served.client.get, "/v1/leader"))["leader"]
    assert (leader["proof"], leader["certificate"]) == (None, None)
    proof = proven()
    found = verify_leader(POOL, FOUNDING, proof, NOW_MS)
    served.port.seen = attrs.evolve(served.port.seen, proof=proof, certificate=found.certificate)
    leader = (await thread(served.client.get, "/v1/leader"))["leader"]
    assert read_proof(leader["proof"]) == proof
    assert verify_leader(POOL, FOUNDING, read_proof(leader["proof"]), NOW_MS) == found
    assert leader["certificate"]["term"] == 5
    assert leader["certificate"]["valid_until_ms"] == NOW_MS + limits.CERTIFICATE_LIFETIME_MS


async def test_every_kind_of_evidence_is_served(served: Served) -> None:
    """With the messages themselves, what each kind is about, and a sentence for people."""
    assert (await thread(served.client.get, "/v1/evidence"))["evidence"] == []
    proofs = lies()
    served.port.seen = attrs.evolve(served.port.seen, evidence=tuple(proofs.values()))
    shown = (await thread(served.client.get, "/v1/evidence"))["evidence"]
    in_order = sorted(proofs, key=lambda name: proofs[name].term)
    said = dict(zip(in_order, shown, strict=True))
    assert {name: one["kind"] for name, one in said.items()} == {
        name: "append" if name == "takeover" else name for name in proofs
    }
    for one in shown:
        term = 2 if one["kind"] == "change" else 5
        assert (one["voter"], one["term"]) == (voter_json(C.voter), term)
        assert address_text(C.voter.node_id) in one["text"]
    names = "first_for", "second_for", "index", "first_hash", "second_hash", "reason"
    given = {kind: {name for name in names if one[name] is not None} for kind, one in said.items()}
    assert given["vote"] == given["certificate"] == {"first_for", "second_for"}
    assert given["history"] == given["change"] == {"index", "first_hash", "second_hash"}
    assert given["append"] == given["takeover"] == {"index", "reason"}
    two = proofs["vote"]
    assert isinstance(two, Evidence)
    assert read_evidence(said["vote"]["proof"]) == TwoMessages(POOL, two.first, two.second)
    assert {said["vote"][name]["node_id"] for name in ("first_for", "second_for")} == {
        address_text(m.voter.node_id) for m in (A, B)
    }


async def test_evidence_of_the_latest_term_comes_last(served: Served) -> None:
    """Of whatever kind: `--out` takes that."""
    proofs = [attrs.evolve(one, term=10 - n) for n, one in enumerate(lies().values())]
    served.port.seen = attrs.evolve(served.port.seen, evidence=tuple(proofs))
    shown = (await thread(served.client.get, "/v1/evidence"))["evidence"]
    assert [one["term"] for one in shown] == [5, 6, 7, 8, 9, 10]
