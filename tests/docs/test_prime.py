"""The page for users of Prime's orchestrator names every field of theirs, and only keys of ours."""

import re
import tomllib

import pytest

from p2pool.cli.shared.environment import GIVEN
from p2pool.codec.spec.spec import _keys_since, parse_spec, spec_json
from p2pool.model.features import newest
from p2pool.model.tasks.spec import TaskSpec
from tests.docs.generator.pages import DOCS

PAGE = (DOCS / "prime.md").read_text(encoding="utf-8")
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split(" |"))
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| ---")
]
THEIRS = (
    *("name", "image", "cmd", "entrypoint", "env_vars", "metadata.labels"),
    *("volume_mounts.host_path", ".container_path", "storage_config.file_name_template"),
    "scheduling_config.plugins.node_groups.allowed_topologies",
    *("min_group_size", "max_group_size", "compute_requirements"),
    *("${GROUP_INDEX}", "${GROUP_SIZE}", "${GROUP_ID}", "${NEXT_P2P_ADDRESS}", "${TASK_ID}"),
    *("${TOTAL_UPLOAD_COUNT}", "${LAST_FILE_IDX}", "${NODE_ADDRESS}", "${SOCKET_PATH}"),
    "${TIMESTAMP}",
)
"""The fields of their tasks and node groups, and the variables that their scheduler replaces."""
OURS = dict.fromkeys(path for path, _ in _keys_since(TaskSpec, ""))
COPIES = "what copies take of a machine"
TASKS = "one task for each group that you want"
OF_MOUNTS = ("source", "target", "attempts")
"""Parts that the page names beside their table."""


def words(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("field", THEIRS)
def test_every_field_of_theirs_has_a_row(field: str) -> None:
    """In the first column of some table."""
    assert any(field in words(row[0]) or f"`{field}`" in row[0] for row in ROWS), field


def test_every_row_says_what_it_is_here_or_that_it_is_not() -> None:
    """With a key of a specification, or a variable that a container finds."""
    named = {word for row in ROWS if len(row) == 3 for word in words(row[1])}
    keys = {word.partition(" =")[0] for word in named}
    assert len(keys) > 15
    for key in keys - {"task"}:
        assert key in OURS or key in OF_MOUNTS or key in GIVEN, key
    rows = [row for row in ROWS if len(row) == 3 and row[0] != "theirs"]
    assert all(words(row[1]) or row[1] in ("none", COPIES, TASKS) for row in rows)


def test_the_example_is_a_specification_with_their_requirements() -> None:
    """It can be submitted as it stands, and asks what the group's configuration asks."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    spec = parse_spec(spec_json(tomllib.loads(text)), newest())
    assert f'"compute_requirements": "{spec.requirements}"' in PAGE
    assert (spec.replicas, spec.gang, spec.resources.gpu.count) == (4, True, 8)
