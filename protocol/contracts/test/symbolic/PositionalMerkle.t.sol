// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {PositionalMerkle} from "../../src/PositionalMerkle.sol";

/// @dev Proofs arrive in calldata, so the library is reached through a call.
contract SymbolicMerkleFace {
    function verify(bytes32 root, bytes32 leaf, uint256 index, bytes32[] calldata proof) external pure returns (bool) {
        return PositionalMerkle.verify(root, leaf, index, proof);
    }

    function climb(bytes32 leaf, uint256 index, bytes32[] calldata proof) external pure returns (bytes32) {
        return PositionalMerkle.climb(leaf, index, proof);
    }
}

/// @notice What holds for every tree of DEPTH levels, shown by halmos for all words at once.
contract PositionalMerkleSymbolic {
    uint256 private constant DEPTH = 3;

    SymbolicMerkleFace private face = new SymbolicMerkleFace();

    function _proof(bytes32[DEPTH] memory siblings) private pure returns (bytes32[] memory proof) {
        proof = new bytes32[](DEPTH);
        for (uint256 i; i < DEPTH; ++i) {
            proof[i] = siblings[i];
        }
    }

    /// @dev The same place as a number of its own in each case, because it decides where in memory a word goes.
    function _each(uint256 place) private pure returns (uint256) {
        for (uint256 i; i < 1 << DEPTH; ++i) {
            if (place == i) return i;
        }
        return 1 << DEPTH;
    }

    /// A root binds the word at each place and all that stands beside its way up.
    function check_no_second_word_stands_at_a_place(
        uint256 place,
        bytes32 word,
        bytes32 other,
        bytes32[DEPTH] memory siblings,
        bytes32[DEPTH] memory otherSiblings
    ) public view {
        place = _each(place);
        bytes32 root = face.climb(word, place, _proof(siblings));
        if (!face.verify(root, other, place, _proof(otherSiblings))) return;
        assert(other == word);
        for (uint256 i; i < DEPTH; ++i) {
            assert(otherSiblings[i] == siblings[i]);
        }
    }

    /// A place of a payout tree owes one amount to one payee.
    function check_no_second_payout_stands_at_a_place(
        uint256 place,
        address payee,
        uint128 total,
        address otherPayee,
        uint128 otherTotal,
        bytes32[DEPTH] memory siblings,
        bytes32[DEPTH] memory otherSiblings
    ) public view {
        place = _each(place);
        bytes32 root = face.climb(PositionalMerkle.payoutLeaf(payee, total), place, _proof(siblings));
        bytes32 other = PositionalMerkle.payoutLeaf(otherPayee, otherTotal);
        if (!face.verify(root, other, place, _proof(otherSiblings))) return;
        assert(otherPayee == payee && otherTotal == total);
    }

    /// What leads to a root is accepted.
    function check_what_leads_to_a_root_is_accepted(uint256 place, bytes32 word, bytes32[DEPTH] memory siblings)
        public
        view
    {
        place = _each(place);
        if (place == 1 << DEPTH) return;
        bytes32 root = face.climb(word, place, _proof(siblings));
        assert(face.verify(root, word, place, _proof(siblings)));
    }

    /// There are no places beyond the last.
    function check_a_place_out_of_range_is_refused(
        bytes32 root,
        bytes32 word,
        uint256 place,
        bytes32[DEPTH] memory siblings
    ) public view {
        if (place < 1 << DEPTH) return;
        assert(!face.verify(root, word, place, _proof(siblings)));
    }

    /// The zero root holds nothing.
    function check_the_zero_root_holds_nothing(uint256 place, bytes32 word, bytes32[DEPTH] memory siblings) public view {
        assert(!face.verify(bytes32(0), word, place, _proof(siblings)));
    }
}
