"""The tokens of this agent's API: makes, lists and revokes them, for who may operate it."""

from typing import Any, cast

import attrs
from litestar import Response, delete, get, post
from litestar.datastructures import State

from p2pool.api.http.tokens import TokenTable
from p2pool.api.resources.context import AnyRequest, json_body
from p2pool.api.resources.parameters import TokenName
from p2pool.codec.json.reader import Reader
from p2pool.model import limits
from p2pool.model.access.tokens import NAME_RULE, ApiToken, TokenScope, is_name
from p2pool.model.errors import Malformed

# --- answers ------------------------------------------------------------------------------------


@attrs.frozen
class Token:
    """What is known of a token, which is not the token; times are 0 for never."""

    name: str
    scope: str
    made_at_ms: int
    expires_at_ms: int
    used_at_ms: int


@attrs.frozen
class TokensAnswer:
    """Answer of `/v1/tokens`: the agent's own token first, then the others by name."""

    tokens: tuple[Token, ...]


@attrs.frozen
class MadeToken:
    """A new token. Nobody can read its text again."""

    token: str
    name: str
    scope: str
    expires_at_ms: int


@attrs.frozen
class Revoked:
    """The token opens nothing any more, and the streams that it opened have ended."""

    name: str


# --- what is sent -------------------------------------------------------------------------------


def read_wanted(value: Any) -> tuple[str, TokenScope, int | None]:
    """Name, scope and lifetime in seconds (None: until it is revoked) of a token to be made;
    `Malformed` with all `problems`."""
    problems: list[str] = []
    reader = Reader(value, "body", problems)
    name = reader.text("name", rule=_name_problem)
    scope = reader.choice("scope", TokenScope, None)
    lifetime_s = reader.number("lifetime_s", 0, 1, limits.API_TOKEN_LIFETIME_MAX_S)
    reader.finish()
    if problems:
        raise Malformed(
            f"The token is not good: {'; '.join(problems)}.",
            hint="See TokenRequest in /v1/openapi.json.",
            problems=tuple(problems),
        )
    return name, scope, lifetime_s or None


def _name_problem(text: str) -> str:
    return "" if is_name(text) else f"is no name of a token: {NAME_RULE}"


# --- routes -------------------------------------------------------------------------------------


def _known(one: ApiToken) -> Token:
    return Token(
        name=one.name,
        scope=one.scope.value,
        made_at_ms=one.made_at_ms,
        expires_at_ms=one.expires_at_ms,
        used_at_ms=one.used_at_ms,
    )


def _table(state: State) -> TokenTable:
    return cast(TokenTable, state.tokens)


@get("/v1/tokens", summary="The tokens of this agent, without what they read as")
async def tokens(state: State) -> TokensAnswer:
    """What each opens, until when, and when somebody last showed it."""
    return TokensAnswer(tuple(map(_known, _table(state).listed())))


@post("/v1/tokens", status_code=200, summary="Make a token; its text is told this once")
async def create(state: State, request: AnyRequest) -> Response[MadeToken]:
    """Make a token for one purpose, which opens no more than its scope and ends when it says."""
    name, scope, lifetime_s = read_wanted(await json_body(request))
    made, text = await _table(state).create(name, scope, lifetime_s)
    answer = MadeToken(text, made.name, made.scope.value, made.expires_at_ms)
    return Response(answer, headers={"cache-control": "no-store"})


@delete("/v1/tokens/{name:str}", status_code=200, summary="Revoke a token, at once")
async def revoke(state: State, name: TokenName) -> Revoked:
    """End a token and the streams that it opened; requests that are being answered are finished."""
    return Revoked((await _table(state).revoke(name)).name)
