"""Nothing in a committed entry raises, and what nobody may write has no effect."""

import json
import subprocess
import sys
from random import Random

import attrs
import pytest

from p2pool.codec.entries import RECORDS, encode_body
from p2pool.core.fsm import entry_check
from p2pool.core.fsm.apply import apply, apply_entry
from p2pool.core.fsm.requests import refusal, setting_in
from p2pool.core.fsm.state import PoolState
from p2pool.core.fsm.storage.rows import decode_state, digest_of, encode_state
from p2pool.model import features
from p2pool.model.access.requests import Action, SignedRequest
from p2pool.model.errors import Malformed
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.log.entries import LevelRaised, RequestApplied, Setting
from p2pool.model.log.raft import Entry, EntryKind
from p2pool.model.settings import SETTINGS
from tests.core.fsm.records import MANAGER, NODE, NOW_S, POOL, request

BAD = ("none", "", "0", "-1", "99999999999999999999", "3 ", "LAN", "\u0663", "x" * 200)
JUNK = (
    b"",
    b"junk",
    b"\x80",
    b"\x81\x00",
    b"\x9f",
    b"\xa0",
    b"\xff" * 40,
    b"\x82" * 30,
    bytes(300),
)


def taken(state: PoolState, entry: Entry) -> None:
    """As every replica does (`core.log.pool_log`)."""
    try:
        apply_entry(state, entry)
    except Malformed:
        apply(state, entry, None)


def entry_of(index: int, kind: int, body: bytes) -> Entry:
    return Entry(index, 1, kind, NOW_S * 1000, body)


@pytest.mark.parametrize("kind", list(RECORDS))
def test_a_garbage_body_is_refused_and_applies_as_nothing(kind: EntryKind) -> None:
    """Of every kind of entry."""
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    rng = Random(int(kind))
    for body in (*JUNK, *(rng.randbytes(rng.randrange(60)) for _ in range(200))):
        entry = entry_of(state.applied_index + 1, kind, body)
        assert entry_check.refusal(POOL, features.newest(), entry) is not None
        taken(state, entry)
    assert decode_state(encode_state(state)).applied_index == state.applied_index
    assert [state.tasks, state.nodes, state.settings, state.chain.links] == [{}, {}, {}, ()]


def test_an_unknown_kind_passes() -> None:
    """A later version knows it."""
    assert entry_check.refusal(POOL, features.newest(), entry_of(1, 99, b"junk")) is None


@pytest.mark.parametrize("name", [*SETTINGS, "nonsense", ""])
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("level", [BASE_LEVEL, DISTRUST_LEVEL])
def test_a_setting_that_nobody_may_set(name: str, value: str, level: FeatureLevel) -> None:
    """No follower appends it; in a log that has it, whoever reads it takes the default."""
    kind, body = encode_body(Setting(name, value))
    entry, state = entry_of(1, kind, body), PoolState(POOL, 1, level=level)
    assert entry_check.refusal(POOL, features.newest(), entry) is not None
    taken(state, entry)
    assert state.settings == ({} if level >= DISTRUST_LEVEL else {name: value})
    if name in SETTINGS:
        assert setting_in(state, name) is None
    assert digest_of(state)


NO_VALUES = ("", "[]", "null", "{}", '{"value":3}', '{"value":null}', '{"value":["3"]}', "{", "1e9")


@pytest.mark.parametrize("name", [*SETTINGS, "nonsense", ""])
def test_a_request_for_such_a_setting(name: str) -> None:
    """It is refused at the door; no follower appends it; where it is committed it counts as asked,
    and changes nothing."""
    texts = (*(json.dumps({"value": value}) for value in BAD), *NO_VALUES)
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    for number, text in enumerate(texts):
        asked = attrs.evolve(request(Action.SET, number, name), spec_json=text)
        assert refusal(state, asked, NOW_S * 1000) is not None
        kind, body = encode_body(RequestApplied(SignedRequest(asked, b"s" * 65), NODE, MANAGER))
        entry = entry_of(state.applied_index + 1, kind, body)
        assert entry_check.refusal(POOL, features.newest(), entry) is not None
        taken(state, entry)
    assert state.settings == {}
    assert decode_state(encode_state(state)).applied_index == len(texts)


@pytest.mark.parametrize("level", [BASE_LEVEL, DISTRUST_LEVEL])
def test_a_setting_beside_what_is_nested_deeply(level: FeatureLevel) -> None:
    """How deep a parser can go depends on who calls it: from level 2 on replicas ask before, and it
    changes nothing. At level 1 it is applied as it was."""
    name, value = next((name, values[0]) for name, values in SETTINGS.items())
    text = json.dumps({"value": value, "x": 0}).replace("0}", "[" * 200 + "]" * 200 + "}")
    asked = attrs.evolve(request(Action.SET, 1, name), spec_json=text)
    state = PoolState(POOL, 1, level=level)
    refused = refusal(state, asked, NOW_S * 1000)
    assert (refused is not None) is (level >= DISTRUST_LEVEL)
    kind, body = encode_body(RequestApplied(SignedRequest(asked, b"s" * 65), NODE, MANAGER))
    taken(state, entry_of(state.applied_index + 1, kind, body))
    assert state.settings == ({} if level >= DISTRUST_LEVEL else {name: value})


SMALL_STACK = """
import sys, threading
sys.setrecursionlimit(100_000)  # As a library of web3's does.
from p2pool.core.fsm import entry_check
from p2pool.model.log.raft import Entry
from tests.core.fsm.records import POOL
body = sys.stdin.buffer.read()
told = []
threading.stack_size(1024 * 1024)
one = threading.Thread(target=lambda: told.append(
    entry_check.refusal(POOL, 2, Entry(1, 1, int(sys.argv[1]), 0, body))))
one.start()
one.join()
print(told)
"""


def test_a_follower_parses_nothing_that_is_nested_deeply() -> None:
    """It reads an entry before it appends it, so one lying leader could end every follower whose
    stack is small. What it does not read, it leaves to the state, which it changes in nothing."""
    name, values = next(iter(SETTINGS.items()))
    text = json.dumps({"value": values[0], "x": 0}).replace("0}", "[" * 60_000)
    asked = attrs.evolve(request(Action.SET, 1, name), spec_json=text)
    kind, body = encode_body(RequestApplied(SignedRequest(asked, b"s" * 65), NODE, MANAGER))
    done = subprocess.run(
        [sys.executable, "-c", SMALL_STACK, str(int(kind))], input=body, capture_output=True
    )
    assert (done.returncode, done.stdout) == (0, b"[None]\n"), done
    state = PoolState(POOL, 1, level=DISTRUST_LEVEL)
    taken(state, entry_of(1, kind, body))
    assert state.settings == {}


@pytest.mark.parametrize("name", list(SETTINGS))
def test_settings_that_people_make_pass(name: str) -> None:
    """Every value that there is."""
    for value in SETTINGS[name]:
        kind, body = encode_body(Setting(name, value))
        assert entry_check.refusal(POOL, features.newest(), entry_of(1, kind, body)) is None


def test_a_level_beyond_this_program_is_refused() -> None:
    """An honest leader asks every voter first, so only a lie would end this agent."""
    beyond = FeatureLevel(features.newest() + 1)
    kind, body = encode_body(LevelRaised(beyond, "9.0.0"))
    assert entry_check.refusal(POOL, features.newest(), entry_of(1, kind, body)) is not None
    kind, body = encode_body(LevelRaised(features.newest(), "9.0.0"))
    assert entry_check.refusal(POOL, features.newest(), entry_of(1, kind, body)) is None
