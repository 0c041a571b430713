"""`p2pool access show` says what a file gives, asking nobody, and whether it still does."""

import json
from pathlib import Path

import pytest

from p2pool.cli import errors, main
from p2pool.cli.shared.delegations.words import moment, quota_text, span, state_text
from p2pool.model.access.delegations import Quota, Scope
from tests.cli.access.people import DELEGATE_TEXT, MANAGER, delegation_file
from tests.cli.output.held import held
from tests.cli.surroundings.standard_input import give
from tests.wire.samples import POOL


@pytest.fixture(autouse=True)
def _nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent, no key."""
    monkeypatch.setenv("P2POOL_AGENT", "http://127.0.0.1:9")
    for name in ("P2POOL_KEY", "P2POOL_DELEGATION"):
        monkeypatch.delenv(name, raising=False)


def test_all_that_is_in_it_is_said_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Account, pool, who gave it, scope, quota, times."""
    path = delegation_file(
        tmp_path / "a.json", end_s=3900, quota=Quota(max_gpus=4, name_prefix="acme-")
    )
    assert main.run(["access", "show", str(path)]) == errors.OK
    out = capsys.readouterr().out
    for said in (
        DELEGATE_TEXT,
        f"pool 1 of 0x{POOL.contract.hex()} on chain 31337",
        f"0x{MANAGER.hex()}, whose signature is good",
        "submit: run tasks, stop its own",
        "4 GPUs at once; names that begin with acme-",
        "in force, for 1h more",
    ):
        assert said in out, out


@pytest.mark.parametrize(
    ("begin_s", "end_s", "state", "said"),
    [
        (-60, 3900, "in-force", "in force, for 1h more"),
        (-7200, -3700, "expired", "expired 1h ago"),
        (7900, 9000, "not-yet", "not yet in force: begins in 2h"),
    ],
)
def test_the_exit_code_says_whether_it_is_in_force(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    begin_s: int,
    end_s: int,
    state: str,
    said: str,
) -> None:
    """So that a script can ask; what it holds is shown all the same."""
    path = delegation_file(tmp_path / "a.json", begin_s=begin_s, end_s=end_s, scope=Scope.READ)
    code = errors.OK if state == "in-force" else errors.REFUSED
    assert main.run(["access", "show", str(path)]) == code
    out = capsys.readouterr().out
    assert said in out
    assert "quota" not in out  # A scope that runs nothing has none.
    assert main.run(["access", "show", str(path), "--json"]) == code
    told = held(capsys.readouterr().out)
    assert told["state"] == state
    assert told["delegation"] == json.loads(path.read_text())


def test_the_variable_names_it_and_standard_input_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without either it is wrong usage."""
    path = delegation_file(tmp_path / "a.json")
    assert main.run(["access", "show"]) == errors.USAGE
    monkeypatch.setenv("P2POOL_DELEGATION", str(path))
    assert main.run(["access", "show"]) == errors.OK
    give(monkeypatch, path.read_bytes())
    assert main.run(["access", "show", "-"]) == errors.OK
    give(monkeypatch, b"")
    capsys.readouterr()
    assert main.run(["access", "show", "-"]) == errors.REFUSED
    assert "Standard input: The delegation file is empty." in capsys.readouterr().err


def test_an_edited_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever field was changed, and also its pool and who gave it."""
    path = delegation_file(tmp_path / "a.json", quota=Quota(max_gpus=4))
    good = json.loads(path.read_text())
    changes = (
        {"delegation": good["delegation"] | {"quota": {"max_gpus": 5}}},
        {"delegation": good["delegation"] | {"not_after_s": 2**40}},
        {"delegation": good["delegation"] | {"delegate": "0x" + "11" * 20}},
        {"pool": good["pool"] | {"chain_id": 1}},
        {"grantor": "0x" + "11" * 20},
        {"signature": "0x" + "00" * 65},
    )
    for change in changes:
        path.write_text(json.dumps(good | change))
        assert main.run(["access", "show", str(path)]) == errors.REFUSED, change
    assert "was changed after it was signed" in capsys.readouterr().err


def test_what_a_contract_signed_is_shown_as_unproven(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the chain can say whether it did; of a key's signature it is proven here."""
    path = delegation_file(tmp_path / "a.json")
    assert main.run(["access", "show", str(path), "--json"]) == errors.OK
    assert held(capsys.readouterr().out)["signature_proven"] is True
    contract = "0x" + "5c" * 20
    told = json.loads(path.read_text()) | {"contract": contract, "grantor": contract}
    path.write_text(json.dumps(told | {"signature": "0x" + "ab" * 200}))
    assert main.run(["access", "show", str(path), "--json"]) == errors.OK
    assert held(capsys.readouterr().out)["signature_proven"] is False
    assert main.run(["access", "show", str(path)]) == errors.OK
    out = capsys.readouterr().out
    assert "only the chain can tell" in out
    assert "good" not in out
    path.write_text(json.dumps(told | {"grantor": "0x" + "11" * 20}))
    assert main.run(["access", "show", str(path)]) == errors.REFUSED


def test_words_hold_for_every_number() -> None:
    """Also for times that no calendar has, as a hostile file may hold."""
    assert moment(1_800_000_000) == "2027-01-15 08:00:00 UTC"
    assert moment(2**64 - 1) == f"Unix second {2**64 - 1}"
    assert [span(s) for s in (0, 59, 60, 7199, 86400 * 30)] == ["0s", "59s", "1m", "1h", "30d"]
    assert state_text(10, 20, 20) == "in force, for 0s more"
    assert state_text(10, 20, 21) == "expired 1s ago"
    assert quota_text(None) == "no limit"
    assert quota_text({"max_gpus": 0, "max_cpu_milli": 1000}) == "no GPU and 1 CPU at once"
    assert quota_text({"max_priority": 0}) == "priority up to 0"
