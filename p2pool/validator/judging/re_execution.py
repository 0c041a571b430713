"""The judge that comes with p2pool: it runs a task again elsewhere, and compares the digests.

    [work.options]
    agents = "https://a.example:9443 https://b.example:9443"
    token_file = "/etc/p2pool/token"       # of these agents
    key = "/etc/p2pool/judge.json"         # signs the runs
    passphrase_file = "/etc/p2pool/passphrase"
    delegation = "/etc/p2pool/judge.delegation.json"
    agree = "2"                            # so many others have to come to the same
    patience_s = "300"                     # for one run

Intuition: of work that is a file, the key on the chain is the file's SHA-256. Where a task's owner
says by a label that it always writes the same file, another node can be asked to write it too. One
that comes to the same confirms the piece. One that comes to another digest may be the liar itself,
so a piece is wrong only when as many as `agree`, each of another provider, come to one and the same
other digest.

Invariants: a run is never on the provider whose work is judged, and that is checked when it is
over, not only asked for; a task without the label, with secrets or with volumes is not compared,
and while one of those may be behind a piece, the piece is not wrong; nothing is left running.
Source: docs/validators.md, "Judging work".
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from p2pool.client import Client, KeySigner
from p2pool.client.library.answers import Allocation, Task
from p2pool.codec.json.depth import too_deep
from p2pool.codec.json.hex import address_text
from p2pool.drivers.keys.keystore import read_passphrase
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, P2poolError, Unavailable
from p2pool.validator.judging.judge import SubmittedWork, WorkVerdict

LABEL = "work-judge"
"""On a task that always writes the same file: its owner says so."""
NAME = "re-execution"
OPTIONS = (
    *("agents", "token_file", "ca_file", "key", "passphrase_file", "delegation"),
    *("agree", "patience_s"),
)
NEEDED = ("agents", "key", "passphrase_file")
AGREE_MAX = 5
PATIENCE_MAX_S = 24 * 3600
_DIGEST = re.compile(rb"([0-9a-f]{64})(?:\s.*)?")
_PINNED = ("node", "provider")
_DROPPED = ("work", "replicas", "system", "gang", "ports", "constraints", "restart", "labels")
"""What a run of a single copy elsewhere does not take over."""


def make(options: Mapping[str, str]) -> "ReExecution":
    """The judge; `Misconfigured` says what is missing."""
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown or not all(options.get(one) for one in NEEDED):
        raise Misconfigured(
            f"The judge {NAME} does not know {unknown[0]!r}."
            if unknown
            else f"The judge {NAME} needs {', '.join(NEEDED)}.",
            hint=f"Its options, under [work.options] of the policy: {', '.join(OPTIONS)}.",
        )
    agree = _number(options, "agree", 2, AGREE_MAX)
    patience_s = _number(options, "patience_s", 300, PATIENCE_MAX_S)
    file = Path(options["passphrase_file"])
    passphrase = read_passphrase("the judge's key", file=file)
    signer = KeySigner.from_keystore(options["key"], passphrase)
    client = Client(
        options["agents"].split(),
        token_file=options.get("token_file"),
        ca_file=options.get("ca_file"),
        signer=signer,
        delegation=options.get("delegation"),
    )
    return ReExecution(client, agree, patience_s)


def _number(options: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = options.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise Misconfigured(f"{name} of the judge {NAME} is a number from 1 to {most}.")
    return int(text)


class _NoWord(Exception):
    """A run says nothing; the sentence says why."""


@attrs.frozen
class Rerun:
    """What a run elsewhere came to. `units`: as it says itself, None if it does not."""

    digest: bytes
    units: int | None
    node_id: str
    provider: str

    def __str__(self) -> str:
        return f"{self.node_id} of {self.provider}: {self.digest.hex()}"


@attrs.frozen
class ReExecution:
    """See the module. `client`: of the pool whose work is judged."""

    client: Client
    agree: int
    patience_s: int

    def judge(self, work: SubmittedWork) -> WorkVerdict:
        """Run again what may be behind the piece, until somebody comes to its key."""
        pool = self.client.pool()
        if (pool.chain_id, pool.pool_id) != (work.pool.chain_id, work.pool.pool_id):
            raise Misconfigured(f"The agents are of pool {pool.pool_id}, not {work.pool.pool_id}.")
        behind = tasks_behind(self.client.tasks(states=()), work)
        compared = [task for task in behind if not _why_not(task)]
        if not compared:
            return WorkVerdict.unknown(_no_task(behind))
        if len(compared) > limits.JUDGE_TASKS_MAX:
            return WorkVerdict.unknown(f"{len(compared)} tasks may be behind it.")
        against: list[Rerun] = []
        for task in compared:
            verdict, runs = self._compared(work, task)
            if verdict is not None:
                return verdict
            against += runs
        if len(compared) < len(behind):
            return WorkVerdict.unknown("Another task, which cannot be compared, may be behind it.")
        return WorkVerdict.wrong("The file comes out otherwise: " + "; ".join(map(str, against)))

    def _compared(self, work: SubmittedWork, task: Task) -> tuple[WorkVerdict | None, list[Rerun]]:
        """A verdict; or None, with the runs that agree on another digest."""
        runs: list[Rerun] = []
        while len(runs) < self.agree:
            barred = [address_text(work.provider), *(one.provider for one in runs)]
            try:
                run = self._run(work, task, barred)
            except _NoWord as why:
                said = f"; before: {runs[0]}" if runs else ""
                return WorkVerdict.unknown(f"{why}{said}"), []
            if run.digest == work.key:
                return _units_verdict(work, task, run), []
            if runs and run.digest != runs[0].digest:
                return WorkVerdict.unknown(f"Each run comes to another file: {runs[0]}; {run}"), []
            runs.append(run)
        return None, runs

    def _run(self, work: SubmittedWork, task: Task, barred: Sequence[str]) -> Rerun:
        """One run on a provider that is not barred."""
        # It ends by itself, too, if this process does not live to stop it.
        spec = spec_elsewhere(task, work, barred) | {"deadline_s": self.patience_s}
        task_id = self.client.submit(spec).task_id
        if task_id is None:
            raise _NoWord("The pool did not say which task the run is.")
        done = None
        try:
            done = self.client.wait(task_id, until="ended", timeout_s=self.patience_s)
        except Unavailable as error:
            raise _NoWord(f"Nobody ran it in {self.patience_s} s: {error.message}") from error
        finally:
            if done is None:
                with suppress(P2poolError):
                    self.client.stop(task_id)
        return self._read(work, task, done, barred)

    def _read(self, work: SubmittedWork, task: Task, done: Task, barred: Sequence[str]) -> Rerun:
        if done.state != "succeeded" or len(done.allocations) != 1:
            raise _NoWord(f"The run {done.state}: {'; '.join(done.reasons) or 'no reason told'}")
        (copy,) = done.allocations
        if copy.node_id is None:
            raise _NoWord("Nobody says which node ran it.")
        provider = self.client.node(copy.node_id).provider
        if provider.lower() in {one.lower() for one in barred}:
            raise _NoWord(f"The run was on {copy.node_id}, of the provider {provider}, again.")
        images = {one.image_digest for one in (*_copies_on(task, work), copy)} - {""}
        if len(images) > 1:
            raise _NoWord("The run was of another image: name images by their digests.")
        with self.client.logs(done.task_id, tail_lines=limits.JUDGE_LINES_MAX) as lines:
            said = [line.data for line in lines]
        found = digest_in(said)
        if found is None:
            raise _NoWord("The run logs no digest: end the task with sha256sum FILE.")
        return Rerun(found, units_in(said), copy.node_id, provider)


# --- pure ---------------------------------------------------------------------------------------


def tasks_behind(tasks: Sequence[Task], work: SubmittedWork) -> list[Task]:
    """The tasks that ask for work, and of which a copy succeeded on the node."""
    return [one for one in tasks if one.spec.get("work") and _copies_on(one, work)]


def _copies_on(task: Task, work: SubmittedWork) -> list[Allocation]:
    node = address_text(work.node_id).lower()
    return [
        one
        for one in task.allocations
        if (one.node_id or "").lower() == node and one.state == "succeeded"
    ]


def _why_not(task: Task) -> str:
    """Why a task cannot be compared; empty if it can."""
    asked, spec = task.spec["work"], task.spec
    if dict(spec.get("labels", {})).get(LABEL) != NAME:
        return f"its owner does not say {LABEL}={NAME}"
    if not asked.get("file") or asked.get("key"):
        return "its key is no digest of a file"
    if spec.get("secrets"):
        return "it has secrets"
    if any(one.get("kind") != "tmpfs" for one in spec.get("mounts", ())):
        return "it has volumes"
    return ""


def _no_task(behind: Sequence[Task]) -> str:
    if not behind:
        return "The agents know of no task that asks for work and succeeded on the node."
    return "; ".join(f"{one.name} cannot be compared: {_why_not(one)}" for one in behind[:3])


def spec_elsewhere(task: Task, work: SubmittedWork, barred: Sequence[str]) -> dict[str, Any]:
    """The specification of one copy on a provider that is not barred."""
    spec = {key: value for key, value in task.spec.items() if key not in _DROPPED}
    kept = [one for one in task.spec.get("constraints", ()) if one["attribute"] not in _PINNED]
    spec["constraints"] = [
        *kept,
        *({"attribute": "provider", "value": one, "equals": False} for one in barred),
    ]
    spec["name"] = f"judge-{work.key.hex()[:12]}-{len(barred)}"
    spec["labels"] = {"judges": work.key.hex()[:32]}
    return spec


def digest_in(lines: Sequence[bytes]) -> bytes | None:
    """The digest in the last line that is one, as `sha256sum` writes it."""
    for line in reversed(lines):
        if (found := _DIGEST.fullmatch(line.strip())) is not None:
            return bytes.fromhex(found[1].decode())
    return None


def units_in(lines: Sequence[bytes]) -> int | None:
    """The units in the last line that says some, such as {"units": 12}."""
    return next(_units_of(lines), None)


def _units_of(lines: Sequence[bytes]) -> Iterator[int]:
    for line in reversed(lines):
        if b'"units"' not in line:
            continue
        with suppress(ValueError):
            text = line.decode()
            # Of what is nested deeply enough, Python's parser ends the process.
            told = None if too_deep(text) else json.loads(text)
            units = told.get("units") if isinstance(told, dict) else None
            if type(units) is int and units > 0:
                yield units


def _units_verdict(work: SubmittedWork, task: Task, run: Rerun) -> WorkVerdict:
    """Of a file that is right: whether its units are."""
    stated = task.spec["work"].get("units") or run.units
    if stated is None:
        return WorkVerdict.unknown(f"The file is right ({run}); how many units it is, nobody says.")
    if work.units <= stated:
        return WorkVerdict.right(f"{run}; {stated} units")
    shortfall = max(1, 1000 * (work.units - stated) // work.units)
    return WorkVerdict.wrong(f"The file is right ({run}), and is {stated} units", shortfall)
