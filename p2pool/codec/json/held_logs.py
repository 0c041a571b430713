"""The JSON of `/v1/logs-held`: which agent holds which log, for whoever recovers a pool."""

from typing import Any

import attrs

from p2pool.codec.json.hex import address_text
from p2pool.codec.text.peer_id import peer_id
from p2pool.model.log.raft import Voter
from p2pool.model.ports.agent import LogHolder


@attrs.frozen
class HeldLog:
    """The log that a node says it holds; `log_id` is null if it holds none.

    `followed_epoch` is the epoch of the root record that it follows; `refusal` says why it does not
    found that epoch. `outgoing`: the voters before the change in which the log ends, if it does.
    """

    node_id: str
    peer_id: str
    store_id: str
    log_id: str | None
    epoch: int
    followed_epoch: int
    refusal: str
    base_index: int
    commit_index: int
    last_index: int
    last_term: int
    state_digest: str | None
    voters: tuple[str, ...]
    voter: bool
    outgoing: tuple[str, ...] = ()

    @property
    def halves(self) -> tuple[tuple[str, ...], ...]:
        """The committees of which each needs a majority."""
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    @property
    def end(self) -> tuple[int, int]:
        """How long the log is: its last term and index."""
        return self.last_term, self.last_index


def held_log(holder: LogHolder) -> HeldLog:
    """A holder's log with its names as text."""
    end = holder.end
    return HeldLog(
        node_id=address_text(holder.node_id),
        peer_id=peer_id(holder.peer_key),
        store_id=end.store_id.hex(),
        log_id=None if end.log_id is None else end.log_id.hex(),
        epoch=end.epoch,
        followed_epoch=end.followed_epoch,
        refusal=end.refusal,
        base_index=end.base_index,
        commit_index=end.commit_index,
        last_index=end.last_index,
        last_term=end.last_term,
        state_digest=None if end.state_digest is None else end.state_digest.hex(),
        voters=tuple(address_text(voter.node_id) for voter in end.voters),
        voter=Voter(holder.node_id, holder.peer_key, end.store_id) in end.configuration.electors,
        outgoing=tuple(address_text(voter.node_id) for voter in end.outgoing),
    )


def read_held_log(answer: dict[str, Any]) -> HeldLog:
    """A held log in the API's answer; keys that only newer agents write are ignored."""
    named = {field.name: answer[field.name] for field in attrs.fields(HeldLog)[:-1]}
    outgoing = tuple(answer.get("outgoing", ()))  # Agents before feature level 2 have none.
    return HeldLog(**named | {"voters": tuple(named["voters"]), "outgoing": outgoing})
