// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";

/// Domains: kinds of work that pools are made for. Created through the network alone.
contract DomainRegistry is AccessControlEnumerable {
    struct Domain {
        uint256 domainId;
        string name;
        address validationLogic;
        string domainParametersURI;
    }

    bytes32 public constant PRIME_ROLE = keccak256("PRIME_ROLE");

    uint256 private count;
    mapping(uint256 => Domain) private domains;

    event DomainCreated(uint256 indexed domainId, string name);

    error NoSuchDomain(uint256 domainId);

    constructor(address network) {
        _grantRole(DEFAULT_ADMIN_ROLE, msg.sender);
        _grantRole(PRIME_ROLE, network);
    }

    function create(string calldata name, address validationLogic, string calldata uri)
        external
        onlyRole(PRIME_ROLE)
        returns (uint256 domainId)
    {
        domainId = count++;
        domains[domainId] = Domain(domainId, name, validationLogic, uri);
        emit DomainCreated(domainId, name);
    }

    function get(uint256 domainId) external view returns (Domain memory) {
        if (domainId >= count) revert NoSuchDomain(domainId);
        return domains[domainId];
    }

    function exists(uint256 domainId) external view returns (bool) {
        return domainId < count;
    }
}
