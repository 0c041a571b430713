// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";
import {EnumerableMap} from "@openzeppelin/contracts/utils/structs/EnumerableMap.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

/// A registry that finds a node by its place in its provider's list, and forgets no places: when
/// the provider is gone, a look at its node runs over the end of an empty list (panic 0x32), or
/// lands on another node, and then the answer is a record of zeros. It emits no events.
contract ForeignRegistry is AccessControlEnumerable {
    using EnumerableMap for EnumerableMap.AddressToUintMap;
    using EnumerableSet for EnumerableSet.AddressSet;

    struct Node {
        address provider;
        address subkey;
        string specsURI;
        uint32 computeUnits;
        uint32 benchmarkScore;
        bool isActive;
        bool isValidated;
    }

    struct Provider {
        address providerAddress;
        bool isWhitelisted;
        uint32 activeNodes;
        Node[] nodes;
    }

    bytes32 public constant PRIME_ROLE = keccak256("PRIME_ROLE");
    bytes32 public constant COMPUTE_POOL_ROLE = keccak256("COMPUTE_POOL_ROLE");

    mapping(address => Provider) private known;
    mapping(address => uint256) private unitsOf;
    /// Who first added a node key: for good, also after the node was removed.
    mapping(address => address) private firstProvider;
    mapping(address => EnumerableSet.AddressSet) private validatedOf;
    EnumerableMap.AddressToUintMap private places;
    EnumerableSet.AddressSet private list;

    function initialize(address network) external {
        require(getRoleMemberCount(DEFAULT_ADMIN_ROLE) == 0, "initialized");
        _grantRole(DEFAULT_ADMIN_ROLE, network);
        _grantRole(PRIME_ROLE, network);
    }

    function setComputePool(address pool) external onlyRole(PRIME_ROLE) {
        _grantRole(COMPUTE_POOL_ROLE, pool);
    }

    // --- providers ----------------------------------------------------------------------------

    /// Takes back a whitelisting that came before it.
    function register(address provider) external onlyRole(PRIME_ROLE) returns (bool) {
        if (!list.add(provider)) return false;
        known[provider].providerAddress = provider;
        known[provider].isWhitelisted = false;
        return true;
    }

    /// Forgets the list of nodes, and neither their places nor their units.
    function deregister(address provider) external onlyRole(PRIME_ROLE) returns (bool) {
        if (!list.remove(provider)) return false;
        delete known[provider];
        return true;
    }

    /// Of an unknown provider, too.
    function setWhitelistStatus(address provider, bool status) external onlyRole(PRIME_ROLE) {
        known[provider].isWhitelisted = status;
    }

    // --- nodes --------------------------------------------------------------------------------

    function addComputeNode(
        address provider,
        address subkey,
        uint256 computeUnits,
        string calldata specsURI
    ) external onlyRole(PRIME_ROLE) returns (uint256 place) {
        Node[] storage nodes = known[provider].nodes;
        if (firstProvider[subkey] != address(0)) {
            require(
                firstProvider[subkey] == provider,
                "ComputeRegistry: node has already registered with another provider"
            );
            (bool placed, uint256 at) = places.tryGet(subkey);
            require(
                !placed || at >= nodes.length || nodes[at].subkey != subkey,
                "ComputeRegistry: node already exists with this provider"
            );
        }
        place = nodes.length;
        nodes.push(Node(provider, subkey, specsURI, uint32(computeUnits), 0, false, false));
        places.set(subkey, place);
        firstProvider[subkey] = provider;
        unitsOf[provider] += computeUnits;
    }

    function removeComputeNode(address provider, address subkey)
        external
        onlyRole(PRIME_ROLE)
        returns (bool)
    {
        Node storage leaving = _node(provider, subkey);
        require(!leaving.isActive, "ComputeRegistry: node must be inactive to remove");
        unitsOf[provider] -= leaving.computeUnits;
        Node[] storage nodes = known[provider].nodes;
        uint256 place = places.get(subkey);
        uint256 last = nodes.length - 1;
        if (place != last) {
            nodes[place] = nodes[last];
            places.set(nodes[place].subkey, place);
        }
        nodes.pop();
        places.remove(subkey);
        return true;
    }

    function updateNodeURI(address provider, address subkey, string calldata specsURI)
        external
        onlyRole(PRIME_ROLE)
    {
        _node(provider, subkey).specsURI = specsURI;
    }

    function updateNodeBenchmark(address provider, address subkey, uint256 score)
        external
        onlyRole(PRIME_ROLE)
    {
        _node(provider, subkey).benchmarkScore = uint32(score);
    }

    function updateNodeStatus(address provider, address subkey, bool isActive)
        external
        onlyRole(COMPUTE_POOL_ROLE)
    {
        _node(provider, subkey).isActive = isActive;
        if (isActive) known[provider].activeNodes += 1;
        else known[provider].activeNodes -= 1;
    }

    function setNodeValidationStatus(address provider, address subkey, bool status)
        external
        onlyRole(PRIME_ROLE)
    {
        Node storage node = _node(provider, subkey);
        if (node.isValidated == status) return;
        node.isValidated = status;
        // A node that is removed stays in this set.
        if (status) validatedOf[provider].add(subkey);
        else validatedOf[provider].remove(subkey);
    }

    // --- views --------------------------------------------------------------------------------

    function getWhitelistStatus(address provider) external view returns (bool) {
        return known[provider].isWhitelisted;
    }

    function checkProviderExists(address provider) external view returns (bool) {
        return list.contains(provider);
    }

    function getProvider(address provider) external view returns (Provider memory) {
        return known[provider];
    }

    function getProviderAddressList() external view returns (address[] memory) {
        return list.values();
    }

    function getProviderActiveNodes(address provider) external view returns (uint32) {
        return known[provider].activeNodes;
    }

    function getProviderTotalNodes(address provider) external view returns (uint32) {
        return uint32(known[provider].nodes.length);
    }

    function getProviderTotalCompute(address provider) external view returns (uint256) {
        return unitsOf[provider];
    }

    /// Pages count from 1; page 0 of limit 0 is everything.
    function getNodes(address provider, uint256 page, uint256 limit)
        external
        view
        returns (Node[] memory found)
    {
        Node[] storage nodes = known[provider].nodes;
        if (page == 0 && limit == 0) return nodes;
        uint256 first = (page - 1) * limit;
        uint256 end = first + limit < nodes.length ? first + limit : nodes.length;
        found = new Node[](end - first);
        for (uint256 i = first; i < end; i++) found[i - first] = nodes[i];
    }

    /// With the active ones alone, the list is as long as all active nodes, and its end is zeros.
    function getProviderValidatedNodes(address provider, bool activeOnly)
        external
        view
        returns (address[] memory found)
    {
        address[] memory validated = validatedOf[provider].values();
        if (!activeOnly) return validated;
        found = new address[](known[provider].activeNodes);
        uint256 count = 0;
        for (uint256 i = 0; i < validated.length; i++) {
            if (known[provider].nodes[places.get(validated[i])].isActive) {
                found[count++] = validated[i];
            }
        }
    }

    function getNode(address subkey) external view returns (Node memory) {
        return _nodeOrZeros(firstProvider[subkey], subkey);
    }

    function getNode(address provider, address subkey) external view returns (Node memory) {
        return _nodeOrZeros(provider, subkey);
    }

    function getNodeValidationStatus(address provider, address subkey)
        external
        view
        returns (bool)
    {
        return _nodeOrZeros(provider, subkey).isValidated;
    }

    function getNodeComputeUnits(address subkey) external view returns (uint256) {
        return _nodeOrZeros(firstProvider[subkey], subkey).computeUnits;
    }

    function getNodeProvider(address subkey) external view returns (address) {
        return firstProvider[subkey];
    }

    /// Zeros for a key that nobody ever added; a revert for one that was removed.
    function getNodeContractData(address subkey)
        external
        view
        returns (address provider, uint32 computeUnits, bool isActive, bool isValidated)
    {
        if (firstProvider[subkey] != address(0)) {
            Node memory node = _nodeOrZeros(firstProvider[subkey], subkey);
            return (node.provider, node.computeUnits, node.isActive, node.isValidated);
        }
    }

    // --- inside -------------------------------------------------------------------------------

    /// Whatever stands at a key's place, if that is the key: else zeros. A key without a place
    /// reverts (0x02b56686), and a place beyond the list panics.
    function _nodeOrZeros(address provider, address subkey)
        private
        view
        returns (Node memory found)
    {
        Node storage there = known[provider].nodes[places.get(subkey)];
        if (there.subkey == subkey) found = there;
    }

    function _node(address provider, address subkey) private view returns (Node storage node) {
        node = known[provider].nodes[places.get(subkey)];
        require(node.subkey == subkey, "ComputeRegistry: node not found");
    }
}
