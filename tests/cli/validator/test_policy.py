"""`p2pool validator policy` shows what a file means, and what is wrong in it."""

from pathlib import Path

from click.testing import CliRunner

from p2pool.cli import main
from p2pool.model.errors import Misconfigured
from p2pool.validator.policy.policy_file import policy_of
from p2pool.validator.policy.rules import Policy
from tests.cli.output.held import held


def test_what_it_shows_is_a_policy_file(tmp_path: Path) -> None:
    """Without a file the empty one; with one, all that it says and all that it leaves unsaid."""
    shown = CliRunner().invoke(main.cli, ["validator", "policy"])
    assert policy_of(shown.output) == Policy()
    path = tmp_path / "policy.toml"
    path.write_text("[policy]\ndry_run = false\n")
    shown = CliRunner().invoke(main.cli, ["validator", "policy", str(path), "--json"])
    told = held(shown.stdout)
    assert told["policy"]["dry_run"] is False
    assert told["rules"]["replayed"]["penalty_percent"] == 10
    assert told["quiet"]["still"] == ["validate", "invalidate"]


def test_what_is_wrong_is_refused(tmp_path: Path) -> None:
    """With the key that was meant."""
    path = tmp_path / "policy.toml"
    path.write_text("[slash]\nvalidator = 3\n")
    result = CliRunner().invoke(main.cli, ["validator", "policy", str(path)])
    assert isinstance(result.exception, Misconfigured)
    assert "did you mean 'validators'?" in result.exception.message
