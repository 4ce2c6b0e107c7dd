// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {PositionalMerkle} from "../src/PositionalMerkle.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";

/// @dev Proofs arrive in calldata, so the library is reached through a call.
contract MerkleFace {
    function verify(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof) external pure returns (bool) {
        return PositionalMerkle.verify(root, leaf, index, proof);
    }
}

contract PositionalMerkleTest is Checks {
    MerkleFace private face = new MerkleFace();

    function _fixed() private pure returns (address[] memory who, uint128[] memory totals) {
        who = new address[](3);
        totals = new uint128[](3);
        (who[0], totals[0]) = (address(0x1111111111111111111111111111111111111111), 1);
        (who[1], totals[1]) = (address(0x2222222222222222222222222222222222222222), 1_000_000);
        (who[2], totals[2]) = (address(0x3333333333333333333333333333333333333333), type(uint128).max);
    }

    /// @dev The constants were computed from the written definition by another program.
    function test_published_vectors_hold() public view {
        (address[] memory who, uint128[] memory totals) = _fixed();
        bytes32 payoutRoot = 0x0ed10b4f99dbf8a5fbf038e75ef4d258ba5af72798eb4c6f880f0c56775d6d3d;
        bytes32 lossRoot = 0x6a41c015160f79852ee0441d53e631373a9373d35dcbf7bcf359636ad3353910;
        eq(
            PositionalMerkle.payoutLeaf(who[1], totals[1]),
            bytes32(0xeae51110d20fab11581e88a98ed33ce0a7090bc46a3107e56599e885dde113bf),
            "payout leaf"
        );
        eq(
            PositionalMerkle.lossLeaf(who[1], totals[1]),
            bytes32(0x4a0118de1c5074e12235b0cb8469b86b436a67d9f411e43e635c12ac19d95a3c),
            "loss leaf"
        );
        bytes32[] memory payouts = Trees.payoutLeaves(who, totals);
        bytes32[] memory losses = Trees.lossLeaves(who, totals);
        eq(Trees.root(payouts), payoutRoot, "payout root");
        eq(Trees.root(losses), lossRoot, "loss root");
        for (uint256 i; i < 3; ++i) {
            yes(face.verify(payoutRoot, payouts[i], i, Trees.proof(payouts, i)), "payout proof");
            yes(face.verify(lossRoot, losses[i], i, Trees.proof(losses, i)), "loss proof");
        }
    }

    /// @dev Computed from the written definition by another program too; the third total makes the sum 2^128 - 1.
    function test_published_audit_vectors_hold() public pure {
        (address[] memory who, uint128[] memory totals) = _fixed();
        totals[2] -= 1_000_001;
        eq(
            PositionalMerkle.auditLeaf(who[1], totals[1], 1),
            bytes32(0xf3fef3607e66f12b16737009270d0324726084c28fa25e632ba67822c9526b1e),
            "audit leaf"
        );
        eq(
            Trees.root(Trees.auditLeaves(who, totals)),
            bytes32(0x84a64e797286b2e463d6cfc9444bc27a772fd582f9622347f382985b8d071907),
            "audit root"
        );
    }

    function test_published_state_vectors_hold() public pure {
        address client = address(bytes20(hex"6666666666666666666666666666666666666666"));
        address payee = address(bytes20(hex"2222222222222222222222222222222222222222"));
        eq(
            PositionalMerkle.flatLeaf(bytes32(uint256(0x55) * (type(uint256).max / 255)), client, payee, 1_000_000),
            bytes32(0x4422728a19490b21540866bee09e4726724d797096c7eb722117c9b19d9b5b5c),
            "flat leaf"
        );
        eq(
            PositionalMerkle.stateRoot(
                bytes32(uint256(0x77) * (type(uint256).max / 255)), bytes32(uint256(0x88) * (type(uint256).max / 255))
            ),
            bytes32(0x4d007ecb71bbee84e5ca3e234862cdb677c2c4e40e3d1af9603b23bbbc6789e7),
            "state root"
        );
    }

    function testFuzz_folding_a_full_row_gives_the_root(uint256 seed, uint256 depth) public pure {
        bytes32[] memory row = new bytes32[](1 << (depth % 9));
        for (uint256 i; i < row.length; ++i) {
            row[i] = keccak256(abi.encode(seed, i));
        }
        bytes32 expected = Trees.root(row);
        eq(PositionalMerkle.fold(row), expected, "root");
    }

    function testFuzz_the_depth_is_the_smallest_that_holds_the_leaves(uint256 count) public pure {
        count = within(count, 1, type(uint32).max);
        uint256 depth = PositionalMerkle.depthOf(count);
        yes(count <= uint256(1) << depth, "large enough");
        yes(depth == 0 || count > uint256(1) << (depth - 1), "and no larger");
        eq(PositionalMerkle.depthOf(0), 0, "empty");
    }

    function _tree(uint256 seed, uint256 count) private pure returns (bytes32[] memory leaves) {
        address[] memory who = new address[](count);
        uint128[] memory totals = new uint128[](count);
        for (uint256 i; i < count; ++i) {
            who[i] = address(uint160(uint256(keccak256(abi.encode(seed, i)))));
            totals[i] = uint128(uint256(keccak256(abi.encode(seed, i, "total"))));
        }
        Trees.sort(who);
        return Trees.payoutLeaves(who, totals);
    }

    function testFuzz_every_leaf_stands_only_at_its_index(uint256 seed, uint256 size, uint256 pick, uint256 other)
        public
        view
    {
        bytes32[] memory leaves = _tree(seed, within(size, 1, 33));
        uint256 index = within(pick, 0, leaves.length - 1);
        bytes32[] memory proof = Trees.proof(leaves, index);
        bytes32 root = Trees.root(leaves);
        yes(face.verify(root, leaves[index], index, proof), "own index");
        uint256 wrong = other % ((uint256(1) << proof.length) + 3);
        if (wrong != index) yes(!face.verify(root, leaves[index], wrong, proof), "other index");
    }

    function testFuzz_an_index_beyond_the_tree_is_refused(uint256 seed, uint256 size, uint256 high) public view {
        bytes32[] memory leaves = _tree(seed, within(size, 1, 33));
        bytes32[] memory proof = Trees.proof(leaves, 0);
        // Same low bits as the true index, so only the range check can tell.
        uint256 index = within(high, 1, type(uint256).max >> (proof.length + 1)) << proof.length;
        yes(!face.verify(Trees.root(leaves), leaves[0], index, proof), "aliased index");
    }

    function testFuzz_a_changed_proof_or_leaf_is_refused(uint256 seed, uint256 size, uint256 pick, uint256 bit)
        public
        view
    {
        bytes32[] memory leaves = _tree(seed, within(size, 2, 33));
        uint256 index = within(pick, 0, leaves.length - 1);
        bytes32[] memory proof = Trees.proof(leaves, index);
        bytes32 root = Trees.root(leaves);
        bytes32 flip = bytes32(uint256(1) << (bit % 256));
        yes(!face.verify(root, leaves[index] ^ flip, index, proof), "leaf");
        proof[bit % proof.length] ^= flip;
        yes(!face.verify(root, leaves[index], index, proof), "sibling");
    }

    function testFuzz_an_inner_node_is_no_leaf(uint256 seed, uint256 size) public view {
        bytes32[] memory leaves = _tree(seed, within(size, 2, 33));
        bytes32[] memory proof = Trees.proof(leaves, 0);
        bytes32 inner = keccak256(bytes.concat(hex"01", leaves[0], leaves[1]));
        bytes32[] memory shorter = new bytes32[](proof.length - 1);
        for (uint256 i; i < shorter.length; ++i) {
            shorter[i] = proof[i + 1];
        }
        // As a hash it stands in the tree, but no (payee, total) hashes to it: the first byte and the length differ.
        yes(face.verify(Trees.root(leaves), inner, 0, shorter), "inner node");
        bytes memory preimage = bytes.concat(leaves[0], leaves[1]);
        address payee = address(bytes20(preimage));
        uint128 total = uint128(uint256(leaves[1]));
        yes(PositionalMerkle.payoutLeaf(payee, total) != inner, "payout reading");
        yes(PositionalMerkle.lossLeaf(payee, total) != inner, "loss reading");
    }

    function testFuzz_kinds_of_leaves_never_mix(address who, uint128 total) public pure {
        yes(PositionalMerkle.payoutLeaf(who, total) != PositionalMerkle.lossLeaf(who, total), "same leaf");
        yes(PositionalMerkle.auditLeaf(who, total, 0) != PositionalMerkle.payoutLeaf(who, total), "audit leaf");
    }

    function test_the_zero_root_holds_nothing() public view {
        yes(!face.verify(bytes32(0), bytes32(0), 0, new bytes32[](0)), "zero leaf under zero root");
    }

    function test_one_leaf_is_its_own_root() public view {
        bytes32 leaf = PositionalMerkle.payoutLeaf(address(7), 7);
        yes(face.verify(leaf, leaf, 0, new bytes32[](0)), "single");
        yes(!face.verify(leaf, leaf, 1, new bytes32[](0)), "index 1 of one leaf");
    }

    function test_proofs_deeper_than_the_limit_are_refused() public view {
        for (uint256 depth = 40; depth <= 41; ++depth) {
            bytes32 node = PositionalMerkle.payoutLeaf(address(7), 7);
            bytes32[] memory proof = new bytes32[](depth);
            bytes32 root = node;
            for (uint256 i; i < depth; ++i) {
                root = keccak256(bytes.concat(hex"01", root, bytes32(0)));
            }
            yes(face.verify(root, node, 0, proof) == (depth <= 40), "depth limit");
        }
    }
}
