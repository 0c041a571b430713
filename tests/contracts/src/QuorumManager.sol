// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// A pool's manager that is k of n members, for tests: no single key can invite.
/// A signature is k members' signatures of 65 bytes each, sorted by signer.
contract QuorumManager is IERC1271 {
    uint256 private constant SIGNATURE_BYTES = 65;

    uint256 public immutable quorum;
    mapping(address => bool) public isMember;

    error BadQuorum(uint256 quorum, uint256 members);

    constructor(address[] memory members, uint256 quorum_) {
        if (quorum_ == 0 || quorum_ > members.length) revert BadQuorum(quorum_, members.length);
        for (uint256 i = 0; i < members.length; i++) isMember[members[i]] = true;
        quorum = quorum_;
    }

    function isValidSignature(bytes32 hash, bytes calldata signatures)
        external
        view
        returns (bytes4)
    {
        if (signatures.length != quorum * SIGNATURE_BYTES) return 0xffffffff;
        address last = address(0);
        for (uint256 i = 0; i < quorum; i++) {
            bytes calldata one = signatures[i * SIGNATURE_BYTES:(i + 1) * SIGNATURE_BYTES];
            address signer = ECDSA.recover(hash, one);
            if (signer <= last || !isMember[signer]) return 0xffffffff;
            last = signer;
        }
        return IERC1271.isValidSignature.selector;
    }
}
