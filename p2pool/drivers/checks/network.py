"""Whether others can reach this machine, and whether its clock is right.

Some of it needs nobody's help: whether the ports are free, which addresses the agent would
announce, and whether these are private ones behind a router. A peer that we dial says as which
address it sees us (libp2p's identify), and is asked to dial back: an address that nobody dialled is
not called good. The clock is compared with the dates in the
answers of the chain's endpoints.
"""

import ipaddress
import os
import stat
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from statistics import median

import requests
import trio

from p2pool.codec.text.multiaddr import PEER, host_and_port
from p2pool.drivers.chain.endpoints.provider import direct
from p2pool.drivers.net.peers.addresses import (
    check_listen_addresses,
    expand_wildcards,
)
from p2pool.model import limits
from p2pool.model.data_dir import API_SOCKET_FILE
from p2pool.model.errors import Misconfigured, PortTaken
from p2pool.model.machine.checks import Check, Group, Verdict

ADDRESS_NEEDED = "an address that others can dial"


def port_checks(listen: tuple[str, ...], api_bind: str, tls_bind: str = "") -> list[Check]:
    """Whether the agent's listen ports are free, with those of its API."""
    checks = []
    for address in listen:
        try:
            check_listen_addresses((address,))
        except (PortTaken, Misconfigured) as error:
            checks.append(
                Check(
                    Group.NETWORK,
                    "port",
                    Verdict.FAIL,
                    error.message,
                    needed=address,
                    todo=error.hint,
                )
            )
        else:
            checks.append(Check(Group.NETWORK, "port", Verdict.PASS, f"{address} is free"))
    return checks + [_api_port_check(bind) for bind in (api_bind, tls_bind) if bind]


def _api_port_check(bind: str) -> Check:
    host, _, port = bind.rpartition(":")
    kind = "ip6" if ":" in host else "ip4"
    address = f"/{kind}/{host.strip('[]') or '127.0.0.1'}/tcp/{port}"
    try:
        check_listen_addresses((address,))
    except (PortTaken, Misconfigured) as error:
        found = f"{bind} for the API: {error.message}"
        return Check(Group.NETWORK, "api port", Verdict.FAIL, found, todo=error.hint)
    return Check(Group.NETWORK, "api port", Verdict.PASS, f"{bind} is free")


def socket_check(directory: Path) -> Check:
    """Whether the agent can have its unix socket, by which this machine's commands go."""
    path = directory / API_SOCKET_FILE
    try:
        there = os.lstat(path)
    except OSError:
        return Check(Group.NETWORK, "api socket", Verdict.PASS, f"{path} is free")
    if not stat.S_ISSOCK(there.st_mode):
        found, todo = f"{path} is no socket", "Remove it: the agent makes a socket there."
    elif there.st_uid != os.geteuid():
        found = f"{path} belongs to another user ({there.st_uid})"
        todo = "Remove it, or run the agent as that user."
    else:
        return Check(Group.NETWORK, "api socket", Verdict.PASS, f"{path} is this user's")
    return Check(Group.NETWORK, "api socket", Verdict.FAIL, found, todo=todo)


def ports_to_dial(listen: tuple[str, ...], announce: tuple[str, ...]) -> tuple[int, ...]:
    """The ports at which a peer is asked to dial back: those announced, else those listened on."""
    found = [split[2] for text in announce or listen if (split := host_and_port(_bare(text)))]
    return tuple(dict.fromkeys(port for port in found if port))


def address_check(
    listen: tuple[str, ...],
    announce: tuple[str, ...],
    observed: str,
    dialled: Mapping[int, bool | None],
    resolved: frozenset[str] = frozenset(),
) -> Check:
    """The address under which others would dial us. `observed`: as a peer sees us, or "";
    `dialled`: whether it reached us there at a port, None where it did not say; `resolved`: what
    announced names lead to."""
    told = tuple(map(_bare, announce)) or expand_wildcards(listen)
    hosts = [split[1] for text in told if (split := host_and_port(text)) is not None]
    reached = [port for port, answer in dialled.items() if answer]
    missed = [port for port, answer in dialled.items() if answer is False]
    found = ", ".join(told) or "none"
    if observed:
        found += f"; a peer sees {observed}"
    if missed:
        found += f", and does not get through to port {missed[0]}"
    elif reached:
        found += f", and dialled it at port {reached[0]}"
    else:
        found += "; not tested: nobody dialled it"
    there = observed in hosts or observed in resolved
    if reached and not missed and there:
        return Check(Group.NETWORK, "address", Verdict.PASS, found)
    needed, todo = _address_advice(observed, reached, missed, there)
    if not reached and not missed and not announce and all(map(_is_private, hosts)):
        needed, todo = (
            ADDRESS_NEEDED,
            (
                "All of these are private: members elsewhere reach this machine only while it keeps"
                " its own connections. Forward the port, and announce it in [network] announce."
            ),
        )
    return Check(Group.NETWORK, "address", Verdict.WARN, found, needed=needed, todo=todo)


def _address_advice(
    observed: str, reached: list[int], missed: list[int], there: bool
) -> tuple[str, str]:
    """What is needed, and what to do, where an address is not known to work."""
    kind = "ip6" if ":" in observed else "ip4"
    example = f'[network] announce = ["/{kind}/{observed}/tcp/<port>"]'
    if missed:
        return ADDRESS_NEEDED, (
            f"Open the port in the firewall. Behind a router? Forward it, and set {example}."
        )
    if observed and not there and not _is_private(observed):
        port = str(reached[0]) if reached else "<port>"
        return f"others dial {observed}", (
            "Behind a router? Forward the port and set " + example.replace("<port>", port) + "."
        )
    return "a peer elsewhere that dials it", (
        "Name a bootstrap node outside this network, of this version, in [network] bootstrap, and"
        " check while no agent listens here."
    )


def _bare(address: str) -> str:
    return address.partition(PEER)[0]


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False  # A name: whoever assigned it wants it to be found.


async def clock_check(endpoints: Sequence[str]) -> Check:
    """This machine's clock against the dates of the endpoints' answers, which have whole seconds.

    The median counts, so one endpoint with a wrong clock accuses nobody.
    """
    offsets_ms: list[int] = []

    async def ask(url: str) -> None:
        with trio.move_on_after(limits.CLOCK_CHECK_TIMEOUT_MS / 1000):
            found = await trio.to_thread.run_sync(_offset_ms, url, abandon_on_cancel=True)
            if found is not None:
                offsets_ms.append(found)

    async with trio.open_nursery() as nursery:
        for url in endpoints:
            nursery.start_soon(ask, url)
    return judge_clock(offsets_ms)


def judge_clock(offsets_ms: Sequence[int]) -> Check:
    """Judge offsets (others' clocks minus ours)."""
    most_ms = limits.CLOCK_SKEW_MAX_MS
    needed = f"within {most_ms // 1000} s of others"
    if not offsets_ms:
        return Check(
            Group.NETWORK,
            "clock",
            Verdict.WARN,
            "no endpoint dates its answers",
            needed=needed,
            todo="Check that NTP keeps the clock: timedatectl.",
        )
    offset_ms = int(median(offsets_ms))
    ahead = "behind" if offset_ms > 0 else "ahead"
    found = f"{abs(offset_ms) / 1000:.1f} s {ahead}" if offset_ms else "right"
    if abs(offset_ms) >= most_ms:
        todo = "Members refuse messages with such times. Set the clock: timedatectl set-ntp true."
        return Check(Group.NETWORK, "clock", Verdict.FAIL, found, needed=needed, todo=todo)
    if abs(offset_ms) >= limits.CLOCK_WARN_MS:
        todo = "Check that NTP keeps the clock: timedatectl."
        return Check(Group.NETWORK, "clock", Verdict.WARN, found, needed=needed, todo=todo)
    return Check(Group.NETWORK, "clock", Verdict.PASS, found, needed=needed)


def _offset_ms(url: str) -> int | None:
    """How far an endpoint's clock is ahead of ours, None if it does not say."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    before_ms = time.time_ns() // 1_000_000
    try:
        answer = requests.post(
            url, json=body, timeout=limits.CLOCK_CHECK_TIMEOUT_MS / 1000, stream=True, **direct(url)
        )
        answer.close()
        dated = parsedate_to_datetime(answer.headers["Date"])
    except (requests.RequestException, KeyError, ValueError, TypeError):
        return None
    middle_ms = (before_ms + time.time_ns() // 1_000_000) // 2
    # A date has no fraction of a second: on average it is half a second late.
    offset_ms = int(dated.timestamp() * 1000) + 500 - middle_ms
    return 0 if abs(offset_ms) <= 500 else offset_ms
