"""A peer is a member only while its key, its binding and the roster agree."""

from p2pool.codec.cbor.structs import decode_struct
from p2pool.core.effects import AdmitPeer, Effect, LearnPeer, Persist
from p2pool.core.knowledge.bindings import BINDINGS_TABLE, PeerBindings
from p2pool.model import limits
from p2pool.model.ids import Address, NodeId, PeerKey, StoreId
from p2pool.model.messages.gossip import Hello
from p2pool.model.messages.queries import PeerKnown
from p2pool.model.peer_binding import PeerBinding
from p2pool.model.ports.store import Delete, Put

ME, OTHER = NodeId(b"m" * 20), NodeId(b"o" * 20)
MY_KEY, KEY, KEY_2 = PeerKey(b"k" * 32), PeerKey(b"a" * 32), PeerKey(b"b" * 32)


def binding(node_id: NodeId = OTHER, key: PeerKey = KEY, not_before_s: int = 10) -> PeerBinding:
    return PeerBinding(
        1, Address(b"c" * 20), 0, node_id, key, not_before_s, 1000, b"s" * 65, b"t" * 64
    )


def hello(bound: PeerBinding | None, address: str = "/ip4/127.0.0.1/tcp/1") -> Hello:
    return Hello("0.1.0", bound, StoreId(b"s" * 16), (address,))


def peers() -> PeerBindings:
    made = PeerBindings(ME, MY_KEY)
    made.connect(KEY)
    return made


def everybody(_: NodeId) -> bool:
    return True


def nobody(_: NodeId) -> bool:
    return False


def standings(effects: list[Effect]) -> list[str]:
    return [e.standing.value for e in effects if isinstance(e, AdmitPeer)]


def test_a_bound_peer_of_the_roster_is_a_member() -> None:
    """Its binding is kept on disk, and its addresses are worth dialling."""
    book = peers()
    effects = book.greet(hello(binding()), KEY, everybody)
    assert standings(effects) == ["member"]
    assert LearnPeer(KEY, ("/ip4/127.0.0.1/tcp/1",)) in effects
    kept = [e for e in effects if isinstance(e, Persist)]
    assert len(kept) == 1
    assert book.is_connected(OTHER)
    assert (book.node_of(KEY), book.key_of(OTHER)) == (OTHER, KEY)


def test_a_stranger_is_a_guest_until_the_roster_has_it() -> None:
    """Standing follows the roster, both ways, and is said only when it changes."""
    book = peers()
    assert standings(book.greet(hello(binding()), KEY, nobody)) == ["guest"]
    assert standings(book.rejudge(everybody)) == ["member"]
    assert standings(book.rejudge(everybody)) == []
    assert standings(book.rejudge(nobody)) == ["guest"]


def test_who_cannot_be_let_in_can_be_told_why() -> None:
    """A peer at the door becomes a guest for that; one that was judged stays what it is."""
    book = peers()
    assert standings(book.hear_out(KEY)) == ["guest"]
    assert standings(book.hear_out(KEY)) == []
    assert standings(book.greet(hello(binding()), KEY, everybody)) == ["member"]
    assert standings(book.hear_out(KEY)) == []
    assert standings(book.hear_out(KEY_2)) == []


def test_bindings_that_strangers_make_push_out_no_members_and_are_not_written() -> None:
    """Keys cost nothing: of guests few are known, the latest, and the disk hears of none."""
    book = peers()
    book.guests_max = 2
    book.greet(hello(binding()), KEY, everybody)
    strangers = [NodeId(bytes([n]) * 20) for n in range(1, 6)]
    for node_id in strangers:
        effects = book.greet(hello(binding(node_id)), KEY, lambda n: n == OTHER)
        assert [e for e in effects if isinstance(e, Persist)] == []
    assert [n for n in strangers if book.key_of(n)] == strangers[-2:]
    assert book.key_of(OTHER) == KEY


def test_a_guest_that_becomes_a_member_is_written_and_kept() -> None:
    """As soon as the roster has it."""
    book = peers()
    book.guests_max = 1
    book.greet(hello(binding()), KEY, nobody)
    kept = [e for e in book.rejudge(everybody) if isinstance(e, Persist)]
    assert len(kept) == 1
    for number in range(3):
        book.greet(hello(binding(NodeId(bytes([number]) * 20))), KEY, lambda n: n == OTHER)
    assert book.key_of(OTHER) == KEY


def test_a_bootstrap_node_writes_guests_and_takes_back_what_it_forgets() -> None:
    """To it everybody is a guest; its disk does not grow without bound either."""
    book = PeerBindings(ME, MY_KEY, guests_max=1, keeps_guests=True)
    book.connect(KEY)
    book.greet(hello(binding()), KEY, nobody)
    effects = book.greet(hello(binding(NodeId(b"x" * 20))), KEY, nobody)
    operations = [o for e in effects if isinstance(e, Persist) for o in e.operations]
    assert isinstance(operations[0], Put)
    assert operations[1:] == [Delete(BINDINGS_TABLE, bytes(OTHER))]


def test_a_peer_that_shows_the_binding_of_another_key_is_refused() -> None:
    """Noise says which key it is; the binding must be of that one."""
    book = peers()
    assert standings(book.greet(hello(binding(key=KEY_2)), KEY, everybody)) == ["refused"]
    assert standings(book.rejudge(everybody)) == []


def test_a_bootstrap_node_without_a_binding_is_a_guest() -> None:
    """It takes part in nothing else."""
    assert standings(peers().greet(hello(None), KEY, everybody)) == ["guest"]


def test_the_newer_binding_wins_and_a_tie_voids_both() -> None:
    """A tie stays void: neither of the two comes back by being shown again."""
    book = peers()
    book.learn(PeerKnown(binding(not_before_s=10), ()))
    book.learn(PeerKnown(binding(key=KEY_2, not_before_s=9), ()))
    assert book.key_of(OTHER) == KEY
    book.learn(PeerKnown(binding(key=KEY_2, not_before_s=11), ()))
    assert book.key_of(OTHER) == KEY_2
    book.learn(PeerKnown(binding(key=KEY, not_before_s=11), ()))
    assert book.key_of(OTHER) is None
    book.learn(PeerKnown(binding(key=KEY, not_before_s=11), ()))
    assert book.key_of(OTHER) is None
    book.learn(PeerKnown(binding(key=KEY, not_before_s=12), ()))
    assert book.key_of(OTHER) == KEY


def test_a_newer_binding_of_our_own_node_to_another_key_supersedes_us() -> None:
    """Two agents on one node key never flip-flop."""
    book = peers()
    book.learn(PeerKnown(binding(ME, MY_KEY, 10), ()))
    book.learn(PeerKnown(binding(ME, KEY, 9), ()))
    assert book.superseded is None
    book.learn(PeerKnown(binding(ME, KEY, 11), ()))
    assert book.superseded is not None


def test_what_was_kept_comes_back() -> None:
    """A restart knows the bindings again without asking anybody."""
    book = peers()
    effects = book.learn(PeerKnown(binding(), ("/ip4/127.0.0.1/tcp/1",)))
    persist = next(e for e in effects if isinstance(e, Persist))
    value = getattr(persist.operations[0], "value", b"")
    again = PeerBindings(ME, MY_KEY)
    again.restore(iter([decode_struct(PeerKnown, value)]))
    assert again.key_of(OTHER) == KEY


def test_exchange_gives_what_is_wanted_or_the_newest() -> None:
    """An unknown key is simply not in the answer."""
    book = peers()
    book.learn(PeerKnown(binding(), ()))
    assert [p.binding.peer_key for p in book.exchange((KEY, KEY_2))] == [KEY]
    assert len(book.exchange(())) == 1


class Looked:
    """A binding as a peer knows it, and how often somebody looked into one."""

    count = 0

    def __init__(self, known: PeerKnown) -> None:
        self.known, self.addresses = known, known.addresses

    @property
    def binding(self) -> PeerBinding:
        Looked.count += 1
        return self.known.binding


def test_a_question_for_a_few_keys_looks_at_these_alone() -> None:
    """Whoever asks for one binding, or says something as a guest, has not all of them looked at."""
    book = PeerBindings(ME, MY_KEY)
    count = 3_000
    keys = [PeerKey(n.to_bytes(2) * 16) for n in range(count)]
    bound = [binding(NodeId(n.to_bytes(2) * 10), key) for n, key in enumerate(keys)]
    book.restore(Looked(PeerKnown(one, ())) for one in bound)  # type: ignore[misc]
    Looked.count = 0
    wanted = (keys[7], KEY, keys[-1], keys[7])
    assert [one.known.binding for one in book.exchange(wanted)] == [bound[7], bound[-1]]  # type: ignore[attr-defined]
    assert book.node_of(keys[5]) == bound[5].node_id
    assert book.node_of(KEY) is None
    assert Looked.count <= len(wanted)


def test_a_key_is_found_under_the_nodes_that_it_speaks_for_now() -> None:
    """A binding to another key replaces it, one that is dropped is no longer found, and a key that
    several nodes name is found under each."""
    book = PeerBindings(ME, MY_KEY, guests_max=1)
    book.learn(PeerKnown(binding(), ()))
    book.learn(PeerKnown(binding(NodeId(b"x" * 20)), ()))
    both = [one.binding.node_id for one in book.exchange((KEY,))]
    assert both == [OTHER, NodeId(b"x" * 20)]
    book.learn(PeerKnown(binding(key=KEY_2, not_before_s=11), ()))
    assert [one.binding.node_id for one in book.exchange((KEY,))] == both[1:]
    assert (book.node_of(KEY_2), book.node_of(KEY)) == (OTHER, NodeId(b"x" * 20))
    for name in (b"y", b"z"):
        stranger = PeerKnown(binding(NodeId(name * 20), PeerKey(name * 32)), ())
        book.learn(stranger, member=False)
    assert book.exchange((PeerKey(b"y" * 32),)) == ()
    assert book.node_of(PeerKey(b"y" * 32)) is None


def test_what_others_say_of_addresses_costs_no_writes_and_replaces_none() -> None:
    """Nobody signs addresses: whoever hands on a binding may put any beside it, ever new ones. What
    the node said itself stands, under a renewed binding too; the others are worth a try where it is
    not connected, and are handed on to nobody."""
    book = PeerBindings(ME, MY_KEY)
    book.connect(KEY)
    book.greet(hello(binding()), KEY, everybody)
    (said,) = book.exchange((KEY,))
    told = [PeerKnown(binding(), (f"/ip4/10.0.0.{n}/tcp/1",)) for n in range(50)]
    assert [e for one in told for e in book.hear_of(one, KEY_2)] == []
    book.disconnect(KEY)
    effects = [e for one in told for e in book.hear_of(one, KEY_2)]
    assert effects == [LearnPeer(KEY, one.addresses, KEY_2) for one in told]
    assert book.exchange((KEY,)) == (said,)
    newer = PeerKnown(binding(not_before_s=11), told[0].addresses)
    assert any(isinstance(e, Persist) for e in book.hear_of(newer, KEY_2))
    assert book.exchange((KEY,)) == (PeerKnown(newer.binding, said.addresses),)


def test_of_a_member_that_nobody_met_the_binding_is_handed_on_alone() -> None:
    """What one peer made up of its addresses goes no further."""
    book = PeerBindings(ME, MY_KEY)
    told = PeerKnown(binding(), ("/ip4/10.0.0.1/tcp/1",))
    assert LearnPeer(KEY, told.addresses, KEY_2) in book.hear_of(told, KEY_2)
    assert book.exchange(()) == (PeerKnown(binding(), ()),)


def test_a_guest_is_not_dialled_until_the_roster_has_it() -> None:
    """What it says of its addresses is anything: it came by itself. As a member it is dialled."""
    book = peers()
    effects = book.greet(hello(binding()), KEY, nobody)
    assert [e for e in effects if isinstance(e, LearnPeer)] == []
    assert LearnPeer(KEY, ("/ip4/127.0.0.1/tcp/1",)) in book.rejudge(everybody)


def test_only_members_and_those_that_we_dialled_are_asked() -> None:
    """Whoever comes by itself may be one of a thousand made-up peers."""
    book = PeerBindings(ME, MY_KEY)
    book.connect(KEY, dialled=False)
    book.connect(KEY_2, dialled=True)
    assert not book.is_asked(KEY_2), "it has not said hello"
    book.greet(hello(None), KEY_2, nobody)
    book.greet(hello(binding()), KEY, nobody)
    assert (book.is_asked(KEY), book.is_asked(KEY_2)) == (False, True)
    book.rejudge(everybody)
    assert book.is_asked(KEY)


def test_members_that_are_asked_for_by_name_come_first() -> None:
    """However many others are newer."""
    book = PeerBindings(ME, MY_KEY, guests_max=1_000, keeps_guests=True)
    book.learn(PeerKnown(binding(), ()), member=False)
    for number in range(100):
        made_up = binding(NodeId(bytes([number]) * 20), PeerKey(bytes([number]) * 32))
        book.learn(PeerKnown(made_up, ()), member=False)
    assert OTHER not in [one.binding.node_id for one in book.exchange(())]
    found = book.exchange((), (NodeId(b"~" * 20), OTHER))
    assert found[0].binding.node_id == OTHER
    assert len(found) == limits.PEER_LIST_MAX


def test_guests_push_no_member_out_of_an_answer() -> None:
    """Who asks for nobody in particular is told of the members first, however many guests came
    after them."""
    book = peers()
    members = [NodeId(bytes([n]) * 20) for n in range(1, 4)]
    for node_id in members:
        key = PeerKey(node_id[:1] * 32)
        book.connect(key)
        book.greet(hello(binding(node_id, key)), key, everybody)
    for n in range(2 * limits.PEER_LIST_MAX):
        node_id, key = NodeId(n.to_bytes(20, "big")), PeerKey(n.to_bytes(32, "big"))
        book.connect(key)
        book.greet(hello(binding(node_id, key)), key, nobody)
    told = [known.binding.node_id for known in book.exchange(())]
    assert told[:3] == members[::-1]
    assert len(told) == limits.PEER_LIST_MAX
