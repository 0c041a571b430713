// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {ComputeRegistry} from "./ComputeRegistry.sol";
import {DomainRegistry} from "./DomainRegistry.sol";
import {StakeManager} from "./StakeManager.sol";

/// The door to the network: providers stake and register nodes here, validators whitelist and
/// validate them, the federator sets the rules.
contract PrimeNetwork is AccessControlEnumerable {
    using SafeERC20 for IERC20;

    bytes32 public constant FEDERATOR_ROLE = keccak256("FEDERATOR_ROLE");
    bytes32 public constant VALIDATOR_ROLE = keccak256("VALIDATOR_ROLE");

    IERC20 public immutable token;
    ComputeRegistry public computeRegistry;
    DomainRegistry public domainRegistry;
    StakeManager public stakeManager;
    address public computePool;

    event ProviderRegistered(address indexed provider, uint256 stake);
    event ProviderWhitelisted(address indexed provider);
    event ProviderBlacklisted(address indexed provider);
    event ComputeNodeAdded(address indexed provider, address indexed nodekey, string specsURI);
    event ComputeNodeRemoved(address indexed provider, address indexed nodekey);
    event ComputeNodeValidated(address indexed provider, address indexed nodekey);
    event ComputeNodeInvalidated(address indexed provider, address indexed nodekey);
    event ModulesSet(address registry, address domains, address stakes, address pool);

    error StakeBelowMinimum(uint256 staked, uint256 needed);
    error NotTheProvider(address caller, address provider);
    error NotWhitelisted(address provider);
    error BadNodeConsent(address recovered, address nodekey);
    error NodeInUse(address nodekey);

    constructor(address federator, address validator, IERC20 token_) {
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
        _grantRole(FEDERATOR_ROLE, federator);
        _grantRole(VALIDATOR_ROLE, validator);
        token = token_;
    }

    modifier onlyKeepers() {
        if (!hasRole(FEDERATOR_ROLE, msg.sender)) _checkRole(VALIDATOR_ROLE, msg.sender);
        _;
    }

    function setModules(
        ComputeRegistry registry,
        DomainRegistry domains,
        StakeManager stakes,
        address pool
    ) external onlyRole(DEFAULT_ADMIN_ROLE) {
        computeRegistry = registry;
        domainRegistry = domains;
        stakeManager = stakes;
        computePool = pool;
        emit ModulesSet(address(registry), address(domains), address(stakes), pool);
    }

    function registerProvider(uint256 stake) external {
        _register(stake);
    }

    function registerProviderWithPermit(uint256 stake, uint256 deadline, bytes calldata signature)
        external
    {
        (bytes32 r, bytes32 s, uint8 v) =
            (bytes32(signature[0:32]), bytes32(signature[32:64]), uint8(signature[64]));
        IERC20Permit(address(token)).permit(
            msg.sender, address(this), stake, deadline, v, r, s
        );
        _register(stake);
    }

    function _register(uint256 stake) private {
        uint256 needed = calculateMinimumStake(msg.sender, 0);
        if (stake < needed) revert StakeBelowMinimum(stake, needed);
        computeRegistry.register(msg.sender);
        _stake(stake);
        emit ProviderRegistered(msg.sender, stake);
    }

    function _stake(uint256 amount) private {
        token.safeTransferFrom(msg.sender, address(this), amount);
        token.forceApprove(address(stakeManager), amount);
        stakeManager.stake(msg.sender, amount);
    }

    function increaseStake(uint256 amount) external {
        if (!computeRegistry.checkProviderExists(msg.sender)) {
            revert ComputeRegistry.NoSuchProvider(msg.sender);
        }
        _stake(amount);
    }

    function reclaimStake(uint256 amount) external {
        uint256 staked = stakeManager.getStake(msg.sender);
        uint256 needed = computeRegistry.checkProviderExists(msg.sender)
            ? calculateMinimumStake(msg.sender, 0)
            : 0;
        if (staked < amount + needed) revert StakeBelowMinimum(staked, amount + needed);
        stakeManager.unstake(msg.sender, amount);
    }

    function deregisterProvider(address provider) external {
        if (msg.sender != provider) _checkRole(VALIDATOR_ROLE, msg.sender);
        computeRegistry.deregister(provider);
        uint256 staked = stakeManager.getStake(provider);
        if (staked > 0) stakeManager.unstake(provider, staked);
    }

    /// `signature`: EIP-191 over keccak256(provider ++ nodekey) by the node key: its consent.
    function addComputeNode(
        address nodekey,
        string calldata specsURI,
        uint256 computeUnits,
        bytes calldata signature
    ) external {
        if (!computeRegistry.getWhitelistStatus(msg.sender)) revert NotWhitelisted(msg.sender);
        uint256 staked = stakeManager.getStake(msg.sender);
        uint256 needed = calculateMinimumStake(msg.sender, computeUnits);
        if (staked < needed) revert StakeBelowMinimum(staked, needed);
        bytes32 digest = keccak256(abi.encodePacked(msg.sender, nodekey));
        address signer = ECDSA.recover(MessageHashUtils.toEthSignedMessageHash(digest), signature);
        if (signer != nodekey) revert BadNodeConsent(signer, nodekey);
        computeRegistry.addComputeNode(msg.sender, nodekey, computeUnits, specsURI);
        emit ComputeNodeAdded(msg.sender, nodekey, specsURI);
    }

    function removeComputeNode(address provider, address nodekey) external {
        if (msg.sender != provider) _checkRole(VALIDATOR_ROLE, msg.sender);
        computeRegistry.removeComputeNode(provider, nodekey);
        emit ComputeNodeRemoved(provider, nodekey);
    }

    function whitelistProvider(address provider) external onlyKeepers {
        computeRegistry.setWhitelistStatus(provider, true);
        emit ProviderWhitelisted(provider);
    }

    function blacklistProvider(address provider) external onlyKeepers {
        computeRegistry.setWhitelistStatus(provider, false);
        emit ProviderBlacklisted(provider);
    }

    function validateNode(address provider, address nodekey) external onlyRole(VALIDATOR_ROLE) {
        computeRegistry.setNodeValidationStatus(provider, nodekey, true);
        emit ComputeNodeValidated(provider, nodekey);
    }

    function invalidateNode(address provider, address nodekey) external onlyRole(VALIDATOR_ROLE) {
        computeRegistry.setNodeValidationStatus(provider, nodekey, false);
        emit ComputeNodeInvalidated(provider, nodekey);
    }

    function createDomain(string calldata name, address validationLogic, string calldata uri)
        external
        onlyRole(FEDERATOR_ROLE)
        returns (uint256)
    {
        return domainRegistry.create(name, validationLogic, uri);
    }

    function slash(address provider, uint256 amount, bytes calldata reason)
        external
        onlyRole(VALIDATOR_ROLE)
        returns (uint256)
    {
        return stakeManager.slash(provider, amount, reason);
    }

    function setStakeMinimum(uint256 minimum) external onlyRole(FEDERATOR_ROLE) {
        stakeManager.setStakeMinimum(minimum);
    }

    /// (units registered + units to come + 1) x the minimum.
    function calculateMinimumStake(address provider, uint256 computeUnits)
        public
        view
        returns (uint256)
    {
        uint256 units = computeRegistry.getProviderTotalCompute(provider) + computeUnits;
        return (units + 1) * stakeManager.getStakeMinimum();
    }
}
