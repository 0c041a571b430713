"""Reads and writes the policy file."""

import tomllib
from pathlib import Path

from p2pool.drivers.config.reader import read_section_tables, toml_text
from p2pool.drivers.input_files import read_input
from p2pool.drivers.redaction import safe_text
from p2pool.model import limits
from p2pool.model.errors import Misconfigured
from p2pool.validator.policy.rules import Policy


def read_policy(path: Path) -> Policy:
    """The policy in a file; `Misconfigured` names every problem, each at its place."""
    try:
        data = read_input(path, limits.CONFIG_MAX_BYTES, "policy")
    except OSError as error:
        raise Misconfigured(
            f"The policy {path} cannot be read: {error.strerror}.",
            hint="An empty file is a policy: a careful one that sends nothing.",
        ) from error
    if len(data) > limits.CONFIG_MAX_BYTES:
        raise Misconfigured(f"The policy {path} is longer than {limits.CONFIG_MAX_BYTES} bytes.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Misconfigured(f"The policy {path} is no text in UTF-8.") from error
    return policy_of(text, str(path))


def policy_of(text: str, shown: str = "policy") -> Policy:
    """The policy in a text."""
    try:
        tables = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Misconfigured(f"The policy {shown} is no TOML: {safe_text(str(error))}.") from error
    policy, problems = read_section_tables(Policy, tables, {}, "P2POOL_POLICY_")
    if policy is None:
        raise Misconfigured(
            f"The policy {shown} cannot be used:\n  " + "\n  ".join(problems),
            hint="docs/validators.md says what each key does.",
        )
    return policy


def policy_text(policy: Policy) -> str:
    """A policy as a file that states all of it."""
    return toml_text(policy)
