// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {PositionalMerkle} from "./PositionalMerkle.sol";

/// @title Merkle trees of shares that cannot promise more than the whole
/// @notice Shape, shared bit for bit with the network's nodes:
///   share leaf = keccak256(0x0b || payee (20 bytes) || weight (16 bytes, big endian)),
///   inner node = keccak256(0x0c || left || sum of the weights under left (16 bytes) || right || sum under right (16 bytes)).
///   Leaves are padded on the right to the next power of two with the zero word and the sum zero; inner nodes over
///   padding are computed like any other. One leaf: the root is the leaf.
///   A proof lists the siblings with their sums from the bottom; bit i of the index is 1 when the node at height i is a
///   right child.
/// @dev Every inner node commits to the sums on both sides, so the path to a leaf also shows how much weight stands before
///      it, and two leaves of one tree can never claim the same part: whatever tree somebody publishes, the weights that can
///      be proven in it add up to at most its total. A leaf that carries its own running sum would need a second leaf to
///      show a lie; this shape leaves no lie to be shown.
library ShareTree {
    /// @dev What a contract keeps of a tree.
    struct Shares {
        /// Root of the tree.
        bytes32 root;
        /// Sum of all weights.
        uint128 totalWeight;
        /// Number of leaves, which fixes the depth.
        uint32 count;
    }

    /// @dev A sibling on the way to the root.
    struct Node {
        bytes32 hash;
        /// Sum of the weights under it.
        uint128 sum;
    }

    /// @dev Leaf of `payee`, who takes part with `weight`.
    function leaf(address payee, uint128 weight) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x0b), payee, weight));
    }

    /// @dev Node over two others.
    function inner(bytes32 left, uint128 leftSum, bytes32 right, uint128 rightSum) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(0x0c), left, leftSum, right, rightSum));
    }

    /// @dev True when `shares` could be a tree with something to share.
    function isUsable(Shares memory shares) internal pure returns (bool) {
        return shares.root != bytes32(0) && shares.totalWeight != 0 && shares.count != 0;
    }

    /// @dev True when `payee` stands with `weight` at `index` in `shares`.
    function holds(Shares memory shares, address payee, uint128 weight, uint256 index, Node[] calldata proof)
        internal
        pure
        returns (bool)
    {
        if (index >= shares.count || proof.length != PositionalMerkle.depthOf(shares.count)) return false;
        bytes32 node = leaf(payee, weight);
        // Wider than a weight, so that it cannot wrap. Once it exceeds 128 bits it can only grow and never equals the total.
        uint256 sum = weight;
        for (uint256 i; i < proof.length; ++i) {
            Node calldata sibling = proof[i];
            node = (index >> i) & 1 == 0
                ? inner(node, uint128(sum), sibling.hash, sibling.sum)
                : inner(sibling.hash, sibling.sum, node, uint128(sum));
            sum += sibling.sum;
        }
        return node == shares.root && sum == shares.totalWeight;
    }
}
