"""The network on py-libp2p 0.8.1: TCP, Noise, Yamux, gossipsub among members.

Modules: `events` (configuration and what comes out), `network` (what the agent calls), `peer_link`
(one connected peer), `pubsub` (gossip streams), `gossip_intake` (what gossip may cost), `mesh` (the
router's settings), `peers.peer_book` and `peers.dialer` (who is dialled when), `host` (the library,
its sharp edges covered), `transport.frames`, `transport.muxer`, `transport.room` (what a connection
makes us hold), `transport.raw_stream`, `transport.agreement`, `transport.pace`, `patience` (waits
that a stall does not use up), `peers.addresses`, `reachability.identify`, `event_queue`. Import
`p2pool.drivers.net.network` late: libp2p takes 2.5 s and 80 MB.

The life of a peer: a connection is up (`PeerConnected`), both sides send their hello
(`FrameReceived` on HELLO), and the agent judges it (`set_standing`) within HELLO_TIMEOUT_MS or the
peer is disconnected. Only then does either side open or accept streams of other channels. When the
last connection ends, everything about the peer is forgotten (`PeerDisconnected`) except addresses.

Before that a stranger can do only this: the Noise handshake, ask who we are (identify), ping, say
one hello at a time.

Measured (CPython 3.11, 2 cores, loopback, both hosts in one process, one long-lived stream each
way, echo through `send` and `events`; milliseconds, median, CPU about the same):

    frame bytes        64    300   16 Ki   256 Ki   1 Mi
    Yamux            0.54   0.53    0.57      3.2   11.6
    Mplex            0.36   0.36    1.4      16.5   66.0

We chose Yamux. It costs 0.2 ms more for a small frame and is five times faster for large ones
(Mplex cuts everything into slices of 4 KiB). Above all it holds back each stream on its own: with
Mplex one slow reader stops the whole connection for 5 s and then loses its stream, so a slow log
reader would cost the leader its election timeout. The window update for each small read, which made
Yamux the slower one as shipped, is gone now that reads go through a buffer.

Other traits of the library, besides those noted where they are handled: `read_exactly` gives up
after 100 partial reads; `new_host` offers plaintext and secio; an inbound connection keeps its slot
for ever; listening uses SO_REUSEPORT, so a second agent on the same port is no error; `dial_peer`
blocks a peer for 60 s after one failure and drops loopback addresses if there are others; data for
an unknown stream is dropped silently (up to a window, here), so an unwritten reset goes unnoticed;
resetting a stream wakes no reader on the same side.
"""
