"""What programs import as `p2pool.client`: a pool through any of its agents, blocking or on trio.

Intuition: what is asked, in which order, of whom and when again is written once, as generators that
yield steps (`steps`) and hold no socket. Two drivers carry the steps out: `client` blocks, on the
transport that commands use; `async_client` runs on trio, and ends when it is cancelled.

Invariants: a signed request is made once and sent as often as it takes, so no change of agents
doubles it; an event or a line that was handed out is not handed out again; where some may be
missing, the reader is told.
Source: docs/platforms.md; docs/design/api.md, "The client library".
"""
