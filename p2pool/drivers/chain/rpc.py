"""JSON-RPC endpoints: several, tried in turn, each call with a deadline.

web3's HTTP provider makes the calls, in worker threads with a limiter of their own. Its retries are
switched off: they blocked for seconds, ignored trio's cancel, and covered raw transactions. Here a
failed call goes to the next endpoint, and the caller decides about trying again. A chain error (a
revert) is an answer, never an outage. Each endpoint has threads of its own, so one that drips its
answers does not block another.

Invariants: an endpoint whose chain id is not the configured one, or whose chain is known to have
begun with another block, is never believed; one that wants a pause is not asked before it is over;
a call ends after `2 * timeout_ms` for each endpoint at the latest, and the pauses that it waits
for, whatever they do; whatever an endpoint answers, a call returns what `answers` lets in, or
raises one of the errors that it names.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import attrs
import trio
from eth_abi.exceptions import DecodingError
from web3.types import RPCEndpoint

from p2pool.codec.json.hex import address_text
from p2pool.drivers.chain import answers
from p2pool.drivers.chain.abi import Function, error_of
from p2pool.drivers.chain.endpoints.endpoint import Endpoint
from p2pool.drivers.chain.endpoints.failures import (
    EndpointPaused,
    EndpointRefused,
    failure_text,
    http_pause,
    wants_pause,
)
from p2pool.drivers.chain.endpoints.provider import provider_of
from p2pool.drivers.config.validators import rpc_problem
from p2pool.drivers.redaction import register_url, safe_text
from p2pool.model import limits
from p2pool.model.errors import ChainUnavailable, Misconfigured, P2poolError, WrongChain
from p2pool.model.ids import Address

T = TypeVar("T")

REVERTING = ("eth_call", "eth_estimateGas", "eth_sendRawTransaction")
"""The methods that run a contract: of any other one, an error is the endpoint's own."""


FAILED_RUNS = ("revert", "out of gas", "outofgas", "invalid opcode", "invalidfeopcode", "bad jump")
"""What endpoints call the end of a run that failed: the contract's doing, and so an answer."""


class OtherChain(WrongChain):
    """The endpoint's chain has our id and another first block: it is another chain, or began
    anew."""


class Reverted(Exception):
    """The chain refused a call. `name` is the custom error, empty if unknown."""

    def __init__(self, message: str, data: bytes) -> None:
        """Decode the custom error, if it is one of ours."""
        super().__init__(message)
        self.data = data
        self.name, found = error_of(data) or ("", {})
        self.arguments = {
            k: answers.shown(v) if isinstance(v, str) else v for k, v in found.items()
        }


FIRST_BLOCK: tuple[str, list[object]] = ("eth_getBlockByNumber", ["0x0", False])


@attrs.define
class Rpc:
    """The chain, through whichever endpoint answers. Many tasks may share one object."""

    chain_id: int
    endpoints: list[Endpoint]
    first: int = 0
    failures: dict[str, int] = attrs.field(factory=dict)
    first_block: str | None = None
    """The hash of the chain's first block, where it is known: a chain id is only a number."""
    pause_wait_ms: int = attrs.field(factory=lambda: limits.CHAIN_PAUSE_WAIT_MAX_MS)
    """How long a call waits for endpoints that want a pause."""

    @classmethod
    def to(cls, chain_id: int, urls: Sequence[str], timeout_ms: int | None = None) -> "Rpc":
        """Endpoints by their URLs; `Misconfigured` if there are none.

        `timeout_ms` bounds the silence within an answer, twice that bounds the whole answer;
        default: CHAIN_CALL_TIMEOUT_MS.
        """
        timeout_s = (timeout_ms or limits.CHAIN_CALL_TIMEOUT_MS) / 1000
        if not urls:
            raise Misconfigured(
                "No RPC endpoint is configured.", hint='Set [chain] endpoints = ["http://..."].'
            )
        for url in urls:
            if (why := rpc_problem(url)) is not None:
                raise Misconfigured(
                    f"An RPC endpoint cannot work: {why}.", hint="Correct [chain] endpoints."
                )
            register_url(url)
        made = [
            Endpoint(
                url,
                provider_of(url, timeout_s),
                trio.CapacityLimiter(limits.CHAIN_CALLS_IN_FLIGHT_MAX),
                2 * timeout_s,
            )
            for url in dict.fromkeys(urls)
        ]
        return cls(chain_id, made)

    @overload
    async def request(self, method: str, *params: object) -> Any: ...
    @overload
    async def request(self, method: str, *params: object, read: Callable[[Any], T]) -> T: ...
    async def request(
        self, method: str, *params: object, read: Callable[[Any], Any] = answers.anything
    ) -> Any:
        """One call, to the endpoint that answered last, then to the others; `read` takes the answer
        in, and one that it calls `Nonsense` is none. Where all that could answer want a pause, it
        waits for the shortest, up to `pause_wait_ms` in all.

        Raises `Reverted` (an answer), `WrongChain` (every endpoint is on another chain),
        `EndpointRefused` (one at least answers with an error of its own) or `ChainUnavailable` (no
        usable answer); both name each endpoint and why.
        """
        left_s = self.pause_wait_ms / 1000
        while True:
            failed: list[ChainUnavailable | WrongChain] = []
            # A copy, because other tasks move `first` while this one waits.
            first = self.first
            for step in range(len(self.endpoints)):
                at = (first + step) % len(self.endpoints)
                try:
                    result = await self._one(self.endpoints[at], method, list(params), read)
                except (WrongChain, ChainUnavailable) as error:
                    failed.append(error)
                else:
                    self.first = at
                    return result
            wait_s = _wait_s(failed)
            if wait_s is None or wait_s > left_s:
                raise _outage(failed)
            left_s -= wait_s
            await trio.sleep(wait_s)

    async def _one(
        self, endpoint: Endpoint, method: str, params: list[object], read: Callable[[Any], T]
    ) -> T:
        """One endpoint's answer, if it is on our chain and takes calls now."""
        if (left_s := endpoint.pause_left_s()) > 0:
            raise _paused(endpoint, left_s)
        try:
            await self._check(endpoint)
            return await self._ask(endpoint, method, params, read)
        except ChainUnavailable:
            self.failures[endpoint.url] = self.failures.get(endpoint.url, 0) + 1
            raise

    def calls(self) -> Counter[str]:
        """How often the endpoints were called, by method."""
        return sum((e.counters for e in self.endpoints), Counter())

    async def others(
        self, method: str, *params: object, read: Callable[[Any], T]
    ) -> list[tuple[str, T]]:
        """The answers of all endpoints but the first to the same call, with their names.

        A second opinion, asked of all at once. An endpoint that does not answer within
        CHAIN_COMPARE_TIMEOUT_MS, answers nonsense, is on another chain or failed lately is left
        out, and delays nobody.
        """
        now_s = trio.current_time()
        asked = [
            e
            for e in self.endpoints
            if e is not self.endpoints[self.first] and not e.pause_left_s()
        ]
        heard: dict[str, T] = {}

        async def ask(endpoint: Endpoint) -> None:
            try:
                heard[endpoint.url] = await self._one(endpoint, method, list(params), read)
            except (ChainUnavailable, WrongChain, Reverted):
                endpoint.leave_out()

        with trio.move_on_after(limits.CHAIN_COMPARE_TIMEOUT_MS / 1000):
            async with trio.open_nursery() as nursery:
                for endpoint in asked:
                    if endpoint.quiet_until_s <= now_s:
                        nursery.start_soon(ask, endpoint)
        for endpoint in asked:
            if endpoint.url not in heard and endpoint.quiet_until_s <= now_s:
                endpoint.leave_out()
        return [(e.shown, heard[e.url]) for e in asked if e.url in heard]

    def singles(self) -> list["Rpc"]:
        """Each endpoint as a chain of its own, the one that is asked first before the others, and
        those that want a pause last: what one of them says is its word alone."""
        found = [*self.endpoints[self.first :], *self.endpoints[: self.first]]
        found.sort(key=lambda endpoint: endpoint.pause_left_s() > 0)
        return [
            Rpc(
                self.chain_id,
                [endpoint],
                first_block=self.first_block,
                pause_wait_ms=self.pause_wait_ms,
            )
            for endpoint in found
        ]

    @property
    def is_quiet(self) -> bool:
        """Whether this endpoint failed lately, so that no second reading is asked of it."""
        asked = self.endpoints[self.first]
        until_s = max(asked.quiet_until_s, asked.unread_until_s)
        return until_s > trio.current_time() or asked.pause_left_s() > 0

    def prefer(self, name: str) -> None:
        """Ask the endpoint of this name first from now on."""
        self.first = next((i for i, e in enumerate(self.endpoints) if e.url == name), self.first)

    @property
    def url(self) -> str:
        """The whole address of the endpoint that is asked first: a secret."""
        return self.endpoints[self.first].url

    def quiet(self) -> None:
        """This endpoint did not read the contents: no second reading by it for a while."""
        self.endpoints[self.first].leave_unread()

    def name(self) -> str:
        """The endpoint that is asked first, in a form that is safe to show."""
        return self.endpoints[self.first].shown

    def pass_over(self) -> None:
        """Ask another endpoint first from now on: this one is behind."""
        self.first = (self.first + 1) % len(self.endpoints)

    async def _check(self, endpoint: Endpoint) -> None:
        if endpoint.checked:
            return
        found = await self._ask(endpoint, "eth_chainId", [], answers.quantity)
        if found != self.chain_id:
            raise WrongChain(
                f"{endpoint.shown} is on chain {found}, not {self.chain_id}.",
                hint="Correct [chain] id or endpoints.",
            )
        if self.first_block is not None:
            await self._check_first_block(endpoint, self.first_block)
        endpoint.checked = True

    async def _check_first_block(self, endpoint: Endpoint, known: str) -> None:
        """`OtherChain` for an endpoint whose chain began with another block; one that has forgotten
        its first block is believed."""
        try:
            found = await self._ask(endpoint, *FIRST_BLOCK, answers.block)
        except ChainUnavailable:
            return
        if found is not None and found.hash != known:
            raise OtherChain(
                f"{endpoint.shown} is on another chain with the id {self.chain_id}, or on one that"
                f" began anew: its first block is {found.hash[:14]}, not {known[:14]}.",
                hint="Correct [chain] endpoints; for a chain that began anew, name a new directory"
                " with --data-dir.",
            )

    async def agreed_first_block(self) -> str | None:
        """The hash of the chain's first block: of the only endpoint, or of two that agree and none
        that contradicts them. None: nobody says, or they differ."""
        method, params = FIRST_BLOCK
        try:
            mine = await self.request(method, *params, read=answers.block)
        except (ChainUnavailable, WrongChain):
            return None
        others = await self.others(method, *params, read=answers.block)
        told = [block.hash for block in (mine, *(b for _, b in others)) if block is not None]
        enough = len(told) > 1 or len(self.endpoints) == 1
        return told[0] if enough and len(set(told)) == 1 else None

    async def _ask(
        self, endpoint: Endpoint, method: str, params: list[object], read: Callable[[Any], T]
    ) -> T:
        """One endpoint's answer. Raises `Reverted` or `ChainUnavailable`, whatever it answers."""
        provider = endpoint.provider
        deadline_s = endpoint.deadline_s
        answer: Any = None
        endpoint.counters[method] += 1
        try:
            with trio.move_on_after(deadline_s) as scope:
                answer = await trio.to_thread.run_sync(
                    lambda: provider.make_request(RPCEndpoint(method), params),
                    abandon_on_cancel=True,
                    limiter=endpoint.limiter,
                )
        except (json.JSONDecodeError, UnicodeDecodeError) as broken:
            raise ChainUnavailable(f"{endpoint.shown} did not answer with JSON") from broken
        except answers.Nonsense as nonsense:
            raise ChainUnavailable(
                f"{endpoint.shown} answers {method} with {nonsense}"
            ) from nonsense
        # Four libraries read what comes from outside, and document not all that they raise: JSON
        # that nests too deeply, a header, a name. Whatever it is, this endpoint gave no answer.
        except Exception as broken:
            asks, pause_s = http_pause(broken)
            if asks:
                raise _paused(endpoint, endpoint.pause(pause_s)) from broken
            raise ChainUnavailable(f"{endpoint.shown}: {failure_text(broken)}") from broken
        if scope.cancelled_caught:
            raise ChainUnavailable(f"{endpoint.shown} did not answer {method} in {deadline_s:g} s")
        error = answer.get("error") if isinstance(answer, dict) else None
        if error is None and not (isinstance(answer, dict) and "result" in answer):
            raise ChainUnavailable(f"{endpoint.shown} did not answer {method} with JSON-RPC")
        try:
            if error is not None:
                raise _error(endpoint, method, error)
            endpoint.answered()
            return read(answer["result"])
        except answers.Nonsense as nonsense:
            raise ChainUnavailable(
                f"{endpoint.shown} answers {method} with {nonsense}"
            ) from nonsense

    async def call(
        self, to: Address, function: Function, *arguments: object, block: object = "latest"
    ) -> Any:
        """Read from a contract. `block`: a number, "latest", "finalized", or {blockHash: ...}."""
        transaction = {"to": "0x" + to.hex(), "data": "0x" + function.call(*arguments).hex()}
        at = hex(block) if isinstance(block, int) else block
        raw = await self.request("eth_call", transaction, at, read=answers.data)
        if not raw and function.outputs:
            raise no_contract(function.contract, to, self.chain_id)
        try:
            return function.answer(raw)
        except DecodingError as other:
            raise WrongChain(
                f"The code at {address_text(to)} on chain {self.chain_id} is not a"
                f" {function.contract}:"
                f" it answers {function.name} with {len(raw)} bytes of something else.",
                hint="Correct the addresses in [chain.addresses].",
            ) from other

    async def quantity(self, method: str, *params: object) -> int:
        """A call that returns a number."""
        return await self.request(method, *params, read=answers.quantity)


def no_contract(name: str, at: Address, chain_id: int) -> WrongChain:
    """The error for an address without code."""
    return WrongChain(
        f"There is no {name} at {address_text(at)} on chain {chain_id}.",
        hint="Correct the addresses in [chain.addresses], or [chain] id and endpoints.",
    )


def _paused(endpoint: Endpoint, pause_s: float) -> EndpointPaused:
    return EndpointPaused(f"{endpoint.shown} gets too many calls, and wants a pause", pause_s)


def _wait_s(failed: Sequence[Exception]) -> float | None:
    """How long until one of these endpoints takes calls again; None: none of them wants a pause."""
    found = [e.pause_s for e in failed if isinstance(e, EndpointPaused) and e.pause_s is not None]
    return max(min(found), limits.CHAIN_PAUSE_LEAST_MS / 1000) if found else None


def _outage(failed: Sequence[ChainUnavailable | WrongChain]) -> P2poolError:
    """What it comes to that no endpoint gave an answer."""
    if failed and all(isinstance(error, WrongChain) for error in failed):
        return failed[-1]
    told = [e.message if isinstance(e, ChainUnavailable) else str(e) for e in failed]
    refused = any(isinstance(error, EndpointRefused) for error in failed)
    kind = EndpointRefused if refused else ChainUnavailable
    return kind(
        f"No RPC endpoint answers: {'; '.join(told)}",
        hint="Check [chain] endpoints and the network.",
    )


def _error(endpoint: Endpoint, method: str, error: object) -> Exception:
    """What an error of JSON-RPC means: the contract's answer, a pause, or a refusal."""
    url = endpoint.shown
    if not isinstance(error, dict):
        return EndpointRefused(f"{url} answers {method} with {safe_text(answers.shown(error))!r}")
    data, message = error.get("data"), error.get("message")
    if isinstance(data, dict):
        data = data.get("data") or data.get("result")
    message = answers.shown(safe_text(message)) if isinstance(message, str) else ""
    given = isinstance(data, str) and data.startswith("0x")
    failed = any(words in message.lower() for words in FAILED_RUNS)
    if method in REVERTING and (given or failed):
        return Reverted(message, answers.data(data) if given else b"")
    if wants_pause(error.get("code"), message):
        return _paused(endpoint, endpoint.pause(None))
    return EndpointRefused(f"{url}: {method}: {message}")
