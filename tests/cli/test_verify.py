"""`p2pool verify` and `pool evidence` on a real chain, with an agent that says what it likes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from click.testing import CliRunner, Result

from p2pool.cli import errors, main
from p2pool.codec.entries import encode_body
from p2pool.codec.json.hex import address_text
from p2pool.codec.json.proofs import evidence_json, voter_json
from p2pool.codec.text.data_uri import with_root
from p2pool.model.errors import (
    BadSignature,
    ChainUnavailable,
    Malformed,
    Misconfigured,
    NotForUs,
    NotFound,
    P2poolError,
    Unavailable,
    WrongChain,
)
from p2pool.model.ids import PoolRef
from p2pool.model.log.certificates import LeaderProof
from p2pool.model.log.entries import Noop
from tests.api.conftest import Served
from tests.chain.conftest import World
from tests.cli.output.held import held
from tests.wire.committee import FOUNDING, A, B, C, D, append, lies, proven, takeover, vote, word
from tests.wire.samples import POOL

LIES = lies()


async def run(*words: str) -> Result:
    return await trio.to_thread.run_sync(
        lambda: CliRunner().invoke(main.cli, words, env={"P2POOL_AGENT": None})
    )


def refused(result: Result) -> tuple[type[BaseException], int]:
    """The error, and the exit code that it ends with."""
    assert isinstance(result.exception, P2poolError), (result.output, result.exception)
    return type(result.exception), errors.exit_code(result.exception)


@attrs.frozen
class Founded:
    """A pool on a real chain whose root record names A, and an agent that shows a proof."""

    world: World
    served: Served
    pool: PoolRef

    @property
    def url(self) -> str:
        return str(self.world.chain.rpc.endpoints[0].url)

    def show(self, proof: LeaderProof | None) -> None:
        """What the agent says from now on."""
        self.served.port.seen = attrs.evolve(self.served.port.seen, proof=proof)

    def good(self, old_ms: int = 0) -> LeaderProof:
        return proven(self.pool, time.time_ns() // 1_000_000 - old_ms)

    async def verify(self, *more: str, urls: tuple[str, ...] = ()) -> Result:
        rpc = [word for url in urls or (self.url,) for word in ("--rpc", url)]
        return await run(
            "verify",
            "leader",
            *rpc,
            "--chain-id",
            str(self.pool.chain_id),
            "--contract",
            address_text(self.pool.contract),
            "--pool",
            str(self.pool.pool_id),
            "--agent",
            str(self.served.directory),
            *more,
        )


@pytest.fixture
async def founded(world: World, served: Served) -> Founded:
    """The record is final."""
    uri = with_root((await world.chain.pool(world.pool_id)).data_uri, FOUNDING)
    await world.chain.update_uri(world.creator, world.pool_id, uri)
    await world.chain.rpc.request("anvil_mine", "0x4")
    pool = PoolRef(world.chain.rpc.chain_id, world.chain.at.pool, world.pool_id)
    return Founded(world, served, pool)


@pytest.mark.chain
async def test_a_leader_is_proven_from_the_chain(founded: Founded) -> None:
    """Exit code 0, in sentences and in JSON."""
    founded.show(founded.good())
    result = await founded.verify()
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stdout.startswith(f"Proven: 0x{A.voter.node_id.hex()} leads, in term 5.\n")
    assert "does not prove" in result.stdout
    told: dict[str, Any] = held((await founded.verify("--json")).stdout)
    assert (told["proven"], told["term"], told["signatures"], told["votes"]) == (True, 5, 2, 2)
    assert told["leader"]["store_id"] == A.voter.store_id.hex()
    assert len(told["committee"]) == 3


def _other_leader(proof: LeaderProof) -> LeaderProof:
    return attrs.evolve(proof, certificate=proof.certificate[:1])


def _other_chain(proof: LeaderProof) -> LeaderProof:
    return attrs.evolve(proof, chain=attrs.evolve(proof.chain, links=proof.chain.links[:1]))


def _other_pool(proof: LeaderProof) -> LeaderProof:
    return attrs.evolve(proven(), log_id=proof.log_id)


@pytest.mark.chain
@pytest.mark.parametrize("tamper", [_other_leader, _other_chain, _other_pool])
async def test_an_agent_that_lies_is_refused(
    founded: Founded, tamper: Callable[[LeaderProof], LeaderProof]
) -> None:
    """Exit code 3: too few, a change left out, signatures of another pool."""
    founded.show(tamper(founded.good()))
    assert refused(await founded.verify())[1] == errors.REFUSED


@pytest.mark.chain
async def test_another_log_than_the_chains_is_refused(founded: Founded) -> None:
    """A good proof, of a log that the chain did not found."""
    founded.show(attrs.evolve(founded.good(), log_id=proven(POOL).log_id))
    assert refused(await founded.verify()) == (NotForUs, errors.REFUSED)


@pytest.mark.chain
async def test_what_is_old_or_lacking_may_be_asked_again(founded: Founded) -> None:
    """Exit code 5."""
    founded.show(founded.good(old_ms=600_000))
    assert refused(await founded.verify()) == (Unavailable, errors.UNAVAILABLE)
    founded.show(attrs.evolve(founded.good(), certificate=(), votes=()))
    assert refused(await founded.verify()) == (Unavailable, errors.UNAVAILABLE)
    founded.show(None)
    assert refused(await founded.verify()) == (NotFound, errors.NOT_FOUND)


@pytest.mark.chain
async def test_an_uncertified_change_is_told_and_can_be_trusted(founded: Founded) -> None:
    """By the hash that the sentence names."""
    good = founded.good()
    first, second = good.chain.links
    lacking = attrs.evolve(second, signatures=second.signatures[1:], given_up=True)
    founded.show(attrs.evolve(good, chain=attrs.evolve(good.chain, links=(first, lacking))))
    result = await founded.verify()
    assert refused(result) == (BadSignature, errors.REFUSED)
    assert A.voter.node_id.hex() in str(result.exception)
    named = str(result.exception).rpartition("--trust ")[2].split()[0]
    trusted = await founded.verify("--trust", named)
    assert trusted.exit_code == 0, (trusted.output, trusted.exception)
    assert "you name it" in trusted.stdout
    assert (await founded.verify("--trust", "xyz")).exit_code == errors.USAGE


@pytest.mark.chain
async def test_the_chain_is_read_by_the_options_alone(founded: Founded) -> None:
    """Another chain id, nothing there, no record: each said, by the right code."""
    founded.show(founded.good())
    wrong = attrs.evolve(founded, pool=attrs.evolve(founded.pool, chain_id=1))
    assert refused(await wrong.verify()) == (WrongChain, errors.MISCONFIGURED)
    nowhere = await founded.verify(urls=("http://127.0.0.1:1",))
    assert refused(nowhere) == (ChainUnavailable, errors.UNAVAILABLE)
    both = await founded.verify(urls=(founded.url, founded.url.replace("127.0.0.1", "localhost")))
    assert both.exit_code == 0, (both.output, both.exception)
    other = await founded.world.chain.create_pool(
        founded.world.creator, 0, founded.world.manager.address, "no record"
    )
    await founded.world.chain.rpc.request("anvil_mine", "0x4")
    empty = attrs.evolve(founded, pool=attrs.evolve(founded.pool, pool_id=other))
    assert refused(await empty.verify()) == (NotFound, errors.NOT_FOUND)


async def test_without_a_pool_it_says_what_is_missing(served: Served, tmp_path: Path) -> None:
    """Nothing on the command line and no configuration."""
    result = await run(
        "verify", "leader", "--agent", str(served.directory), "--config", str(tmp_path / "none")
    )
    assert refused(result) == (Misconfigured, errors.MISCONFIGURED)
    assert "--chain-id" in str(result.exception)


# --- evidence -------------------------------------------------------------------------------------


async def test_evidence_is_shown_written_and_checked(served: Served, tmp_path: Path) -> None:
    """By anybody, without an agent."""
    nothing = await run("pool", "evidence", "--agent", str(served.directory))
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert nothing.stderr == "There is no proof against any voter.\n"
    file = tmp_path / "proof.json"
    none = await run("pool", "evidence", "--out", str(file), "--agent", str(served.directory))
    assert refused(none) == (NotFound, errors.NOT_FOUND)
    served.port.seen = attrs.evolve(served.port.seen, evidence=(LIES["vote"],))
    shown = await run("pool", "evidence", "--agent", str(served.directory))
    assert f"p2pool node ban 0x{C.voter.node_id.hex()}" in shown.stdout
    listed = await run("pool", "evidence", "--json", "--agent", str(served.directory))
    (one,) = held(listed.stdout)
    assert (one["term"], one["kind"]) == (5, "vote")
    wrote = await run("pool", "evidence", "--out", str(file), "--agent", str(served.directory))
    assert wrote.exit_code == 0, wrote.output
    (tmp_path / "list.json").write_text(listed.stdout)
    for name in ("proof.json", "list.json"):
        checked = await run("verify", "evidence", str(tmp_path / name))
        assert checked.exit_code == 0, (checked.output, checked.exception)
        assert f"Proven: 0x{C.voter.node_id.hex()} voted for two nodes" in checked.stdout
    told = held((await run("verify", "evidence", str(file), "--json")).stdout)
    assert (told["proven"], told["pool_id"]) == (True, POOL.pool_id)


SAID = {
    "vote": "voted for two nodes in term 5",
    "certificate": "confirmed as leaders two nodes in term 5",
    "history": "signed two histories of log 4c4c4c4c4c4c4c4c at index 17",
    "change": "signed two next committees of log 4c4c4c4c4c4c4c4c at index 7",
    "append": "as the leader of term 5, sent entry 18",
    "takeover": "as the leader of term 5, sent entry 18",
}


@pytest.mark.parametrize("kind", SAID)
async def test_each_kind_is_shown_and_checked_off_line(
    kind: str, served: Served, tmp_path: Path
) -> None:
    """In a row of 80 columns, by a sentence, and from a file alone."""
    served.port.seen = attrs.evolve(served.port.seen, evidence=tuple(LIES.values()))
    shown = await run("pool", "evidence", "--agent", str(served.directory))
    lines = shown.stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert len([line for line in lines if line.startswith("0x")]) == len(LIES)
    served.port.seen = attrs.evolve(served.port.seen, evidence=(LIES[kind], LIES["vote"]))
    name = "append" if kind == "takeover" else kind
    file = tmp_path / "proof.json"
    only = ("--kind", name, "--out", str(file), "--agent", str(served.directory))
    assert (await run("pool", "evidence", *only)).exit_code == 0
    checked = await run("verify", "evidence", str(file))
    assert checked.exit_code == 0, (checked.output, checked.exception)
    assert f"Proven: 0x{C.voter.node_id.hex()}" in checked.stdout
    assert SAID[kind] in checked.stdout
    assert ("whose hash the leader itself signed" in checked.stdout) is (kind == "takeover")
    told = held((await run("verify", "evidence", str(file), "--json")).stdout)
    assert (told["proven"], told["kind"], told["voter"]) == (True, name, voter_json(C.voter))


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        (("--voter", address_text(C.voter.node_id)), 6),
        (("--voter", C.voter.node_id.hex().upper()), 6),
        (("--voter", address_text(A.voter.node_id)), 0),
        (("--kind", "append"), 2),
        (("--kind", "history", "--voter", address_text(A.voter.node_id)), 0),
    ],
)
async def test_evidence_is_chosen_by_voter_and_kind(
    chosen: tuple[str, ...], count: int, served: Served
) -> None:
    """Where none is of that sort, the command does not say that nobody lied."""
    served.port.seen = attrs.evolve(served.port.seen, evidence=tuple(LIES.values()))
    at = ("--agent", str(served.directory))
    assert len(held((await run("pool", "evidence", *chosen, "--json", *at)).stdout)) == count
    shown = await run("pool", "evidence", *chosen, *at)
    assert shown.exit_code == 0
    assert ("There is no such proof." in shown.stderr) is (count == 0)


@pytest.mark.parametrize(
    "changed", [{"pool_id": 2}, {"chain_id": 1}, {"second": "00"}, {"second": None}, {"first": 5}]
)
async def test_made_up_evidence_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    """Of another pool, damaged, or none."""
    file, plain = tmp_path / "proof.json", evidence_json(POOL, LIES["vote"])
    file.write_text(json.dumps(plain))
    assert (await run("verify", "evidence", str(file))).exit_code == 0
    file.write_text(json.dumps(plain | changed))
    assert refused(await run("verify", "evidence", str(file)))[1] == errors.REFUSED


@pytest.mark.parametrize(
    "changed",
    [
        {"pool_id": 2},
        {"append": "00"},
        {"append": C.seal(takeover(D)).hex()},
        {"append": D.seal(takeover(C)).hex()},
        {"append": C.seal(append(C, encode_body(Noop(C.voter.node_id)))).hex()},
        {"append": C.seal(vote(C, A)).hex()},
        {"word": ""},
        {"word": "00"},
        {"word": C.seal(word(C, (A, B), leader=C)).hex()},
        {"word": C.seal(word(C, (A, B, C), leader=C, term=4)).hex()},
        {"word": C.seal(word(C, (A, B, C), leader=A)).hex()},
        {"word": A.seal(word(A, (A, B, C), leader=C)).hex()},
        {"committee": []},
        {"committee": [voter_json(C.voter)]},
    ],
)
async def test_a_made_up_append_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    """Signed by somebody else, what an honest leader sends, or beside a word or a committee that
    show nothing."""
    file, plain = tmp_path / "proof.json", evidence_json(POOL, LIES["takeover"])
    file.write_text(json.dumps(plain))
    assert (await run("verify", "evidence", str(file))).exit_code == 0
    file.write_text(json.dumps(plain | changed))
    assert refused(await run("verify", "evidence", str(file)))[1] == errors.REFUSED


async def test_a_file_that_is_no_proof_is_told(tmp_path: Path) -> None:
    """Missing, not JSON, too large, several."""
    missing = await run("verify", "evidence", str(tmp_path / "no"))
    assert refused(missing) == (Misconfigured, errors.MISCONFIGURED)
    for text in ("not json", "[]", "[1, 2]", "null", " " * 70_000):
        (tmp_path / "bad").write_text(text)
        assert refused(await run("verify", "evidence", str(tmp_path / "bad")))[0] is Malformed
