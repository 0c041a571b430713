"""The file in a data directory that holds the digests of an agent's tokens.

Intuition: whoever holds the directory's lock owns this file: the agent while it runs, which others
ask through its API, else a command, for a moment.

Invariants: replaced whole or not at all, and synced before anybody is told that a token is made or
void; readable by its owner alone, and refused where others could have written it, since a row more
is a way in. What a token reads as is never in it. What was to be removed and could not, since the
disk was full, does not come back as long as this object lives: an agent begins anew where its store
fails, which a full disk makes it do too.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from p2pool.codec.json.tokens import read_tokens, tokens_text
from p2pool.drivers.redaction import register_secret
from p2pool.model import limits
from p2pool.model.access.tokens import PREFIX, Tokens
from p2pool.model.data_dir import API_TOKENS_FILE
from p2pool.model.errors import Malformed, Misconfigured, StoreFailed, TooNew
from p2pool.model.ids import Digest


class TokenFile:
    """`model.ports.tokens.TokenStore`, in a directory whose lock the caller holds."""

    def __init__(self, directory: Path) -> None:
        """Opens nothing yet."""
        self.path = directory / API_TOKENS_FILE
        self._known: set[Digest] = set()
        self._void: set[Digest] = set()

    def load(self) -> Tokens:
        """See the port; none where there is no file."""
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read(limits.API_TOKENS_FILE_MAX_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Misconfigured(
                f"The tokens in {self.path} cannot be read: {error.strerror}.",
                hint="Run this as the user who runs the agent.",
            ) from error
        if mode & 0o077:
            raise Misconfigured(
                f"Others can read or write {self.path}.",
                hint=f"Look whether its tokens are yours, then run: chmod 600 {self.path}",
            )
        try:
            if len(data) > limits.API_TOKENS_FILE_MAX_BYTES:
                raise Malformed(f"it is longer than {limits.API_TOKENS_FILE_MAX_BYTES} bytes")
            written = read_tokens(data)
        except TooNew as error:
            raise Misconfigured(
                f"A later version wrote {self.path}: {error.message}.", hint="Upgrade p2pool."
            ) from error
        except Malformed as error:
            raise Misconfigured(
                f"The tokens in {self.path} cannot be read: {error.message}.",
                hint="Put it back from a backup, or remove it: all its tokens are void then, and"
                " api.token is not.",
            ) from error
        found = tuple(one for one in written if one.digest not in self._void)
        self._known = {one.digest for one in found}
        if found != written:
            with suppress(StoreFailed):  # Void they are, whether or not there is room by now.
                self.save(found)
        return found

    def save(self, tokens: Tokens) -> None:
        """See the port."""
        given = {one.digest for one in tokens}
        self._void |= self._known - given
        aside = self.path.with_name(f".{self.path.name}.new")
        try:
            aside.unlink(missing_ok=True)
            opened = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(opened, "wb") as file:
                file.write(tokens_text(tokens))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.path)
            directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise StoreFailed(
                f"The tokens cannot be written to {self.path}: {error.strerror}.",
                hint="Make room on that disk, or check whose it is; then try again.",
            ) from error
        self._known, self._void = given, set()

    def make(self) -> str:
        """See the port."""
        text = PREFIX + secrets.token_urlsafe(limits.API_TOKEN_BYTES)
        register_secret(text)
        return text
