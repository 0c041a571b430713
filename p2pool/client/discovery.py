"""Finds the agent that a command talks to: `--agent URL|DIR`, `P2POOL_AGENT`, else the default.

An agent writes where it listens (`api.url`) and its token (`api.token`, for its owner only) to its
data directory, so on the agent's own machine nothing needs to be told. For an agent given as a URL
the token comes from the file that `P2POOL_TOKEN_FILE` names, from `P2POOL_TOKEN`, or from the
default directory when its agent is the one at that URL. It is never an argument, where all see it.
"""

from collections.abc import Mapping
from pathlib import Path

import attrs

from p2pool.model.data_dir import API_TOKEN_FILE, API_URL_FILE
from p2pool.model.errors import Misconfigured, Unavailable

AGENT_VARIABLE = "P2POOL_AGENT"
DIRECTORY_VARIABLE = "P2POOL_DATA_DIR"
TOKEN_VARIABLE = "P2POOL_TOKEN"
TOKEN_FILE_VARIABLE = "P2POOL_TOKEN_FILE"


@attrs.frozen
class FoundAgent:
    """Where an agent's API is, and the token for it."""

    url: str
    token: str = attrs.field(repr=False)


def default_directory(environment: Mapping[str, str]) -> Path:
    """The data directory of this user's agent."""
    if given := environment.get(DIRECTORY_VARIABLE):
        return Path(given)
    import platformdirs  # costs a little, and is seldom needed

    found = platformdirs.user_data_path("p2pool")
    if not found.is_absolute():
        raise Misconfigured(
            "This user has no home directory to look for an agent in.",
            hint="Set HOME, or name the agent: --agent URL|DIR.",
        )
    return found


def find_agent(given: str | None, environment: Mapping[str, str]) -> FoundAgent:
    """The agent to talk to. Raises `Unavailable` where none runs there, `Misconfigured` where its
    token cannot be had; both say what to do."""
    text = given or environment.get(AGENT_VARIABLE) or ""
    if text.startswith(("http://", "https://")):
        return FoundAgent(text.rstrip("/"), _token_for(text.rstrip("/"), environment))
    if "://" in text:
        raise Misconfigured(f"{text!r} is neither an http(s) URL nor a directory.")
    return agent_in(Path(text).expanduser() if text else default_directory(environment))


def agent_in(directory: Path) -> FoundAgent:
    """The agent that keeps its data in a directory."""
    url = _read(directory / API_URL_FILE)
    if not url:
        raise Unavailable(
            f"No agent runs with its data in {directory}.",
            hint="Start it with 'p2pool agent run', or name another: --agent URL|DIR.",
        )
    token = _read(directory / API_TOKEN_FILE)
    if not token:
        raise Misconfigured(f"There is no token in {directory / API_TOKEN_FILE}.")
    return FoundAgent(url, token)


def _token_for(url: str, environment: Mapping[str, str]) -> str:
    if path := environment.get(TOKEN_FILE_VARIABLE):
        if token := _read(Path(path).expanduser()):
            return token
        raise Misconfigured(
            f"There is no token in {path}.", hint=f"{TOKEN_FILE_VARIABLE} names it."
        )
    if token := environment.get(TOKEN_VARIABLE, "").strip():
        return token
    directory = default_directory(environment)
    if _read(directory / API_URL_FILE).rstrip("/") == url:
        return _read(directory / API_TOKEN_FILE)
    raise Misconfigured(
        f"The token for {url} is not known.",
        hint=f"Name the agent's data directory instead (--agent DIR), or put the path of a copy of"
        f" its {API_TOKEN_FILE} into {TOKEN_FILE_VARIABLE}.",
    )


def _read(path: Path) -> str:
    """The one line of a file, empty where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"{path} cannot be read: {error}.", hint="It is for the user who runs the agent."
        ) from error
