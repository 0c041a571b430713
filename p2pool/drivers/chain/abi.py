"""The contracts' interface: one ABI loader, and calls encoded as bytes.

The ABI files are the repository's `abi/*.json`; a wheel carries them as `p2pool/abi`, an editable
install finds them in the repository. eth_abi encodes calls from a full signature such as
`joinComputePool(uint256,address,address,uint256,uint256,bytes)`: overloads are unambiguous, and a
call costs a tenth of one through a web3 contract object.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import attrs
from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError
from eth_utils.abi import collapse_if_tuple
from eth_utils.crypto import keccak

from p2pool.model.errors import Misconfigured

PACKAGE = Path(__file__).resolve().parents[2]
PLACES = (PACKAGE / "abi", PACKAGE.parent / "abi")
CONTRACTS = (
    "AIToken",
    "ComputePool",
    "ComputeRegistry",
    "DomainRegistry",
    "PoolRoot",
    "PrimeNetwork",
    "StakeManager",
)


@attrs.frozen
class Function:
    """A function of a contract: how to call it and read its answer."""

    contract: str
    signature: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name without its types."""
        return self.signature.partition("(")[0]

    def call(self, *arguments: object) -> bytes:
        """Selector and encoded arguments."""
        assert len(arguments) == len(self.inputs), f"{self.signature} takes {len(self.inputs)}"
        return keccak(text=self.signature)[:4] + abi_encode(self.inputs, arguments)

    def answer(self, data: bytes) -> Any:
        """The decoded answer: a single value as itself, else a tuple; `DecodingError`."""
        values = _decode(self.outputs, data)
        return values[0] if len(values) == 1 else values


def _decode(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """Values of bytes from outside; `DecodingError` for any that are not these types.

    eth_abi raises others too: for a text that is not UTF-8, and for an offset that no file has.
    """
    try:
        return abi_decode(types, data)
    except (ValueError, OverflowError) as error:
        raise DecodingError(f"{len(data)} bytes are not {', '.join(types)}") from error


def decoded(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """The values of an event's data; `DecodingError` for any that are not these types."""
    return _decode(types, data)


@cache
def artifact(contract: str) -> Mapping[str, Any]:
    """A contract's committed file: `abi` and `bytecode`."""
    for place in PLACES:
        path = place / f"{contract}.json"
        if path.is_file():
            loaded: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return loaded
    raise Misconfigured(
        f"The ABI of {contract} is missing.", hint="Reinstall p2pool, or run `make abi`."
    )


def _types(parameters: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(collapse_if_tuple(dict(p)) for p in parameters)


@cache
def _functions(contract: str) -> Mapping[str, Function]:
    found: dict[str, Function] = {}
    for item in artifact(contract)["abi"]:
        if item["type"] == "function":
            inputs = _types(item["inputs"])
            signature = f"{item['name']}({','.join(inputs)})"
            made = Function(contract, signature, inputs, _types(item["outputs"]))
            found[signature] = made
            # The bare name finds a function; of overloads, the first in the ABI keeps the name.
            found.setdefault(item["name"], made)
    return found


def function(contract: str, signature: str) -> Function:
    """A function by its full signature, or by its name: of overloads, the first in the ABI."""
    return _functions(contract)[signature]


@cache
def _selectors() -> Mapping[bytes, str]:
    """Every function of ours by the first four bytes of a call."""
    found = (one.signature for contract in CONTRACTS for one in _functions(contract).values())
    return {keccak(text=signature)[:4]: signature for signature in found}


def signature_of(call: bytes) -> str | None:
    """The full signature of the function that a call is to, None if none of ours."""
    return _selectors().get(call[:4])


def topic(contract: str, event: str) -> bytes:
    """topic0 of an event by its name."""
    for item in artifact(contract)["abi"]:
        if item["type"] == "event" and item["name"] == event:
            return keccak(text=f"{event}({','.join(_types(item['inputs']))})")
    raise KeyError(event)


@cache
def events_first_of(contract: str, parameter: str) -> frozenset[str]:
    """topic0, in hex, of each event whose first topic is this parameter."""
    return frozenset(
        "0x" + topic(contract, item["name"]).hex()
        for item in artifact(contract)["abi"]
        if item["type"] == "event"
        and [p["name"] for p in item["inputs"] if p["indexed"]][:1] == [parameter]
    )


@cache
def _errors() -> Mapping[bytes, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    found: dict[bytes, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
    for contract in CONTRACTS:
        for item in artifact(contract)["abi"]:
            if item["type"] == "error":
                types = _types(item["inputs"])
                selector = keccak(text=f"{item['name']}({','.join(types)})")[:4]
                names = tuple(p["name"] for p in item["inputs"])
                found[selector] = (item["name"], types, names)
    return found


@cache
def _built_in() -> Mapping[bytes, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """The errors of the language itself: a text, and a number that says what went wrong."""
    return {
        keccak(text="Error(string)")[:4]: ("Error", ("string",), ("reason",)),
        keccak(text="Panic(uint256)")[:4]: ("Panic", ("uint256",), ("code",)),
    }


def error_of(data: bytes) -> tuple[str, dict[str, Any]] | None:
    """Name and arguments of a custom error, or None if none of our contracts declares it, or its
    arguments are none: it is an endpoint that says what was refused, and how."""
    known = _built_in().get(data[:4]) or _errors().get(data[:4])
    if known is None:
        return None
    name, types, names = known
    try:
        return name, dict(zip(names, _decode(types, data[4:]), strict=True))
    except DecodingError:
        return None
