// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Memory} from "@openzeppelin/contracts/utils/Memory.sol";
import {RLP} from "@openzeppelin/contracts/utils/RLP.sol";

import {IBeacon} from "./IBeacon.sol";

/// @title The chain's own randomness, read at a block fixed in advance
/// @notice A reference is a block number. Its value is that block's prevrandao (EIP-4399), proven by the block's
///         header. Anyone may record it while the chain still knows the block's hash (256 blocks).
/// @dev A proposer can skip its slot and so choose between two values; DELAY keeps the block away from the request,
///      it does not remove that choice.
contract PrevrandaoBeacon is IBeacon {
    using Memory for bytes;
    using Memory for Memory.Slice;
    using RLP for Memory.Slice;

    /// @notice Blocks between a request and the block whose value answers it.
    uint64 public immutable DELAY;

    /// @dev Positions in the header list (yellow paper order; stable since the first block).
    uint256 private constant NUMBER_FIELD = 8;
    uint256 private constant MIX_HASH_FIELD = 13;
    /// @dev Bytes of an encoded 32-byte string: one length prefix and the string.
    uint256 private constant ENCODED_WORD = 33;

    mapping(uint64 blockNumber => bytes32) private _values;

    /// @notice The value of block `blockNumber` was recorded.
    event Recorded(uint64 indexed blockNumber, bytes32 value);

    /// @notice A delay of zero would answer with a value the requester may know.
    error ZeroDelay();
    /// @notice The value of this block is recorded already.
    error AlreadyRecorded(uint64 blockNumber);
    /// @notice The chain does not know this block's hash: it is not mined yet or more than 256 blocks old.
    error BlockOutOfWindow(uint64 blockNumber);
    /// @notice The header given is not the header of this block.
    error WrongHeader(uint64 blockNumber);
    /// @notice The header is not a list with a block number and a 32-byte mix hash.
    error MalformedHeader();
    /// @notice The mix hash is 0 or 1: this chain does not publish randomness there.
    error NoRandomness(uint64 blockNumber);

    /// @param delay blocks between a request and the block that answers it, at least 1
    constructor(uint64 delay) {
        if (delay == 0) revert ZeroDelay();
        DELAY = delay;
    }

    /// @notice Records the value of a recent block.
    /// @param blockNumber one of the last 256 blocks
    /// @param rlpHeader the block's header in RLP, as hashed by the chain
    function record(uint64 blockNumber, bytes calldata rlpHeader) external {
        if (_values[blockNumber] != bytes32(0)) revert AlreadyRecorded(blockNumber);
        bytes32 expected = blockhash(blockNumber);
        if (expected == bytes32(0)) revert BlockOutOfWindow(blockNumber);
        if (keccak256(rlpHeader) != expected) revert WrongHeader(blockNumber);

        bytes32 value = _mixHash(rlpHeader, blockNumber);
        if (uint256(value) <= 1) revert NoRandomness(blockNumber);
        _values[blockNumber] = value;
        emit Recorded(blockNumber, value);
    }

    /// @inheritdoc IBeacon
    function valueAt(uint64 ref) external view returns (bytes32 value, bool ready) {
        value = _values[ref];
        ready = value != bytes32(0);
    }

    /// @inheritdoc IBeacon
    function refAfter(uint64 blockNumber) external view returns (uint64 ref) {
        return blockNumber + DELAY;
    }

    /// @dev The decoder refuses wrong lengths and trailing bytes; field shapes are checked here.
    function _mixHash(bytes memory header, uint64 blockNumber) private pure returns (bytes32) {
        Memory.Slice[] memory fields = header.asSlice().readList();
        if (fields.length <= MIX_HASH_FIELD) revert MalformedHeader();
        Memory.Slice mixHash = fields[MIX_HASH_FIELD];
        if (mixHash.length() != ENCODED_WORD) revert MalformedHeader();
        if (fields[NUMBER_FIELD].readUint256() != blockNumber) revert MalformedHeader();
        return mixHash.readBytes32();
    }
}
