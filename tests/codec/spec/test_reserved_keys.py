"""What a request holds and nothing heeds is refused at every door, and applied where it is old."""

from typing import Any

import pytest

from p2pool.codec.spec.reserved_keys import nested, unheeded
from p2pool.codec.spec.spec import parse_spec, spec_json
from p2pool.model.access.requests import Action, TaskRequest
from p2pool.model.errors import BadSpec
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.tasks.secrets import SecretUse, TaskSecrets
from p2pool.model.tasks.spec import TaskSpec

SMALL = {"name": "a", "image": "busybox"}


def asked(action: Action, text: str, target: str = "") -> TaskRequest:
    return TaskRequest(action, 1, target, text, b"r" * 32, 1, 2)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("secrets", ["token"], "no values"),
        ("secrets", [], "no values"),
        ("run_until_s", 86400, "deadline_s"),
        ("run_until_s", 60, "deadline_s"),
    ],
)
def test_a_key_that_does_nothing_is_refused_with_what_to_do(
    key: str, value: Any, said: str
) -> None:
    """Whatever its value: one that equals the default was written for a reason too."""
    with pytest.raises(BadSpec) as caught:
        spec_json({**SMALL, key: value})
    (problem,) = caught.value.problems
    assert problem.startswith(key)
    assert said in problem


def test_an_older_log_with_such_keys_is_read_as_before() -> None:
    """Replicas apply it; only who lets new requests in refuses."""
    text = '{"image":"busybox","name":"a","run_until_s":60,"secrets":["token"]}'
    names = TaskSecrets((SecretUse("token"),))
    assert parse_spec(text, BASE_LEVEL).secrets == names
    assert parse_spec(text, DISTRUST_LEVEL).secrets == names
    assert isinstance(unheeded(asked(Action.SUBMIT, text)), BadSpec)
    with pytest.raises(BadSpec):
        spec_json(TaskSpec(name="a", image="busybox", secrets=names))


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Action.STOP, '{"grace_s":5}'),
        (Action.DRAIN, '{"until":1}'),
        (Action.BAN, '{"reason":"x"}'),
        (Action.SET, '{"value":"3","force":true}'),
        (Action.SET, '{"value":"3","value":"5"}'),
        (Action.SET_SECRET, '{"restart":true,"secret":{}}'),
        (Action.SET_SECRET, '{"secrets":{"uses":{"a":{"file":true,"file":false}}}}'),
        (Action.REVOKE, '{"stopRuning":true}'),
    ],
)
def test_a_request_with_more_than_its_action_reads_is_refused(action: Action, text: str) -> None:
    """A misspelt stopRunning would leave running what its signer wants stopped."""
    assert "would do nothing" in str(unheeded(asked(action, text, "00")))


@pytest.mark.parametrize(
    ("action", "text"),
    [
        (Action.STOP, ""),
        (Action.DRAIN, "{}"),
        (Action.SET, '{"value":"3"}'),
        (Action.REVOKE, '{"beforeS":1,"stopRunning":true}'),
        (Action.REVOKE, ""),
        (Action.SET, "["),
        (Action.SET_SECRET, '{"secrets":{"uses":{"a":{"file":true},"b":{"file":true}}}}'),
    ],
)
def test_what_is_read_is_let_in(action: Action, text: str) -> None:
    """And what is no JSON at all, others refuse."""
    assert unheeded(asked(action, text, "00")) is None


def test_a_submission_with_a_target_is_refused() -> None:
    """Nothing reads it."""
    assert "no target" in str(unheeded(asked(Action.SUBMIT, '{"image":"a","name":"a"}', "x")))


@pytest.mark.parametrize("action", [one for one in Action if one is not Action.SUBMIT])
def test_what_is_nested_too_deeply_is_refused_unparsed(action: Action) -> None:
    """At every door, and first: parsing it could use up the stack."""
    text = '{"value":"lan","x":' + "[" * 60_000
    assert "nested" in str(unheeded(asked(action, text, "00")))
    assert "nested" in str(nested(asked(action, text, "00")))
    assert nested(asked(action, '{"value":"[[["}')) is None
