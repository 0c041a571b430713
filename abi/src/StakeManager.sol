// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// Holds the providers' stake. The network alone stakes, unstakes and slashes; a provider takes
/// back what was unstaked after the unbonding period.
contract StakeManager is AccessControlEnumerable {
    using SafeERC20 for IERC20;

    struct Unbond {
        uint256 amount;
        uint256 timestamp;
    }

    bytes32 public constant PRIME_ROLE = keccak256("PRIME_ROLE");
    uint256 private constant UNBONDS_MAX = 32;

    IERC20 public immutable token;
    uint256 private unbondingPeriod;
    uint256 private stakeMinimum;
    uint256 private totalStaked;
    uint256 private totalUnbonding;
    mapping(address => uint256) private stakes;
    mapping(address => Unbond[]) private unbonds;

    event Staked(address indexed staker, uint256 amount);
    event Unstaked(address indexed staker, uint256 amount);
    event Withdrawn(address indexed staker, uint256 amount);
    event Slashed(address indexed staker, uint256 amount, bytes reason);
    event StakeMinimumUpdate(uint256 minimum);

    error StakeTooSmall(uint256 staked, uint256 asked);
    error TooManyUnbonds(uint256 most);
    error NothingToWithdraw();

    constructor(address network, uint256 unbondingPeriodSeconds, IERC20 token_) {
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
        _grantRole(PRIME_ROLE, network);
        unbondingPeriod = unbondingPeriodSeconds;
        token = token_;
    }

    function stake(address staker, uint256 amount) external onlyRole(PRIME_ROLE) {
        token.safeTransferFrom(msg.sender, address(this), amount);
        stakes[staker] += amount;
        totalStaked += amount;
        emit Staked(staker, amount);
    }

    function unstake(address staker, uint256 amount) external onlyRole(PRIME_ROLE) {
        if (stakes[staker] < amount) revert StakeTooSmall(stakes[staker], amount);
        if (unbonds[staker].length >= UNBONDS_MAX) revert TooManyUnbonds(UNBONDS_MAX);
        stakes[staker] -= amount;
        totalStaked -= amount;
        totalUnbonding += amount;
        unbonds[staker].push(Unbond(amount, block.timestamp + unbondingPeriod));
        emit Unstaked(staker, amount);
    }

    function slash(address staker, uint256 amount, bytes calldata reason)
        external
        onlyRole(PRIME_ROLE)
        returns (uint256 slashed)
    {
        slashed = amount < stakes[staker] ? amount : stakes[staker];
        stakes[staker] -= slashed;
        totalStaked -= slashed;
        token.safeTransfer(msg.sender, slashed);
        emit Slashed(staker, slashed, reason);
    }

    /// Pays out every unbond of the caller that is due.
    function withdraw() external {
        Unbond[] storage pending = unbonds[msg.sender];
        uint256 due = 0;
        for (uint256 i = pending.length; i > 0; i--) {
            if (pending[i - 1].timestamp <= block.timestamp) {
                due += pending[i - 1].amount;
                pending[i - 1] = pending[pending.length - 1];
                pending.pop();
            }
        }
        if (due == 0) revert NothingToWithdraw();
        totalUnbonding -= due;
        token.safeTransfer(msg.sender, due);
        emit Withdrawn(msg.sender, due);
    }

    function setStakeMinimum(uint256 minimum) external onlyRole(PRIME_ROLE) {
        stakeMinimum = minimum;
        emit StakeMinimumUpdate(minimum);
    }

    function setUnbondingPeriod(uint256 period) external onlyRole(PRIME_ROLE) {
        unbondingPeriod = period;
    }

    function getStake(address staker) external view returns (uint256) {
        return stakes[staker];
    }

    function getStakeMinimum() external view returns (uint256) {
        return stakeMinimum;
    }

    function getPendingUnbonds(address staker) external view returns (Unbond[] memory) {
        return unbonds[staker];
    }

    function getUnbondingPeriod() external view returns (uint256) {
        return unbondingPeriod;
    }

    function getTotalStaked() external view returns (uint256) {
        return totalStaked;
    }

    function getTotalUnbonding() external view returns (uint256) {
        return totalUnbonding;
    }
}
