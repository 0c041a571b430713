// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {EnumerableMap} from "@openzeppelin/contracts/utils/structs/EnumerableMap.sol";

/// Providers and their nodes. A node key belongs to one provider; looking up one that does not
/// exist reverts with EnumerableMapNonexistentKey (0x02b56686): that is an answer, not an outage.
contract ComputeRegistry is AccessControlEnumerable {
    using EnumerableMap for EnumerableMap.AddressToAddressMap;

    struct ComputeNode {
        address provider;
        address subkey;
        string specsURI;
        uint32 computeUnits;
        uint32 benchmarkScore;
        bool isActive;
        bool isValidated;
    }

    struct ComputeProvider {
        address providerAddress;
        bool isWhitelisted;
        uint32 activeNodes;
        ComputeNode[] nodes;
    }

    bytes32 public constant PRIME_ROLE = keccak256("PRIME_ROLE");
    bytes32 public constant COMPUTE_POOL_ROLE = keccak256("COMPUTE_POOL_ROLE");

    EnumerableMap.AddressToAddressMap private providerOf;
    mapping(address => bool) private registered;
    mapping(address => bool) private whitelisted;
    mapping(address => uint32) private activeNodes;
    mapping(address => uint256) private totalUnits;
    mapping(address => address[]) private nodesOf;
    mapping(address => ComputeNode) private nodes;

    event ProviderRegistered(address indexed provider);
    event ProviderDeregistered(address indexed provider);
    event ComputeNodeAdded(address indexed provider, address indexed nodekey, uint256 computeUnits);
    event ComputeNodeRemoved(address indexed provider, address indexed nodekey);
    event WhitelistStatusSet(address indexed provider, bool status);
    event NodeValidationSet(address indexed provider, address indexed nodekey, bool status);

    error ProviderExists(address provider);
    error NoSuchProvider(address provider);
    error NodeExists(address nodekey);
    error NotTheProvidersNode(address provider, address nodekey);
    error NodeIsActive(address nodekey);
    error ProviderHasNodes(address provider, uint256 count);
    error TooManyUnits(uint256 computeUnits);

    constructor(address network) {
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
        _grantRole(PRIME_ROLE, network);
    }

    function register(address provider) external onlyRole(PRIME_ROLE) {
        if (registered[provider]) revert ProviderExists(provider);
        registered[provider] = true;
        emit ProviderRegistered(provider);
    }

    function deregister(address provider) external onlyRole(PRIME_ROLE) {
        if (!registered[provider]) revert NoSuchProvider(provider);
        if (nodesOf[provider].length > 0) {
            revert ProviderHasNodes(provider, nodesOf[provider].length);
        }
        delete registered[provider];
        delete whitelisted[provider];
        emit ProviderDeregistered(provider);
    }

    function addComputeNode(
        address provider,
        address nodekey,
        uint256 computeUnits,
        string calldata specsURI
    ) external onlyRole(PRIME_ROLE) {
        if (!registered[provider]) revert NoSuchProvider(provider);
        if (providerOf.contains(nodekey)) revert NodeExists(nodekey);
        if (computeUnits > type(uint32).max) revert TooManyUnits(computeUnits);
        providerOf.set(nodekey, provider);
        nodesOf[provider].push(nodekey);
        nodes[nodekey] =
            ComputeNode(provider, nodekey, specsURI, uint32(computeUnits), 0, false, false);
        totalUnits[provider] += computeUnits;
        emit ComputeNodeAdded(provider, nodekey, computeUnits);
    }

    function removeComputeNode(address provider, address nodekey) external onlyRole(PRIME_ROLE) {
        _own(provider, nodekey);
        if (nodes[nodekey].isActive) activeNodes[provider] -= 1;
        totalUnits[provider] -= nodes[nodekey].computeUnits;
        providerOf.remove(nodekey);
        delete nodes[nodekey];
        address[] storage list = nodesOf[provider];
        for (uint256 i = 0; i < list.length; i++) {
            if (list[i] == nodekey) {
                list[i] = list[list.length - 1];
                list.pop();
                break;
            }
        }
        emit ComputeNodeRemoved(provider, nodekey);
    }

    /// A pool says whether a node works in it. Unknown nodes are passed over, so that a pool can
    /// still drop a node that its provider has removed.
    function updateNodeStatus(address provider, address nodekey, bool active)
        external
        onlyRole(COMPUTE_POOL_ROLE)
    {
        ComputeNode storage node = nodes[nodekey];
        if (node.provider != provider || node.isActive == active) return;
        node.isActive = active;
        if (active) activeNodes[provider] += 1;
        else activeNodes[provider] -= 1;
    }

    function setWhitelistStatus(address provider, bool status) external onlyRole(PRIME_ROLE) {
        if (!registered[provider]) revert NoSuchProvider(provider);
        whitelisted[provider] = status;
        emit WhitelistStatusSet(provider, status);
    }

    function setNodeValidationStatus(address provider, address nodekey, bool status)
        external
        onlyRole(PRIME_ROLE)
    {
        _own(provider, nodekey);
        nodes[nodekey].isValidated = status;
        emit NodeValidationSet(provider, nodekey, status);
    }

    function getNode(address nodekey) external view returns (ComputeNode memory) {
        providerOf.get(nodekey);
        return nodes[nodekey];
    }

    function getNode(address provider, address nodekey)
        external
        view
        returns (ComputeNode memory)
    {
        _own(provider, nodekey);
        return nodes[nodekey];
    }

    function getNodeContractData(address nodekey)
        external
        view
        returns (address provider, uint32 computeUnits, bool isActive, bool isValidated)
    {
        provider = providerOf.get(nodekey);
        ComputeNode storage node = nodes[nodekey];
        return (provider, node.computeUnits, node.isActive, node.isValidated);
    }

    function getProvider(address provider) external view returns (ComputeProvider memory) {
        address[] storage keys = nodesOf[provider];
        ComputeNode[] memory list = new ComputeNode[](keys.length);
        for (uint256 i = 0; i < keys.length; i++) {
            list[i] = nodes[keys[i]];
        }
        address known = registered[provider] ? provider : address(0);
        return ComputeProvider(known, whitelisted[provider], activeNodes[provider], list);
    }

    function checkProviderExists(address provider) external view returns (bool) {
        return registered[provider];
    }

    function getWhitelistStatus(address provider) external view returns (bool) {
        return whitelisted[provider];
    }

    function getProviderTotalCompute(address provider) external view returns (uint256) {
        return totalUnits[provider];
    }

    function _own(address provider, address nodekey) private view {
        if (providerOf.get(nodekey) != provider) revert NotTheProvidersNode(provider, nodekey);
    }
}
