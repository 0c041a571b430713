"""What a node checks itself before it starts anything, whoever ordered it.

A bad leader can place work badly, never invent it: the submission that an order carries has to be
signed by an account with the right to it, and to be the one that the task is named after.
Source: design, section 9.
"""

import attrs

from p2pool.codec.messages import task_id
from p2pool.core.context import Context
from p2pool.core.rights import may
from p2pool.model.tasks import Action, Signers
from p2pool.model.work import Desired


@attrs.define
class WorkRights:
    """The judgement of one node on what it is ordered to run."""

    context: Context

    def judge(self, desired: Desired, signers: Signers | None, at_s: int) -> str:
        """Why this must not be started here, or "". It is judged as of its submission, so that a
        delegation that expired since does not undo what was begun under it."""
        roster, state = self.context.roster.latest, self.context.ledger.state
        request = desired.signed.request
        if signers is None:
            return "its submission is not signed well"
        if roster is None:
            return "the pool's roster is not known here"
        if request.action is not Action.SUBMIT:
            return "what it was ordered by is no submission"
        if desired.allocation.task_id != task_id(self.context.config.pool, request):
            return "it is not named after its submission"
        denied = may(roster, state, signers, desired.signed, min(at_s, request.not_after_s))
        return denied.message if denied is not None else ""
