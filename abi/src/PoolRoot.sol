// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// What this contract asks of a pool contract: who created a pool, and who manages it.
interface IPools {
    struct Pool {
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
        uint8 status;
    }

    function getComputePool(uint256 poolId) external view returns (Pool memory);
}

/// p2pool's own record of each pool: the root record of its log and the peers to begin with. It
/// stands here because the pool's data URI holds requirements for hardware, and other readers of
/// that text refuse all of it for one key that they do not know.
///
/// Nobody owns this contract. It serves every pool of one pool contract, and takes a pool's record
/// from that pool's creator or manager alone, as the pool contract does with the data URI.
contract PoolRoot {
    uint256 public constant RECORD_MAX_BYTES = 16384;

    IPools public immutable pools;

    mapping(uint256 => string) private records;

    event PoolRecordUpdated(uint256 indexed poolId, string record);

    error NoSuchPool(uint256 poolId);
    error NotCreatorOrManager(address caller);
    error RecordTooLong(uint256 size, uint256 most);

    constructor(IPools source) {
        pools = source;
    }

    /// Replaces the pool's record; an empty one removes it.
    function setRecord(uint256 poolId, string calldata record) external {
        IPools.Pool memory pool = pools.getComputePool(poolId);
        // A pool contract may answer zeros for a pool that is not there.
        if (pool.creator == address(0)) revert NoSuchPool(poolId);
        if (msg.sender != pool.creator && msg.sender != pool.computeManagerKey) {
            revert NotCreatorOrManager(msg.sender);
        }
        uint256 size = bytes(record).length;
        if (size > RECORD_MAX_BYTES) revert RecordTooLong(size, RECORD_MAX_BYTES);
        records[poolId] = record;
        emit PoolRecordUpdated(poolId, record);
    }

    /// The pool's record; empty if it has none.
    function getRecord(uint256 poolId) external view returns (string memory) {
        return records[poolId];
    }
}
