// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

interface IPoolMembers {
    function isNodeInPool(uint256 poolId, address nodekey) external view returns (bool);
}

interface INodeOwners {
    function getNodeProvider(address subkey) external view returns (address);
}

/// A pool's rewards: so much for each unit of submitted work, locked for a day. Until somebody sets
/// the rate, once, a question for the rewards reverts.
contract ForeignRewards is AccessControlEnumerable {
    struct Tally {
        uint256 begun;
        uint256 total;
        uint256 claimed;
        mapping(uint256 => uint256) byHour;
    }

    bytes32 public constant REWARDS_MANAGER_ROLE = keccak256("REWARDS_MANAGER_ROLE");
    bytes32 public constant COMPUTE_POOL_ROLE = keccak256("COMPUTE_POOL_ROLE");
    uint256 private constant HOURS_LOCKED = 24;

    IPoolMembers public immutable computePool;
    INodeOwners public immutable computeRegistry;
    IERC20 public immutable rewardToken;
    uint256 public immutable poolId;
    uint256 private rate;
    uint256 private ended;
    mapping(address => Tally) private tallies;

    event RewardsClaimed(
        uint256 indexed poolId, address indexed provider, address indexed nodekey, uint256 reward
    );
    event PendingRewardsSlashed(
        uint256 indexed poolId, address indexed provider, address indexed node, uint256 amount
    );

    constructor(
        IPoolMembers pool,
        INodeOwners registry,
        IERC20 token,
        address federator,
        uint256 poolId_
    ) {
        computePool = pool;
        computeRegistry = registry;
        rewardToken = token;
        poolId = poolId_;
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
        _grantRole(COMPUTE_POOL_ROLE, address(pool));
        _grantRole(REWARDS_MANAGER_ROLE, federator);
    }

    // --- the pool tells -----------------------------------------------------------------------

    function joinPool(address node) external onlyRole(COMPUTE_POOL_ROLE) {
        if (tallies[node].begun == 0) tallies[node].begun = block.timestamp;
    }

    function leavePool(address node) external onlyRole(COMPUTE_POOL_ROLE) {}

    function endRewards() external onlyRole(COMPUTE_POOL_ROLE) {
        require(ended == 0, "Already ended");
        ended = block.timestamp;
    }

    function submitWork(address node, uint256 units) external onlyRole(COMPUTE_POOL_ROLE) {
        require(ended == 0, "Rewards have ended");
        require(computePool.isNodeInPool(poolId, node), "Node not in pool");
        tallies[node].byHour[_hour(node)] += units;
        tallies[node].total += units;
    }

    function removeWork(address node, uint256 units) external onlyRole(COMPUTE_POOL_ROLE) {
        _remove(node, units);
    }

    function slashPendingRewards(address node) external {
        require(
            hasRole(REWARDS_MANAGER_ROLE, msg.sender) || hasRole(COMPUTE_POOL_ROLE, msg.sender),
            "Unauthorized"
        );
        uint256 units = _locked(node);
        if (units == 0) return;
        _remove(node, units);
        address provider = computeRegistry.getNodeProvider(node);
        emit PendingRewardsSlashed(poolId, provider, node, units * rate);
    }

    // --- people -------------------------------------------------------------------------------

    function setRewardRate(uint256 perUnit) external onlyRole(REWARDS_MANAGER_ROLE) {
        require(rate == 0, "Rate can only be set once");
        rate = perUnit;
    }

    function claimRewards(address node) external {
        require(rate != 0, "Rate not set");
        require(msg.sender == computeRegistry.getNodeProvider(node), "Unauthorized");
        Tally storage tally = tallies[node];
        uint256 free = tally.total - _locked(node);
        uint256 tokens = (free - tally.claimed) * rate;
        if (tokens == 0) return;
        tally.claimed = free;
        require(tokens <= rewardToken.balanceOf(address(this)), "Insufficient tokens");
        rewardToken.transfer(msg.sender, tokens);
        emit RewardsClaimed(poolId, msg.sender, node, tokens);
    }

    // --- views --------------------------------------------------------------------------------

    function getRewardRate() external view returns (uint256) {
        return rate;
    }

    /// What can be claimed now, and what is locked still.
    function calculateRewards(address node) external view returns (uint256, uint256) {
        require(rate != 0, "Rate not set");
        uint256 locked = _locked(node);
        Tally storage tally = tallies[node];
        return ((tally.total - locked - tally.claimed) * rate, locked * rate);
    }

    function nodeInfo(address node)
        external
        view
        returns (uint256 last24H, uint256 totalAll, uint256 lastClaimed, bool isActive)
    {
        Tally storage tally = tallies[node];
        bool member = computePool.isNodeInPool(poolId, node);
        return (_locked(node), tally.total, tally.claimed, member);
    }

    // --- inside -------------------------------------------------------------------------------

    function _hour(address node) private view returns (uint256) {
        return (block.timestamp - tallies[node].begun) / 1 hours;
    }

    function _locked(address node) private view returns (uint256 units) {
        uint256 hour = _hour(node);
        for (uint256 age = 0; age < HOURS_LOCKED && age <= hour; age++) {
            units += tallies[node].byHour[hour - age];
        }
    }

    /// Of what is locked, oldest first.
    function _remove(address node, uint256 units) private {
        Tally storage tally = tallies[node];
        uint256 hour = _hour(node);
        uint256 first = hour < HOURS_LOCKED ? 0 : hour - HOURS_LOCKED + 1;
        for (uint256 at = first; at <= hour && units > 0; at++) {
            uint256 gone = tally.byHour[at] < units ? tally.byHour[at] : units;
            tally.byHour[at] -= gone;
            tally.total -= gone;
            units -= gone;
        }
    }
}
