// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Disputes} from "../src/Disputes.sol";
import {EpochHeader} from "../src/EpochHeader.sol";
import {Registry} from "../src/Registry.sol";
import {World} from "./World.sol";

/// @dev A committee of five (keys 1 to 5) in a registry of twelve: what takes a header back that no proof is against.
contract OverruleTest is World {
    uint48 private constant DELAY = 1 days;
    uint256 private constant MEMBERS = 5;
    uint256 private constant ALL = 12;
    address private constant REPORTER = address(0x4E9);
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;

    EpochHeader[] private posted;

    event FaultProven(
        uint32 indexed lane,
        uint64 indexed epoch,
        bytes32 indexed headerHash,
        Disputes.Fault fault,
        bool rewound,
        address reporter
    );

    function setUp() public {
        _deploy(1, 21, DELAY);
        _validators(MEMBERS);
        anchor.drawCommittee(0);
        for (uint256 key = MEMBERS + 1; key <= ALL; ++key) {
            _validator(key, MIN);
        }
        vm.roll(vm.getBlockNumber() + 10);
        _epoch();
    }

    function _epoch() private {
        bytes32 task = keccak256(abi.encode(posted.length));
        _fund(address(0xC11E), task, 0, 10e6, 0);
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory h = _next(0, _one(task, address(0xC11E)));
        _post(h, _one(task, address(0xC11E)));
        posted.push(h);
    }

    /// @dev The header posted as number `from`, signed by members 1 to 4, and all after it.
    function _evidence(uint256 from) private view returns (Disputes.Evidence memory e) {
        e.chain = new EpochHeader[](posted.length - from);
        for (uint256 i; i < e.chain.length; ++i) {
            e.chain[i] = posted[from + i];
        }
        bytes32 digest = anchor.digest(posted[from]);
        for (uint256 key = 1; key <= 4; ++key) {
            e.signatures = bytes.concat(e.signatures, _sign(key, digest));
        }
        e.reporter = REPORTER;
    }

    /// @dev Keys `first` to `last`, ascending by their accounts.
    function _keys(uint256 first, uint256 last) private pure returns (uint256[] memory keys) {
        keys = new uint256[](last + 1 - first);
        for (uint256 i; i < keys.length; ++i) {
            uint256 key = first + i;
            uint256 at = i;
            for (; at != 0 && vm.addr(keys[at - 1]) > vm.addr(key); --at) {
                keys[at] = keys[at - 1];
            }
            keys[at] = key;
        }
    }

    function _votes(bytes32 digest, uint256[] memory keys) private pure returns (bytes memory votes) {
        for (uint256 i; i < keys.length; ++i) {
            votes = bytes.concat(votes, _sign(keys[i], digest));
        }
    }

    function _votes(uint256 header, uint256 first, uint256 last) private view returns (bytes memory) {
        return _votes(disputes.overruleDigest(anchor.hashHeader(posted[header])), _keys(first, last));
    }

    function _stands() private view {
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, posted.length, "nothing taken back");
        eq(token.balanceOf(DEAD), 0, "nobody slashed");
        yes(!disputes.faulty(anchor.hashHeader(posted[0])), "no fault");
    }

    function test_more_than_half_of_the_registry_takes_a_header_back() public {
        bytes32 hash = anchor.hashHeader(posted[0]);
        vm.expectEmit();
        emit FaultProven(0, 1, hash, Disputes.Fault.Overruled, true, REPORTER);
        disputes.overrule(_evidence(0), _votes(0, 6, 12));
        (uint64 epoch, bytes32 head,) = anchor.head(0);
        eq(epoch, 0, "taken back");
        eq(head, bytes32(0), "nothing before it");
        (, address[] memory members,) = anchor.committee(0);
        eq(members.length, 0, "dismissed");
        for (uint256 key = 1; key <= ALL; ++key) {
            yes(registry.banned(vm.addr(key)) == (key <= 4), "who signed is out, and nobody else");
        }
        eq(token.balanceOf(REPORTER), 4 * (MIN / 20), "half of the slash to the reporter");
        eq(token.balanceOf(DEAD), 4 * (MIN / 20), "half burned");
        // The member who had not signed was left out of the evidence and pays when its signature is shown.
        bytes memory fifth = _sign(5, anchor.digest(posted[0]));
        disputes.punish(hash, fifth, REPORTER);
        yes(registry.banned(vm.addr(5)), "the fifth");
    }

    function test_half_of_the_registry_is_not_enough() public {
        bytes memory votes = _votes(0, 7, 12);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.NoMajority.selector, 6 * MIN, ALL * MIN));
        disputes.overrule(e, votes);
        _stands();
    }

    function test_later_epochs_fall_with_the_overruled_one() public {
        _epoch();
        _epoch();
        disputes.overrule(_evidence(1), _votes(1, 5, 12));
        (uint64 epoch, bytes32 head,) = anchor.head(0);
        eq(epoch, 1, "the first stays");
        eq(head, anchor.hashHeader(posted[0]), "and is the head");
    }

    function test_weight_counts_and_is_capped() public {
        // One more validator with ten minimum stakes weighs four: 12 + 4 in all, so 4 + 4 is half and 5 + 4 is not.
        _validator(20, 10 * MIN);
        vm.roll(vm.getBlockNumber() + 1);
        _epoch();
        uint256[] memory keys = _with(_keys(9, 12), 20);
        bytes memory votes = _votes(disputes.overruleDigest(anchor.hashHeader(posted[1])), keys);
        Disputes.Evidence memory e = _evidence(1);
        vm.expectRevert(abi.encodeWithSelector(Disputes.NoMajority.selector, 8 * MIN, 16 * MIN));
        disputes.overrule(e, votes);
        keys = _with(_keys(8, 12), 20);
        disputes.overrule(e, _votes(disputes.overruleDigest(anchor.hashHeader(posted[1])), keys));
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, 1, "taken back");
    }

    /// @dev `keys` and one more, ascending by account.
    function _with(uint256[] memory keys, uint256 more) private pure returns (uint256[] memory all) {
        all = new uint256[](keys.length + 1);
        uint256 at;
        for (uint256 i; i < all.length; ++i) {
            bool take = at == keys.length || (more != 0 && vm.addr(more) < vm.addr(keys[at]));
            (all[i], more, at) = take ? (more, 0, at) : (keys[at], more, at + 1);
        }
    }

    function test_who_registers_for_the_vote_weighs_nothing_on_either_side() public {
        for (uint256 key = 30; key < 60; ++key) {
            _validator(key, 4 * MIN);
        }
        vm.roll(vm.getBlockNumber() + 1);
        bytes memory votes = _votes(0, 30, 59);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.NoMajority.selector, 0, ALL * MIN));
        disputes.overrule(e, votes);
        disputes.overrule(e, _votes(0, 6, 12));
    }

    function test_who_left_the_registry_weighs_nothing_on_either_side() public {
        for (uint256 key = 6; key <= 8; ++key) {
            vm.prank(vm.addr(key));
            registry.requestUnbond();
        }
        bytes memory votes = _votes(0, 6, 9);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.NoMajority.selector, MIN, 9 * MIN));
        disputes.overrule(e, votes);
    }

    function test_one_voter_cannot_vote_twice() public {
        uint256[] memory keys = new uint256[](7);
        for (uint256 i; i < 7; ++i) {
            keys[i] = 6;
        }
        bytes memory votes = _votes(disputes.overruleDigest(anchor.hashHeader(posted[0])), keys);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectRevert(abi.encodeWithSelector(Registry.VotersNotAscending.selector, 1));
        disputes.overrule(e, votes);
        _stands();
    }

    function test_votes_count_only_for_the_header_they_name() public {
        _epoch();
        bytes memory votes = _votes(1, 1, 12);
        Disputes.Evidence memory e = _evidence(0);
        // They recover accounts, but not those that signed; the order may fail before the weight does.
        (bool done, bytes memory why) = address(disputes).call(abi.encodeCall(Disputes.overrule, (e, votes)));
        yes(!done, "refused");
        bytes4 error_ = bytes4(why);
        yes(error_ == Disputes.NoMajority.selector || error_ == Registry.VotersNotAscending.selector, "for that reason");
        _stands();
    }

    function test_signing_a_header_is_no_vote_against_it() public {
        bytes memory votes = _votes(anchor.digest(posted[0]), _keys(1, 12));
        Disputes.Evidence memory e = _evidence(0);
        (bool done,) = address(disputes).call(abi.encodeCall(Disputes.overrule, (e, votes)));
        yes(!done, "refused");
        _stands();
    }

    function test_an_active_root_cannot_be_overruled_and_nobody_pays() public {
        vm.warp(vm.getBlockTimestamp() + DELAY - 1);
        uint256 before = vm.snapshotState();
        disputes.overrule(_evidence(0), _votes(0, 1, 12));
        vm.revertToState(before);
        vm.warp(vm.getBlockTimestamp() + 1);
        bytes memory votes = _votes(0, 1, 12);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.TooLate.selector, anchor.hashHeader(posted[0])));
        disputes.overrule(e, votes);
        _stands();
    }

    /// @dev Whoever votes: the header falls exactly when the voters weigh more than half.
    function testFuzz_a_header_falls_exactly_with_more_than_half_of_the_weight(uint16 who, uint256 stakes) public {
        uint256 all;
        uint256 given;
        uint256[] memory keys = new uint256[](0);
        for (uint256 key = 1; key <= ALL; ++key) {
            uint128 more = uint128((stakes >> (8 * key)) & 3) * MIN;
            if (more != 0) {
                address account = vm.addr(key);
                token.mint(account, more);
                vm.prank(account);
                token.approve(address(registry), more);
                vm.prank(account);
                registry.addStake(more);
            }
            all += MIN + more;
            if (who >> key & 1 == 1) {
                given += MIN + more;
                keys = _with(keys, key);
            }
        }
        bytes memory votes = _votes(disputes.overruleDigest(anchor.hashHeader(posted[0])), keys);
        Disputes.Evidence memory e = _evidence(0);
        bool falls = 2 * given > all;
        if (!falls) vm.expectRevert(abi.encodeWithSelector(Disputes.NoMajority.selector, given, all));
        disputes.overrule(e, votes);
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, falls ? 0 : 1, "head");
    }
}
