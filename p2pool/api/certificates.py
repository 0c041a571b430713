"""The certificate that the API shows, taken anew when its files change.

Intuition: certificates are renewed every few weeks by programs that know nothing of this agent. So
a handshake looks whether the two files are still the ones that were read, at most once a second;
nobody has to send a signal, or restart an agent whose streams others read. (SIGHUP ends an agent,
as the end of its terminal does.)

Invariants: what was good once is shown until something better is there: a certificate that cannot
be read, does not belong to its key, or has ended already, is told of and never shown. Connections
that are open keep what they were opened with. Certificate and key are replaced one after the other;
in between they do not fit, and the next look finds both.
"""

import hashlib
import os
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs
import structlog
import trio
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from p2pool.model import limits
from p2pool.model.errors import Misconfigured

_log = structlog.get_logger("p2pool.api")

Mark = tuple[int, int, int, int] | None
"""What tells one file from another of its name; None: there is none."""


@attrs.frozen(kw_only=True)
class Loaded:
    """A certificate with its key, ready to be shown; times are Unix seconds."""

    context: ssl.SSLContext
    fingerprint: str
    not_after_s: int
    names: tuple[str, ...]

    @property
    def until(self) -> str:
        """When it ends, for people."""
        return _day(self.not_after_s)

    def names_host(self, host: str) -> bool:
        """Whether clients that call the agent so find the name in it; `*` stands for one label."""
        parent = "*." + host.partition(".")[2]
        return host.lower() in self.names or parent.lower() in self.names


class Certificate:
    """The certificate of one API; `problem`: why its files, as they are now, are not shown."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Reads both files. `Misconfigured`: they cannot be used."""
        self._files = (certificate, private_key)
        self._marks = self._look_at_files()
        self._next_s = float("-inf")
        self.problem = ""
        self.shown = load_certificate(certificate, private_key)
        self.changed: Callable[[], None] = lambda: None
        """Called when another one is shown."""

    def context(self) -> ssl.SSLContext:
        """What the next handshake needs."""
        self.look()
        return self.shown.context

    def look(self) -> None:
        """Take over files that changed. It costs two calls to the system, once a second at most;
        reading a certificate takes a few milliseconds, once in weeks, and so no thread."""
        now_s = trio.current_time()
        if now_s < self._next_s:
            return
        self._next_s = now_s + limits.API_CERTIFICATE_LOOK_MS / 1000
        marks = self._look_at_files()
        if marks == self._marks:
            return
        self._marks = marks
        try:
            found = load_certificate(*self._files)
            if found.not_after_s <= time.time():
                raise Misconfigured(f"It has ended already, on {found.until}.")
        except Misconfigured as error:
            self.problem = error.message
            _log.warning("api_certificate_not_taken", error=error.message)
            return
        before, self.shown, self.problem = self.shown, found, ""
        if found.fingerprint != before.fingerprint:
            _log.info("api_certificate_taken", until=found.until)
            self.changed()

    def warnings(self) -> tuple[str, ...]:
        """What the agent's status says of it."""
        self.look()
        told, now_s, until_s = [], time.time(), self.shown.not_after_s
        if self.problem:
            told.append(
                f"The API shows its certificate from before, until {_day(until_s)}: the files of"
                f" [api] tls_certificate and tls_key changed and cannot be used. {self.problem}"
            )
        if until_s <= now_s:
            told.append(
                f"The API's certificate ended on {_day(until_s)}: clients refuse it. Renew"
                f" {self._files[0]}; the agent takes it without a restart."
            )
        elif until_s - now_s < limits.API_CERTIFICATE_WARN_S:
            told.append(
                f"The API's certificate ends on {_day(until_s)}. Renew {self._files[0]}; the agent"
                " takes it without a restart."
            )
        return tuple(told)

    def _look_at_files(self) -> tuple[Mark, ...]:
        return tuple(map(_mark, self._files))


def load_certificate(certificate: Path, private_key: Path) -> Loaded:
    """A certificate, with those that vouch for it, and its key, from PEM files. `Misconfigured`:
    they cannot be used, and why."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        text = _read(certificate)
        context.load_cert_chain(certificate, private_key, password=_no_passphrase)
        first = x509.load_pem_x509_certificate(text)
        return Loaded(
            context=context,
            fingerprint=fingerprint(text.decode("utf-8", "replace")),
            not_after_s=int(first.not_valid_after_utc.timestamp()),
            names=_names(first),
        )
    except (OSError, ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        why = "the two do not belong together" if _is_mismatch(error) else str(error)
        raise Misconfigured(
            f"The API cannot use its certificate {certificate} with {private_key}: {why}.",
            hint="Check the PEM files in [api] tls_certificate and tls_key.",
        ) from error


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The names and numbers that a certificate is for (RFC 9525: of the subject none counts)."""
    kind = x509.SubjectAlternativeName
    try:
        found = certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    numbers = map(str, found.get_values_for_type(x509.IPAddress))
    return (*(name.lower() for name in found.get_values_for_type(x509.DNSName)), *numbers)


def fingerprint(text: str) -> str:
    """SHA-256 of the certificate that clients are shown: the first one in the file."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = begin + text.partition(begin)[2].partition(end)[0] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(limits.API_CERTIFICATE_MAX_BYTES + 1)
    if len(data) > limits.API_CERTIFICATE_MAX_BYTES:
        raise ValueError(f"it is longer than {limits.API_CERTIFICATE_MAX_BYTES} bytes")
    return data


def _no_passphrase() -> str:
    """Nobody is there to type one: the system's library would ask on the agent's terminal."""
    raise ValueError("the key is encrypted, and the agent asks for no passphrase")


def _is_mismatch(error: Exception) -> bool:
    return isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH"


def _mark(path: Path) -> Mark:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _day(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
