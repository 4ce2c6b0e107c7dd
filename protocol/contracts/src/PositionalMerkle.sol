// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Merkle trees whose leaves have a position
/// @notice Shape, shared bit for bit with the network's nodes:
///   payout leaf = keccak256(0x00 || payee (20 bytes) || total (16 bytes, big endian)),
///   loss leaf   = keccak256(0x02 || account (20 bytes) || lossTotal (16 bytes, big endian)),
///   audit leaf  = keccak256(0x05 || payee (20 bytes) || total (16 bytes) || sum of the totals before it (16 bytes)),
///   flat leaf   = keccak256(0x06 || task id (32 bytes) || client (20 bytes) || payee (20 bytes) || amount (16 bytes)),
///   inner node  = keccak256(0x01 || left || right).
///   Leaves ascend by address and are padded on the right with bytes32(0) to the next power of two; inner nodes
///   over padding are computed like any other. One leaf: the root is the leaf. No leaf: the root is bytes32(0).
///   A proof lists the siblings from the bottom; bit i of the index is 1 when the node at height i is a right child.
///   A header's state root = keccak256(0x07 || BLAKE3 hash of the lane's state || root of the flat leaves).
/// @dev The prefixes keep the kinds of leaves and inner nodes apart, so none can be read as another. The network's nodes use
///      0x03, 0x04 and 0x08 for records, reputations and scores; 0x0a is a bonus leaf, which stands after the flat leaves of a
///      state root (see BonusPool), 0x0b and 0x0c belong to ShareTree.
library PositionalMerkle {
    /// @dev Highest tree a proof may climb, in levels; 2^40 leaves are far beyond any epoch.
    uint256 internal constant MAX_DEPTH = 40;

    /// @dev Leaf of the payout tree: everything `payee` has ever been owed, in token base units.
    function payoutLeaf(address payee, uint128 total) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x00), payee, total));
    }

    /// @dev Leaf of the loss tree: everything `account` has ever lost, in token base units.
    function lossLeaf(address account, uint128 lossTotal) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x02), account, lossTotal));
    }

    /// @dev Leaf of the audit tree: a payout leaf and the sum of all totals before it.
    function auditLeaf(address payee, uint128 total, uint128 before) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x05), payee, total, before));
    }

    /// @dev Leaf of the flat-payout tree: what `payee`'s accepted labels in a task are worth at the flat rate.
    function flatLeaf(bytes32 taskId, address client, address payee, uint128 amount) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x06), taskId, client, payee, amount));
    }

    /// @dev What a header's state root is made of.
    function stateRoot(bytes32 stateHash, bytes32 flatRoot) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x07), stateHash, flatRoot));
    }

    /// @dev Levels above the leaves of a tree with `count` leaves.
    function depthOf(uint256 count) internal pure returns (uint256) {
        return count < 2 ? 0 : Math.log2(count - 1) + 1;
    }

    /// @dev True when `leaf` stands at `index` under `root`. The zero root holds nothing.
    function verify(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof) internal pure returns (bool) {
        uint256 depth = proof.length;
        return root != bytes32(0) && depth <= MAX_DEPTH && index >> depth == 0 && climb(leaf, index, proof) == root;
    }

    /// @dev The root that a node's siblings lead to, nearest first; `index` counts the nodes of the node's own level.
    function climb(bytes32 node, uint256 index, bytes32[] calldata proof) internal pure returns (bytes32 root) {
        assembly ("memory-safe") {
            // 0x01 || left || right, above the free memory: the left half starts one byte in, the right 32 later.
            let at := mload(0x40)
            mstore8(at, 0x01)
            let left := add(at, 0x01)
            root := node
            let next := proof.offset
            // Bit 5 of the position is the bit of the index that counts: 32 when the node is the right half.
            let position := shl(5, index)
            for { let end := add(next, shl(5, proof.length)) } lt(next, end) { next := add(next, 0x20) } {
                let side := and(position, 0x20)
                mstore(add(left, side), root)
                mstore(add(left, xor(side, 0x20)), calldataload(next))
                root := keccak256(at, 0x41)
                position := shr(1, position)
            }
        }
    }

    /// @dev The root over a full row of nodes, whose number is a power of two. Overwrites the row.
    function fold(bytes32[] memory row) internal pure returns (bytes32 root) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, 0x01)
            let words := add(row, 0x20)
            for { let width := shr(1, mload(row)) } width { width := shr(1, width) } {
                let from := words
                let to := words
                for { let end := add(words, shl(5, width)) } lt(to, end) { to := add(to, 0x20) } {
                    mcopy(add(at, 0x01), from, 0x40)
                    mstore(to, keccak256(at, 0x41))
                    from := add(from, 0x40)
                }
            }
            root := mload(words)
        }
    }
}
