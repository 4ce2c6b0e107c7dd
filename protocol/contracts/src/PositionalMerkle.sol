// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @title Merkle trees whose leaves have a position
/// @notice Shape, shared bit for bit with the network's nodes:
///   payout leaf = keccak256(0x00 || payee (20 bytes) || total (16 bytes, big endian)),
///   loss leaf   = keccak256(0x02 || account (20 bytes) || lossTotal (16 bytes, big endian)),
///   inner node  = keccak256(0x01 || left || right).
///   Leaves ascend by address and are padded on the right with bytes32(0) to the next power of two; inner nodes
///   over padding are computed like any other. One leaf: the root is the leaf. No leaf: the root is bytes32(0).
///   A proof lists the siblings from the bottom; bit i of the index is 1 when the node at height i is a right child.
/// @dev The three prefixes keep leaves, loss leaves and inner nodes apart, so none can be read as another.
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

    /// @dev True when `leaf` stands at `index` under `root`. The zero root holds nothing.
    function verify(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof) internal pure returns (bool) {
        uint256 depth = proof.length;
        if (root == bytes32(0) || depth > MAX_DEPTH || index >> depth != 0) return false;
        bytes32 node = leaf;
        for (uint256 i; i < depth; ++i) {
            bytes32 sibling = proof[i];
            node = index & 1 == 0 ? _parent(node, sibling) : _parent(sibling, node);
            index >>= 1;
        }
        return node == root;
    }

    /// @dev keccak256(abi.encodePacked(uint8(0x01), left, right)), hashed above the free memory without keeping it.
    function _parent(bytes32 left, bytes32 right) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let at := mload(0x40)
            mstore8(at, 0x01)
            mstore(add(at, 0x01), left)
            mstore(add(at, 0x21), right)
            hash := keccak256(at, 0x41)
        }
    }
}
