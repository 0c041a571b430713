"""The user's pip settings that hold here: how to reach which registry, and which releases this
machine allows.

pip also takes options from files and the environment. An option meant for other installations
(`user = true`, `target = ...`) would install other packages here, or install them elsewhere, and
pip would report success. So all settings are read, the useful ones go to pip in its environment,
and its files are shut out. The rest is reported by name.
"""

import ast
import contextlib
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from causes import Cause

KEPT = frozenset({
    "index-url", "pypi-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert",
    "client-cert", "proxy", "timeout", "default-timeout", "retries", "resume-retries", "cache-dir",
    "no-cache-dir", "constraint", "build-constraint", "keyring-provider", "use-feature",
    "use-deprecated", "uploaded-prior-to",
})  # fmt: skip
OF_TASTE = frozenset({
    "disable-pip-version-check", "no-color", "no-input", "progress-bar", "quiet", "verbose", "log",
    "log-file", "local-log", "root-user-action", "no-warn-script-location", "no-warn-conflicts",
    "no-python-version-warning", "break-system-packages", "require-virtualenv", "require-venv",
    "compile", "no-compile", "prefer-binary", "config-file", "debug", "exists-action",
})  # fmt: skip
"""They change nothing for this environment's users, so nobody hears that they are left out."""
SET = re.compile(r"^(global|install)\.([^=\s]+)=(.+)$", re.M)
PLACE = re.compile(r"(?:file: |errors: | in )'?(/[^'\n]+?)'?(?:, line.*|\.)?$", re.M)
TIMEOUT_S = 60


class Unreadable(Exception):
    """pip cannot read its own settings."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.sentence)
        self.cause = cause


def _option(variable: str) -> str:
    return variable.removeprefix("PIP_").lower().replace("_", "-")


def _variable(option: str) -> str:
    return "PIP_" + option.upper().replace("-", "_")


def settings_of(python: Path, environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables for pip, and the names of the options that are left out.

    `environment` is the caller's: its variables override the files, as in pip. Raises `Unreadable`
    if a settings file is damaged.
    """
    found = {**_of_files(python, environment), **of_variables(environment)}
    kept = {_variable(option): value for option, value in found.items() if option in KEPT}
    return kept, sorted(found.keys() - KEPT - OF_TASTE)


def of_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The options that variables set. pip ignores empty ones."""
    return {
        _option(name): value
        for name, value in environment.items()
        if name.startswith("PIP_") and value
    }


def _of_files(python: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The options that files set for an installation."""
    # Only pip knows which files there are; these options would choose among them.
    asked = {name: value for name, value in environment.items() if not name.startswith("PIP_")}
    asked |= {"PIP_USER": "0", "PIP_GLOBAL": "0", "PIP_SITE": "0", "PIP_QUIET": "0"}
    if "PIP_CONFIG_FILE" in environment:
        asked["PIP_CONFIG_FILE"] = environment["PIP_CONFIG_FILE"]
    done = subprocess.run(
        [str(python), "-m", "pip", "config", "list"],
        env=asked,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode != 0:
        raise Unreadable(_why(done.stderr or done.stdout))
    told: dict[str, str] = {}
    lines = SET.findall(done.stdout)
    for wanted in ("global", "install"):
        for section, option, value in lines:
            with contextlib.suppress(ValueError, SyntaxError):
                if section == wanted and (text := str(ast.literal_eval(value))):
                    told[option] = text
    return told


def _why(told: str) -> Cause:
    lines = [line.strip().removeprefix("ERROR: ") for line in told.splitlines() if line.strip()]
    if (found := PLACE.search(told)) is not None:
        return Cause(
            f"pip cannot read its settings in {found[1]}: they are damaged",
            "fix or remove that file (PIP_CONFIG_FILE=/dev/null makes pip read none)",
        )
    return Cause(
        f"pip cannot read its settings: {lines[-1][:200] if lines else 'it does not say why'}",
        "fix the file that it names (PIP_CONFIG_FILE=/dev/null makes pip read none)",
    )
