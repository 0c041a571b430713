// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {IAccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/IAccessControlEnumerable.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {ForeignDomains} from "./ForeignDomains.sol";
import {ForeignRegistry} from "./ForeignRegistry.sol";
import {ForeignRewards, INodeOwners} from "./ForeignRewards.sol";
import {ForeignRewardsFactory} from "./ForeignRewardsFactory.sol";
import {ForeignWork} from "./ForeignWork.sol";

/// Pools with the network's manners: a pool that does not exist is read as zeros, reasons of a
/// revert are texts, only the federator creates, and leaving with an empty list leaves with all.
contract ForeignPool is AccessControlEnumerable {
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

    struct Members {
        EnumerableSet.AddressSet nodes;
        EnumerableSet.AddressSet providers;
        mapping(address => uint256) nodesOf;
        mapping(address => bool) providerOut;
        mapping(address => bool) nodeOut;
        ForeignRewards rewards;
    }

    struct Found {
        address provider;
        uint32 units;
        bool active;
        bool validated;
    }

    bytes32 public constant PRIME_ROLE = keccak256("PRIME_ROLE");
    bytes32 public constant FEDERATOR_ROLE = keccak256("FEDERATOR_ROLE");

    mapping(uint256 => PoolInfo) public pools;
    uint256 public poolIdCounter;
    ForeignRegistry public computeRegistry;
    ForeignDomains public domainRegistry;
    ForeignRewardsFactory public rewardsDistributorFactory;
    IERC20 public AIToken;
    mapping(uint256 => Members) private membersOf;
    mapping(bytes32 => bool) private used;

    event ComputePoolCreated(
        uint256 indexed poolId,
        uint256 indexed domainId,
        address indexed creator,
        address manager,
        uint256 limit,
        string uri
    );
    event ComputePoolStarted(uint256 indexed poolId, uint256 timestamp);
    event ComputePoolEnded(uint256 indexed poolId);
    event ComputePoolURIUpdated(uint256 indexed poolId, string uri);
    event ComputePoolLimitUpdated(uint256 indexed poolId, uint256 limit);
    event ComputePoolJoined(uint256 indexed poolId, address indexed provider, address[] nodekeys);
    event ComputePoolLeft(uint256 indexed poolId, address indexed provider, address nodekey);
    event ComputePoolNodeEjected(uint256 indexed poolId, address indexed provider, address nodekey);
    event ComputePoolPurgedProvider(uint256 indexed poolId, address indexed provider);
    event ComputePoolProviderBlacklisted(uint256 indexed poolId, address indexed provider);
    event ComputePoolNodeBlacklisted(
        uint256 indexed poolId, address indexed provider, address nodekey
    );

    modifier exists(uint256 poolId) {
        require(pools[poolId].creator != address(0), "ComputePool: pool does not exist");
        _;
    }

    modifier keepers(uint256 poolId) {
        require(pools[poolId].creator != address(0), "ComputePool: pool does not exist");
        require(
            msg.sender == pools[poolId].creator || msg.sender == pools[poolId].computeManagerKey,
            "ComputePool: only creator or manager can perform this action"
        );
        _;
    }

    function initialize(
        address network,
        ForeignDomains domains,
        ForeignRegistry registry,
        ForeignRewardsFactory factory,
        IERC20 token
    ) external {
        require(getRoleMemberCount(DEFAULT_ADMIN_ROLE) == 0, "initialized");
        _grantRole(DEFAULT_ADMIN_ROLE, network);
        _grantRole(PRIME_ROLE, network);
        // The federator of this moment, for good: the network may name another one later.
        _grantRole(
            FEDERATOR_ROLE, IAccessControlEnumerable(network).getRoleMember(FEDERATOR_ROLE, 0)
        );
        domainRegistry = domains;
        computeRegistry = registry;
        rewardsDistributorFactory = factory;
        AIToken = token;
    }

    // --- a pool's life ------------------------------------------------------------------------

    function createComputePool(
        uint256 domainId,
        address computeManagerKey,
        string calldata poolName,
        string calldata poolDataURI,
        uint256 computeLimit
    ) external onlyRole(FEDERATOR_ROLE) returns (uint256 poolId) {
        require(
            domainRegistry.get(domainId).domainId == domainId, "ComputePool: domain does not exist"
        );
        poolId = poolIdCounter++;
        PoolInfo storage pool = pools[poolId];
        pool.poolId = poolId;
        pool.domainId = domainId;
        pool.poolName = poolName;
        pool.creator = msg.sender;
        pool.computeManagerKey = computeManagerKey;
        pool.creationTime = block.timestamp;
        pool.poolDataURI = poolDataURI;
        pool.computeLimit = computeLimit;
        membersOf[poolId].rewards = rewardsDistributorFactory.createRewardsDistributor(
            INodeOwners(address(computeRegistry)), AIToken, getRoleMember(FEDERATOR_ROLE, 0), poolId
        );
        emit ComputePoolCreated(
            poolId, domainId, msg.sender, computeManagerKey, computeLimit, poolDataURI
        );
    }

    function startComputePool(uint256 poolId) external keepers(poolId) {
        require(pools[poolId].status == PoolStatus.PENDING, "ComputePool: pool is not pending");
        pools[poolId].status = PoolStatus.ACTIVE;
        pools[poolId].startTime = block.timestamp;
        emit ComputePoolStarted(poolId, block.timestamp);
    }

    function endComputePool(uint256 poolId) external keepers(poolId) {
        require(pools[poolId].status == PoolStatus.ACTIVE, "ComputePool: pool is not active");
        pools[poolId].status = PoolStatus.COMPLETED;
        pools[poolId].endTime = block.timestamp;
        membersOf[poolId].rewards.endRewards();
        emit ComputePoolEnded(poolId);
    }

    function updateComputePoolURI(uint256 poolId, string calldata uri) external keepers(poolId) {
        pools[poolId].poolDataURI = uri;
        emit ComputePoolURIUpdated(poolId, uri);
    }

    function updateComputeLimit(uint256 poolId, uint256 limit) external keepers(poolId) {
        pools[poolId].computeLimit = limit;
        emit ComputePoolLimitUpdated(poolId, limit);
    }

    // --- joining and leaving ------------------------------------------------------------------

    function joinComputePool(
        uint256 poolId,
        address provider,
        address nodekey,
        uint256 nonce,
        uint256 expiration,
        bytes calldata signature
    ) external exists(poolId) {
        _mayJoin(poolId, provider);
        _begin(poolId, provider);
        _join(poolId, provider, nodekey, nonce, expiration, signature);
        address[] memory nodekeys = new address[](1);
        nodekeys[0] = nodekey;
        emit ComputePoolJoined(poolId, provider, nodekeys);
    }

    /// Lists of different lengths panic (0x32); empty ones make a provider without a node.
    function joinComputePool(
        uint256 poolId,
        address provider,
        address[] calldata nodekeys,
        uint256[] calldata nonces,
        uint256[] calldata expirations,
        bytes[] calldata signatures
    ) external exists(poolId) {
        _mayJoin(poolId, provider);
        _joinAll(poolId, provider, nodekeys, nonces, expirations, signatures);
        emit ComputePoolJoined(poolId, provider, nodekeys);
    }

    /// Address zero means every node of the provider.
    function leaveComputePool(uint256 poolId, address provider, address nodekey)
        external
        exists(poolId)
    {
        address[] memory nodekeys = new address[](nodekey == address(0) ? 0 : 1);
        if (nodekeys.length > 0) nodekeys[0] = nodekey;
        _leave(poolId, provider, nodekeys);
    }

    /// An empty list means every node of the provider.
    function leaveComputePool(uint256 poolId, address provider, address[] calldata nodekeys)
        external
        exists(poolId)
    {
        _leave(poolId, provider, nodekeys);
    }

    /// Emits no ComputePoolJoined.
    function changeComputePool(
        uint256 fromPoolId,
        uint256 toPoolId,
        address[] calldata nodekeys,
        uint256[] calldata nonces,
        uint256[] calldata expirations,
        bytes[] calldata signatures
    ) external exists(fromPoolId) exists(toPoolId) {
        require(
            pools[toPoolId].status == PoolStatus.ACTIVE, "ComputePool: dest pool is not ready"
        );
        require(
            !membersOf[toPoolId].providerOut[msg.sender], "ComputePool: provider is blacklisted"
        );
        bool all = nodekeys.length == membersOf[fromPoolId].nodesOf[msg.sender];
        address[] memory leaving = nodekeys;
        _leave(fromPoolId, msg.sender, all ? new address[](0) : leaving);
        _joinAll(toPoolId, msg.sender, nodekeys, nonces, expirations, signatures);
    }

    // --- work ---------------------------------------------------------------------------------

    function submitWork(uint256 poolId, address node, bytes calldata data)
        external
        exists(poolId)
    {
        Members storage members = membersOf[poolId];
        require(members.nodes.contains(node), "ComputePool: node not in pool");
        require(
            computeRegistry.getNodeProvider(node) == msg.sender,
            "ComputePool: node not owned by provider"
        );
        require(pools[poolId].status == PoolStatus.ACTIVE, "ComputePool: dest pool is not ready");
        require(!members.nodeOut[node], "ComputePool: node is blacklisted");
        require(!members.providerOut[msg.sender], "ComputePool: provider is blacklisted");
        _whitelisted(msg.sender);
        (bool taken, uint256 units) = _judge(poolId).submitWork(
            pools[poolId].domainId, poolId, msg.sender, node, data
        );
        if (taken) members.rewards.submitWork(node, units);
    }

    function invalidateWork(uint256 poolId, bytes calldata data)
        external
        exists(poolId)
        onlyRole(PRIME_ROLE)
        returns (address provider, address node)
    {
        (provider, node) = _judge(poolId).invalidateWork(poolId, data);
        membersOf[poolId].rewards.slashPendingRewards(node);
        if (membersOf[poolId].nodes.contains(node)) _eject(poolId, node);
    }

    function softInvalidateWork(uint256 poolId, bytes calldata data)
        external
        exists(poolId)
        onlyRole(PRIME_ROLE)
        returns (address provider, address node, uint256 units)
    {
        (provider, node, units) = _judge(poolId).softInvalidateWork(poolId, data);
        membersOf[poolId].rewards.removeWork(node, units);
    }

    // --- the manager's powers -----------------------------------------------------------------

    function ejectNode(uint256 poolId, address nodekey) external keepers(poolId) {
        require(membersOf[poolId].nodes.contains(nodekey), "ComputePool: node not in pool");
        _eject(poolId, nodekey);
    }

    function blacklistProvider(uint256 poolId, address provider) external keepers(poolId) {
        require(provider != address(0), "ComputePool: provider cannot be zero address");
        _banProvider(poolId, provider);
    }

    function blacklistProviderList(uint256 poolId, address[] calldata providers)
        external
        keepers(poolId)
    {
        for (uint256 i = 0; i < providers.length; i++) {
            if (providers[i] != address(0)) _banProvider(poolId, providers[i]);
        }
    }

    function purgeProvider(uint256 poolId, address provider) external keepers(poolId) {
        require(provider != address(0), "ComputePool: provider cannot be zero address");
        _purge(poolId, provider);
    }

    function blacklistAndPurgeProvider(uint256 poolId, address provider) external keepers(poolId) {
        require(provider != address(0), "ComputePool: provider cannot be zero address");
        _banProvider(poolId, provider);
        _purge(poolId, provider);
    }

    function blacklistNode(uint256 poolId, address nodekey) external keepers(poolId) {
        _banNode(poolId, nodekey);
    }

    function blacklistNodeList(uint256 poolId, address[] calldata nodekeys)
        external
        keepers(poolId)
    {
        for (uint256 i = 0; i < nodekeys.length; i++) _banNode(poolId, nodekeys[i]);
    }

    // --- views --------------------------------------------------------------------------------

    /// Zeros for a pool that does not exist.
    function getComputePool(uint256 poolId) external view returns (PoolInfo memory) {
        return pools[poolId];
    }

    function getComputePoolNodes(uint256 poolId) external view returns (address[] memory) {
        return membersOf[poolId].nodes.values();
    }

    function getComputePoolProviders(uint256 poolId) external view returns (address[] memory) {
        return membersOf[poolId].providers.values();
    }

    function getComputePoolTotalCompute(uint256 poolId) external view returns (uint256) {
        return pools[poolId].totalCompute;
    }

    function getProviderActiveNodesInPool(uint256 poolId, address provider)
        external
        view
        returns (uint256)
    {
        return membersOf[poolId].nodesOf[provider];
    }

    function getRewardToken() external view returns (address) {
        return address(AIToken);
    }

    function getRewardDistributorForPool(uint256 poolId) external view returns (ForeignRewards) {
        return membersOf[poolId].rewards;
    }

    function isNodeInPool(uint256 poolId, address nodekey) external view returns (bool) {
        return membersOf[poolId].nodes.contains(nodekey);
    }

    function isProviderInPool(uint256 poolId, address provider) external view returns (bool) {
        return membersOf[poolId].providers.contains(provider);
    }

    function isNodeBlacklistedFromPool(uint256 poolId, address nodekey)
        external
        view
        returns (bool)
    {
        return membersOf[poolId].nodeOut[nodekey];
    }

    function isProviderBlacklistedFromPool(uint256 poolId, address provider)
        external
        view
        returns (bool)
    {
        return membersOf[poolId].providerOut[provider];
    }

    // --- inside -------------------------------------------------------------------------------

    function _judge(uint256 poolId) private view returns (ForeignWork) {
        return ForeignWork(domainRegistry.get(pools[poolId].domainId).validationLogic);
    }

    function _whitelisted(address provider) private view {
        require(
            computeRegistry.getWhitelistStatus(provider),
            "ComputePool: provider has not been allowed to join pools by federator"
        );
    }

    function _find(address nodekey) private view returns (Found memory found) {
        (found.provider, found.units, found.active, found.validated) =
            computeRegistry.getNodeContractData(nodekey);
    }

    function _mayJoin(uint256 poolId, address provider) private view {
        require(pools[poolId].status == PoolStatus.ACTIVE, "ComputePool: pool is not active");
        require(!membersOf[poolId].providerOut[provider], "ComputePool: provider is blacklisted");
        _whitelisted(provider);
        require(msg.sender == provider, "ComputePool: only provider can join pool");
    }

    function _begin(uint256 poolId, address provider) private {
        _whitelisted(provider);
        membersOf[poolId].providers.add(provider);
    }

    function _joinAll(
        uint256 poolId,
        address provider,
        address[] calldata nodekeys,
        uint256[] calldata nonces,
        uint256[] calldata expirations,
        bytes[] calldata signatures
    ) private {
        _begin(poolId, provider);
        for (uint256 i = 0; i < nodekeys.length; i++) {
            _join(poolId, provider, nodekeys[i], nonces[i], expirations[i], signatures[i]);
        }
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
        Members storage members = membersOf[poolId];
        require(!members.nodeOut[nodekey], "ComputePool: node is blacklisted");
        Found memory node = _find(nodekey);
        require(
            node.provider == provider,
            "ComputePool: node does not exist or not owned by provider"
        );
        require(!node.active, "ComputePool: node can only be in one pool at a time");
        require(node.validated, "ComputePool: node is not validated");
        require(expiration > block.timestamp, "ComputePool: invite expired");
        bytes32 invite = MessageHashUtils.toEthSignedMessageHash(
            keccak256(abi.encodePacked(pool.domainId, poolId, nodekey, nonce, expiration))
        );
        require(!used[invite], "ComputePool: invite already used");
        require(
            SignatureChecker.isValidSignatureNow(pool.computeManagerKey, invite, signature),
            "ComputePool: invalid invite"
        );
        used[invite] = true;
        require(
            pool.computeLimit == 0 || pool.totalCompute + node.units <= pool.computeLimit,
            "ComputePool: pool is at capacity"
        );
        members.nodes.add(nodekey);
        members.rewards.joinPool(nodekey);
        pool.totalCompute += node.units;
        members.nodesOf[provider] += 1;
        computeRegistry.updateNodeStatus(provider, nodekey, true);
    }

    /// Passes over another provider's node without a word.
    function _leave(uint256 poolId, address provider, address[] memory nodekeys) private {
        require(msg.sender == provider, "ComputePool: only provider can leave pool");
        Members storage members = membersOf[poolId];
        if (nodekeys.length == 0) nodekeys = members.nodes.values();
        for (uint256 i = 0; i < nodekeys.length; i++) {
            Found memory node = _find(nodekeys[i]);
            require(members.nodes.contains(nodekeys[i]), "ComputePool: node not in pool");
            if (node.provider != provider) continue;
            _drop(poolId, node, nodekeys[i]);
            emit ComputePoolLeft(poolId, provider, nodekeys[i]);
        }
        _forget(members, provider);
    }

    function _drop(uint256 poolId, Found memory node, address nodekey) private {
        Members storage members = membersOf[poolId];
        members.nodes.remove(nodekey);
        members.rewards.leavePool(nodekey);
        pools[poolId].totalCompute -= node.units;
        members.nodesOf[node.provider] -= 1;
        computeRegistry.updateNodeStatus(node.provider, nodekey, false);
    }

    function _forget(Members storage members, address provider) private {
        if (members.nodesOf[provider] == 0) members.providers.remove(provider);
    }

    function _eject(uint256 poolId, address nodekey) private {
        Found memory node = _find(nodekey);
        _drop(poolId, node, nodekey);
        _forget(membersOf[poolId], node.provider);
        emit ComputePoolNodeEjected(poolId, node.provider, nodekey);
    }

    function _banNode(uint256 poolId, address nodekey) private {
        Members storage members = membersOf[poolId];
        Found memory node;
        if (members.nodes.contains(nodekey)) {
            node = _find(nodekey);
            if (node.provider != address(0)) {
                _drop(poolId, node, nodekey);
                _forget(members, node.provider);
            }
        }
        members.nodeOut[nodekey] = true;
        emit ComputePoolNodeBlacklisted(poolId, node.provider, nodekey);
    }

    function _banProvider(uint256 poolId, address provider) private {
        membersOf[poolId].providerOut[provider] = true;
        emit ComputePoolProviderBlacklisted(poolId, provider);
    }

    /// Only the nodes that are validated still; one that was removed since makes it revert.
    function _purge(uint256 poolId, address provider) private {
        Members storage members = membersOf[poolId];
        address[] memory nodekeys = computeRegistry.getProviderValidatedNodes(provider, true);
        for (uint256 i = 0; i < nodekeys.length; i++) {
            if (!members.nodes.contains(nodekeys[i])) continue;
            Found memory node = _find(nodekeys[i]);
            if (node.provider == provider) _drop(poolId, node, nodekeys[i]);
        }
        members.providers.remove(provider);
        emit ComputePoolPurgedProvider(poolId, provider);
    }
}
