"""The messages between agents. Importing this declares every message (`messages.registry`).

A new module of messages needs its line here; a message in an existing module needs none.
"""

from p2pool.model.messages.certificates import *  # noqa: F403
from p2pool.model.messages.challenge import *  # noqa: F403
from p2pool.model.messages.gossip import *  # noqa: F403
from p2pool.model.messages.queries import *  # noqa: F403
from p2pool.model.messages.raft import *  # noqa: F403
from p2pool.model.messages.registry import *  # noqa: F403
from p2pool.model.messages.secrets import *  # noqa: F403
from p2pool.model.messages.task_streams import *  # noqa: F403
from p2pool.model.messages.verdicts import *  # noqa: F403
from p2pool.model.messages.work import *  # noqa: F403
