// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Committee} from "../src/Committee.sol";
import {CommitteeDraw} from "../src/CommitteeDraw.sol";
import {Checks} from "./Vm.sol";

contract CommitteeDrawTest is Checks {
    /// @dev Weights of 1 to 3 make every boundary between two candidates likely to be hit. The expectation is drawn
    ///      from a bag that holds one ticket per unit of weight, in order.
    function testFuzz_small_weights_follow_the_ticket_bag(uint256 shape, bytes32 seed, uint32 lane, uint64 term)
        public
        pure
    {
        uint256 count = within(shape, 1, 8);
        uint256 seats = within(shape >> 8, 1, count);
        address[] memory list = new address[](count);
        uint128[] memory weights = new uint128[](count);
        for (uint256 i; i < count; ++i) {
            list[i] = address(uint160(uint256(keccak256(abi.encode(shape, i)))));
            weights[i] = uint128(within(shape >> (16 + 8 * i), 1, 3));
        }
        address[] memory drawn = CommitteeDraw.sample(CommitteeDraw.pack(list, weights), seats, seed, lane, term);
        for (uint32 i; i < seats; ++i) {
            address[] memory bag = _bag(list, weights);
            uint256 ticket = uint256(keccak256(bytes.concat(seed, bytes4(lane), bytes8(term), bytes4(i)))) % bag.length;
            eq(drawn[i], bag[ticket], "seat");
            for (uint256 j; j < count; ++j) {
                if (list[j] == bag[ticket]) weights[j] = 0;
            }
        }
    }

    function _bag(address[] memory list, uint128[] memory weights) private pure returns (address[] memory bag) {
        uint256 size;
        for (uint256 i; i < list.length; ++i) {
            size += weights[i];
        }
        bag = new address[](size);
        uint256 next;
        for (uint256 i; i < list.length; ++i) {
            for (uint256 w; w < weights[i]; ++w) {
                bag[next++] = list[i];
            }
        }
    }

    /// @dev All 16 bytes of a weight and all 20 of an address survive packing: the heaviest candidate always wins.
    function testFuzz_packing_keeps_addresses_and_weights(address low, address high, bytes32 seed) public pure {
        address[] memory list = new address[](3);
        uint128[] memory weights = new uint128[](3);
        (list[0], list[1], list[2]) = (low, high, low);
        (weights[0], weights[1], weights[2]) = (0, type(uint128).max, 0);
        eq(CommitteeDraw.sample(CommitteeDraw.pack(list, weights), 1, seed, 0, 0)[0], high, "heaviest");
    }

    function testFuzz_sorting_keeps_the_members(address[] memory members) public pure {
        uint256 sum;
        for (uint256 i; i < members.length; ++i) {
            sum += uint160(members[i]);
        }
        CommitteeDraw.sort(members);
        for (uint256 i; i < members.length; ++i) {
            if (i > 0) yes(members[i - 1] <= members[i], "ascending");
            sum -= uint160(members[i]);
        }
        eq(sum, 0, "same members");
    }

    function testFuzz_a_committee_survives_packing(
        uint64 term,
        uint16 threshold,
        address distributor,
        address[] memory members
    ) public pure {
        bytes memory packed = Committee.pack(term, threshold, distributor, members);
        eq(Committee.term(packed), term, "term");
        eq(Committee.threshold(packed), threshold, "threshold");
        eq(Committee.distributor(packed), distributor, "distributor");
        eq(Committee.seats(packed), members.length, "seats");
        address[] memory back = Committee.members(packed);
        eq(back.length, members.length, "length");
        for (uint256 i; i < members.length; ++i) {
            eq(back[i], members[i], "member");
        }
    }
}
