"""The connection to a Docker Engine: the SDK's blocking client, called in a bounded number of
threads.

Invariants: an engine that is away is `RuntimeUnavailable`, whatever the SDK raises; an error that
the engine itself returns (APIError) goes to the caller, who knows what it means.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import trio
from docker.errors import APIError

from p2pool.drivers.containers.docker.engine.address import (
    LOCAL,
    EngineAddress,
    engine_address,
)
from p2pool.drivers.containers.docker.engine.answers import fields
from p2pool.drivers.containers.docker.engine.capabilities import EngineSupport, support_of
from p2pool.drivers.containers.docker.engine.errors import engine_errors, explanation
from p2pool.drivers.containers.docker.engine.socket import answered_within, make_client
from p2pool.model import limits
from p2pool.model.errors import RuntimeUnavailable

T = TypeVar("T")


class DockerClient:
    """One engine, by `base_url`; empty: the one that docker's own settings name."""

    def __init__(self, base_url: str = "") -> None:
        """Makes no call to the engine yet."""
        self.url = base_url
        self._found: EngineAddress | None = None
        self._made: Any = None
        self._calls = trio.CapacityLimiter(limits.ENGINE_CALLS_IN_FLIGHT_MAX)
        self.pulls = trio.CapacityLimiter(limits.PULLS_IN_FLIGHT_MAX)
        self.streams = trio.CapacityLimiter(
            limits.LOG_STREAMS_PER_AGENT_MAX + limits.ENGINE_WATCHES_MAX
        )
        self._support: EngineSupport | None = None
        self._support_due_s = 0.0
        self._quota_refused: str | None = None

    def client(self) -> Any:
        """The SDK's client, made at first use. Call it in a thread, inside `engine_errors`."""
        if self._made is None:
            options = self._engine().options
            timeout_s = limits.ENGINE_CALL_TIMEOUT_MS / 1000
            self._made = make_client(timeout_s, **options)
        return self._made

    async def ask(self, ask: Callable[[Any], T], timeout_ms: int | None = None) -> T:
        """Ask the engine in a thread. APIError: the engine refused."""
        timeout_s = (timeout_ms or limits.ENGINE_CALL_TIMEOUT_MS) / 1000

        def call() -> T:
            with engine_errors(), answered_within(timeout_s):
                return ask(self.client())

        return await trio.to_thread.run_sync(call, limiter=self._calls, abandon_on_cancel=True)

    async def support(self, *, fresh: bool = False) -> EngineSupport:
        """The engine's capabilities, from a recent report. RuntimeUnavailable: it does not
        answer."""
        if self._support is None or fresh or trio.current_time() >= self._support_due_s:
            try:
                version = await self.ask(lambda c: c.version())
                info = await self.ask(lambda c: c.info())
            except APIError as error:
                raise RuntimeUnavailable(f"The engine failed: {explanation(error)}.") from error
            self._support = support_of(fields(version), fields(info), self._quota_refused)
            self._support_due_s = trio.current_time() + limits.RUNTIME_PROBE_INTERVAL_MS / 1000
        return self._support

    def refused_quota(self, said: str) -> None:
        """Record that the engine has no disk quotas, although it could have had them."""
        self._quota_refused, self._support = said, None

    @property
    def address(self) -> str:
        """The engine's address."""
        return self._engine().url

    def _engine(self) -> EngineAddress:
        """Found once: contexts may be changed while an agent runs, its containers stay."""
        if self._found is None:
            self._found = engine_address(self.url)
        return self._found

    async def data_root(self) -> Path | None:
        """The engine's image directory, if it can be inspected from here."""
        support = await self.support()
        root = Path(support.data_root) if support.data_root else None
        return (
            root if root is not None and self.address.startswith(LOCAL) and root.is_dir() else None
        )
