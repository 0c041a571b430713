"""A program that speaks clef's external API, on a unix socket and over HTTP, as strictly as clef.

Written from go-ethereum's description of the protocol (external API 6) and the rules of its
`signer/core` and `signer/fourbyte`: arguments are typed, numbers hex without zeros in front, an
account that receives has its checksum, the function that is called is known or named and fits, and
the chain is the configured one. What clef shows as a warning it rejects, as it does by default.
Signatures are eth-account's. A person's answer is `approve`.
"""

import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
from eth_account import Account
from eth_account.messages import encode_defunct, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_utils import to_checksum_address  # type: ignore[attr-defined]
from eth_utils.crypto import keccak

_NUMBER = re.compile(r"0x(0|[1-9a-f][0-9a-f]*)")
_DATA = re.compile(r"0x([0-9a-f]{2})*")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_NUMBERS = ("gas", "gasPrice", "maxFeePerGas", "maxPriorityFeePerGas", "value", "nonce", "chainId")


class Refused(Exception):
    """An error of JSON-RPC."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.code = code


@attrs.define
class Clef:
    """Accounts, a chain, and a person. `asked`: what was asked, in order. `change`: what the person
    changes in a transaction before it is signed. `silent`: nobody answers."""

    chain_id: int
    accounts: list[LocalAccount]
    approve: Callable[[str, list[Any]], bool] = lambda method, params: True
    change: dict[str, Any] = attrs.field(factory=dict)
    version: Any = "6.1.0"
    asked: list[tuple[str, list[Any]]] = attrs.field(factory=list)
    silent: threading.Event | None = None
    raw_answer: bytes | None = None
    """What is written in place of any answer."""

    def answer(self, line: bytes) -> bytes:
        """The answer to a question, as bytes of JSON."""
        question = json.loads(line)
        head = {"jsonrpc": "2.0", "id": question["id"]}
        if self.silent is not None:
            self.silent.wait(30)
        if self.raw_answer is not None:
            return self.raw_answer
        try:
            assert question["jsonrpc"] == "2.0"
            params = question.get("params") or []
            self.asked.append((question["method"], params))
            told = {**head, "result": self._done(question["method"], params)}
        except Refused as refused:
            told = {**head, "error": {"code": refused.code, "message": str(refused)}}
        return json.dumps(told).encode() + b"\n"

    def _done(self, method: str, params: list[Any]) -> Any:
        if method == "account_version":
            return self.version
        if method not in ("account_list", "account_signData", "account_signTypedData") and (
            method != "account_signTransaction"
        ):
            raise Refused(f"the method {method} does not exist/is not available", -32601)
        return getattr(self, "_" + method.removeprefix("account_"))(*params)

    def _approved(self, method: str, params: list[Any]) -> None:
        if not self.approve(method, params):
            raise Refused("Request denied")

    def _list(self) -> list[str]:
        self._approved("account_list", [])
        return [account.address.lower() for account in self.accounts]

    def _signData(self, kind: str, address: str, data: Any) -> str:
        if kind != "text/plain":
            raise Refused(f"content type {kind} is not for this test")
        if not isinstance(data, str) or not _DATA.fullmatch(data):
            raise Refused("input for text/plain must be an hex-encoded string")
        self._approved("account_signData", [kind, address, data])
        message = encode_defunct(primitive=bytes.fromhex(data[2:]))
        return "0x" + bytes(self._account(address).sign_message(message).signature).hex()

    def _signTypedData(self, address: str, typed: dict[str, Any]) -> str:
        if set(typed) != {"types", "primaryType", "domain", "message"}:
            raise Refused("invalid argument 1: not typed data", -32602)
        domain = {**typed["domain"], "chainId": _integer(typed["domain"]["chainId"])}
        if domain["chainId"] != self.chain_id:
            raise Refused(
                f"requested chainid {domain['chainId']} does not match the configuration of the"
                " signer"
            )
        kinds = {one["name"]: one["type"] for one in typed["types"][typed["primaryType"]]}
        if len(kinds) < len(typed["message"]):
            raise Refused("there is extra data provided in the message")
        message = {name: _typed(kinds[name], value) for name, value in typed["message"].items()}
        self._approved("account_signTypedData", [address, typed])
        whole = encode_typed_data(full_message={**typed, "domain": domain, "message": message})
        return "0x" + bytes(self._account(address).sign_message(whole).signature).hex()

    def _signTransaction(self, told: dict[str, Any], method: str | None = None) -> Any:
        unknown = set(told) - {*_NUMBERS, "from", "to", "data", "input", "accessList"}
        if unknown:
            raise Refused(f"unknown fields {unknown}: this test wants none ignored", -32602)
        for name in _NUMBERS:
            if name in told and not (isinstance(told[name], str) and _NUMBER.fullmatch(told[name])):
                raise Refused(
                    f"invalid argument 0: json: cannot unmarshal into Go struct field SendTxArgs."
                    f"{name}",
                    -32602,
                )
        _validate(told, method)
        if "chainId" in told and int(told["chainId"], 16) != self.chain_id:
            raise Refused(
                f"requested chainid {int(told['chainId'], 16)} does not match the configuration of"
                " the signer"
            )
        self._approved("account_signTransaction", [told, method])
        account = self._account(told["from"])
        numbers = {name: int(told[name], 16) for name in _NUMBERS if name in told}
        wanted = numbers | {"data": told["data"], "chainId": self.chain_id} | self.change
        if "to" in told:
            wanted.setdefault("to", told["to"])
        signed = account.sign_transaction(wanted)
        tx = {"hash": "0x" + bytes(signed.hash).hex(), "r": hex(signed.r), "s": hex(signed.s)}
        return {"raw": "0x" + bytes(signed.raw_transaction).hex(), "tx": tx}

    def _account(self, address: str) -> LocalAccount:
        if not _ADDRESS.fullmatch(address):
            raise Refused("invalid argument: no address", -32602)
        for account in self.accounts:
            if account.address.lower() == address.lower():
                return account
        raise Refused("unknown account")


def _validate(told: dict[str, Any], method: str | None) -> None:
    """What `fourbyte` warns of, each of which is a rejection."""
    data = bytes.fromhex(told["data"][2:])
    if "to" not in told:
        if len(data) < 40:
            raise Refused(
                "validation failed: Transaction will create contract, but payload is small"
            )
        if method is not None:
            raise Refused("validation failed: method selector supplied for a contract creation")
        return
    if told["to"] != to_checksum_address(told["to"]):
        raise Refused("validation failed: Invalid checksum on recipient address")
    if not data:
        return
    if len(data) < 4 or (len(data) - 4) % 32:
        raise Refused("validation failed: Transaction data is not valid ABI")
    if method is None:
        raise Refused(
            "validation failed: Transaction contains data, but the ABI signature could not be found"
        )
    if keccak(text=method)[:4] != data[:4]:
        raise Refused(
            "validation failed: Transaction contains data, but provided ABI signature could not be"
            " matched"
        )


def _integer(value: Any) -> int:
    """go-ethereum's HexOrDecimal256; a JSON number is a float there, and loses digits."""
    if isinstance(value, str):
        return int(value, 16) if value.startswith("0x") else int(value)
    if isinstance(value, int) and int(float(value)) == value:
        return value
    raise Refused("invalid float value")


def _typed(kind: str, value: Any) -> Any:
    if kind.startswith("uint"):
        return _integer(value)
    if not isinstance(value, str):
        raise Refused(f"provided data '{value}' doesn't match type '{kind}'")
    return bytes.fromhex(value[2:]) if kind.startswith("bytes") else value


@contextmanager
def on_socket(clef: Clef, path: Path) -> Iterator[str]:
    """It listens on a unix socket; yields the place of its key."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                self.wfile.write(clef.answer(line))

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
        block_on_close = False

    with Server(str(path), Handler) as server:
        yield from _serving(server, f"clef:{path}")


@contextmanager
def on_http(clef: Clef) -> Iterator[str]:
    """It listens on a port of this machine; yields the place of its key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/json"
            body = clef.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    with server:
        yield from _serving(server, f"clef:http://127.0.0.1:{server.server_address[1]}")


def _serving(server: socketserver.BaseServer, place: str) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        thread.join()


def new_clef(chain_id: int, accounts: int = 1) -> Clef:
    """One with so many accounts."""
    made: list[LocalAccount] = [Account.create() for _ in range(accounts)]
    return Clef(chain_id, made)
