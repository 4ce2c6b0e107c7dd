// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title Weighted draw without replacement
/// @notice The draw, shared with the network's nodes: candidates stand in registry order with their weights; for seat i
///         r = uint256(keccak256(abi.encodePacked(seed, lane, term, uint32(i)))) % remainingWeight picks the candidate
///         in whose range of the running sum r falls; a picked candidate's weight becomes zero.
/// @dev Candidates are packed as 20 bytes of address and 16 bytes of weight.
library CommitteeDraw {
    uint256 private constant CANDIDATE_BYTES = 36;

    /// @dev Packs candidates with their weights, in order.
    function pack(address[] memory accounts, uint128[] memory weights) internal pure returns (bytes memory data) {
        uint256 size = accounts.length * CANDIDATE_BYTES;
        // Room for the second word of the last entry; the length is cut back below.
        data = new bytes(size + 32);
        for (uint256 i; i < accounts.length; ++i) {
            uint256 high = (uint256(uint160(accounts[i])) << 96) | (uint256(weights[i]) >> 32);
            uint256 low = uint256(weights[i]) << 224;
            assembly ("memory-safe") {
                let at := add(add(data, 0x20), mul(i, 36))
                mstore(at, high)
                // The next entry overwrites all but the first four bytes of this word.
                mstore(add(at, 0x20), low)
            }
        }
        assembly ("memory-safe") {
            mstore(data, size)
        }
    }

    /// @dev Draws `seats` distinct candidates, in the order they were drawn. Weights must be positive and there must be
    ///      at least `seats` candidates.
    function sample(bytes memory packed, uint256 seats, bytes32 seed, uint32 lane, uint64 term)
        internal
        pure
        returns (address[] memory members)
    {
        uint256 count = packed.length / CANDIDATE_BYTES;
        uint256[] memory weights = new uint256[](count);
        uint256 remaining;
        for (uint256 i; i < count; ++i) {
            uint256 weight;
            assembly ("memory-safe") {
                // The 16 bytes of weight end 36 bytes into the entry.
                weight := and(mload(add(add(packed, 0x24), mul(i, 36))), 0xffffffffffffffffffffffffffffffff)
            }
            weights[i] = weight;
            remaining += weight;
        }
        members = new address[](seats);
        for (uint256 i; i < seats; ++i) {
            uint256 r = uint256(keccak256(abi.encodePacked(seed, lane, term, uint32(i)))) % remaining;
            uint256 pick;
            while (r >= weights[pick]) {
                r -= weights[pick];
                ++pick;
            }
            remaining -= weights[pick];
            weights[pick] = 0;
            address member;
            assembly ("memory-safe") {
                member := shr(96, mload(add(add(packed, 0x20), mul(pick, 36))))
            }
            members[i] = member;
        }
    }

    /// @dev Sorts ascending in place; committees are small, so insertion is enough.
    function sort(address[] memory list) internal pure {
        for (uint256 i = 1; i < list.length; ++i) {
            address moving = list[i];
            uint256 j = i;
            while (j > 0 && list[j - 1] > moving) {
                list[j] = list[j - 1];
                --j;
            }
            list[j] = moving;
        }
    }
}
