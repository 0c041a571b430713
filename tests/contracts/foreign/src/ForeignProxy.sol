// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";

/// An address whose code another contract holds, for tests: its owner swaps that contract, or
/// pauses some of its functions, and the address stays.
contract ForeignProxy is ERC1967Proxy {
    struct Desk {
        address owner;
        mapping(bytes4 => bool) paused;
    }

    // Far from what the implementation behind it stores.
    bytes32 private constant DESK = keccak256("p2pool.tests.ForeignProxy");

    /// As OpenZeppelin's Pausable has it.
    error EnforcedPause();
    error NotOwner(address sender);

    constructor(address implementation, bytes memory call) ERC1967Proxy(implementation, call) {
        _desk().owner = msg.sender;
    }

    function proxyUpgrade(address implementation) external {
        _onlyOwner();
        ERC1967Utils.upgradeToAndCall(implementation, "");
    }

    function proxyPause(bytes4[] calldata selectors, bool paused) external {
        _onlyOwner();
        for (uint256 i = 0; i < selectors.length; i++) _desk().paused[selectors[i]] = paused;
    }

    function proxyImplementation() external view returns (address) {
        return _implementation();
    }

    function _fallback() internal override {
        if (_desk().paused[msg.sig]) revert EnforcedPause();
        super._fallback();
    }

    function _onlyOwner() private view {
        if (msg.sender != _desk().owner) revert NotOwner(msg.sender);
    }

    function _desk() private pure returns (Desk storage desk) {
        bytes32 slot = DESK;
        assembly {
            desk.slot := slot
        }
    }
}
