// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {ForeignDomains} from "./ForeignDomains.sol";
import {ForeignPool} from "./ForeignPool.sol";
import {ForeignRegistry} from "./ForeignRegistry.sol";
import {ForeignStakes} from "./ForeignStakes.sol";

/// The door to the network, with reasons as texts. Federator and validator are two people. The
/// events index nothing: who follows one provider reads all of them.
contract ForeignNetwork is AccessControlEnumerable {
    bytes32 public constant FEDERATOR_ROLE = keccak256("FEDERATOR_ROLE");
    bytes32 public constant VALIDATOR_ROLE = keccak256("VALIDATOR_ROLE");

    ForeignRegistry public computeRegistry;
    ForeignDomains public domainRegistry;
    ForeignStakes public stakeManager;
    ForeignPool public computePool;
    IERC20 public AIToken;

    event ProviderRegistered(address provider, uint256 stake);
    event ProviderDeregistered(address provider);
    event ProviderWhitelisted(address provider);
    event ProviderBlacklisted(address provider);
    event ComputeNodeAdded(address provider, address nodekey, string specsURI);
    event ComputeNodeRemoved(address provider, address nodekey);
    event ComputeNodeValidated(address provider, address nodekey);
    event ComputeNodeInvalidated(address provider, address nodekey);

    function initialize(address admin, address federator, address validator, IERC20 token)
        external
    {
        require(getRoleMemberCount(DEFAULT_ADMIN_ROLE) == 0, "initialized");
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(FEDERATOR_ROLE, federator);
        _grantRole(VALIDATOR_ROLE, validator);
        AIToken = token;
    }

    function setModuleAddresses(
        ForeignRegistry registry,
        ForeignDomains domains,
        ForeignStakes stakes,
        ForeignPool pool
    ) external onlyRole(DEFAULT_ADMIN_ROLE) {
        computeRegistry = registry;
        domainRegistry = domains;
        stakeManager = stakes;
        computePool = pool;
        registry.setComputePool(address(pool));
    }

    // --- federator and validator --------------------------------------------------------------

    /// Reverts unless the federator is admin, too: granting a role is an admin's act.
    function setFederator(address federator) external onlyRole(FEDERATOR_ROLE) {
        grantRole(FEDERATOR_ROLE, federator);
        revokeRole(FEDERATOR_ROLE, msg.sender);
    }

    /// The old validator stays one: the role is taken from the caller, who is federator.
    function setValidator(address validator) external onlyRole(FEDERATOR_ROLE) {
        grantRole(VALIDATOR_ROLE, validator);
        revokeRole(VALIDATOR_ROLE, msg.sender);
    }

    function setStakeMinimum(uint256 amount) external onlyRole(FEDERATOR_ROLE) {
        stakeManager.setStakeMinimum(amount);
    }

    function createDomain(string calldata name, address logic, string calldata uri)
        external
        onlyRole(FEDERATOR_ROLE)
        returns (uint256)
    {
        return domainRegistry.create(name, address(computePool), logic, uri);
    }

    function updateDomainValidationLogic(uint256 domainId, address logic)
        external
        onlyRole(FEDERATOR_ROLE)
    {
        domainRegistry.updateValidationLogic(domainId, logic);
    }

    function updateDomainParameters(uint256 domainId, string calldata uri)
        external
        onlyRole(FEDERATOR_ROLE)
    {
        domainRegistry.updateParameters(domainId, uri);
    }

    function whitelistProvider(address provider) external {
        require(
            hasRole(VALIDATOR_ROLE, msg.sender) || hasRole(FEDERATOR_ROLE, msg.sender),
            "Must have VALIDATOR_ROLE or FEDERATOR_ROLE"
        );
        computeRegistry.setWhitelistStatus(provider, true);
        emit ProviderWhitelisted(provider);
    }

    function blacklistProvider(address provider) external onlyRole(VALIDATOR_ROLE) {
        _blacklist(provider);
    }

    /// Not for a provider whose stake was slashed below the minimum.
    function validateNode(address provider, address nodekey) external onlyRole(VALIDATOR_ROLE) {
        _enoughStake(provider, 0);
        computeRegistry.setNodeValidationStatus(provider, nodekey, true);
        emit ComputeNodeValidated(provider, nodekey);
    }

    function invalidateNode(address provider, address nodekey) external onlyRole(VALIDATOR_ROLE) {
        computeRegistry.setNodeValidationStatus(provider, nodekey, false);
        emit ComputeNodeInvalidated(provider, nodekey);
    }

    function slash(address provider, uint256 amount, bytes calldata reason)
        external
        onlyRole(VALIDATOR_ROLE)
    {
        AIToken.transfer(msg.sender, stakeManager.slash(provider, amount, reason));
    }

    /// Ejects the node, slashes its provider, and takes the node off the registry.
    function invalidateWork(uint256 poolId, uint256 penalty, bytes calldata data)
        external
        onlyRole(VALIDATOR_ROLE)
    {
        (address provider, address node) = computePool.invalidateWork(poolId, data);
        try stakeManager.slash(provider, penalty, data) returns (uint256 slashed) {
            AIToken.transfer(msg.sender, slashed);
        } catch {
            _blacklist(provider);
        }
        try computeRegistry.setNodeValidationStatus(provider, node, false) {
            emit ComputeNodeInvalidated(provider, node);
        } catch {}
        try computeRegistry.removeComputeNode(provider, node) {
            emit ComputeNodeRemoved(provider, node);
        } catch {}
    }

    function softInvalidateWork(uint256 poolId, bytes calldata data)
        external
        onlyRole(VALIDATOR_ROLE)
        returns (address, address, uint256)
    {
        return computePool.softInvalidateWork(poolId, data);
    }

    // --- providers ----------------------------------------------------------------------------

    function registerProvider(uint256 stake) external {
        _register(stake);
        _stake(stake);
        emit ProviderRegistered(msg.sender, stake);
    }

    function registerProviderWithPermit(uint256 stake, uint256 deadline, bytes calldata signature)
        external
    {
        _register(stake);
        (bytes32 r, bytes32 s, uint8 v) = abi.decode(signature, (bytes32, bytes32, uint8));
        IERC20Permit(address(AIToken)).permit(msg.sender, address(this), stake, deadline, v, r, s);
        _stake(stake);
        emit ProviderRegistered(msg.sender, stake);
    }

    /// Takes from what is unbonding first, then tokens.
    function increaseStake(uint256 amount) external {
        require(computeRegistry.checkProviderExists(msg.sender), "Provider not registered");
        uint256 pending = stakeManager.getPendingUnbondTotal(msg.sender);
        if (pending > amount) pending = amount;
        if (pending > 0) stakeManager.rebond(msg.sender, pending);
        if (amount > pending) _stake(amount - pending);
    }

    /// Zero means all that no node needs; more than the stake panics (0x11).
    function reclaimStake(uint256 amount) external {
        uint256 staked = stakeManager.getStake(msg.sender);
        uint256 needed = calculateMinimumStake(msg.sender, 0);
        require(staked - amount >= needed, "Cannot unstake more than unallocated stake");
        stakeManager.unstake(msg.sender, amount == 0 ? staked - needed : amount);
    }

    /// Of somebody who never registered, too: nothing happens then, and an event says it did.
    function deregisterProvider(address provider) external {
        _ownOrValidator(provider);
        require(
            computeRegistry.getProviderActiveNodes(provider) == 0, "Provider has active nodes"
        );
        computeRegistry.deregister(provider);
        stakeManager.unstake(provider, stakeManager.getStake(provider));
        emit ProviderDeregistered(provider);
    }

    function addComputeNode(
        address nodekey,
        string calldata specsURI,
        uint256 computeUnits,
        bytes calldata signature
    ) external {
        require(computeRegistry.checkProviderExists(msg.sender), "Provider not registered");
        require(computeRegistry.getWhitelistStatus(msg.sender), "Provider not whitelisted");
        bytes32 consent = MessageHashUtils.toEthSignedMessageHash(
            keccak256(abi.encodePacked(msg.sender, nodekey))
        );
        require(
            SignatureChecker.isValidSignatureNow(nodekey, consent, signature), "Invalid signature"
        );
        _enoughStake(msg.sender, computeUnits);
        computeRegistry.addComputeNode(msg.sender, nodekey, computeUnits, specsURI);
        emit ComputeNodeAdded(msg.sender, nodekey, specsURI);
    }

    /// Not while the node is in a pool.
    function removeComputeNode(address provider, address nodekey) external {
        _ownOrValidator(provider);
        computeRegistry.removeComputeNode(provider, nodekey);
        emit ComputeNodeRemoved(provider, nodekey);
    }

    function calculateMinimumStake(address provider, uint256 computeUnits)
        public
        view
        returns (uint256)
    {
        uint256 units = computeRegistry.getProviderTotalCompute(provider) + computeUnits;
        return (units + 1) * stakeManager.getStakeMinimum();
    }

    // --- inside -------------------------------------------------------------------------------

    function _register(uint256 stake) private {
        require(stake >= stakeManager.getStakeMinimum(), "Stake amount is below minimum");
        require(computeRegistry.register(msg.sender), "Provider registration failed");
    }

    function _stake(uint256 amount) private {
        AIToken.transferFrom(msg.sender, address(this), amount);
        AIToken.approve(address(stakeManager), amount);
        stakeManager.stake(msg.sender, amount);
    }

    function _blacklist(address provider) private {
        computeRegistry.setWhitelistStatus(provider, false);
        emit ProviderBlacklisted(provider);
    }

    function _enoughStake(address provider, uint256 newUnits) private view {
        require(
            stakeManager.getStake(provider) >= calculateMinimumStake(provider, newUnits),
            "Insufficient stake"
        );
    }

    function _ownOrValidator(address provider) private view {
        require(
            msg.sender == provider || hasRole(VALIDATOR_ROLE, msg.sender), "Unauthorized"
        );
    }
}
