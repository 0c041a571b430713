"""The tokens that this API knows, and what a request showed.

Intuition: a table from digest to token. Whoever shows a text is looked up by its digest: one hash
and one look, however many tokens there are, and how long it takes tells nothing, since nobody can
choose how the digest of a guess begins.

Invariants: a token opens nothing before its row is on the disk; from the moment at which somebody
asks for its end it opens nothing, whatever the disk says. Streams end with their token. When a
token was last used is noted in memory, and written down now and then: no request waits for that.
"""

import time
from collections.abc import Mapping

import attrs
import structlog
import trio

from p2pool.model import limits
from p2pool.model.access.tokens import (
    OWN_NAME,
    ApiToken,
    Tokens,
    TokenScope,
    absent,
    made_token,
    token_digest,
)
from p2pool.model.errors import Conflict, P2poolError, StoreFailed
from p2pool.model.ids import Digest
from p2pool.model.ports.tokens import TokenStore

SHOWN = "p2pool.token"
"""Under this name a scope's extensions hold the token that a request showed."""

_log = structlog.get_logger("p2pool.api")


def now_ms() -> int:
    """The wall clock: a token expires by the calendar."""
    return time.time_ns() // 1_000_000


class Shown:
    """A token that somebody may show; `used_at_ms`: when somebody last did."""

    __slots__ = ("revoked", "token", "used_at_ms")

    def __init__(self, token: ApiToken) -> None:
        """In force until `revoked` is set or it expires."""
        self.token, self.used_at_ms, self.revoked = token, token.used_at_ms, trio.Event()

    @property
    def scope(self) -> TokenScope:
        """What it opens."""
        return self.token.scope

    def is_over(self) -> bool:
        """Whether it opens nothing any more."""
        return self.revoked.is_set() or self.token.is_over(now_ms())

    async def until_over(self) -> str:
        """Wait for its end; a sentence that says which one it was."""
        while not self.is_over():
            left_ms = limits.API_TOKEN_LOOK_MS
            if self.token.expires_at_ms:  # The clock may be set meanwhile: look again.
                left_ms = min(left_ms, max(1, self.token.expires_at_ms - now_ms()))
            with trio.move_on_after(left_ms / 1000):
                await self.revoked.wait()
        return self.ended

    @property
    def ended(self) -> str:
        """How it ended, in a sentence."""
        how = "was revoked" if self.revoked.is_set() else "has expired"
        return f"The token {self.token.name!r} {how}."


class TokenTable:
    """All tokens of one API: the directory's own, and those that were made by name."""

    def __init__(self, own: str, store: TokenStore | None = None) -> None:
        """`own`: the text of the directory's token, which may operate. Without a store no other
        can be made."""
        assert len(own) >= 32, "a token that can be guessed"
        token = ApiToken(
            name=OWN_NAME, scope=TokenScope.OPERATE, digest=token_digest(own), made_at_ms=0
        )
        self._own, self._store = Shown(token), store
        self._rows: dict[Digest, Shown] = {token.digest: self._own}
        self._changing = trio.Lock()

    async def load(self) -> None:
        """Take over what was saved. `Misconfigured`: it cannot be read."""
        if self._store is not None:
            self._put(await trio.to_thread.run_sync(self._store.load))

    def shown(self, text: bytes) -> Shown | None:
        """The row of a token, which may be over; None for no token of ours. Notes that it was
        used if it is in force."""
        found = self._rows.get(token_digest(text.decode("latin-1")))
        if found is not None and not found.is_over():
            found.used_at_ms = now_ms()
        return found

    def listed(self) -> Tokens:
        """All of them as they are now, the directory's own first."""
        return (self._as_used(self._own), *self._made())

    async def create(
        self, name: str, scope: TokenScope, lifetime_s: int | None
    ) -> tuple[ApiToken, str]:
        """Make a token that lives so long (None: until it is revoked); its row, and its text, which
        nobody can read again. Raises `Malformed`, `Conflict`, `TooMany`, `StoreFailed`."""
        if self._store is None:
            raise Conflict("This agent keeps no tokens but its own.")
        async with self._changing:
            text = self._store.make()
            tokens, made = made_token(self._made(), name, scope, text, now_ms(), lifetime_s)
            await self._save(tokens)
            self._put(tokens)
        _log.info("api_token_made", name=name, scope=scope.value)
        return made, text

    async def revoke(self, name: str) -> ApiToken:
        """End a token and its streams, at once. `NotFound`; `StoreFailed`: it is void now, and
        would not be after a restart."""
        if name == OWN_NAME:
            raise Conflict(
                f"{OWN_NAME} is the agent's own token: the commands of its machine use it.",
                hint="To have another one, remove the file from the data directory and restart"
                " the agent.",
            )
        async with self._changing:
            row = next((one for one in self._rows.values() if one.token.name == name), None)
            if row is None:
                raise absent(name)
            row.revoked.set()
            try:
                await self._save(self._made())
            except StoreFailed as error:
                raise StoreFailed(
                    f"The token {name!r} opens nothing now, and would again after a restart:"
                    f" {error.message}",
                    hint=f"{error.hint} Then revoke it again.",
                ) from error
            self._put(self._made())
        _log.info("api_token_revoked", name=name, scope=row.scope.value)
        return row.token

    async def keep_used(self) -> None:
        """Write down when tokens were last used, every few minutes where that changed, and once
        more at the end."""
        saved = self._made()
        try:
            while True:
                await trio.sleep(limits.API_TOKENS_USED_SAVE_MS / 1000)
                saved = await self._save_used(saved)
        finally:
            with trio.move_on_after(limits.API_SHUTDOWN_GRACE_MS / 1000, shield=True):
                await self._save_used(saved)

    async def _save_used(self, saved: Tokens) -> Tokens:
        async with self._changing:
            tokens = self._made()
            if tokens == saved:
                return saved
            try:
                await self._save(tokens)
            except P2poolError as error:
                _log.warning("api_tokens_not_saved", error=str(error))
                return saved
        return tokens

    # --- rows -----------------------------------------------------------------------------------

    def _made(self) -> Tokens:
        """Those in the table but the own one, without what was revoked and is not saved yet."""
        every = self._rows.values()
        rows = (one for one in every if one is not self._own and not one.revoked.is_set())
        return tuple(sorted(map(self._as_used, rows), key=lambda one: one.name))

    @staticmethod
    def _as_used(one: Shown) -> ApiToken:
        return attrs.evolve(one.token, used_at_ms=one.used_at_ms)

    async def _save(self, tokens: Tokens) -> None:
        assert self._store is not None
        await trio.to_thread.run_sync(self._store.save, tokens)

    def _put(self, tokens: Tokens) -> None:
        """These beside the own one, and no others: whose row goes has its streams ended."""
        before: Mapping[Digest, Shown] = self._rows
        self._rows = {self._own.token.digest: self._own}
        for token in tokens:
            self._rows.setdefault(token.digest, before.get(token.digest) or Shown(token))
        for digest, one in before.items():
            if digest not in self._rows:
                one.revoked.set()
