"""Judges are found by entry points, and a bad one is told with its name."""

from pathlib import Path

import pytest

from p2pool.model.errors import Misconfigured
from p2pool.validator.judging.judge import WorkVerdict
from p2pool.validator.judging.plugins import judge_named
from p2pool.validator.judging.trial import Trials
from tests.validator.judging.cases import install_judges, work


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with judges, on the path."""
    install_judges(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


async def test_the_example_of_the_documentation_judges(installed: Path) -> None:
    """By its list: what is listed is right, what is worth less is wrong in part."""
    listed = installed / "keys.txt"
    listed.write_text(f"{work(1).key.hex()} 12\n{work(2).key.hex()} 9\n")
    trials = Trials(judge_named("listed", {"list": str(listed)}), 10)
    assert await trials.of(work(1)) == WorkVerdict.right("keys.txt lists it for 12 units")
    assert await trials.of(work(2)) == WorkVerdict.wrong("keys.txt lists it for 9 units", 250)
    assert await trials.of(work(3)) == WorkVerdict.wrong("keys.txt has no such key")
    listed.unlink()
    assert "FileNotFoundError" in (await trials.of(work(1))).evidence


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent", "No judge of work is called 'absent'"),
        ("broken", "'broken' cannot be made: RuntimeError: no luck"),
        ("gone", "'gone' cannot be made: ModuleNotFoundError"),
        ("empty", "'empty' has no method `judge`"),
        ("listed", "takes one option: list"),
    ],
)
def test_a_judge_that_cannot_be_had_is_told(installed: Path, name: str, told: str) -> None:
    """With its name and what is wrong; of one that is not there, which ones are."""
    assert installed.is_dir()
    with pytest.raises(Misconfigured) as raised:
        judge_named(name, {})
    assert told in raised.value.message
    if name == "absent":
        assert "broken, empty, gone, listed, re-execution" in str(raised.value.hint)


def test_nobody_takes_the_name_of_the_one_that_comes_with_p2pool(installed: Path) -> None:
    """A package that offers one of this name is passed over."""
    assert installed.is_dir()
    with pytest.raises(Misconfigured, match="The judge re-execution needs agents"):
        judge_named("re-execution", {})
