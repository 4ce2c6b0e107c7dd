// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {DevToken} from "../src/DevToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {AnchorDouble, FalseToken, ReentrantToken} from "./Doubles.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";

contract RewardDistributorTest is Checks {
    DevToken private token = new DevToken();
    AnchorDouble private anchor = new AnchorDouble();
    RewardDistributor private d = new RewardDistributor(token, address(anchor), 0, 0);
    address[] private who;

    event Claimed(address indexed payee, uint256 amount);
    event SubtreeClaimed(uint64 indexed epoch, uint256 first, uint256 count, uint256 amount);

    function setUp() public {
        for (uint256 i; i < 5; ++i) {
            who.push(address(uint160(0xA0 + i)));
        }
    }

    function _leaves(uint128[5] memory totals) private view returns (bytes32[] memory, uint256 sum) {
        uint128[] memory list = new uint128[](5);
        for (uint256 i; i < 5; ++i) {
            list[i] = totals[i];
            sum += totals[i];
        }
        return (Trees.payoutLeaves(who, list), sum);
    }

    /// @dev Delivers what the leaves sum up to beyond what is there, and activates their root.
    function _epoch(uint64 epoch, uint128[5] memory totals) private returns (bytes32[] memory leaves) {
        uint256 sum;
        (leaves, sum) = _leaves(totals);
        uint256 fresh = sum - d.totalReleased();
        token.mint(address(d), fresh);
        anchor.activate(d, epoch, Trees.root(leaves), 5, fresh, sum);
    }

    function _claim(uint64 epoch, bytes32[] memory leaves, uint256 i, uint128 total) private {
        d.claim(epoch, who[i], total, i, Trees.proof(leaves, i));
    }

    function _refused(uint64 epoch, address payee, uint128 total, uint256 index, bytes32[] memory proof) private {
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, payee, index));
        d.claim(epoch, payee, total, index, proof);
    }

    function test_anyone_claims_for_anyone_but_the_payee_is_paid() public {
        bytes32[] memory leaves = _epoch(1, [uint128(10), 20, 30, 40, 50]);
        bytes32[] memory proof = Trees.proof(leaves, 2);
        vm.expectEmit();
        emit Claimed(who[2], 30);
        vm.prank(address(0xBEEF));
        d.claim(1, who[2], 30, 2, proof);
        eq(token.balanceOf(who[2]), 30, "payee");
        eq(token.balanceOf(address(0xBEEF)), 0, "caller");
        eq(d.paid(who[2]), 30, "paid");
        eq(d.totalReleased(), 150, "released");
        eq(token.balanceOf(address(d)), 120, "the rest");
    }

    function test_a_second_claim_of_the_same_leaf_is_refused() public {
        bytes32[] memory leaves = _epoch(1, [uint128(10), 20, 30, 40, 50]);
        bytes32[] memory proof = Trees.proof(leaves, 0);
        d.claim(1, who[0], 10, 0, proof);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingDue.selector, who[0], 10));
        d.claim(1, who[0], 10, 0, proof);
    }

    function testFuzz_claims_pay_the_difference_in_any_order_of_roots(
        uint64[5] memory first,
        uint64[5] memory more,
        uint256 order
    ) public {
        uint128[5] memory a;
        uint128[5] memory b;
        for (uint256 i; i < 5; ++i) {
            a[i] = uint128(first[i] % 100_000e6) + 1;
            b[i] = a[i] + more[i] % 100_000e6;
        }
        bytes32[] memory one = _epoch(1, a);
        bytes32[] memory two = _epoch(2, b);
        for (uint256 i; i < 5; ++i) {
            bool newestFirst = (order >> i) & 1 == 1;
            if (!newestFirst) {
                _claim(1, one, i, a[i]);
                eq(token.balanceOf(who[i]), a[i], "old root");
            }
            if (newestFirst || b[i] > a[i]) _claim(2, two, i, b[i]);
            eq(token.balanceOf(who[i]), b[i], "newest root");
            bytes32[] memory proof = Trees.proof(one, i);
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingDue.selector, who[i], b[i]));
            d.claim(1, who[i], a[i], i, proof);
        }
        eq(token.balanceOf(address(d)), 0, "all paid");
    }

    function testFuzz_forged_claims_are_refused(uint256 i, uint256 j, uint128 total, address payee) public {
        bytes32[] memory leaves = _epoch(1, [uint128(10), 20, 30, 40, 50]);
        i = i % 5;
        j = j % 5;
        uint128 own = uint128(10 * (i + 1));
        bytes32[] memory proof = Trees.proof(leaves, i);
        if (total != own) _refused(1, who[i], total, i, proof);
        if (payee != who[i]) _refused(1, payee, own, i, proof);
        if (j != i) _refused(1, who[j], uint128(10 * (j + 1)), i, proof);
        // Same low bits as the true index, so only the range check can tell.
        _refused(1, who[i], own, i + 8, proof);
    }

    /// @dev The root alone does not fix how deep a leaf stands; the number of leaves that was activated with it does.
    function test_proofs_shorter_or_longer_than_the_tree_are_refused() public {
        bytes32 leaf = keccak256(bytes.concat(hex"00", bytes20(who[0]), bytes16(uint128(10))));
        token.mint(address(d), 30);
        bytes32[] memory none = new bytes32[](0);
        // One real leaf, announced as 1, 2 and 9 of them: only the announced depth may be proven.
        anchor.activate(d, 1, leaf, 2, 10, 10);
        _refused(1, who[0], 10, 0, none);
        anchor.activate(d, 2, keccak256(bytes.concat(hex"01", leaf, bytes32(0))), 9, 10, 20);
        bytes32[] memory proof = new bytes32[](1);
        _refused(2, who[0], 10, 0, proof);
        anchor.activate(d, 3, keccak256(bytes.concat(hex"01", leaf, bytes32(0))), 1, 10, 30);
        _refused(3, who[0], 10, 0, proof);
        anchor.activate(d, 4, leaf, 1, 0, 30);
        d.claim(4, who[0], 10, 0, none);
        eq(token.balanceOf(who[0]), 10, "the announced depth");
    }

    function test_a_batch_pays_each_leaf_once_and_skips_what_is_paid() public {
        bytes32[] memory leaves = _epoch(1, [uint128(10), 20, 30, 40, 50]);
        _claim(1, leaves, 1, 20);
        RewardDistributor.Claim[] memory batch = new RewardDistributor.Claim[](4);
        uint256[4] memory order = [uint256(0), 1, 4, 0];
        for (uint256 k; k < 4; ++k) {
            uint256 i = order[k];
            batch[k] = RewardDistributor.Claim(who[i], uint128(10 * (i + 1)), i, Trees.proof(leaves, i));
        }
        eq(d.claimMany(1, batch), 60, "sum");
        eq(token.balanceOf(who[0]), 10, "listed twice, paid once");
        eq(token.balanceOf(who[1]), 20, "paid before");
        eq(token.balanceOf(who[4]), 50, "fresh");
        vm.recordLogs();
        eq(d.claimMany(1, batch), 0, "again");
        eq(vm.getRecordedLogs().length, 0, "skipped leaves leave no trace");
        batch[2].total = 51;
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, who[4], 4));
        d.claimMany(1, batch);
    }

    // ---- subtrees ------------------------------------------------------------------------------------------------

    /// @dev The leaves of `count` places from `first` on, packed as `claimSubtree` takes them.
    function _packed(address[] memory payees, uint128[] memory totals, uint256 first, uint256 count)
        private
        pure
        returns (bytes memory packed)
    {
        for (uint256 i = first; i < first + count; ++i) {
            packed = i < payees.length
                ? bytes.concat(packed, bytes20(payees[i]), bytes16(totals[i]))
                : bytes.concat(packed, new bytes(36));
        }
    }

    /// @dev Siblings of the subtree of height `height` that starts at `first`.
    function _above(bytes32[] memory leaves, uint256 first, uint256 height) private pure returns (bytes32[] memory up) {
        bytes32[] memory proof = Trees.proof(leaves, first);
        up = new bytes32[](proof.length - height);
        for (uint256 i; i < up.length; ++i) {
            up[i] = proof[height + i];
        }
    }

    function _paidTree(uint64 epoch, uint256 seed, uint256 n)
        private
        returns (address[] memory payees, uint128[] memory totals, bytes32[] memory leaves, uint256 sum)
    {
        payees = new address[](n);
        totals = new uint128[](n);
        for (uint256 i; i < n; ++i) {
            payees[i] = address(uint160(uint256(keccak256(abi.encode(seed, i)))));
            totals[i] = uint128(1 + uint256(keccak256(abi.encode(seed, "total", i))) % 1e6);
            sum += totals[i];
        }
        Trees.sort(payees);
        leaves = Trees.payoutLeaves(payees, totals);
        token.mint(address(d), sum);
        anchor.activate(d, epoch, Trees.root(leaves), uint32(n), sum, sum);
    }

    /// @dev Every aligned subtree of a random tree, the partly or wholly padded last ones included; one payee was paid
    ///      before and is skipped.
    /// forge-config: default.fuzz.runs = 200
    function testFuzz_subtrees_pay_every_leaf_once(uint256 seed, uint256 size, uint256 height, uint256 early) public {
        uint256 n = within(size, 1, 40);
        (address[] memory payees, uint128[] memory totals, bytes32[] memory leaves, uint256 sum) =
            _paidTree(1, seed, n);
        uint256 depth = Trees.proof(leaves, 0).length;
        height = within(height, 0, depth);
        early = within(early, 0, n - 1);
        d.claim(1, payees[early], totals[early], early, Trees.proof(leaves, early));
        uint256 got;
        for (uint256 first; first < 1 << depth; first += 1 << height) {
            got += _claimPiece(payees, totals, leaves, first, height);
        }
        eq(got, sum - totals[early], "all but what was paid before");
        for (uint256 i; i < n; ++i) {
            eq(token.balanceOf(payees[i]), totals[i], "payee");
        }
        eq(token.balanceOf(address(d)), 0, "nothing left");
        eq(_claimPiece(payees, totals, leaves, 0, height), 0, "again");
    }

    /// @dev The 2^height leaves from `first` on.
    function _claimPiece(
        address[] memory payees,
        uint128[] memory totals,
        bytes32[] memory leaves,
        uint256 first,
        uint256 height
    ) private returns (uint256) {
        bytes memory packed = _packed(payees, totals, first, 1 << height);
        return d.claimSubtree(1, first, packed, _above(leaves, first, height));
    }

    function test_a_subtree_claim_says_what_it_paid() public {
        bytes32[] memory leaves = _epoch(1, [uint128(10), 20, 30, 40, 50]);
        bytes memory packed = bytes.concat(bytes20(who[4]), bytes16(uint128(50)), new bytes(36));
        bytes32[] memory up = _above(leaves, 4, 1);
        vm.expectEmit();
        emit SubtreeClaimed(1, 4, 2, 50);
        vm.prank(address(0xBEEF));
        eq(d.claimSubtree(1, 4, packed, up), 50, "amount");
        eq(token.balanceOf(who[4]), 50, "payee, not caller");
        eq(d.paid(who[4]), 50, "paid");
    }

    function _badSubtree(uint256 first, bytes memory packed, bytes32[] memory up) private {
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadSubtree.selector, first, packed.length));
        d.claimSubtree(1, first, packed, up);
    }

    function _refusedSubtree(uint256 first, bytes memory packed, bytes32[] memory up) private {
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, address(0), first));
        d.claimSubtree(1, first, packed, up);
    }

    function test_pieces_that_are_no_whole_subtree_are_refused() public {
        (address[] memory payees, uint128[] memory totals, bytes32[] memory leaves,) = _paidTree(1, 7, 8);
        bytes32[] memory up = _above(leaves, 0, 1);
        _badSubtree(0, "", up);
        _badSubtree(0, new bytes(35), up);
        _badSubtree(0, bytes.concat(_packed(payees, totals, 0, 2), hex"00"), up);
        _badSubtree(0, _packed(payees, totals, 0, 3), up);
        _badSubtree(1, _packed(payees, totals, 1, 2), up);
        _badSubtree(0, new bytes(36 * 2048), new bytes32[](0));
    }

    function test_subtrees_of_another_place_or_height_are_refused() public {
        (address[] memory payees, uint128[] memory totals, bytes32[] memory leaves,) = _paidTree(1, 7, 8);
        bytes memory pair = _packed(payees, totals, 2, 2);
        bytes32[] memory up = _above(leaves, 2, 1);
        _refusedSubtree(0, pair, up);
        _refusedSubtree(4, pair, up);
        // Beyond the tree, with the same low bits.
        _refusedSubtree(2 + 8, pair, up);
        // One sibling too few or too many.
        _refusedSubtree(2, pair, _above(leaves, 2, 2));
        _refusedSubtree(2, pair, Trees.proof(leaves, 2));
        // The whole subtree at the level of the root is no leaf: the depth is part of what was activated.
        _refusedSubtree(0, _packed(payees, totals, 0, 4), _above(leaves, 0, 3));
        eq(d.claimSubtree(1, 2, pair, up), totals[2] + totals[3], "the true place");
    }

    function testFuzz_a_changed_leaf_spoils_the_subtree(uint256 place, uint256 bit) public {
        (address[] memory payees, uint128[] memory totals, bytes32[] memory leaves,) = _paidTree(1, 7, 7);
        bytes memory packed = _packed(payees, totals, 4, 4);
        place = place % packed.length;
        // The last of the four is padding: a payee there counts, a total without a payee is no leaf and pays nobody.
        if (place >= 108 + 20) place = 108 + place % 20;
        packed[place] ^= bytes1(uint8(1 << (bit % 8)));
        _refusedSubtree(4, packed, _above(leaves, 4, 2));
    }

    function test_padding_with_a_total_pays_nobody() public {
        (address[] memory payees, uint128[] memory totals, bytes32[] memory leaves,) = _paidTree(1, 7, 7);
        bytes memory packed = _packed(payees, totals, 4, 4);
        packed[packed.length - 1] = 0x63;
        uint256 amount = d.claimSubtree(1, 4, packed, _above(leaves, 4, 2));
        eq(amount, uint256(totals[4]) + totals[5] + totals[6], "the three payees");
        eq(token.balanceOf(address(0)), 0, "nobody");
    }

    /// @dev A tree that names a payee twice is a fault of its signers; what the payee gets is the larger leaf, once.
    function test_a_repeated_payee_gets_the_larger_leaf_once() public {
        address[] memory payees = new address[](4);
        uint128[] memory totals = new uint128[](4);
        for (uint256 i; i < 4; ++i) {
            payees[i] = address(uint160(0xB0 + i / 2));
            totals[i] = uint128(10 * (i + 1));
        }
        bytes32[] memory leaves = Trees.payoutLeaves(payees, totals);
        token.mint(address(d), 100);
        anchor.activate(d, 1, Trees.root(leaves), 4, 100, 100);
        eq(d.claimSubtree(1, 0, _packed(payees, totals, 0, 4), new bytes32[](0)), 60, "20 and 40");
        eq(token.balanceOf(payees[0]), 20, "first");
        eq(token.balanceOf(payees[2]), 40, "second");
    }

    function test_subtrees_wait_for_their_root_too() public {
        d = new RewardDistributor(token, address(anchor), 0, 1 days);
        (address[] memory payees, uint128[] memory totals,,) = _paidTree(1, 7, 8);
        uint256 activatesAt = vm.getBlockTimestamp() + 1 days;
        bytes memory packed = _packed(payees, totals, 0, 8);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotActive.selector, activatesAt));
        d.claimSubtree(1, 0, packed, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, 2));
        d.claimSubtree(2, 0, packed, new bytes32[](0));
    }

    // ---- roots ---------------------------------------------------------------------------------------------------

    function test_sixteen_roots_stay_claimable_and_the_seventeenth_replaces_the_oldest() public {
        bytes32[] memory leaves;
        for (uint64 e = 1; e <= 16; ++e) {
            leaves = _epoch(e, [uint128(10), 20, 30, 40, 50]);
        }
        _claim(1, leaves, 0, 10);
        _epoch(17, [uint128(10), 20, 30, 40, 51]);
        bytes32[] memory proof = Trees.proof(leaves, 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, 1));
        d.claim(1, who[1], 20, 1, proof);
        _claim(2, leaves, 1, 20);
        (bytes24 root,, bool claimable) = d.roots(1);
        yes(root == 0 && !claimable, "dropped root");
        (root,, claimable) = d.roots(17);
        yes(root != 0 && claimable, "newest root");
    }

    /// @dev Epochs e and e + 16 share a slot; the generation tells them apart, also where it wraps.
    function testFuzz_epochs_that_share_a_slot_are_told_apart(uint64 epoch, uint64 rounds) public {
        epoch = uint64(within(epoch, 1, type(uint48).max));
        bytes32[] memory leaves = _epoch(epoch, [uint128(10), 20, 30, 40, 50]);
        uint64 other = epoch + 16 * uint64(within(rounds, 1, 255));
        bytes32[] memory proof = Trees.proof(leaves, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, other));
        d.claim(other, who[0], 10, 0, proof);
        (bytes24 root, uint48 activatesAt,) = d.roots(other);
        yes(root == 0 && activatesAt == 0, "unknown");
        anchor.activate(d, other, Trees.root(leaves), 5, 0, 150);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, epoch));
        d.claim(epoch, who[0], 10, 0, proof);
        d.claim(other, who[0], 10, 0, proof);
        eq(token.balanceOf(who[0]), 10, "paid on the newer root");
    }

    function testFuzz_what_is_kept_of_a_root_reads_back(bytes32 root, uint32 count, uint64 epoch, uint32 delay) public {
        d = new RewardDistributor(token, address(anchor), 0, delay);
        count = uint32(within(count, 1, type(uint32).max));
        epoch = uint64(within(epoch, 1, type(uint48).max));
        if (bytes24(root) == 0) root = bytes32(uint256(1) << 64);
        anchor.activate(d, epoch, root, count, 1, 1);
        (bytes24 kept, uint48 activatesAt, bool claimable) = d.roots(epoch);
        eq(bytes32(kept), bytes32(bytes24(root)), "192 bits");
        eq(activatesAt, vm.getBlockTimestamp() + delay, "activation");
        yes(claimable == (delay == 0), "claimable");
    }

    function test_unknown_epochs_and_the_empty_tree_pay_nothing() public {
        bytes32[] memory none = new bytes32[](0);
        for (uint64 e; e < 2; ++e) {
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, e));
            d.claim(e, who[0], 0, 0, none);
        }
        anchor.activate(d, 1, 0, 0, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, 1));
        d.claim(1, who[0], 0, 0, none);
        (,, bool claimable) = d.roots(0);
        yes(!claimable, "epoch zero");
    }

    function test_claims_wait_for_activation() public {
        d = new RewardDistributor(token, address(anchor), 0, 1 days);
        bytes32[] memory leaves = _epoch(1, [uint128(10), 20, 30, 40, 50]);
        uint256 activatesAt = vm.getBlockTimestamp() + 1 days;
        bytes32[] memory proof = Trees.proof(leaves, 0);
        vm.warp(activatesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotActive.selector, activatesAt));
        d.claim(1, who[0], 10, 0, proof);
        vm.warp(activatesAt);
        d.claim(1, who[0], 10, 0, proof);
        eq(token.balanceOf(who[0]), 10, "paid");
    }

    function test_fast_epochs_cannot_starve_claims() public {
        d = new RewardDistributor(token, address(anchor), 0, 1 days);
        uint256 activatesAt = vm.getBlockTimestamp() + 1 days;
        bytes32 root = keccak256("tree");
        anchor.activate(d, 1, root, 1, 1, 1);
        for (uint64 e = 2; e <= 15; ++e) {
            anchor.activate(d, e, root, 1, 0, 1);
        }
        vm.warp(vm.getBlockTimestamp() + 1);
        // Epoch 16 takes a free slot while epoch 1 is still pending: epoch 1 would be the oldest left.
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ActivationBacklog.selector, activatesAt));
        anchor.activate(d, 16, root, 1, 0, 1);
        vm.warp(activatesAt);
        anchor.activate(d, 16, root, 1, 0, 1);
        (, uint48 first, bool claimable) = d.roots(1);
        yes(first == activatesAt && claimable, "epoch 1 is kept and active");
    }

    // ---- revoking ------------------------------------------------------------------------------------------------

    event RootsRevoked(uint64 from, uint64 to);

    /// @dev Random epochs at random times; what is revoked is gone, what is older stays, and what is active stays too.
    function testFuzz_roots_that_wait_can_be_revoked_and_active_ones_cannot(
        uint64 first,
        uint8 count,
        uint8 back,
        uint32 wait
    ) public {
        d = new RewardDistributor(token, address(anchor), 0, 1 days);
        first = uint64(within(first, 1, type(uint32).max));
        uint64 last = first + uint64(within(count, 0, 14));
        bytes32 root = keccak256("tree");
        for (uint64 e = first; e <= last; ++e) {
            anchor.activate(d, e, root, 1, e == first ? 1 : 0, 1);
        }
        uint64 from = last - uint64(within(back, 0, last - first));
        vm.warp(vm.getBlockTimestamp() + wait % 2 days);
        bool active = wait % 2 days >= 1 days;
        if (!active) {
            vm.expectEmit();
            emit RootsRevoked(from, last);
        }
        yes(anchor.revoke(d, from, last) == !active, "revoked");
        for (uint64 e = first; e <= last; ++e) {
            (bytes24 kept,,) = d.roots(e);
            yes((kept == 0) == (!active && e >= from), "root");
        }
        eq(d.totalReleased(), 1, "the books stay");
    }

    function test_roots_that_are_not_kept_cannot_be_revoked() public {
        d = new RewardDistributor(token, address(anchor), 0, 1 days);
        bytes32 root = keccak256("tree");
        yes(!anchor.revoke(d, 1, 1), "never posted");
        anchor.activate(d, 4097, root, 1, 1, 1);
        // Epoch 1 had the same slot and the same generation 4096 epochs before.
        yes(!anchor.revoke(d, 1, 4097), "too far back");
        yes(!anchor.revoke(d, 4081, 4097), "its slot was taken");
        yes(anchor.revoke(d, 4097, 4097), "the one that waits");
        yes(!anchor.revoke(d, 4097, 4097), "only once");
    }

    /// @dev After a revocation the lane posts on, and its claims do not starve.
    function test_revoked_epochs_are_posted_again() public {
        d = new RewardDistributor(token, address(anchor), 0, 1 days);
        uint128[5] memory totals = [uint128(10), 20, 30, 40, 50];
        bytes32[] memory leaves = _epoch(1, totals);
        vm.warp(vm.getBlockTimestamp() + 1 days);
        for (uint64 e = 2; e <= 16; ++e) {
            _epoch(e, totals);
        }
        yes(anchor.revoke(d, 2, 16), "fifteen roots");
        _claim(1, leaves, 0, 10);
        uint256 activatesAt = vm.getBlockTimestamp() + 1 days;
        for (uint64 e = 2; e <= 16; ++e) {
            _epoch(e, totals);
        }
        _claim(1, leaves, 1, 20);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ActivationBacklog.selector, activatesAt));
        anchor.activate(d, 17, keccak256("tree"), 1, 0, 150);
        vm.warp(activatesAt);
        _claim(16, leaves, 2, 30);
    }

    // ---- books ---------------------------------------------------------------------------------------------------

    function test_only_the_anchor_writes_books() public {
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OnlyAnchor.selector, address(this)));
        d.activate(1, 0, 0, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OnlyAnchor.selector, address(this)));
        d.revoke(1, 1);
    }

    function testFuzz_a_tree_owes_exactly_what_was_released(uint128 first, uint128 moved, uint256 owed) public {
        bytes32 root = keccak256("tree");
        first = uint128(within(first, 1, type(uint128).max));
        anchor.activate(d, 1, root, 1, first, first);
        uint256 released = uint256(first) + moved;
        if (owed != released) {
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotConserved.selector, owed, released));
            anchor.activate(d, 2, root, 1, moved, owed);
        }
        anchor.activate(d, 2, root, 1, moved, released);
        eq(d.totalReleased(), released, "released");
    }

    function test_an_empty_tree_owes_nothing_and_only_that() public {
        bytes memory why = abi.encodeWithSelector(RewardDistributor.EmptyTree.selector, 100);
        vm.expectRevert(why);
        anchor.activate(d, 1, 0, 1, 100, 100);
        vm.expectRevert(why);
        anchor.activate(d, 1, keccak256("tree"), 0, 100, 100);
        // A root whose kept part is zero would read as empty.
        vm.expectRevert(why);
        anchor.activate(d, 1, bytes32(uint256(type(uint64).max)), 1, 100, 100);
        why = abi.encodeWithSelector(RewardDistributor.EmptyTree.selector, 0);
        vm.expectRevert(why);
        anchor.activate(d, 1, keccak256("tree"), 0, 0, 0);
        vm.expectRevert(why);
        anchor.activate(d, 1, 0, 1, 0, 0);
    }

    function test_a_tree_larger_than_its_budget_cannot_take_another_lanes_money() public {
        RewardDistributor other = new RewardDistributor(token, address(anchor), 1, 0);
        token.mint(address(other), 150);
        (bytes32[] memory leaves,) = _leaves([uint128(60), 60, 0, 0, 0]);
        token.mint(address(d), 100);
        anchor.activate(d, 1, Trees.root(leaves), 5, 100, 100);
        _claim(1, leaves, 0, 60);
        bytes32[] memory proof = Trees.proof(leaves, 1);
        (bool ok,) = address(d).call(abi.encodeCall(d.claim, (1, who[1], 60, 1, proof)));
        yes(!ok, "the lane has 40 left");
        eq(d.paid(who[1]), 0, "nothing is booked");
        eq(token.balanceOf(address(d)), 40, "still there");
        eq(token.balanceOf(address(other)), 150, "lane 1 is untouched");
    }

    function test_a_token_that_returns_false_pays_nobody_and_books_nothing() public {
        FalseToken bad = new FalseToken();
        d = new RewardDistributor(IERC20(address(bad)), address(anchor), 0, 0);
        bad.mint(address(d), 150);
        (bytes32[] memory leaves,) = _leaves([uint128(10), 20, 30, 40, 50]);
        anchor.activate(d, 1, Trees.root(leaves), 5, 150, 150);
        bytes32[] memory proof = Trees.proof(leaves, 0);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(bad)));
        d.claim(1, who[0], 10, 0, proof);
        eq(d.paid(who[0]), 0, "paid");
    }

    /// @dev During each kind of claim the token calls each kind of claim for the same payee. It finds nothing due.
    function test_a_token_that_calls_back_gains_nothing() public {
        for (uint256 outer; outer < 3; ++outer) {
            for (uint256 inner; inner < 3; ++inner) {
                _callBack(outer, inner);
            }
        }
    }

    function _callBack(uint256 outer, uint256 inner) private {
        ReentrantToken evil = new ReentrantToken();
        d = new RewardDistributor(evil, address(anchor), 0, 0);
        evil.mint(address(d), 150);
        (bytes32[] memory leaves,) = _leaves([uint128(10), 20, 30, 40, 50]);
        anchor.activate(d, 1, Trees.root(leaves), 5, 150, 150);
        bytes[3] memory calls = _claims(leaves);
        evil.armQuietly(address(d), calls[inner]);
        (bool ok,) = address(d).call(calls[outer]);
        yes(ok, "the outer claim");
        eq(evil.target(), address(0), "it called back");
        // `claim` refuses what is paid, the others skip it.
        yes(evil.succeeded() == (inner != 0), "the inner claim");
        eq(evil.balanceOf(who[0]), 10, "paid once");
        eq(d.paid(who[0]), 10, "booked once");
        eq(evil.balanceOf(address(d)), 140, "the rest is there");
    }

    /// @dev The first payee's 10, claimed in three ways.
    function _claims(bytes32[] memory leaves) private view returns (bytes[3] memory) {
        bytes32[] memory proof = Trees.proof(leaves, 0);
        RewardDistributor.Claim[] memory batch = new RewardDistributor.Claim[](1);
        batch[0] = RewardDistributor.Claim(who[0], 10, 0, proof);
        return [
            abi.encodeCall(d.claim, (1, who[0], 10, 0, proof)),
            abi.encodeCall(d.claimMany, (1, batch)),
            abi.encodeCall(d.claimSubtree, (1, 0, bytes.concat(bytes20(who[0]), bytes16(uint128(10))), proof))
        ];
    }

    function test_bad_configurations_are_refused() public {
        vm.expectRevert(RewardDistributor.BadConfiguration.selector);
        new RewardDistributor(IERC20(address(0)), address(1), 0, 0);
        vm.expectRevert(RewardDistributor.BadConfiguration.selector);
        new RewardDistributor(token, address(0), 0, 0);
    }
}
