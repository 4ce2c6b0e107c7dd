// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ShareLedger} from "../src/ShareLedger.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {ShareTrees} from "./ShareTrees.sol";
import {Checks} from "./Vm.sol";

/// @dev Gives the library calldata.
contract ShareTreeCalls {
    function holds(ShareTree.Shares memory shares, ShareLedger.Claim calldata c) external pure returns (bool) {
        return ShareTree.holds(shares, c.payee, c.weight, c.index, c.proof);
    }
}

contract ShareTreeTest is Checks {
    ShareTreeCalls private calls;

    function setUp() public {
        calls = new ShareTreeCalls();
    }

    /// @dev Values computed outside Solidity.
    function test_the_tree_is_the_one_of_the_vectors() public view {
        address[] memory payees = new address[](3);
        uint128[] memory weights = new uint128[](3);
        (payees[0], weights[0]) = (address(bytes20(hex"1111111111111111111111111111111111111111")), 1);
        (payees[1], weights[1]) = (address(bytes20(hex"2222222222222222222222222222222222222222")), 1_000_000);
        (payees[2], weights[2]) = (address(bytes20(hex"3333333333333333333333333333333333333333")), 7);
        eq(
            ShareTree.leaf(payees[1], weights[1]),
            hex"cd4b57e819fd11f4ced1b1f6f760d9222c3fe60b92499e1d190abd9cb67dc78b",
            "leaf"
        );
        ShareTree.Shares memory shares = ShareTrees.build(payees, weights);
        eq(shares.root, hex"a2130943edb847ff3fdb40e12029c4c5d895f8b77004b16f26815f282413fd2a", "root");
        eq(shares.totalWeight, 1_000_008, "total weight");
        for (uint256 i; i < 3; ++i) {
            yes(calls.holds(shares, ShareTrees.claim(payees, weights, i)), "holds");
        }
    }

    function testFuzz_every_leaf_proves_itself_and_only_at_its_place(uint256 seed, uint256 count, uint256 pick)
        public
        view
    {
        count = within(count, 1, 40);
        pick = within(pick, 0, count - 1);
        (address[] memory payees, uint128[] memory weights) = _random(seed, count);
        ShareTree.Shares memory shares = ShareTrees.build(payees, weights);
        ShareLedger.Claim memory c = ShareTrees.claim(payees, weights, pick);
        yes(calls.holds(shares, c), "the leaf is in the tree");
        c.weight += 1;
        yes(!calls.holds(shares, c), "with another weight it is not");
        c.weight -= 1;
        c.payee = address(uint160(c.payee) ^ 1);
        yes(!calls.holds(shares, c), "for another payee it is not");
        c.payee = payees[pick];
        for (uint256 i; i < 64; ++i) {
            c.index = i;
            if (i != pick) yes(!calls.holds(shares, c), "at another place it is not");
        }
        c.index = pick;
        shares.totalWeight += 1;
        yes(!calls.holds(shares, c), "of another total it is not");
        shares.totalWeight -= 1;
        ShareTree.Node[] memory proof = c.proof;
        c.proof = new ShareTree.Node[](proof.length + 1);
        for (uint256 i; i < proof.length; ++i) {
            c.proof[i] = proof[i];
        }
        yes(!calls.holds(shares, c), "with a longer proof it is not");
        if (proof.length == 0) return;
        c.proof = proof;
        uint256 level = seed % proof.length;
        proof[level].sum ^= 1;
        yes(!calls.holds(shares, c), "with another sum beside it, it is not");
    }

    /// @dev Two wrong sums that cancel, one of them more than 128 bits wide on the way: the path must not wrap around.
    function test_sums_that_wrap_around_prove_nothing() public view {
        ShareTree.Node memory a = ShareTree.Node(ShareTrees.leaf(address(1), type(uint128).max), type(uint128).max);
        ShareTree.Node memory b = ShareTree.Node(ShareTrees.leaf(address(2), 11), 11);
        ShareTree.Shares memory shares = ShareTree.Shares(ShareTrees.inner(a, b), 10, 2);
        ShareLedger.Claim memory c = ShareLedger.Claim(address(1), type(uint128).max, 0, new ShareTree.Node[](1));
        c.proof[0] = b;
        yes(!calls.holds(shares, c), "left");
        c = ShareLedger.Claim(address(2), 11, 1, new ShareTree.Node[](1));
        c.proof[0] = a;
        yes(!calls.holds(shares, c), "right");
    }

    /// @dev Whoever builds a tree may write any sum anywhere. Whatever it does, what can be proven fits into the total.
    function testFuzz_no_tree_holds_more_than_its_total(uint256 seed, uint8[4] memory given, uint8[6] memory told, uint8 top)
        public
        view
    {
        // Small numbers and few lies, so that many leaves of a lying tree still verify; every third tree is honest.
        seed = seed % 3 == 0 ? 0 : seed & uint256(keccak256(abi.encode(seed)));
        ShareTree.Node[4] memory leaves;
        for (uint256 i; i < 4; ++i) {
            uint128 weight = given[i] % 4;
            leaves[i] = ShareTree.Node(ShareTrees.leaf(address(uint160(i)), weight), _lie(seed, i, weight, told[i]));
        }
        ShareTree.Node memory left =
            ShareTree.Node(ShareTrees.inner(leaves[0], leaves[1]), _lie(seed, 4, leaves[0].sum + leaves[1].sum, told[4]));
        ShareTree.Node memory right =
            ShareTree.Node(ShareTrees.inner(leaves[2], leaves[3]), _lie(seed, 5, leaves[2].sum + leaves[3].sum, told[5]));
        ShareTree.Shares memory shares =
            ShareTree.Shares(ShareTrees.inner(left, right), _lie(seed, 6, left.sum + right.sum, top), 4);
        uint256 proven;
        for (uint256 i; i < 4; ++i) {
            ShareTree.Node[] memory proof = new ShareTree.Node[](2);
            (proof[0], proof[1]) = (leaves[i ^ 1], i < 2 ? right : left);
            // The prover may also tell other sums than the tree was built with, but they must be those in the hashes.
            ShareLedger.Claim memory c = ShareLedger.Claim(address(uint160(i)), given[i] % 4, i, proof);
            if (calls.holds(shares, c)) proven += c.weight;
        }
        yes(proven <= shares.totalWeight, "what is proven fits into the total");
        if (seed == 0) eq(proven, shares.totalWeight, "a tree without lies holds exactly its total");
    }

    function _lie(uint256 seed, uint256 bit, uint128 truth, uint8 told) private pure returns (uint128) {
        return (seed >> bit) & 1 == 0 ? truth : told % 8;
    }

    function _random(uint256 seed, uint256 count)
        private
        pure
        returns (address[] memory payees, uint128[] memory weights)
    {
        payees = new address[](count);
        weights = new uint128[](count);
        for (uint256 i; i < count; ++i) {
            uint256 word = uint256(keccak256(abi.encode(seed, i)));
            payees[i] = address(uint160(word));
            weights[i] = uint128(word >> 160);
        }
    }
}
