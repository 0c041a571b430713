// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// Stake with a queue of unbonds: ten at most, then the newest grows and its time begins anew.
/// What was paid out stays in the queue as zeros until an unbond behind it is not due. More stake
/// takes from the queue first, and so does a slash that the stake cannot pay.
contract ForeignStakes is AccessControlEnumerable {
    struct Unbond {
        uint256 amount;
        uint256 timestamp;
    }

    struct Queue {
        uint256 head;
        uint256 sum;
        Unbond[] all;
    }

    bytes32 public constant PRIME_ROLE = keccak256("PRIME_ROLE");
    uint256 private constant PENDING_MAX = 10;

    IERC20 public AIToken;
    uint256 private period;
    uint256 private minimum;
    uint256 private staked;
    uint256 private unbonding;
    mapping(address => uint256) private stakeOf;
    mapping(address => Queue) private queueOf;

    event Stake(address staker, uint256 amount);
    event Unstake(address staker, uint256 amount, uint256 index);
    event Withdraw(address staker, uint256 amount);
    event Slashed(address staker, uint256 amount, bytes reason);
    event Rebond(address staker, uint256 amount);
    event UpdateUnbondingPeriod(uint256 period);
    event StakeMinimumUpdate(uint256 minimum);
    event PendingBondRemoved(address staker, uint256 amount, uint256 index);
    event PendingBondUpdated(address staker, uint256 amount, uint256 index, uint256 timestamp);

    function initialize(address network, uint256 unbondingPeriod, IERC20 token) external {
        require(getRoleMemberCount(DEFAULT_ADMIN_ROLE) == 0, "initialized");
        _grantRole(DEFAULT_ADMIN_ROLE, network);
        _grantRole(PRIME_ROLE, network);
        period = unbondingPeriod;
        AIToken = token;
    }

    function stake(address staker, uint256 amount) external onlyRole(PRIME_ROLE) {
        _grow(staker, amount);
        AIToken.transferFrom(msg.sender, address(this), amount);
        emit Stake(staker, amount);
    }

    function unstake(address staker, uint256 amount) external onlyRole(PRIME_ROLE) {
        require(stakeOf[staker] >= amount, "StakeManager: insufficient balance");
        _shrink(staker, amount);
        Queue storage queue = queueOf[staker];
        queue.sum += amount;
        unbonding += amount;
        uint256 due = block.timestamp + period;
        if (queue.all.length - queue.head < PENDING_MAX) {
            queue.all.push(Unbond(amount, due));
        } else {
            Unbond storage newest = queue.all[queue.all.length - 1];
            newest.amount += amount;
            newest.timestamp = due;
            emit PendingBondUpdated(staker, amount, queue.all.length - 1, due);
        }
        emit Unstake(staker, amount, queue.all.length - 1);
    }

    function rebond(address staker, uint256 amount) external onlyRole(PRIME_ROLE) {
        require(queueOf[staker].sum >= amount, "StakeManager: insufficient unbonding balance");
        _take(staker, amount, 0);
        _grow(staker, amount);
        emit Rebond(staker, amount);
    }

    function withdraw() external {
        Queue storage queue = queueOf[msg.sender];
        uint256 paid = 0;
        for (uint256 i = queue.head; i < queue.all.length; i++) {
            if (queue.all[i].timestamp > block.timestamp) {
                queue.head = i;
                break;
            }
            paid += queue.all[i].amount;
            delete queue.all[i];
            emit PendingBondRemoved(msg.sender, 0, i);
        }
        require(paid > 0, "StakeManager: no funds to withdraw");
        queue.sum -= paid;
        unbonding -= paid;
        AIToken.transfer(msg.sender, paid);
        emit Withdraw(msg.sender, paid);
    }

    function slash(address staker, uint256 amount, bytes calldata reason)
        external
        onlyRole(PRIME_ROLE)
        returns (uint256 slashed)
    {
        // What is due already is passed over, and what lies before the new head is lost.
        uint256 queued = stakeOf[staker] < amount ? _take(staker, amount, block.timestamp) : 0;
        uint256 rest = amount - queued;
        if (rest > stakeOf[staker]) rest = stakeOf[staker];
        _shrink(staker, rest);
        slashed = queued + rest;
        AIToken.transfer(msg.sender, slashed);
        emit Slashed(staker, slashed, reason);
    }

    function setUnbondingPeriod(uint256 seconds_) external onlyRole(PRIME_ROLE) {
        period = seconds_;
        emit UpdateUnbondingPeriod(seconds_);
    }

    function setStakeMinimum(uint256 amount) external onlyRole(PRIME_ROLE) {
        minimum = amount;
        emit StakeMinimumUpdate(amount);
    }

    // --- views --------------------------------------------------------------------------------

    function getStake(address staker) external view returns (uint256) {
        return stakeOf[staker];
    }

    function getStakeMinimum() external view returns (uint256) {
        return minimum;
    }

    function getUnbondingPeriod() external view returns (uint256) {
        return period;
    }

    function getTotalStaked() external view returns (uint256) {
        return staked;
    }

    function getTotalUnbonding() external view returns (uint256) {
        return unbonding;
    }

    function getPendingUnbondTotal(address staker) external view returns (uint256) {
        return queueOf[staker].sum;
    }

    function getPendingUnbonds(address staker) external view returns (Unbond[] memory pending) {
        Queue storage queue = queueOf[staker];
        pending = new Unbond[](queue.all.length - queue.head);
        for (uint256 i = 0; i < pending.length; i++) pending[i] = queue.all[queue.head + i];
    }

    function getUnbondAtIndex(address staker, uint256 index)
        external
        view
        returns (Unbond memory)
    {
        Queue storage queue = queueOf[staker];
        require(index < queue.all.length, "StakeManager: index out of bounds");
        return queue.all[queue.head + index];
    }

    // --- inside -------------------------------------------------------------------------------

    function _grow(address staker, uint256 amount) private {
        stakeOf[staker] += amount;
        staked += amount;
    }

    function _shrink(address staker, uint256 amount) private {
        stakeOf[staker] -= amount;
        staked -= amount;
    }

    /// Up to this amount from the queue, oldest first, of what is due after a time.
    function _take(address staker, uint256 amount, uint256 dueAfter)
        private
        returns (uint256 taken)
    {
        Queue storage queue = queueOf[staker];
        for (uint256 i = queue.head; i < queue.all.length && taken < amount; i++) {
            Unbond storage one = queue.all[i];
            if (one.timestamp <= dueAfter) continue;
            if (one.amount > amount - taken) {
                one.amount -= amount - taken;
                taken = amount;
                queue.head = i;
                emit PendingBondUpdated(staker, one.amount, i, one.timestamp);
            } else {
                taken += one.amount;
                delete queue.all[i];
                queue.head = i + 1;
                emit PendingBondRemoved(staker, 0, i);
            }
        }
        queue.sum -= taken;
        unbonding -= taken;
    }
}
