"""Whether others can reach this machine, and whether its clock is right.

Some of it needs nobody's help: whether the ports are free, which addresses the agent would
announce, and whether these are private ones behind a router. A peer that we dial says as which
address it sees us (libp2p's identify). Only a peer that dials back can tell whether that works; a
running agent learns it from inbound connections. The clock is compared with the dates in the
answers of the chain's endpoints.
"""

import ipaddress
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from statistics import median

import requests
import trio

from p2pool.codec.text.multiaddr import host_and_port
from p2pool.drivers.chain.rpc import direct
from p2pool.drivers.net.peers.addresses import (
    check_listen_addresses,
    expand_wildcards,
)
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, PortTaken
from p2pool.model.machine.checks import Check, Group, Verdict


def port_checks(listen: tuple[str, ...], api_bind: str) -> list[Check]:
    """Whether the agent's listen ports are free."""
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
    host, _, port = api_bind.rpartition(":")
    kind = "ip6" if ":" in host else "ip4"
    address = f"/{kind}/{host.strip('[]') or '127.0.0.1'}/tcp/{port}"
    try:
        check_listen_addresses((address,))
    except (PortTaken, Misconfigured) as error:
        found = f"{api_bind} for the API: {error.message}"
        checks.append(Check(Group.NETWORK, "api port", Verdict.FAIL, found, todo=error.hint))
    else:
        checks.append(Check(Group.NETWORK, "api port", Verdict.PASS, f"{api_bind} is free"))
    return checks


def address_check(listen: tuple[str, ...], announce: tuple[str, ...], observed: str) -> Check:
    """The address under which others would dial us. `observed`: as a peer sees us, or ""."""
    told = announce or expand_wildcards(listen)
    hosts = [split[1] for text in told if (split := host_and_port(text)) is not None]
    public = [host for host in hosts if not _is_private(host)]
    found = ", ".join(told) or "none"
    if observed:
        found += f"; a peer sees {observed}"
    if announce or public:
        if observed and observed not in hosts and not _is_private(observed):
            return Check(
                Group.NETWORK,
                "address",
                Verdict.WARN,
                found,
                needed=f"others dial {observed}",
                todo="Behind a router? Forward the port and set [network] announce ="
                f' ["/ip4/{observed}/tcp/<port>"].',
            )
        return Check(Group.NETWORK, "address", Verdict.PASS, found)
    return Check(
        Group.NETWORK,
        "address",
        Verdict.WARN,
        found,
        needed="an address that others can dial",
        todo="All of these are private: members elsewhere reach this machine only while it keeps"
        " its own connections. Forward the port, and announce it in [network] announce.",
    )


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
