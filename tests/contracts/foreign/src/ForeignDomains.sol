// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

import {AccessControlEnumerable} from
    "@openzeppelin/contracts/access/extensions/AccessControlEnumerable.sol";

/// Domains that name their contract of pools; one that does not exist panics (0x32).
contract ForeignDomains is AccessControlEnumerable {
    struct Domain {
        uint256 domainId;
        string name;
        address validationLogic;
        string domainParametersURI;
        address computePool;
    }

    bytes32 public constant PRIME_ROLE = keccak256("PRIME_ROLE");

    Domain[] public domains;

    event DomainCreated(
        string domainName, uint256 domainId, address validationLogic, string domainParametersURI
    );
    event DomainUpdated(uint256 domainId, address validationLogic, string domainParametersURI);

    function initialize(address network) external {
        require(getRoleMemberCount(DEFAULT_ADMIN_ROLE) == 0, "initialized");
        _grantRole(DEFAULT_ADMIN_ROLE, network);
        _grantRole(PRIME_ROLE, network);
    }

    function create(string calldata name, address pool, address logic, string calldata uri)
        external
        onlyRole(PRIME_ROLE)
        returns (uint256 domainId)
    {
        domainId = domains.length;
        domains.push(Domain(domainId, name, logic, uri, pool));
        emit DomainCreated(name, domainId, logic, uri);
    }

    function updateValidationLogic(uint256 domainId, address logic) external onlyRole(PRIME_ROLE) {
        domains[domainId].validationLogic = logic;
        emit DomainUpdated(domainId, logic, domains[domainId].domainParametersURI);
    }

    function updateParameters(uint256 domainId, string calldata uri) external onlyRole(PRIME_ROLE) {
        domains[domainId].domainParametersURI = uri;
        emit DomainUpdated(domainId, domains[domainId].validationLogic, uri);
    }

    function get(uint256 domainId) external view returns (Domain memory) {
        return domains[domainId];
    }
}
