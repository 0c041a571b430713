"""The policy file: an empty one is careful, and whatever is wrong in one is told at its place."""

from pathlib import Path

import pytest

from p2pool.model.errors import Misconfigured
from p2pool.validator.policy.findings import FAILURES
from p2pool.validator.policy.policy_file import policy_of, policy_text, read_policy
from p2pool.validator.policy.rules import Policy


def test_an_empty_file_is_a_dry_run(tmp_path: Path) -> None:
    """Nothing is sent before somebody says so, and two validators have to agree."""
    path = tmp_path / "policy.toml"
    path.write_text("")
    policy = read_policy(path)
    assert policy == Policy()
    assert policy.dry_run
    assert policy.slash.validators > 1
    for kind in FAILURES:
        assert policy.rules.of(kind).times >= 1


def test_a_policy_is_written_and_read_as_it_is() -> None:
    """All keys, by their names."""
    text = policy_text(Policy())
    assert policy_of(text) == Policy()
    assert 'coin_per_day = "0.01"' in text
    assert "[rules.wrong_product]" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[polcy]\n", "polcy: is unknown; did you mean 'policy'?"),
        ("[policy]\ndryrun = true\n", "policy.dryrun: is unknown; did you mean 'dry_run'?"),
        ("[policy]\ndry_run = 1\n", "policy.dry_run: must be true or false, not 1"),
        ("[rules.offlin]\n", "rules.offlin: is unknown; did you mean 'offline'?"),
        ("[rules.offline]\ntimes = 3\n", "rules.offline.act: is missing"),
        ('[rules.late]\nact = "kill"\ntimes = 1\nwithin_s = 1\npenalty_percent = 0\n',
         "rules.late.act: 'kill' is not one of none, soft, hard"),
        ("[slash]\nvalidators = 0\n", "slash.validators: 0 is"),
        ("[slash]\npercent_per_day_max = 101\n", "slash.percent_per_day_max: 101 is"),
        ('[quiet]\nhours = ["22:00"]\n', "quiet.hours: '22:00' is no span of hours"),
        ('[quiet]\nhours = ["07:00-07:00"]\n', "begins when it ends"),
        ('[quiet]\nstill = ["slas"]\n', "quiet.still: 'slas' is not one of"),
        ('[budget]\ncoin_per_day = "much"\n', "budget.coin_per_day: 'much' is not an amount."),
        ("[validate]\npasses = 0\n", "validate.passes: 0 is"),
        # More than are weighed: such a rule would do nothing.
        ("[validate]\npasses_after_act = 257\n", "validate.passes_after_act: 257 is"),
        ('[rules.late]\nact = "soft"\ntimes = 257\nwithin_s = 1\npenalty_percent = 0\n',
         "rules.late.times: 257 is"),
        ("[", "is no TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    """Each with its place, and for a misspelt key the one that was meant."""
    with pytest.raises(Misconfigured) as wrong:
        policy_of(text)
    assert said in wrong.value.message


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """No policy is not the default policy: it may be a mistyped name."""
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_policy(tmp_path / "none.toml")
