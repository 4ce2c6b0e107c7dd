// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {DevToken} from "../src/DevToken.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {AnchorDouble, FalseToken, ReentrantToken} from "./Doubles.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";

contract RewardDistributorTest is Checks {
    DevToken private token = new DevToken();
    AnchorDouble private anchor = new AnchorDouble();
    RewardDistributor private d = new RewardDistributor(token, address(anchor), 0);
    address[] private who;

    event Claimed(uint32 indexed lane, address indexed payee, uint256 amount, uint128 total);

    function setUp() public {
        for (uint256 i; i < 5; ++i) {
            who.push(address(uint160(0xA0 + i)));
        }
    }

    function _release(uint32 lane, uint256 amount) private {
        token.mint(address(d), amount);
        anchor.note(d, lane, amount);
    }

    function _leaves(uint128[5] memory totals) private view returns (bytes32[] memory, uint256 sum) {
        uint128[] memory list = new uint128[](5);
        for (uint256 i; i < 5; ++i) {
            list[i] = totals[i];
            sum += totals[i];
        }
        return (Trees.payoutLeaves(who, list), sum);
    }

    /// @dev Releases what the leaves sum up to beyond what is there, and activates their root.
    function _epoch(uint32 lane, uint64 epoch, uint128[5] memory totals) private returns (bytes32[] memory leaves) {
        uint256 sum;
        (leaves, sum) = _leaves(totals);
        _release(lane, sum - d.laneAccount(lane).released);
        anchor.activate(d, Trees.root(leaves), sum, epoch, lane);
    }

    function _claim(uint64 epoch, bytes32[] memory leaves, uint256 i, uint128 total) private {
        d.claim(0, epoch, who[i], total, i, Trees.proof(leaves, i));
    }

    function test_anyone_claims_for_anyone_but_the_payee_is_paid() public {
        bytes32[] memory leaves = _epoch(0, 1, [uint128(10), 20, 30, 40, 50]);
        bytes32[] memory proof = Trees.proof(leaves, 2);
        vm.expectEmit();
        emit Claimed(0, who[2], 30, 30);
        vm.prank(address(0xBEEF));
        d.claim(0, 1, who[2], 30, 2, proof);
        eq(token.balanceOf(who[2]), 30, "payee");
        eq(token.balanceOf(address(0xBEEF)), 0, "caller");
        eq(d.paid(0, who[2]), 30, "paid");
        eq(d.totalClaimed(), 30, "claimed");
        eq(d.totalOwed(), 150, "owed");
        eq(d.totalReleased(), 150, "released");
    }

    function test_a_second_claim_of_the_same_leaf_is_refused() public {
        bytes32[] memory leaves = _epoch(0, 1, [uint128(10), 20, 30, 40, 50]);
        bytes32[] memory proof = Trees.proof(leaves, 0);
        d.claim(0, 1, who[0], 10, 0, proof);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NothingDue.selector, who[0], 10));
        d.claim(0, 1, who[0], 10, 0, proof);
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
        bytes32[] memory one = _epoch(0, 1, a);
        bytes32[] memory two = _epoch(0, 2, b);
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
            d.claim(0, 1, who[i], a[i], i, proof);
        }
        eq(token.balanceOf(address(d)), 0, "all paid");
        eq(d.totalClaimed(), d.totalOwed(), "books");
    }

    function testFuzz_forged_claims_are_refused(uint256 i, uint256 j, uint128 total, address payee) public {
        bytes32[] memory leaves = _epoch(0, 1, [uint128(10), 20, 30, 40, 50]);
        i = i % 5;
        j = j % 5;
        uint128 own = uint128(10 * (i + 1));
        bytes32[] memory proof = Trees.proof(leaves, i);
        if (total != own) {
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, who[i], i));
            d.claim(0, 1, who[i], total, i, proof);
        }
        if (payee != who[i]) {
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, payee, i));
            d.claim(0, 1, payee, own, i, proof);
        }
        if (j != i) {
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, who[j], i));
            d.claim(0, 1, who[j], uint128(10 * (j + 1)), i, proof);
        }
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, who[i], i + 8));
        d.claim(0, 1, who[i], own, i + 8, proof);
    }

    function test_a_batch_pays_each_leaf_once_and_skips_what_is_paid() public {
        bytes32[] memory leaves = _epoch(0, 1, [uint128(10), 20, 30, 40, 50]);
        _claim(1, leaves, 1, 20);
        RewardDistributor.Claim[] memory batch = new RewardDistributor.Claim[](4);
        uint256[4] memory order = [uint256(0), 1, 4, 0];
        for (uint256 k; k < 4; ++k) {
            uint256 i = order[k];
            batch[k] = RewardDistributor.Claim(who[i], uint128(10 * (i + 1)), i, Trees.proof(leaves, i));
        }
        eq(d.claimMany(0, 1, batch), 60, "sum");
        eq(token.balanceOf(who[0]), 10, "listed twice, paid once");
        eq(token.balanceOf(who[1]), 20, "paid before");
        eq(token.balanceOf(who[4]), 50, "fresh");
        vm.recordLogs();
        eq(d.claimMany(0, 1, batch), 0, "again");
        eq(vm.getRecordedLogs().length, 0, "skipped leaves leave no trace");
        batch[2].total = 51;
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.BadProof.selector, who[4], 4));
        d.claimMany(0, 1, batch);
    }

    function test_sixteen_roots_stay_claimable_and_the_seventeenth_replaces_the_oldest() public {
        bytes32[] memory leaves;
        for (uint64 e = 1; e <= 16; ++e) {
            leaves = _epoch(0, e, [uint128(10), 20, 30, 40, 50]);
        }
        _claim(1, leaves, 0, 10);
        _epoch(0, 17, [uint128(10), 20, 30, 40, 51]);
        bytes32[] memory proof = Trees.proof(leaves, 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, 0, 1));
        d.claim(0, 1, who[1], 20, 1, proof);
        _claim(2, leaves, 1, 20);
        (bytes32 root,, bool claimable) = d.roots(0, 1);
        yes(root == 0 && !claimable, "dropped root");
        (root,, claimable) = d.roots(0, 17);
        yes(root != 0 && claimable, "newest root");
    }

    function test_unknown_epochs_and_the_empty_tree_pay_nothing() public {
        bytes32[] memory none = new bytes32[](0);
        for (uint64 e; e < 2; ++e) {
            vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, 0, e));
            d.claim(0, e, who[0], 0, 0, none);
        }
        anchor.activate(d, 0, 0, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, 0, 1));
        d.claim(0, 1, who[0], 0, 0, none);
        (,, bool claimable) = d.roots(0, 0);
        yes(!claimable, "epoch zero");
    }

    function test_claims_wait_for_activation() public {
        d = new RewardDistributor(token, address(anchor), 1 days);
        bytes32[] memory leaves = _epoch(0, 1, [uint128(10), 20, 30, 40, 50]);
        uint64 activatesAt = uint64(vm.getBlockTimestamp() + 1 days);
        bytes32[] memory proof = Trees.proof(leaves, 0);
        vm.warp(activatesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotActive.selector, activatesAt));
        d.claim(0, 1, who[0], 10, 0, proof);
        vm.warp(activatesAt);
        d.claim(0, 1, who[0], 10, 0, proof);
        eq(token.balanceOf(who[0]), 10, "paid");
    }

    function test_fast_epochs_cannot_starve_claims() public {
        d = new RewardDistributor(token, address(anchor), 1 days);
        uint64 activatesAt = uint64(vm.getBlockTimestamp() + 1 days);
        for (uint64 e = 1; e <= 15; ++e) {
            anchor.activate(d, 0, 0, e, 0);
        }
        vm.warp(vm.getBlockTimestamp() + 1);
        // Epoch 16 takes a free slot while epoch 1 is still pending: epoch 1 would be the oldest left.
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ActivationBacklog.selector, activatesAt));
        anchor.activate(d, 0, 0, 16, 0);
        vm.warp(activatesAt);
        anchor.activate(d, 0, 0, 16, 0);
        (, uint64 first,) = d.roots(0, 1);
        eq(first, activatesAt, "epoch 1 is kept and active");
    }

    function test_only_the_anchor_writes_books() public {
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OnlyAnchor.selector, address(this)));
        d.noteReleased(0, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OnlyAnchor.selector, address(this)));
        d.activate(0, 0, 1, 0);
    }

    function testFuzz_money_that_did_not_arrive_cannot_be_booked(uint128 arrived, uint128 booked) public {
        arrived = uint128(within(arrived, 0, 1_000_000e6));
        booked = uint128(within(booked, uint256(arrived) + 1, type(uint128).max));
        token.mint(address(d), arrived);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.ReleaseNotReceived.selector, booked, arrived));
        anchor.note(d, 0, booked);
    }

    function test_roots_over_budget_shrinking_empty_or_out_of_order_are_refused() public {
        _release(0, 100);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OverBudget.selector, 101, 100));
        anchor.activate(d, bytes32(uint256(1)), 101, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.EmptyTree.selector, 100));
        anchor.activate(d, 0, 100, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.WrongEpoch.selector, 1, 2));
        anchor.activate(d, bytes32(uint256(1)), 100, 2, 0);
        anchor.activate(d, bytes32(uint256(1)), 100, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OwedShrinks.selector, 100, 99));
        anchor.activate(d, bytes32(uint256(1)), 99, 2, 0);
        // Another lane has its own budget.
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OverBudget.selector, 1, 0));
        anchor.activate(d, bytes32(uint256(1)), 1, 1, 1);
    }

    function test_a_tree_larger_than_its_budget_cannot_take_another_lanes_money() public {
        anchor.setLanes(2);
        _epoch(1, 1, [uint128(10), 20, 30, 40, 50]);
        (bytes32[] memory leaves,) = _leaves([uint128(60), 60, 0, 0, 0]);
        _release(0, 100);
        anchor.activate(d, Trees.root(leaves), 100, 1, 0);
        _claim(1, leaves, 0, 60);
        bytes32[] memory proof = Trees.proof(leaves, 1);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.LaneExhausted.selector, 0, 60, 40));
        d.claim(0, 1, who[1], 60, 1, proof);
        eq(token.balanceOf(address(d)), 190, "lane 1 is untouched");
        eq(d.totalReleased(), 250, "sum over lanes");
        eq(d.totalOwed(), 250, "sum over lanes");
    }

    function test_lanes_pay_independently() public {
        anchor.setLanes(2);
        bytes32[] memory one = _epoch(0, 1, [uint128(10), 20, 30, 40, 50]);
        bytes32[] memory two = _epoch(1, 1, [uint128(10), 20, 30, 40, 50]);
        d.claim(0, 1, who[0], 10, 0, Trees.proof(one, 0));
        d.claim(1, 1, who[0], 10, 0, Trees.proof(two, 0));
        eq(token.balanceOf(who[0]), 20, "one leaf per lane");
    }

    function test_a_token_that_returns_false_pays_nobody_and_books_nothing() public {
        FalseToken bad = new FalseToken();
        d = new RewardDistributor(IERC20(address(bad)), address(anchor), 0);
        bad.mint(address(d), 150);
        anchor.note(d, 0, 150);
        (bytes32[] memory leaves,) = _leaves([uint128(10), 20, 30, 40, 50]);
        anchor.activate(d, Trees.root(leaves), 150, 1, 0);
        bytes32[] memory proof = Trees.proof(leaves, 0);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(bad)));
        d.claim(0, 1, who[0], 10, 0, proof);
        eq(d.paid(0, who[0]), 0, "paid");
    }

    function test_a_token_cannot_reenter() public {
        ReentrantToken evil = new ReentrantToken();
        d = new RewardDistributor(evil, address(anchor), 0);
        evil.mint(address(d), 150);
        anchor.note(d, 0, 150);
        (bytes32[] memory leaves,) = _leaves([uint128(10), 20, 30, 40, 50]);
        anchor.activate(d, Trees.root(leaves), 150, 1, 0);
        bytes32[] memory proof = Trees.proof(leaves, 0);
        evil.arm(address(d), abi.encodeCall(d.claim, (0, 1, who[0], 10, 0, proof)));
        vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        d.claim(0, 1, who[0], 10, 0, proof);
        RewardDistributor.Claim[] memory batch = new RewardDistributor.Claim[](1);
        batch[0] = RewardDistributor.Claim(who[0], 10, 0, proof);
        vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        d.claimMany(0, 1, batch);
    }

    function test_bad_configurations_are_refused() public {
        vm.expectRevert(RewardDistributor.BadConfiguration.selector);
        new RewardDistributor(IERC20(address(0)), address(1), 0);
        vm.expectRevert(RewardDistributor.BadConfiguration.selector);
        new RewardDistributor(token, address(0), 0);
    }
}
