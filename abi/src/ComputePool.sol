// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {ComputeRegistry} from "./ComputeRegistry.sol";
import {DomainRegistry} from "./DomainRegistry.sol";

/// Compute pools: who created one, who manages it, and which nodes belong to it. The one authority
/// on membership. Nodes enter by an invite that the manager signed (a key or an ERC-1271 contract).
contract ComputePool {
    using EnumerableSet for EnumerableSet.AddressSet;

    enum PoolStatus {
        PENDING,
        ACTIVE,
        COMPLETED
    }

    struct PoolInfo {
        uint256 poolId;
        uint256 domainId;
        string poolName;
        address creator;
        address computeManagerKey;
        uint256 creationTime;
        uint256 startTime;
        uint256 endTime;
        string poolDataURI;
        address poolValidationLogic;
        uint256 totalCompute;
        uint256 computeLimit;
        PoolStatus status;
    }

    ComputeRegistry public immutable computeRegistry;
    DomainRegistry public immutable domainRegistry;

    uint256 private count;
    mapping(uint256 => PoolInfo) private pools;
    mapping(uint256 => EnumerableSet.AddressSet) private poolNodes;
    mapping(uint256 => EnumerableSet.AddressSet) private poolProviders;
    mapping(uint256 => mapping(address => EnumerableSet.AddressSet)) private nodesOfProvider;
    mapping(uint256 => mapping(address => address)) private providerOfNode;
    mapping(uint256 => mapping(address => uint256)) private unitsOfNode;
    mapping(uint256 => mapping(address => bool)) private blacklistedNodes;
    mapping(uint256 => mapping(address => bool)) private blacklistedProviders;
    mapping(bytes32 => bool) private usedInvites;

    event ComputePoolCreated(
        uint256 indexed poolId,
        uint256 indexed domainId,
        address indexed creator,
        address computeManagerKey,
        uint256 computeLimit,
        string poolDataURI
    );
    event ComputePoolStarted(uint256 indexed poolId, uint256 timestamp);
    event ComputePoolEnded(uint256 indexed poolId);
    event ComputePoolJoined(uint256 indexed poolId, address indexed provider, address[] nodekeys);
    event ComputePoolLeft(uint256 indexed poolId, address indexed provider, address nodekey);
    event ComputePoolNodeEjected(uint256 indexed poolId, address indexed provider, address nodekey);
    event ComputePoolNodeBlacklisted(
        uint256 indexed poolId, address indexed provider, address nodekey
    );
    event ComputePoolProviderBlacklisted(uint256 indexed poolId, address indexed provider);
    event ComputePoolPurgedProvider(uint256 indexed poolId, address indexed provider);
    event ComputePoolURIUpdated(uint256 indexed poolId, string poolDataURI);
    event ComputePoolLimitUpdated(uint256 indexed poolId, uint256 computeLimit);
    event WorkSubmitted(
        uint256 indexed poolId, address indexed provider, address nodekey, bytes data
    );

    error NoSuchPool(uint256 poolId);
    error NotCreatorOrManager(address caller);
    error NotTheProvider(address caller, address provider);
    error PoolNotPending(uint256 poolId);
    error PoolNotActive(uint256 poolId);
    error UnequalArrays();
    error ProviderNotWhitelisted(address provider);
    error ProviderBlacklistedHere(uint256 poolId, address provider);
    error NodeBlacklistedHere(uint256 poolId, address nodekey);
    error NodeNotValidated(address nodekey);
    error NodeInAPool(address nodekey);
    error NodeNotInPool(uint256 poolId, address nodekey);
    error ComputeLimitReached(uint256 total, uint256 limit);
    error InviteExpired(uint256 expiration, uint256 time);
    error InviteUsed(uint256 nonce);
    error BadInviteSignature(address manager);

    constructor(ComputeRegistry registry, DomainRegistry domains) {
        computeRegistry = registry;
        domainRegistry = domains;
    }

    modifier onlyKeepers(uint256 poolId) {
        PoolInfo storage pool = _pool(poolId);
        if (msg.sender != pool.creator && msg.sender != pool.computeManagerKey) {
            revert NotCreatorOrManager(msg.sender);
        }
        _;
    }

    modifier onlyProvider(address provider) {
        if (msg.sender != provider) revert NotTheProvider(msg.sender, provider);
        _;
    }

    // --- a pool's life ------------------------------------------------------------------------

    function createComputePool(
        uint256 domainId,
        address computeManagerKey,
        string calldata poolName,
        string calldata poolDataURI,
        uint256 computeLimit
    ) external returns (uint256 poolId) {
        address logic = domainRegistry.get(domainId).validationLogic;
        poolId = count++;
        PoolInfo storage pool = pools[poolId];
        pool.poolId = poolId;
        pool.domainId = domainId;
        pool.poolName = poolName;
        pool.creator = msg.sender;
        pool.computeManagerKey = computeManagerKey;
        pool.creationTime = block.timestamp;
        pool.poolDataURI = poolDataURI;
        pool.poolValidationLogic = logic;
        pool.computeLimit = computeLimit;
        emit ComputePoolCreated(
            poolId, domainId, msg.sender, computeManagerKey, computeLimit, poolDataURI
        );
    }

    function startComputePool(uint256 poolId) external onlyKeepers(poolId) {
        PoolInfo storage pool = pools[poolId];
        if (pool.status != PoolStatus.PENDING) revert PoolNotPending(poolId);
        pool.status = PoolStatus.ACTIVE;
        pool.startTime = block.timestamp;
        emit ComputePoolStarted(poolId, block.timestamp);
    }

    /// Members stay listed, and can still leave.
    function endComputePool(uint256 poolId) external onlyKeepers(poolId) {
        PoolInfo storage pool = pools[poolId];
        if (pool.status != PoolStatus.ACTIVE) revert PoolNotActive(poolId);
        pool.status = PoolStatus.COMPLETED;
        pool.endTime = block.timestamp;
        emit ComputePoolEnded(poolId);
    }

    function updateComputePoolURI(uint256 poolId, string calldata poolDataURI)
        external
        onlyKeepers(poolId)
    {
        pools[poolId].poolDataURI = poolDataURI;
        emit ComputePoolURIUpdated(poolId, poolDataURI);
    }

    function updateComputeLimit(uint256 poolId, uint256 computeLimit)
        external
        onlyKeepers(poolId)
    {
        pools[poolId].computeLimit = computeLimit;
        emit ComputePoolLimitUpdated(poolId, computeLimit);
    }

    // --- joining and leaving ------------------------------------------------------------------

    function joinComputePool(
        uint256 poolId,
        address provider,
        address nodekey,
        uint256 nonce,
        uint256 expiration,
        bytes calldata signature
    ) external onlyProvider(provider) {
        _mayJoin(poolId, provider);
        _join(poolId, provider, nodekey, nonce, expiration, signature);
        address[] memory nodekeys = new address[](1);
        nodekeys[0] = nodekey;
        emit ComputePoolJoined(poolId, provider, nodekeys);
    }

    function joinComputePool(
        uint256 poolId,
        address provider,
        address[] calldata nodekeys,
        uint256[] calldata nonces,
        uint256[] calldata expirations,
        bytes[] calldata signatures
    ) external onlyProvider(provider) {
        uint256 n = nodekeys.length;
        if (nonces.length != n || expirations.length != n || signatures.length != n) {
            revert UnequalArrays();
        }
        _mayJoin(poolId, provider);
        for (uint256 i = 0; i < n; i++) {
            _join(poolId, provider, nodekeys[i], nonces[i], expirations[i], signatures[i]);
        }
        emit ComputePoolJoined(poolId, provider, nodekeys);
    }

    function leaveComputePool(uint256 poolId, address provider, address nodekey)
        external
        onlyProvider(provider)
    {
        _leave(poolId, provider, nodekey);
    }

    function leaveComputePool(uint256 poolId, address provider, address[] calldata nodekeys)
        external
        onlyProvider(provider)
    {
        for (uint256 i = 0; i < nodekeys.length; i++) {
            _leave(poolId, provider, nodekeys[i]);
        }
    }

    /// Moves nodes to another pool of the same manager's domain. The destination sees no Joined:
    /// followers read the members again on any Left.
    function changeComputePool(
        uint256 fromPoolId,
        uint256 toPoolId,
        address[] calldata nodekeys,
        uint256[] calldata nonces,
        uint256[] calldata expirations,
        bytes[] calldata signatures
    ) external {
        uint256 n = nodekeys.length;
        if (nonces.length != n || expirations.length != n || signatures.length != n) {
            revert UnequalArrays();
        }
        _mayJoin(toPoolId, msg.sender);
        for (uint256 i = 0; i < n; i++) {
            _leave(fromPoolId, msg.sender, nodekeys[i]);
            _join(toPoolId, msg.sender, nodekeys[i], nonces[i], expirations[i], signatures[i]);
        }
    }

    // --- the manager's powers -----------------------------------------------------------------

    function ejectNode(uint256 poolId, address nodekey) external onlyKeepers(poolId) {
        address provider = _drop(poolId, nodekey);
        emit ComputePoolNodeEjected(poolId, provider, nodekey);
    }

    function blacklistNode(uint256 poolId, address nodekey) external onlyKeepers(poolId) {
        address provider = providerOfNode[poolId][nodekey];
        if (poolNodes[poolId].contains(nodekey)) _drop(poolId, nodekey);
        blacklistedNodes[poolId][nodekey] = true;
        emit ComputePoolNodeBlacklisted(poolId, provider, nodekey);
    }

    function blacklistProvider(uint256 poolId, address provider) external onlyKeepers(poolId) {
        blacklistedProviders[poolId][provider] = true;
        emit ComputePoolProviderBlacklisted(poolId, provider);
    }

    /// Drops every node of a provider. Asks the registry for each, so a node that its provider has
    /// removed there makes it revert: eject or blacklist that one.
    function purgeProvider(uint256 poolId, address provider) external onlyKeepers(poolId) {
        address[] memory nodekeys = nodesOfProvider[poolId][provider].values();
        for (uint256 i = 0; i < nodekeys.length; i++) {
            computeRegistry.getNode(provider, nodekeys[i]);
            _drop(poolId, nodekeys[i]);
        }
        poolProviders[poolId].remove(provider);
        emit ComputePoolPurgedProvider(poolId, provider);
    }

    function submitWork(uint256 poolId, address nodekey, bytes calldata data) external {
        address provider = providerOfNode[poolId][nodekey];
        if (!poolNodes[poolId].contains(nodekey)) revert NodeNotInPool(poolId, nodekey);
        if (msg.sender != provider) revert NotTheProvider(msg.sender, provider);
        if (_pool(poolId).status != PoolStatus.ACTIVE) revert PoolNotActive(poolId);
        emit WorkSubmitted(poolId, provider, nodekey, data);
    }

    // --- views --------------------------------------------------------------------------------

    function getComputePool(uint256 poolId) external view returns (PoolInfo memory) {
        return _pool(poolId);
    }

    function getComputePoolNodes(uint256 poolId) external view returns (address[] memory) {
        return poolNodes[poolId].values();
    }

    function getComputePoolProviders(uint256 poolId) external view returns (address[] memory) {
        return poolProviders[poolId].values();
    }

    function getComputePoolTotalCompute(uint256 poolId) external view returns (uint256) {
        return _pool(poolId).totalCompute;
    }

    function isNodeInPool(uint256 poolId, address nodekey) external view returns (bool) {
        return poolNodes[poolId].contains(nodekey);
    }

    function isProviderInPool(uint256 poolId, address provider) external view returns (bool) {
        return poolProviders[poolId].contains(provider);
    }

    function isNodeBlacklistedFromPool(uint256 poolId, address nodekey)
        external
        view
        returns (bool)
    {
        return blacklistedNodes[poolId][nodekey];
    }

    function isProviderBlacklistedFromPool(uint256 poolId, address provider)
        external
        view
        returns (bool)
    {
        return blacklistedProviders[poolId][provider];
    }

    // --- inside -------------------------------------------------------------------------------

    function _pool(uint256 poolId) private view returns (PoolInfo storage) {
        if (poolId >= count) revert NoSuchPool(poolId);
        return pools[poolId];
    }

    function _mayJoin(uint256 poolId, address provider) private {
        if (_pool(poolId).status != PoolStatus.ACTIVE) revert PoolNotActive(poolId);
        if (!computeRegistry.getWhitelistStatus(provider)) revert ProviderNotWhitelisted(provider);
        if (blacklistedProviders[poolId][provider]) {
            revert ProviderBlacklistedHere(poolId, provider);
        }
        poolProviders[poolId].add(provider);
    }

    function _join(
        uint256 poolId,
        address provider,
        address nodekey,
        uint256 nonce,
        uint256 expiration,
        bytes calldata signature
    ) private {
        PoolInfo storage pool = pools[poolId];
        ComputeRegistry.ComputeNode memory node = computeRegistry.getNode(provider, nodekey);
        if (!node.isValidated) revert NodeNotValidated(nodekey);
        if (node.isActive) revert NodeInAPool(nodekey);
        if (blacklistedNodes[poolId][nodekey]) revert NodeBlacklistedHere(poolId, nodekey);
        if (expiration <= block.timestamp) revert InviteExpired(expiration, block.timestamp);
        bytes32 invite =
            keccak256(abi.encodePacked(pool.domainId, poolId, nodekey, nonce, expiration));
        if (usedInvites[invite]) revert InviteUsed(nonce);
        if (
            !SignatureChecker.isValidSignatureNow(
                pool.computeManagerKey, MessageHashUtils.toEthSignedMessageHash(invite), signature
            )
        ) revert BadInviteSignature(pool.computeManagerKey);
        uint256 total = pool.totalCompute + node.computeUnits;
        if (pool.computeLimit != 0 && total > pool.computeLimit) {
            revert ComputeLimitReached(total, pool.computeLimit);
        }
        usedInvites[invite] = true;
        pool.totalCompute = total;
        poolNodes[poolId].add(nodekey);
        nodesOfProvider[poolId][provider].add(nodekey);
        providerOfNode[poolId][nodekey] = provider;
        unitsOfNode[poolId][nodekey] = node.computeUnits;
        computeRegistry.updateNodeStatus(provider, nodekey, true);
    }

    function _leave(uint256 poolId, address provider, address nodekey) private {
        if (!nodesOfProvider[poolId][provider].contains(nodekey)) {
            revert NodeNotInPool(poolId, nodekey);
        }
        _drop(poolId, nodekey);
        emit ComputePoolLeft(poolId, provider, nodekey);
    }

    function _drop(uint256 poolId, address nodekey) private returns (address provider) {
        if (!poolNodes[poolId].remove(nodekey)) revert NodeNotInPool(poolId, nodekey);
        provider = providerOfNode[poolId][nodekey];
        nodesOfProvider[poolId][provider].remove(nodekey);
        if (nodesOfProvider[poolId][provider].length() == 0) {
            poolProviders[poolId].remove(provider);
        }
        pools[poolId].totalCompute -= unitsOfNode[poolId][nodekey];
        delete unitsOfNode[poolId][nodekey];
        delete providerOfNode[poolId][nodekey];
        computeRegistry.updateNodeStatus(provider, nodekey, false);
    }
}
