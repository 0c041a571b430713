"""HTTP to one address, which may turn out to be no agent at all.

Intuition: a command is told an address and believes nothing of what listens there. Whatever comes
back (a page, a redirect, bytes of another protocol, an answer without end) becomes an error that
says so. Where the agent's unix socket is known it is tried first, which nobody else can fill.

Invariants: an answer has a bound in bytes and in time; the token is sent only after the certificate
is checked, not to a port whose agent left a dead socket and holds its directory no more, and
without TLS to this machine alone, unless somebody allowed it; no redirect is followed, because the
token would go along. What only streams and TLS need is imported where they begin: a command that
reads lasts no longer than that takes.
"""

import errno
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from p2pool.client import plain_http
from p2pool.client.discovery import (
    PLAIN_VARIABLE,
    UNIX,
    FoundAgent,
    certificate_in,
    serves,
    start_hint,
)
from p2pool.client.errors import error_of, heard, not_an_agent
from p2pool.codec.json.depth import too_deep
from p2pool.model import limits
from p2pool.model.errors import Misconfigured, Overloaded, P2poolError, Unavailable

if TYPE_CHECKING:
    import http.client
    import ssl

_PIECE_BYTES = 256 * 1024
_FRAMES = "application/vnd.p2pool.frames"
_NOBODY = {errno.ECONNREFUSED, errno.ENOENT}
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){0,8}")
_UNTRUSTED = {2, 18, 19, 20, 21, 24}
_OTHER_NAME = {62, 64}
_EXPIRED, _NOT_YET = 10, 9
_OTHER = "Try again, or ask another agent: --agent URL|DIR."


class _Named(Protocol):
    """A socket of any kind."""

    def getpeername(self) -> Any:
        """The other side's address."""
        ...


class NoAgent(Unavailable):
    """Nothing listens there: asking again at once is useless."""


class Told(dict[str, Any]):
    """An object of an answer; a part that it lacks is the sender's fault, not ours."""

    url: str = ""

    def __missing__(self, key: str) -> Any:
        """An error of the tree in place of KeyError."""
        raise not_an_agent(f"its answer has no {key!r}", self.url)


class Transport:
    """Requests to one agent; connects for each."""

    def __init__(self, found: FoundAgent, timeout_s: float) -> None:
        """`Misconfigured` if the URL or the token is none."""
        self.url, self._token, self._timeout_s = found.url.rstrip("/"), found.token, timeout_s
        self._fingerprint, self._directory = found.fingerprint, found.directory
        self._ca, self._plain = found.ca, found.plain
        self._alone = found.url.startswith(UNIX + "/")
        self._socket = Path(found.url.removeprefix(UNIX)) if self._alone else found.socket
        try:
            # What is at a socket has no name; any agent answers to this one.
            parts = urlsplit("http://localhost" if self._alone else found.url)
            self._host, self._port, whole = parts.hostname or "", parts.port, parts.netloc
        except ValueError:  # A port that is no number, or half a bracket.
            self._host, self._port, whole = "", None, ""
        more = parts.query or parts.fragment if self._host else ""
        self._prefix = parts.path.rstrip("/") if self._host else ""
        odd = _PREFIX.fullmatch(self._prefix) is None or {".", ".."} & set(self._prefix.split("/"))
        if not self._host or parts.scheme not in ("http", "https") or more or odd or "@" in whole:
            raise Misconfigured(
                f"{found.url!r} is not the URL of an agent.",
                hint="Write it as http://HOST:PORT, or as a proxy shows it: https://HOST/PREFIX.",
            )
        if self._prefix.split("/")[1:2] in (["v1"], ["metrics"]):
            raise Misconfigured(
                f"{found.url!r} is the URL of one of an agent's answers.",
                hint="Leave out its path from there: http://HOST:PORT.",
            )
        self._tls = parts.scheme == "https"
        if not (self._tls or self._alone or self._plain) and _is_elsewhere(self._host):
            raise self._unsafe()
        if not self._token.isascii() or not self._token.isprintable():
            raise Misconfigured(
                "The token is none: it has characters that no token has.",
                hint="Copy the agent's api.token again.",
            )

    def exchange(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        """Status and whole body of an answer."""
        most = limits.CLIENT_ANSWER_MAX_BYTES
        with self._connected() as (opened, ends):
            sent, headers = self._request(body)
            target = self.target(path)
            status, found = plain_http.ask(
                *(opened, self._name(), method, target), headers=headers, body=sent, most=most
            )
            if ends.over:  # Where only the end of the connection ends a body.
                raise TimeoutError
            if len(found) > most:
                raise not_an_agent(f"its answer is longer than {most >> 20} MiB", self.url)
            return status, found

    def lines(
        self, method: str, path: str, body: Any, kind: str, *, ends_soon: bool = False
    ) -> Iterator[list[bytes]]:
        """Lines of an answer of this media type with their ends, in batches as they come.
        `ends_soon`: whoever reads has enough in the time that any other answer has."""
        with self._asked(method, path, body) as (response, ends):
            self._check_streams(response, kind)
            if not ends_soon:
                ends.cancel()
            rest = b""
            while data := response.read1(_PIECE_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) >= limits.CLIENT_LINE_MAX_BYTES:
                    raise Overloaded(
                        f"The agent sent a line of more than {limits.CLIENT_LINE_MAX_BYTES} bytes.",
                        hint="Ask another agent: --agent URL|DIR.",
                    )
                if lines:
                    yield [line + b"\n" for line in lines]
            if rest:
                yield [rest]
            if ends.over:
                raise TimeoutError

    def pieces(self, path: str, kind: str) -> Iterator[bytes]:
        """A body of this media type and of any length, in pieces as they come; or framed, with the
        error at its end raised if there is one."""
        with self._asked("GET", path, None) as (response, ends):
            self._check_streams(response, kind, _FRAMES)
            ends.cancel()
            if response.headers.get_content_type() == _FRAMES:
                yield from self._unframed(response)
                return
            while piece := response.read(_PIECE_BYTES):
                yield piece
            if response.length:  # Read in pieces, it says nothing of those that are missing.
                raise plain_http.BrokeOff

    def _unframed(self, response: "http.client.HTTPResponse") -> Iterator[bytes]:
        while length := int.from_bytes(_exactly(response, 4), "big"):
            while length:
                piece = _exactly(response, min(length, _PIECE_BYTES))
                length -= len(piece)
                yield piece
        ending = self.document(response.read(limits.CLIENT_LINE_MAX_BYTES))
        if "error" in ending:
            problem = ending["error"]
            if not isinstance(problem, Told) or not isinstance(status := problem["status"], int):
                raise not_an_agent("the error in its answer is none", self.url)
            raise self.refused(status, problem)

    def _check_streams(self, response: "http.client.HTTPResponse", *kinds: str) -> None:
        """Raise what an answer says that is no stream of one of these kinds."""
        said = (response.getheader("content-type") or "").partition(";")[0].strip().lower()
        if response.status != 200:
            text = response.read(limits.CLIENT_LINE_MAX_BYTES)
            raise self.refused(response.status, self.document(text))
        if said not in kinds:
            raise not_an_agent(f"it answers with {said or 'something'}, not {kinds[0]}", self.url)

    def target(self, path: str) -> str:
        """A path behind whatever a proxy puts before it."""
        return self._prefix + path

    def document(self, body: bytes) -> Told:
        """The JSON object in a body, empty if the body holds no object."""
        try:
            text = body.decode()
            value = None if too_deep(text) else json.loads(text, object_hook=self._told)
        except (ValueError, RecursionError):
            value = None
        heard[:] = [self.url]
        return value if isinstance(value, Told) else self._told({})

    def _told(self, plain: dict[str, Any]) -> Told:
        told = Told(plain)
        told.url = self.url
        return told

    def refused(self, status: int, told: Told) -> P2poolError:
        """The error that an answer other than 200 describes."""
        if 300 <= status < 400:
            return not_an_agent(f"it answers with HTTP status {status}, a redirection", self.url)
        if "code" not in told and status not in (502, 503, 504):
            return not_an_agent(f"it answers with HTTP status {status}, and no reason", self.url)
        return error_of(status, told)

    @contextmanager
    def _asked(
        self, method: str, path: str, body: Any
    ) -> Iterator[tuple["http.client.HTTPResponse", "_Deadline"]]:
        """The answer of a stream with its headers read, until the block ends."""
        import http.client

        with self._connected() as (opened, ends):
            connection = http.client.HTTPConnection(self._host)
            connection.sock = opened
            sent, headers = self._request(body)
            try:
                target = self.target(path)
                connection.request(method, target, sent, {"Host": self._name(), **headers})
                yield connection.getresponse(), ends
            except http.client.RemoteDisconnected:
                raise  # It is an OSError too.
            except http.client.IncompleteRead as error:
                raise plain_http.BrokeOff from error
            except http.client.HTTPException as error:
                raise plain_http.NoHttp from error
            finally:
                connection.close()

    @contextmanager
    def _connected(self) -> Iterator[tuple[socket.socket, "_Deadline"]]:
        """A connection whose certificate is checked, until the block ends."""
        opened, ends = self._connect(), _Deadline()
        try:
            ends.begin(opened, limits.CLIENT_ANSWER_MAX_MS / 1000)
            yield opened, ends
        except (OSError, plain_http.NoHttp, plain_http.BrokeOff) as error:
            raise self._broke(error, ends) from error
        finally:
            ends.cancel()
            opened.close()

    def _request(self, body: Any) -> tuple[bytes | None, dict[str, str]]:
        """What is sent, and headers."""
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "*/*"}
        if body is None:
            return None, headers
        return json.dumps(body).encode(), headers | {"Content-Type": "application/json"}

    def _name(self) -> str:
        """For the Host header."""
        host = self._host if self._host.isascii() else self._host.encode("idna").decode()
        host = f"[{host.partition('%')[0]}]" if ":" in host else host
        return host if self._port is None else f"{host}:{self._port}"

    def _connect(self) -> socket.socket:
        """Connect, and check the certificate, before anything is sent."""
        if self._socket is not None and (local := self._at_socket(self._socket)) is not None:
            return local
        port = (443 if self._tls else 80) if self._port is None else self._port
        try:
            opened = socket.create_connection((self._host, port), self._timeout_s)
        except (OSError, UnicodeError) as error:
            raise self._no_agent(error) from error
        with suppress(OSError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            return self._secured(opened)
        try:
            self.check_peer(opened)
        except Misconfigured:
            opened.close()
            raise
        return opened

    def check_peer(self, opened: "_Named") -> None:
        """`Misconfigured` if the token would go to another machine where others can read it."""
        if not self._plain and _is_elsewhere(_peer(opened)):
            raise self._unsafe()

    def _unsafe(self) -> Misconfigured:
        """Whoever is on the way could take the token."""
        return Misconfigured(
            f"{self.url} is not on this machine, and without TLS others could read the token.",
            hint=f"Name it by https://, or go through a tunnel: ssh -L. In a network where nobody"
            f" else listens allow it: {PLAIN_VARIABLE}=1.",
        )

    def _at_socket(self, path: Path) -> socket.socket | None:
        """A connection to the unix socket, which needs no TLS; None if there is none, and the URL
        says where else to go."""
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        opened.settimeout(self._timeout_s)
        try:
            with reached(path) as name:
                opened.connect(name)
            return opened
        except OSError as error:
            opened.close()
            if (failed := self.socket_error(path, error)) is not None:
                raise failed from error
            return None

    def socket_error(self, path: Path, error: OSError) -> P2poolError | None:
        """Why the agent cannot be reached by its socket; None if the URL may lead to it."""
        if not self._alone:
            if error.errno in _NOBODY and not self._serves():
                return NoAgent(
                    f"No agent answers at {path} ({error.strerror}).",
                    hint=start_hint(self._directory),
                )
            return None
        if isinstance(error, PermissionError):
            return Misconfigured(
                f"The socket {path} is not this user's: {error.strerror}.",
                hint="Run this as the user who runs the agent.",
            )
        return self._no_agent(error)

    def _serves(self) -> bool:
        """Whether the agent whose socket is dead listens at the URL. The token goes to no program
        that took the port of an agent that ended."""
        return self._directory is None or serves(self._directory, self.url)

    def _secured(self, opened: socket.socket) -> "ssl.SSLSocket":
        """The same in TLS, with the certificate of the agent."""
        try:
            secured = self.tls_context().wrap_socket(opened, server_hostname=self._host)
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate could have.
            raise self.tls_error(error) from error
        finally:
            opened.close()  # Detached where it is secured.
        try:
            self.check_certificate(secured.getpeercert(binary_form=True))
        except Misconfigured:
            secured.close()
            raise
        return secured

    def tls_context(self) -> "ssl.SSLContext":
        """Which certificates are good."""
        import ssl

        context = self._trusting()
        if self._fingerprint:
            # The agent's own directory says which certificate is its: no name, no authority and no
            # clock could say it better.
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def tls_error(self, error: Exception) -> P2poolError:
        """What a handshake that failed is called."""
        import ssl

        if isinstance(error, ssl.SSLCertVerificationError):
            return self._distrusted(error.verify_code, error.verify_message)
        if isinstance(error, ssl.SSLError):
            return Misconfigured(
                f"What listens at {self.url} does not speak TLS as we do: {error.reason or error}.",
                hint="If it is an agent without a certificate, write http:// instead of https://.",
            )
        return self._no_agent(error)

    def _trusting(self) -> "ssl.SSLContext":
        """What is trusted: the certificates that were named, else the system's."""
        import ssl

        if self._ca is None:
            return ssl.create_default_context()
        try:
            return ssl.create_default_context(cafile=self._ca)
        except OSError as error:  # An SSLError is one.
            why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise Misconfigured(
                f"The certificates to trust in {self._ca} cannot be used: {why}.",
                hint="--ca names a PEM file: the authority that signed the agent's certificate, or"
                " that certificate itself if nobody else signed it.",
            ) from error

    def _distrusted(self, code: int, message: str) -> Misconfigured:
        """Why a certificate is not trusted, by OpenSSL's code (openssl-verification-options(1))."""
        at_home = "On the agent's machine name its data directory: --agent DIR."
        if code in _UNTRUSTED:
            by = "this machine" if self._ca is None else str(self._ca)
            why = f"it is signed by nobody whom {by} trusts"
            hint = (
                "Name who signed it: --ca FILE, with the authority's certificate, or with the"
                f" agent's own if nobody else signed it. {at_home}"
            )
        elif code in _OTHER_NAME:
            why = f"it is not for {self._host}"
            hint = f"Use a name that it has, or have one made for this name. {at_home}"
        elif code == _EXPIRED:
            why = "it has expired"
            hint = "Renew it at the agent, which takes the new files without a restart; and look"
            hint += " whether this machine's clock is right."
        elif code == _NOT_YET:
            why, hint = "it is not valid yet", "Look whether this machine's clock is right."
        else:
            why, hint = message.removesuffix("."), f"Have another made. {at_home}"
        return Misconfigured(f"The certificate of {self.url} cannot be trusted: {why}.", hint=hint)

    def check_certificate(self, shown: bytes | None) -> None:
        """`Misconfigured` if the agent's own directory names another certificate than was shown."""
        if not self._fingerprint:
            return
        import hashlib

        found = hashlib.sha256(shown or b"").hexdigest()
        if found != self._fingerprint and self._directory is not None:
            self._fingerprint = certificate_in(self._directory)  # It was renewed meanwhile.
        if found != self._fingerprint:
            raise Misconfigured(
                f"What listens at {self.url} shows another certificate than the agent whose"
                " directory was named.",
                hint="Something else listens there; or the agent has the new one in a moment.",
            )

    def _no_agent(self, error: Exception) -> NoAgent:
        return NoAgent(
            f"No agent answers at {self.url} ({error}).",
            hint=start_hint(self._directory),
        )

    def _broke(self, error: Exception, ends: "_Deadline") -> P2poolError:
        return self.endless() if ends.over else self.failure(error)

    def endless(self) -> Unavailable:
        """The error for an answer that does not come to its end."""
        return Unavailable(
            f"The answer of {self.url} has no end after {limits.CLIENT_ANSWER_MAX_MS // 1000} s.",
            hint=_OTHER,
        )

    def failure(self, error: Exception) -> P2poolError:
        """What a failure of a connection is called."""
        if isinstance(error, TimeoutError):
            return Unavailable(
                f"The agent at {self.url} was silent for {self._timeout_s:g} s.", hint=_OTHER
            )
        if isinstance(error, ConnectionError):
            why = str(error) or type(error).__name__
            return Unavailable(f"The connection to {self.url} broke: {why}.", hint=_OTHER)
        if isinstance(error, plain_http.BrokeOff):
            return Unavailable(f"The answer of {self.url} broke off before its end.", hint=_OTHER)
        if isinstance(error, plain_http.NoHttp):
            tls = "" if self._tls else "; if it speaks TLS, write https://"
            return not_an_agent(f"its answer is no HTTP{tls}", self.url)
        return Unavailable(f"The connection to {self.url} broke: {error}.", hint=_OTHER)


def _is_elsewhere(host: str) -> bool:
    """Whether a number is no address of this machine alone; a name tells it only once it is
    connected."""
    if host.startswith("127.") or host in ("", "localhost", "::1"):
        return False  # Without the library that knows numbers, which costs a command 2 ms.
    import ipaddress

    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _peer(opened: "_Named") -> str:
    try:
        return str(opened.getpeername()[0])
    except OSError:
        return ""  # It is gone; so is whoever could read along.


@contextmanager
def reached(path: Path) -> Iterator[str]:
    """A name of this path that a socket can have: a longer one by way of the open directory."""
    if len(os.fsencode(path)) <= limits.UNIX_PATH_MAX_BYTES:
        yield str(path)
        return
    opened = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{opened}/{path.name}"
    finally:
        os.close(opened)


def _exactly(response: "http.client.HTTPResponse", count: int) -> bytes:
    data = response.read(count)
    if len(data) < count:
        raise plain_http.BrokeOff
    return data


class _Deadline:
    """Ends a connection whose answer takes too long, however slowly it drips."""

    def __init__(self) -> None:
        self.over = False
        self._timer: threading.Timer | None = None

    def begin(self, opened: socket.socket, after_s: float) -> None:
        """Count from now."""
        self._timer = threading.Timer(after_s, self._end, (opened,))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """It may take any time from here."""
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, opened: socket.socket) -> None:
        self.over = True
        with suppress(OSError):
            # Of the socket alone: another thread is inside what TLS keeps.
            socket.socket.shutdown(opened, socket.SHUT_RDWR)
