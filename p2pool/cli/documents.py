"""What a command writes for programs: one JSON envelope, and text without unseen characters.

Intuition: a script reads `.data` or `.items` and looks at nothing else. What peers say may hold
characters that a terminal obeys, or that turn text around; in JSON they are escapes, so the value
is unchanged and the bytes are harmless, and in text they are shown as escapes.

Invariants: each document on standard output is an envelope: `p2pool`, `kind`, `warnings`, and
`data` (an object) or `items` (a list). Its shape depends on the command, not on its flags. A
command writes one document; what it writes while it goes on is one envelope a line. An error is an
envelope of kind `error`, one line on standard error, with the exit code.
Source: docs/design/api.md, "What commands write for programs".
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

from p2pool.codec.json.envelope import enveloped

KINDS: Mapping[str, str] = {
    "agent": "`agent status`: the agent, and how old what it knows is",
    "agent-init": "`agent init`: the configuration, the keys, the checks, and the next commands",
    "agent-started": "`agent run`: where its API listens, once it does",
    "bootstrap-started": "`bootstrap run`: the addresses to give to others",
    "checks": "`agent check`: the verdict, and each check",
    "delegates": "`access ls`: who holds rights, and what of it is in use",
    "delegation": "`access grant`: the delegation, as its file holds it",
    "delegation-check": "`access show`: the delegation, and whether it is in force",
    "dev-pool": "`dev up`, `dev down`, `dev demo`: what runs now, or ran",
    "error": "any command: code, message, hint, problems, exit_code",
    "event": "`pool events`: one event, an envelope a line",
    "evidence": "`pool evidence`: proofs against voters",
    "evidence-file": "`validation get`: the file, and which evidence it is",
    "invite": "`pool invite`: the signed invite, as an agent takes it",
    "join-step": "`agent run --dry-run`: the next step into the pool, and the whole way",
    "judged-work": "`validator judge`: the pieces that were judged, and how many wait",
    "key": "`wallet new`, `wallet import`, `wallet show`: address and file",
    "log-line": "`task logs`: one line of one copy, an envelope a line",
    "node": "`node show`: the node, its allocations, and what validators say of it",
    "node-rekey": "`node rekey`: the former node and the new one, and what was set aside",
    "nodes": "`node ls`",
    "peer-key": "`node rotate-peer-key`: the old and the new peer, and what moved",
    "policy": "`validator policy`: every key of a validator's policy, by section",
    "pool": "`pool show`",
    "proof": "`verify leader`, `verify evidence`: what is proven",
    "provider": "`provider status`: registration, stake, means, nodes and rewards on the chain",
    "recovery": "`pool recover`: the logs, the proposal, and who leads now",
    "request": "whatever is signed for the pool's log: run, stop, drain, resume, ban, unban, set,"
    " revoke",
    "root-record": "`pool root`: the record on the chain, and the log's",
    "signature": "`--dry-run` of whatever is signed: exactly what would be signed",
    "task": "`task show`",
    "task-metrics": "`task metrics`: the numbers of each copy",
    "tasks": "`task ls`",
    "token": "`agent token create`: the token, or the file that it is in",
    "tokens": "`agent token ls`, `agent token revoke`",
    "transaction": "whatever is sent to the chain: the steps of the way, and the last hash;"
    " with `--dry-run` what would be sent",
    "unsigned": "`--unsigned` of whatever is signed: the file, and the digest to sign",
    "unlocked-key": "`wallet unlock`, `wallet lock`: address, and for how long it is unlocked",
    "validation": "`verify validation`: what the evidence says and shows, and what is a validator's"
    " word",
    "validations": "`validation ls`: verdicts of validators on nodes",
    "validator-check": "`validator check`, `validator run --once`: what was found of a node",
    "validator-started": "`validator run`: whose it is, once it runs",
    "version": "`--version`",
    "volume": "`volume export`: the archive",
    "volumes": "`volume ls`, `volume rm`",
    "webhook-tests": "`agent notify test`: what became of the message to each receiver",
}
"""What each kind of document is, by the command that writes it."""

_UNSEEN = re.compile(r"[^\n\x20-\x7e]")
_WARNINGS = "p2pool.warnings"
_told: list[str] = []
"""The warnings of a command that has failed since: its error carries them."""


# --- text ---------------------------------------------------------------------------------------


def visible(text: str, keep: str = "") -> str:
    """The text with escapes for control, format and bidirectional characters, so that nobody writes
    to a terminal through us. `keep`: characters that stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one in keep else _shown(one) for one in text)


def _shown(one: str) -> str:
    if one.isprintable():
        return one
    return " " if one.isspace() and ord(one) > 0x9F and one not in "\u2028\u2029" else _escape(one)


def _escape(one: str) -> str:
    code = ord(one)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """The JSON of a value, with escapes for whatever a reader would not see."""
    return _UNSEEN.sub(_json_escape, json.dumps(value, indent=indent, ensure_ascii=ascii_only))


def _json_escape(found: re.Match[str]) -> str:
    one = found[0]
    if one.isprintable():
        return one
    # Of characters beyond 16 bits in two units, as JSON has it.
    data = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[at : at + 2].hex()}" for at in range(0, len(data), 2))


# --- envelopes ----------------------------------------------------------------------------------


def envelope(kind: str, value: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """A document with the warnings of this command so far."""
    assert kind in KINDS, kind
    return enveloped(kind, value, _warnings())


def note_warning(text: str) -> bool:
    """Keep a warning for this command's document; False if it writes none."""
    context = click.get_current_context(silent=True)
    if context is None or not context.params.get("as_json"):
        return False
    _warnings().append(text)
    _told[:] = _warnings()
    return True


def forget_warnings() -> None:
    """A command begins."""
    _told.clear()


def _warnings() -> list[str]:
    """Those of the command that runs; once it has failed, those that it told."""
    context = click.get_current_context(silent=True)
    if context is None:
        return _told
    found: list[str] = context.find_root().meta.setdefault(_WARNINGS, [])
    return found
