"""Whom a webhook goes to, as the configuration names it.

Invariants: TLS is verified, by the machine's authorities or those of `ca_file`; without TLS a
receiver has to be private, where nobody but the owner's network reads along.
"""

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from p2pool.drivers.config.schema import NotifyConfig, WebhookConfig
from p2pool.drivers.redaction import register_url, shown_url
from p2pool.drivers.webhooks.signature import read_secrets
from p2pool.model.errors import Misconfigured


@attrs.frozen(kw_only=True)
class Receiver:
    """`shown`: its URL as it may be told. `target`: path and query, for the request's first line.
    `tls` None: plain HTTP."""

    name: str
    shown: str
    host: str
    port: int
    target: str
    secret_file: Path
    kinds: frozenset[str] = frozenset()
    allow_private: bool = False
    tls: ssl.SSLContext | None = attrs.field(default=None, eq=False, repr=False)

    @classmethod
    def of(cls, webhook: WebhookConfig) -> "Receiver":
        """The receiver of one section. `Misconfigured`: its authorities cannot be used."""
        register_url(webhook.url)
        parts = urlsplit(webhook.url)
        tls = parts.scheme.lower() == "https"
        assert parts.hostname is not None
        query = f"?{parts.query}" if parts.query else ""
        return cls(
            name=webhook.name,
            shown=shown_url(webhook.url),
            host=parts.hostname,
            port=parts.port or (443 if tls else 80),
            target=(parts.path or "/") + query,
            secret_file=webhook.secret_file,
            kinds=frozenset(webhook.kinds),
            allow_private=webhook.allow_private,
            tls=_context(webhook) if tls else None,
        )

    @property
    def host_header(self) -> str:
        """The header `Host`."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = 80 if self.tls is None else 443
        return name if self.port == usual else f"{name}:{self.port}"

    def wants(self, kind: str) -> bool:
        """Whether it asked for events of a kind. What it missed it is always told."""
        return not self.kinds or kind in self.kinds or kind == "gap"


def load_receivers(notify: NotifyConfig) -> tuple[Receiver, ...]:
    """All receivers, each with a secret that can be used. Blocks for a moment. `BadKey` or
    `Misconfigured`: a file cannot be used."""
    receivers = tuple(map(Receiver.of, notify.webhooks))
    for one in receivers:
        read_secrets(one.secret_file)
    return receivers


def _context(webhook: WebhookConfig) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=webhook.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Misconfigured(
            f"The webhook {webhook.name} cannot use its ca_file {webhook.ca_file}: {error}.",
            hint="Name a PEM file with the certificates of the authorities.",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
