"""What a specification may say of work: each source in one form, and no piece without a name."""

from typing import Any

import pytest

from p2pool.codec.spec.spec import parse_spec, spec_json
from p2pool.model.errors import BadSpec
from p2pool.model.features import BASE_LEVEL, DISTRUST_LEVEL
from p2pool.model.tasks.spec import WorkRequest

SMALL: dict[str, Any] = {"name": "a", "image": "busybox"}
KEY = "0x" + "ab" * 32
FILE = {"file": "/out/work.json"}
TMPFS = {"kind": "tmpfs", "target": "/out"}
VOLUME = {"kind": "task", "source": "out", "target": "/out"}


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (FILE, '{"file":"/out/work.json"}'),
        ({**FILE, "units": 12}, '{"file":"/out/work.json","units":12}'),
        ({**FILE, "key": KEY}, f'{{"file":"/out/work.json","key":"{KEY}"}}'),
        ({"metric": "steps"}, '{"metric":"steps"}'),
        ({"units": 1, "metric": "steps"}, '{"metric":"steps","units":1}'),
    ],
)
def test_each_form_has_one_text(work: dict[str, Any], text: str) -> None:
    """The signed one, which is read back as it was meant; a pool of the first level has none."""
    made = spec_json({**SMALL, "work": work})
    assert made == f'{{"image":"busybox","name":"a","work":{text}}}'
    assert parse_spec(made, DISTRUST_LEVEL).work == WorkRequest(**work)
    with pytest.raises(BadSpec, match="work needs feature level 2"):
        parse_spec(made, BASE_LEVEL)


@pytest.mark.parametrize(
    "more",
    [
        {"mounts": [VOLUME], "read_only": True},
        {"mounts": [{**TMPFS, "target": "/tmp"}]},
        {"replicas": 3},
        {"system": True},
        {"restart": {"mode": "always"}},
    ],
)
def test_a_digest_names_each_copys_own(more: dict[str, Any]) -> None:
    """However many there are, as long as they can write the file."""
    assert spec_json({**SMALL, **more, "work": FILE})


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"work": {}}, "work names no source: set file, or metric"),
        ({"work": {"units": 3}}, "work names no source"),
        ({"work": "/out"}, "work is not an object"),
        ({"work": {**FILE, "metric": "steps"}}, "work has two sources: keep file or metric"),
        ({"work": {"metric": "steps", "key": KEY}}, "leave work.key out"),
        ({"work": {"metric": "1 step"}}, "work.metric is not the name of a metric"),
        ({"work": {"metric": ""}}, "work.metric is not the name of a metric"),
        ({"work": {"file": "out/a"}}, "work.file is not an absolute path"),
        ({"work": {"file": "/out/../a"}}, "work.file is not a plain path"),
        ({"work": {"file": "/"}}, "work.file is a directory"),
        ({"work": {"file": "/dev/shm/a"}}, "work.file lies where a copy that has ended"),
        ({"work": {"file": "/run/secrets/db"}}, "work.file is a secret"),
        ({"work": {**FILE, "key": KEY.upper()}}, "work.key is not 0x and 64 lower-case hex"),
        ({"work": {**FILE, "key": "digest"}}, "leave it out for a digest"),
        ({"work": {**FILE, "units": 0}}, "work.units is 0"),
        ({"work": {**FILE, "units": 2**53}}, "work.units is"),
        ({"work": {**FILE, "units": "12"}}, "work.units is not a whole number but text"),
        ({"work": {**FILE, "unit": 1}}, "did you mean 'units'?"),
        ({"work": {**FILE, "key": KEY}, "replicas": 2}, "the piece of every copy"),
        ({"work": {**FILE, "key": KEY}, "system": True}, "the piece of every copy"),
        (
            {"work": {**FILE, "key": KEY}, "restart": {"mode": "always"}},
            "the piece of every restart",
        ),
        ({"work": FILE, "read_only": True}, "where read_only lets the task write nothing"),
        ({"work": FILE, "mounts": [TMPFS]}, "work.file lies in a tmpfs mount"),
        ({"work": FILE, "mounts": [{**VOLUME, "read_only": True}]}, "a mount that is read_only"),
        (
            {"work": FILE, "mounts": [{**VOLUME, "target": FILE["file"]}]},
            "work.file is a mount, which is a directory",
        ),
    ],
)
def test_what_names_no_piece_is_refused(change: dict[str, Any], wanted: str) -> None:
    """With the path of the key, and what to do."""
    with pytest.raises(BadSpec) as caught:
        spec_json({**SMALL, **change})
    assert wanted in "\n".join(caught.value.problems)
