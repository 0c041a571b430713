"""What the blocking client and the one on trio share: whom they ask, who signs, and their flows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from p2pool.client.library.agents import Agent, Named, listed, name_of
from p2pool.client.library.event_flow import EventReader
from p2pool.client.library.log_flow import LogReader
from p2pool.client.library.questions import Prepared, Questions
from p2pool.client.library.signers import Signer, delegation_of
from p2pool.client.library.steps import Flow, Step
from p2pool.codec.json import requests as forms
from p2pool.codec.json.hex import unhex
from p2pool.model import limits
from p2pool.model.access.delegations import DelegationFile
from p2pool.model.access.requests import SignedRequest
from p2pool.model.errors import Malformed, Misconfigured, P2poolError
from p2pool.model.ids import ADDRESS_BYTES, Address, PoolRef
from p2pool.model.ports.agent import LogOptions

T = TypeVar("T")


class Base:
    """A pool, its agents, and who signs. Nothing is sent before a method is called."""

    def __init__(
        self,
        agents: Named | Iterable[Named] | None = None,
        *,
        token: str = "",
        token_file: str | Path | None = None,
        ca_file: str | Path | None = None,
        signer: Signer | None = None,
        contract: str | None = None,
        delegation: DelegationFile | str | Path | None = None,
        pool: PoolRef | None = None,
        timeout_s: float = limits.CLIENT_TIMEOUT_MS / 1000,
        patience_s: float = limits.CLIENT_RETRY_MS / 1000,
    ) -> None:
        """`agents`: as `--agent` takes them, or `Agent` with a token of its own; None: this user's
        agent. `token`, `token_file`, `ca_file`: for agents that are named by a URL alone.

        `signer`: a `KeySigner`, or any function from typed data to a signature. `contract`: the
        contract account (ERC-1271) that takes it for its own, if it is not a key's. `delegation`:
        the right that the signer uses, or the file with it, which also says of which pool; `pool`:
        the same without one, so that nothing is signed for another.

        `timeout_s`: how long an agent may be silent; a stream says something every 15 s, and breaks
        off with less; `patience_s`: for how long one that answers is
        looked for."""
        found = listed(agents)
        if token or token_file is not None or ca_file is not None:
            given = found
            found = tuple(_shown(one, token, token_file, ca_file) for one in given)
            if found == given:
                raise Misconfigured(
                    "A token or ca_file is given, and no agent is named by an http(s) URL.",
                    hint="A data directory has both; others are named by Agent(url=..., ...).",
                )
        self.agents, self.signer, self.timeout_s = found, signer, timeout_s
        self._delegation = delegation_of(delegation) if delegation is not None else None
        if self._delegation is not None:
            if pool is not None and pool != self._delegation.pool:
                raise Misconfigured("The delegation is for another pool.")
            pool = self._delegation.pool
        self._questions = Questions(
            found,
            patience_s,
            signs=signer is not None,
            delegation=self._delegation.signed if self._delegation is not None else None,
            pool=pool,
            contract=_account(contract) if contract is not None else None,
        )

    @property
    def agent(self) -> str:
        """The agent that is asked next, as it was named."""
        return name_of(self.agents[self._questions.rotation.at])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(name_of, self.agents))})"

    # --- for the two clients ----------------------------------------------------------------------

    def questions(self) -> Questions:
        """What is asked, with what was seen so far."""
        return self._questions

    def event_flow(self, after: str | None, patience_s: float) -> Flow[None]:
        """The events after an id."""
        return EventReader(self._questions, after or "", patience_s).flow()

    def log_flow(
        self,
        name: str,
        replica: int,
        *,
        follow: bool,
        tail_lines: int | None,
        since_ms: int,
        patience_s: float,
    ) -> Flow[None]:
        """The lines of a copy."""
        tail = -1 if tail_lines is None else tail_lines
        if not -1 <= tail <= limits.LOG_TAIL_MAX_LINES or since_ms < 0 or replica < 0:
            raise Malformed(
                "There is no such part of a log.",
                hint=f"tail_lines is {limits.LOG_TAIL_MAX_LINES} at most; nothing is below 0.",
            )
        options = LogOptions(follow=follow, tail_lines=tail, since_ms=since_ms)
        reader = LogReader(self._questions, name, replica, options=options, patience_s=patience_s)
        return reader.flow()

    @staticmethod
    def signed(prepared: Prepared | Mapping[str, Any]) -> SignedRequest:
        """The signed request in what is to be sent; `Malformed` if there is none."""
        body = prepared.body if isinstance(prepared, Prepared) else dict(prepared)
        return forms.read_request(body)


def _account(text: str) -> Address:
    if (found := unhex(text, ADDRESS_BYTES)) is None:
        raise Malformed(f"{text[:64]!r} is no account.", hint="Write 0x and 40 hex digits.")
    return Address(found)


def _shown(
    agent: Named | None, token: str, token_file: str | Path | None, ca_file: str | Path | None
) -> Named | None:
    """An agent that is named by its URL alone, with what is shown to it and asked of it."""
    if isinstance(agent, str) and agent.startswith(("http://", "https://")):
        trusted = ca_file if agent.startswith("https://") else None
        return Agent(url=agent, token=token, token_file=token_file, ca_file=trusted)
    return agent


class Run(Generic[T]):
    """A flow while it is carried out. `result`: its answer, once it has ended."""

    result: T | None = None

    def __init__(self, base: Base, flow: Flow[T]) -> None:
        self.base, self.flow = base, flow
        self._begun = False

    def next(self, answer: Any, error: P2poolError | None) -> Step | None:
        """Its next step; None when it has ended."""
        try:
            if error is not None:
                return self.flow.throw(error)
            return self.flow.send(answer)
        except StopIteration as end:
            self.result = end.value
            return None
