"""Certificates for an agent of this machine, and where it has them."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509

from p2pool.api.server import ApiSettings
from tests.api.http.conftest import DAY, made

HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
LONG = 90 * DAY


def installed(directory: Path, lasts: datetime.timedelta = LONG) -> tuple[Path, Path]:
    """The files that the agent is told of, with a new certificate for this machine in them."""
    where = directory / "tls"
    where.mkdir(exist_ok=True)
    return made(where, HERE, lasts=lasts)


def settings(files: tuple[Path, Path], *, tls_bind: str = "") -> ApiSettings:
    """With a certificate; at `tls_bind`, else at the only port."""
    return ApiSettings("127.0.0.1:0", certificate=files[0], private_key=files[1], tls_bind=tls_bind)


def new_directory(path: Path) -> Path:
    """Its owner's alone."""
    path.mkdir(mode=0o700)
    return path
