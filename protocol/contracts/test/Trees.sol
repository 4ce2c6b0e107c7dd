// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

/// @dev Builds whole trees and proofs from the written definition, without the library under test.
library Trees {
    function payoutLeaves(address[] memory payees, uint128[] memory totals) internal pure returns (bytes32[] memory) {
        return _leaves(0x00, payees, totals);
    }

    function lossLeaves(address[] memory accounts, uint128[] memory totals) internal pure returns (bytes32[] memory) {
        return _leaves(0x02, accounts, totals);
    }

    /// @dev The payout leaves again, each with the sum of all before it.
    function auditLeaves(address[] memory payees, uint128[] memory totals)
        internal
        pure
        returns (bytes32[] memory leaves)
    {
        leaves = new bytes32[](payees.length);
        uint128 sum;
        for (uint256 i; i < payees.length; ++i) {
            leaves[i] = keccak256(bytes.concat(hex"05", bytes20(payees[i]), bytes16(totals[i]), bytes16(sum)));
            sum += totals[i];
        }
    }

    function root(bytes32[] memory leaves) internal pure returns (bytes32) {
        if (leaves.length == 0) return bytes32(0);
        bytes32[] memory row = _pad(leaves);
        while (row.length > 1) row = _climb(row);
        return row[0];
    }

    function proof(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory siblings) {
        bytes32[] memory row = _pad(leaves);
        uint256 depth;
        while (uint256(1) << depth < row.length) ++depth;
        siblings = new bytes32[](depth);
        for (uint256 i; i < depth; ++i) {
            siblings[i] = row[index ^ 1];
            row = _climb(row);
            index >>= 1;
        }
    }

    function sort(address[] memory list) internal pure {
        for (uint256 i; i < list.length; ++i) {
            for (uint256 j = i + 1; j < list.length; ++j) {
                if (list[j] < list[i]) (list[i], list[j]) = (list[j], list[i]);
            }
        }
    }

    function _leaves(bytes1 tag, address[] memory who, uint128[] memory totals)
        private
        pure
        returns (bytes32[] memory leaves)
    {
        leaves = new bytes32[](who.length);
        for (uint256 i; i < who.length; ++i) {
            leaves[i] = keccak256(bytes.concat(tag, bytes20(who[i]), bytes16(totals[i])));
        }
    }

    function _pad(bytes32[] memory leaves) private pure returns (bytes32[] memory row) {
        uint256 width = 1;
        while (width < leaves.length) width *= 2;
        row = new bytes32[](width);
        for (uint256 i; i < leaves.length; ++i) {
            row[i] = leaves[i];
        }
    }

    function _climb(bytes32[] memory row) private pure returns (bytes32[] memory up) {
        up = new bytes32[](row.length / 2);
        for (uint256 i; i < up.length; ++i) {
            up[i] = keccak256(bytes.concat(hex"01", row[2 * i], row[2 * i + 1]));
        }
    }
}
