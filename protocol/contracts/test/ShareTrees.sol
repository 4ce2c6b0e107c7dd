// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ShareLedger} from "../src/ShareLedger.sol";
import {ShareTree} from "../src/ShareTree.sol";

/// @dev Builds whole share trees and proofs from the written definition, without the library under test.
library ShareTrees {
    function build(address[] memory payees, uint128[] memory weights)
        internal
        pure
        returns (ShareTree.Shares memory shares)
    {
        ShareTree.Node[] memory row = _row(payees, weights);
        while (row.length > 1) row = _climb(row);
        return ShareTree.Shares(row[0].hash, row[0].sum, uint32(payees.length));
    }

    /// @dev A leaf with its proof.
    function claim(address[] memory payees, uint128[] memory weights, uint256 index)
        internal
        pure
        returns (ShareLedger.Claim memory c)
    {
        ShareTree.Node[] memory row = _row(payees, weights);
        uint256 depth;
        while (uint256(1) << depth < row.length) ++depth;
        c.proof = new ShareTree.Node[](depth);
        for (uint256 i; i < depth; ++i) {
            c.proof[i] = row[(index >> i) ^ 1];
            row = _climb(row);
        }
        (c.payee, c.weight, c.index) = (payees[index], weights[index], index);
    }

    function leaf(address payee, uint128 weight) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"0b", bytes20(payee), bytes16(weight)));
    }

    function inner(ShareTree.Node memory left, ShareTree.Node memory right) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"0c", left.hash, bytes16(left.sum), right.hash, bytes16(right.sum)));
    }

    function _row(address[] memory payees, uint128[] memory weights)
        private
        pure
        returns (ShareTree.Node[] memory row)
    {
        uint256 width = 1;
        while (width < payees.length) width *= 2;
        row = new ShareTree.Node[](width);
        for (uint256 i; i < payees.length; ++i) {
            row[i] = ShareTree.Node(leaf(payees[i], weights[i]), weights[i]);
        }
    }

    function _climb(ShareTree.Node[] memory row) private pure returns (ShareTree.Node[] memory up) {
        up = new ShareTree.Node[](row.length / 2);
        for (uint256 i; i < up.length; ++i) {
            (ShareTree.Node memory left, ShareTree.Node memory right) = (row[2 * i], row[2 * i + 1]);
            up[i] = ShareTree.Node(inner(left, right), left.sum + right.sum);
        }
    }
}
