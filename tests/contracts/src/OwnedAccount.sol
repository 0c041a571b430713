// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// An account that one key owns, and hands on, for tests: its owner's signature is the contract's.
contract OwnedAccount is IERC1271 {
    address public owner;

    error NotOwner(address sender);

    constructor(address owner_) {
        owner = owner_;
    }

    function setOwner(address next) external {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        owner = next;
    }

    function isValidSignature(bytes32 hash, bytes calldata signature)
        external
        view
        returns (bytes4)
    {
        // Bytes that are no signature revert here, as many accounts do.
        return ECDSA.recover(hash, signature) == owner
            ? IERC1271.isValidSignature.selector
            : bytes4(0xffffffff);
    }
}
