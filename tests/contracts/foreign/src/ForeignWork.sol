// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.28;

/// A domain's judge of work: a piece is 32 bytes that name it and 32 bytes of units. Within a
/// day a validator may call a piece invalid, which costs its node more than the piece.
contract ForeignWork {
    struct Piece {
        address provider;
        address nodeId;
        uint64 timestamp;
        uint256 workUnits;
    }

    address public immutable computePool;
    mapping(uint256 => mapping(bytes32 => Piece)) private pieces;
    mapping(uint256 => mapping(bytes32 => bool)) private invalid;

    event WorkSubmitted(
        uint256 poolId, address provider, address nodeId, bytes32 workKey, uint256 workUnits
    );
    event WorkInvalidated(
        uint256 poolId, address provider, address nodeId, bytes32 workKey, uint256 workUnits
    );
    event WorkRemoved(
        uint256 poolId, address provider, address nodeId, bytes32 workKey, uint256 workUnits
    );

    modifier onlyPool() {
        require(msg.sender == computePool, "Unauthorized");
        _;
    }

    constructor(address pool) {
        computePool = pool;
    }

    function submitWork(
        uint256,
        uint256 poolId,
        address provider,
        address nodeId,
        bytes calldata data
    ) external onlyPool returns (bool, uint256) {
        require(data.length >= 64, "Data too short");
        (bytes32 key, uint256 units) = abi.decode(data[:64], (bytes32, uint256));
        require(!invalid[poolId][key], "Work already invalidated");
        require(pieces[poolId][key].timestamp == 0, "Work already submitted");
        require(units > 0, "Invalid work units");
        pieces[poolId][key] = Piece(provider, nodeId, uint64(block.timestamp), units);
        emit WorkSubmitted(poolId, provider, nodeId, key, units);
        return (true, units);
    }

    function invalidateWork(uint256 poolId, bytes calldata data)
        external
        onlyPool
        returns (address, address)
    {
        require(data.length >= 32, "Data too short");
        bytes32 key = bytes32(data[:32]);
        Piece memory piece = _judge(poolId, key);
        emit WorkInvalidated(poolId, piece.provider, piece.nodeId, key, piece.workUnits);
        return (piece.provider, piece.nodeId);
    }

    function softInvalidateWork(uint256 poolId, bytes calldata data)
        external
        onlyPool
        returns (address, address, uint256)
    {
        require(data.length >= 64, "Data too short for soft invalidation");
        (bytes32 key, uint256 units) = abi.decode(data[:64], (bytes32, uint256));
        Piece memory piece = _judge(poolId, key);
        emit WorkRemoved(poolId, piece.provider, piece.nodeId, key, units);
        return (piece.provider, piece.nodeId, units);
    }

    function _judge(uint256 poolId, bytes32 key) private returns (Piece memory piece) {
        require(!invalid[poolId][key], "Work already invalidated");
        piece = pieces[poolId][key];
        require(piece.timestamp != 0, "Work not found");
        require(
            block.timestamp - piece.timestamp < 1 days, "Work invalidation window has lapsed"
        );
        invalid[poolId][key] = true;
    }
}
