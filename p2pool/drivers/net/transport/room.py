"""What connections make us hold: bytes that nobody has read yet, and bytes that nobody takes.

Intuition: each stream has a window and each queue a bound, but a peer opens many of them, and a
stranger many connections. So every connection has an account of what it makes us hold, and those
of guests (whoever is not known as a member) share one room. Where the room is full, the largest
account gives way: its connection is cut. So whoever floods goes first, a newcomer with a hello of
a few hundred bytes last, and a member is never concerned.

Invariants: what was taken is given back once, at the latest when the connection ends; the room
holds at most its bound, and knows nobody who holds nothing; looking for the largest account costs a
walk over those that do, and each walk ends one of them.
"""

from collections.abc import Callable

import trio


class Overrun(trio.TooSlowError):
    """A peer made us hold more than it may; of the kind of error at which a stream ends."""


class Room:
    """What all guests together may make us hold."""

    def __init__(self, most: int) -> None:
        """Room for `most` bytes. `accounts`: of guests that hold any."""
        self.most = most
        self.held = 0
        self.accounts: set[Account] = set()

    def make_way(self) -> None:
        """Cut whoever holds most until the rest has room."""
        while self.held > self.most:
            max(self.accounts, key=lambda account: account.held).overdraw()


class Account:
    """What one connection, or what is queued towards one peer, makes us hold."""

    def __init__(self, room: Room, most: int, cut: Callable[[], None]) -> None:
        """A guest's, with room for `most` bytes; `cut` ends the connection, at once."""
        self.most = most
        self.held = 0
        self.closed = False
        self._room: Room | None = room
        self._cut = cut

    @property
    def shared(self) -> bool:
        """Whether it is a guest's."""
        return self._room is not None

    def take(self, size: int) -> None:
        """Hold so many bytes more. Overrun: that is too much, and the connection is cut."""
        if self.closed:
            raise Overrun
        self.held += size
        if self._room is not None and self.held:
            self._room.held += size
            self._room.accounts.add(self)
        if self.held > self.most:
            self.overdraw()
        elif self._room is not None:
            self._room.make_way()
        if self.closed:
            raise Overrun

    def give(self, size: int) -> None:
        """So many bytes are held no longer."""
        if self.closed:
            return
        self.held -= size
        assert self.held >= 0, self.held
        if self._room is not None:
            self._room.held -= size
            if not self.held:
                self._room.accounts.discard(self)

    def overdraw(self) -> None:
        """Too much is held: cut the connection."""
        self.close()
        self._cut()

    def close(self) -> None:
        """The connection has ended: give everything back."""
        self.leave(self.most)
        self.closed = True
        self.held = 0

    def leave(self, most: int) -> None:
        """A member's from now on: apart from the guests, with a bound of its own."""
        self.most = most
        if self._room is not None:
            self._room.held -= self.held
            self._room.accounts.discard(self)
            self._room = None

    def enter(self, room: Room, most: int) -> None:
        """A guest's from now on."""
        if self.closed:
            return
        self.leave(most)
        self._room = room
        if self.held:
            room.held += self.held
            room.accounts.add(self)
