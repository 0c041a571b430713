"""A key of a later feature level is refused below it, by old and new programs alike."""

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from p2pool.codec.spec import spec
from p2pool.codec.spec.spec import parse_spec, spec_json
from p2pool.model import features
from p2pool.model.errors import BadSpec
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL, FeatureLevel
from p2pool.model.tasks.spec import Mount, Resources, TaskSpec
from tests.codec.next_version import NEXT_LEVEL, next_version

pytestmark = pytest.mark.usefixtures("as_first_version")

LATER = ("priority", "resources.swap_bytes", "mounts.keep_s", "env")
GIVEN: dict[str, dict[str, Any]] = {
    "priority": {"priority": 7},
    "resources.swap_bytes": {"resources": {"swap_bytes": 2**20}},
    "mounts.keep_s": {"mounts": [{"kind": "task", "source": "v", "target": "/a", "keep_s": 60}]},
    "env": {"env": {"A": "1"}},
}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The next version, in which some keys are new: in tables, in lists, under another name."""
    fields = {
        (TaskSpec, "priority"), (TaskSpec, "environment"), (Resources, "swap_bytes"),
        (Mount, "keep_s"),
    }  # fmt: skip
    of = {getattr(attrs.fields(cls), name) for cls, name in fields}
    monkeypatch.setattr(features, "level_of", lambda f: NEXT_LEVEL if f in of else BASE_LEVEL)
    spec._later_keys.cache_clear()
    with next_version():
        yield
    spec._later_keys.cache_clear()


def text_with(key: str) -> str:
    return spec_json({"name": "t", "image": "i"} | GIVEN[key])


@pytest.mark.parametrize("key", LATER)
@pytest.mark.usefixtures("later")
def test_a_later_key_is_refused_below_its_level(key: str) -> None:
    """With the level that it needs; from that level on it is taken, and so is a text without it."""
    text = text_with(key)
    with pytest.raises(BadSpec) as refused:
        parse_spec(text, BASE_LEVEL)
    (problem,) = refused.value.problems
    assert problem.endswith(f"{key.rpartition('.')[2]} needs feature level 2, and the pool is at 1")
    assert spec_json(parse_spec(text, NEXT_LEVEL)) == text
    parse_spec(spec_json({"name": "t", "image": "i"}), BASE_LEVEL)


@pytest.mark.usefixtures("later")
def test_an_unknown_key_is_refused_at_every_level() -> None:
    """Known or not by a later program: below its level that makes no difference."""
    for level in (BASE_LEVEL, NEXT_LEVEL, FeatureLevel(9)):
        with pytest.raises(BadSpec, match="unknown key 'prio'"):
            parse_spec('{"image":"i","name":"t","prio":7}', level)


def test_every_key_has_a_level() -> None:
    """The paths are those that people write; the first level had names of secrets alone."""
    keys = dict(spec._keys_since(TaskSpec, ""))
    assert {"env", "resources.gpu.count", "mounts.kind", "restart.mode", "ports.host"} <= set(keys)
    later = {key for key, level in keys.items() if level > BASE_LEVEL}
    inside = {key for key in keys if key.startswith("secrets.")} - {"secrets.uses.name"}
    # A table without its level is refused whole, whatever is in it.
    assert later == {"init", "requirements", "work"} | inside
    assert {keys[key] for key in later} == {DISTRUST_LEVEL}
