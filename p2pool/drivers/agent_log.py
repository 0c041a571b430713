"""Log lines on standard error: readable on a terminal, JSON elsewhere, never with a secret.

structlog makes the line; lines that libraries log through `logging` pass the same processors.
Redaction is the last processor before rendering, so nothing is added after it, and the rendered
line is searched once more for registered values: an exception's text is data too.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

from p2pool.drivers.redaction import redact, redact_text
from p2pool.model.errors import Misconfigured

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
FORMATS = ("auto", "pretty", "json")
# Libraries that log at `info` what only their developers want to know.
LIBRARIES = (
    "libp2p",
    "web3",
    "urllib3",
    "docker",
    "httpx2",
    "httpcore2",
    "multiaddr",
    "apsw",
)
QUIET: Mapping[str, str] = dict.fromkeys(LIBRARIES, "warning")

Event = MutableMapping[str, Any]


def configure_logs(
    *,
    level: str = "info",
    levels: Mapping[str, str] | None = None,
    format: str = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send all log lines to `stream` (default: standard error). May be called again.

    `levels` are by logger name ("p2pool.drivers.net": "debug") and override `level`; the longest
    matching name wins. `format` is one of FORMATS. Raises Misconfigured for unknown names.
    """
    out = sys.stderr if stream is None else stream
    if format not in FORMATS:
        raise Misconfigured(f"Unknown log format {format!r}.", hint=f"One of: {_list(FORMATS)}.")
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    pretty = format == "pretty" or (format == "auto" and out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(_Redacting(shared, pretty))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, _Redacting):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(_level(level))
    for name, named in {**QUIET, **(levels or {})}.items():
        logging.getLogger(name).setLevel(_level(named))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> Any:
    """A structlog logger by module name: `log = get_logger(__name__)`, `log.info("event", k=v)`."""
    return structlog.stdlib.get_logger(name)


def redact_event(_logger: Any, _method: str, event: Event) -> Event:
    """Processor: removes secrets from fields by their names, and registered values everywhere."""
    redacted: Event = redact(event)
    return redacted


class _Redacting(structlog.stdlib.ProcessorFormatter):
    """The one way to the stream: redacted as fields, then as text."""

    def __init__(self, shared: list[Any], pretty: bool) -> None:
        processors: list[Any] = [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            redact_event,
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ]
        super().__init__(foreign_pre_chain=shared, processors=processors)

    def format(self, record: logging.LogRecord) -> str:
        """The rendered line, searched once more."""
        return redact_text(super().format(record))


def _level(name: str) -> int:
    level = LEVELS.get(name.lower())
    if level is None:
        raise Misconfigured(f"Unknown log level {name!r}.", hint=f"One of: {_list(LEVELS)}.")
    return level


def _list(names: Any) -> str:
    return ", ".join(names)
