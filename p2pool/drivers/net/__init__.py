"""The network on py-libp2p 0.8.1: TCP, Noise, Yamux, gossipsub among members.

Where things are: `events` (configuration and what comes out), `network` (what the agent calls),
`event_queue` (between the two), `peer_link` (one connected peer), `pubsub` (gossip, its streams),
`mesh` (the router's settings), `peers` (who is dialled where and when), `host` (the library, its
sharp edges covered), `transport` (frames over the muxer), `reachability` (how others see this
machine), `patience` (waits that a stall does not use up).
Import `p2pool.drivers.net.network` late: libp2p takes 2.5 s and 80 MB.

The way of a peer: a connection stands (`PeerConnected`), both sides send their hello
(`FrameReceived` on HELLO), the agent judges it (`set_standing`) within HELLO_TIMEOUT_MS or it is
disconnected; only then streams of other channels are opened, or accepted; when its last connection
ends all is forgotten (`PeerDisconnected`) but its addresses.

What a stranger can do before that: the Noise handshake, identify, ping, and one hello at a time.

Measured (CPython 3.11, 2 cores, loopback, both hosts in one process, one long-lived stream each
way, echo through `send` and `events`; milliseconds, median, CPU about the same):

    frame bytes        64    300   16 Ki   256 Ki   1 Mi
    Yamux            0.54   0.53    0.57      3.2   11.6
    Mplex            0.36   0.36    1.4      16.5   66.0

Yamux was chosen. It costs 0.2 ms more for a small frame and is five times faster for large ones
(Mplex cuts all into slices of 4 KiB); above all it holds back each stream alone, where with Mplex
one reader that is slow stops the whole connection for 5 s and then loses its stream: whoever
follows a log slowly would cost the leader its election timeout. The window update for each small
read, which made Yamux the slower one as shipped, is gone with reading through a buffer.

Seen in the library besides what is listed where it is handled: `read_exactly` gives up after 100
partial reads; `new_host` offers plaintext and secio; an inbound connection keeps its slot for ever;
listening uses SO_REUSEPORT, so a second agent at the same port is no error; `dial_peer` blocks a
peer for 60 s after one failure and drops loopback addresses when there are others; Yamux drops data
for a stream that it does not know without a word, so a reset that was not written is never noticed;
a stream that is reset by its own side wakes nobody who reads it.
"""
