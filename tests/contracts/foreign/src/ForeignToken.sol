// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// A token that only some accounts move: whoever calls transfer, transferFrom or permit needs a
/// role. Everybody may approve. So a provider stakes through the network, and can pay nobody.
contract ForeignToken is ERC20, ERC20Permit, AccessControl {
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");
    bytes32 public constant BURNER_ROLE = keccak256("BURNER_ROLE");
    bytes32 public constant TRANSFER_ROLE = keccak256("TRANSFER_ROLE");

    constructor(string memory name_, string memory symbol_) ERC20(name_, symbol_) ERC20Permit(name_) {
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
        _grantRole(MINTER_ROLE, msg.sender);
        _grantRole(BURNER_ROLE, msg.sender);
    }

    function approveTransferAddress(address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _grantRole(TRANSFER_ROLE, account);
    }

    function revokeTransferAddress(address account) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _revokeRole(TRANSFER_ROLE, account);
    }

    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(to, amount);
    }

    function burn(address from, uint256 amount) external onlyRole(BURNER_ROLE) {
        _burn(from, amount);
    }

    function transfer(address to, uint256 amount)
        public
        override
        onlyRole(TRANSFER_ROLE)
        returns (bool)
    {
        return super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount)
        public
        override
        onlyRole(TRANSFER_ROLE)
        returns (bool)
    {
        return super.transferFrom(from, to, amount);
    }

    function permit(
        address owner,
        address spender,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) public override onlyRole(TRANSFER_ROLE) {
        super.permit(owner, spender, amount, deadline, v, r, s);
    }
}
