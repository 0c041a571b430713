// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {ForeignRewards, INodeOwners, IPoolMembers} from "./ForeignRewards.sol";

/// Makes a contract of rewards for each pool, for the contract of pools alone.
contract ForeignRewardsFactory is AccessControl {
    bytes32 public constant REWARD_CREATOR = keccak256("REWARD_CREATOR");

    event NewRewardsDistributor(
        address indexed rewardsDistributor, address indexed computePool, uint256 indexed poolId
    );

    constructor() {
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
    }

    function setComputePool(address pool) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _grantRole(REWARD_CREATOR, pool);
    }

    function createRewardsDistributor(
        INodeOwners registry,
        IERC20 token,
        address federator,
        uint256 poolId
    ) external onlyRole(REWARD_CREATOR) returns (ForeignRewards made) {
        made = new ForeignRewards(IPoolMembers(msg.sender), registry, token, federator, poolId);
        emit NewRewardsDistributor(address(made), msg.sender, poolId);
    }
}
