"""`p2pool validator check` and `run --once`, as typed: what they print, save and end with."""

from pathlib import Path

import pytest

from p2pool.codec.json.hex import address_text
from p2pool.codec.validation import evidence_of
from p2pool.model.errors import Misconfigured, NotAllowed, NotFound
from p2pool.model.validation.evidence import Conclusion
from p2pool.validator.challenge import conduct
from p2pool.validator.challenge.plan import plan_for
from p2pool.wire.validation.evidence import verify_evidence
from tests.cli.output.held import held
from tests.cli.provider.desk import Desk
from tests.validator.process.conftest import SLACK, SLACK_TABLE, Stage

pytestmark = pytest.mark.chain


async def test_a_check_prints_the_verdict_and_saves_what_proves_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its exit code valid, or nobody can say; an error is another one. Nothing is sent."""
    monkeypatch.setattr(
        conduct, "plan_for", lambda gpus, table, sizes: plan_for(gpus, SLACK_TABLE, SLACK)
    )
    stage = Stage(desk.world, tmp_path)
    _, host = await stage.node(1)
    judge = desk.key_of(desk.world.deployment.federator, "judge.json")
    node, before = address_text(host.binding.node_id), await stage.sent()
    async with host.running():
        with (tmp_path / "p2pool.toml").open("a") as file:
            file.write(f"\n[network]\nbootstrap = ['{host.address()}']\n")
        out = tmp_path / "evidence.p2pool"
        words = ("validator", "check", node, "--data-dir", str(tmp_path / "checks"))
        done = await desk(judge, *words, "--out", str(out), "--json")
        assert done.exit_code == 0, (done.output, done.exception)
        told = held(done.stdout)
        assert (told["conclusion"], told["finding"]) == ("valid", "passed")
        assert told["document"] == str(out)
        assert told["shown"][0]["int8_ops_per_s"] > 0
        signed = evidence_of(out.read_bytes())
        assert verify_evidence(stage.pool, signed).conclusion is Conclusion.VALID
        plain = await desk(judge, *words)
        assert plain.exit_code == 0
        assert f"{node}: passed: valid" in plain.stdout
        assert Path(plain.stdout.rsplit("evidence: ", 1)[1].strip()).is_file()
        host.double.fails = "declines:leased"
        declined = await desk(judge, *words, "--json")
        assert declined.exit_code == 5
        told = held(declined.stdout)
        assert (told["conclusion"], told["code"]) == ("inconclusive", "leased")
        stranger = "0x" + "77" * 20
        gone = await desk.refused(judge, "validator", "check", stranger, *words[3:])
        assert isinstance(gone, NotFound)
    assert await stage.sent() == before


async def test_what_is_none_is_told_before_anything_is_asked(desk: Desk, tmp_path: Path) -> None:
    """A policy, a table of figures, an address for metrics; and nothing is made of the directory.
    A check says who lacks the role."""
    stranger = desk.key_of(await desk.world.account(), "stranger.json")
    once = ("validator", "run", "--once", "--data-dir", str(tmp_path / "validator"))
    check = ("validator", "check", "0x" + "77" * 20, *once[3:])
    assert isinstance(await desk.refused(stranger, *check), NotAllowed)
    bad = tmp_path / "bad.toml"
    bad.write_text("nonsense = 1")
    for words in (
        ("--policy", str(bad)),
        ("--figures", str(bad)),
        ("--figures", str(tmp_path / "none.json")),
        ("--metrics-bind", "nowhere"),
    ):
        assert isinstance(await desk.refused(stranger, *once, *words), Misconfigured), words
    assert not (tmp_path / "validator").exists()
