// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {BonusPool, IAnchorLanes} from "../src/BonusPool.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {PositionalMerkle} from "../src/PositionalMerkle.sol";
import {ShareLedger} from "../src/ShareLedger.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {LaneDouble, StrangeToken} from "./AssetDoubles.sol";
import {ShareTrees} from "./ShareTrees.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";
import {World} from "./World.sol";

/// @dev Builds state roots from the written definition.
library Bonuses {
    function leaf(bytes32 taskId, address client, bool scored, ShareTree.Shares memory s)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            bytes.concat(
                hex"0a",
                taskId,
                bytes20(client),
                scored ? bytes1(0x01) : bytes1(0x00),
                s.root,
                bytes16(s.totalWeight),
                bytes4(s.count)
            )
        );
    }

    function stateRoot(bytes32 state, bytes32 flatRoot) internal pure returns (bytes32) {
        return keccak256(bytes.concat(hex"07", state, flatRoot));
    }
}

contract BonusPoolTest is Checks {
    address private constant CLIENT = address(0xC11E);
    bytes32 private constant TASK = keccak256("task");
    uint32 private constant LANE = 3;

    LaneDouble private lane;
    BonusPool private pool;
    StrangeToken private partner;
    StrangeToken private other;
    address[] private payees;
    uint128[] private weights;

    function setUp() public {
        delete payees;
        delete weights;
        lane = new LaneDouble();
        pool = new BonusPool(IAnchorLanes(address(lane)), TaskEscrow(address(lane)));
        partner = new StrangeToken();
        other = new StrangeToken();
        partner.mint(CLIENT, 1e30);
        other.mint(CLIENT, 1e30);
        for (uint160 i = 1; i <= 3; ++i) {
            payees.push(address(0xA0 + i));
            weights.push(uint128(i));
        }
        _settled(false);
    }

    function _settled(bool on) private {
        lane.setEscrow(TASK, CLIENT, 100, LANE, on);
    }

    function _lock(StrangeToken token, uint256 amount) private returns (uint256) {
        vm.prank(CLIENT);
        return pool.lock(TASK, IERC20(address(token)), amount);
    }

    /// @dev A split of the bonus by `payees` and `weights`, its leaf the second of three, and the header that holds it.
    function _split(bool scored) private view returns (BonusPool.Split memory s, EpochHeader memory h) {
        s.state = keccak256("state");
        s.scored = scored;
        s.shares = ShareTrees.build(payees, weights);
        s.index = 1;
        return _wrap(s);
    }

    function _wrap(BonusPool.Split memory s) private pure returns (BonusPool.Split memory, EpochHeader memory h) {
        bytes32[] memory leaves = new bytes32[](3);
        // What pays the main reward of an open task stands in the same tree.
        leaves[0] = PositionalMerkle.flatLeaf(TASK, CLIENT, address(0xA1), 7);
        leaves[2] = keccak256("after");
        leaves[1] = Bonuses.leaf(TASK, CLIENT, s.scored, s.shares);
        s.proof = Trees.proof(leaves, 1);
        h.lane = LANE;
        h.epoch = 7;
        h.stateRoot = Bonuses.stateRoot(s.state, Trees.root(leaves));
        return (s, h);
    }

    function _chain(EpochHeader memory h) private pure returns (EpochHeader[] memory list) {
        list = new EpochHeader[](1);
        list[0] = h;
    }

    function _anchored(EpochHeader memory h) private returns (EpochHeader[] memory) {
        lane.setHead(lane.hashOf(h), true);
        lane.setClaimable(h.epoch, true);
        return _chain(h);
    }

    /// @dev The escrow opens the task for fallback by `h`, which can be closed after `window` seconds.
    function _fallBack(EpochHeader memory h, uint256 window) private {
        lane.setFallback(TASK, CLIENT, lane.hashOf(h), uint64(vm.getBlockTimestamp() + window));
    }

    function _record() private {
        _settled(true);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(true);
        pool.recordSplit(TASK, CLIENT, _anchored(h), s);
    }

    function _leaf(uint256 i) private view returns (ShareLedger.Claim memory) {
        return ShareTrees.claim(payees, weights, i);
    }

    function _claim(StrangeToken token, uint256 i) private returns (uint256) {
        return pool.claim(TASK, CLIENT, address(token), _leaf(i));
    }

    function _all() private view returns (ShareLedger.Claim[] memory list) {
        list = new ShareLedger.Claim[](payees.length);
        for (uint256 i; i < list.length; ++i) {
            list[i] = _leaf(i);
        }
    }

    /// @dev A plain transfer to the till.
    function _send(uint256 amount) private {
        address till = pool.till(TASK, CLIENT);
        vm.prank(CLIENT);
        partner.transfer(till, amount);
    }

    function _later(uint256 time) private {
        vm.warp(vm.getBlockTimestamp() + time);
    }

    /// @dev Values computed outside Solidity, and by the nodes' code.
    function test_leaf_and_state_root_are_those_of_the_vectors() public {
        bytes32 task = hex"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        address client = 0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC;
        ShareTree.Shares memory shares = ShareTree.Shares(hex"a2130943edb847ff3fdb40e12029c4c5d895f8b77004b16f26815f282413fd2a", 1_000_008, 3);
        bytes32[] memory leaves = new bytes32[](3);
        leaves[0] = PositionalMerkle.flatLeaf(
            hex"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
            client,
            address(bytes20(hex"2222222222222222222222222222222222222222")),
            1_000_000
        );
        leaves[1] = Bonuses.leaf(task, client, true, shares);
        leaves[2] =
            Bonuses.leaf(hex"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", client, false, shares);
        eq(leaves[1], hex"da63229460a21a323d9275fc1a16a1f5cb7fcea6b467600566be56e3e9044785", "leaf");
        eq(Trees.root(leaves), hex"641a2696214aaaea85a5a73a5da64b371e1891fc1d194fddf832d982dea9a4c5", "flat root");
        // And the contract takes exactly that.
        EpochHeader memory h;
        h.lane = LANE;
        h.epoch = 1;
        h.stateRoot = hex"24b7e5b29ef6fce97f3bb66cc7994a163f45ccb71ec3359929ecb1e56640e978";
        BonusPool.Split memory s;
        s.state = hex"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";
        (s.scored, s.shares, s.index, s.proof) = (true, shares, 1, Trees.proof(leaves, 1));
        lane.setEscrow(task, client, 1, LANE, false);
        partner.mint(client, 5);
        vm.prank(client);
        pool.lock(task, IERC20(address(partner)), 5);
        lane.setEscrow(task, client, 1, LANE, true);
        pool.recordSplit(task, client, _anchored(h), s);
        eq(pool.bonusOf(task, client).shares.root, shares.root, "recorded");
    }

    function test_the_bonus_is_shared_as_the_header_says() public {
        eq(_lock(partner, 600), 600, "received");
        eq(_lock(other, 60), 60, "a second token");
        eq(_lock(partner, 600), 600, "and more of the first");
        eq(partner.balanceOf(pool.till(TASK, CLIENT)), 1200, "in the till");
        _record();
        eq(pool.due(TASK, CLIENT, address(partner), 3, 2), 600, "due");
        vm.prank(address(0x57A));
        eq(pool.claim(TASK, CLIENT, address(partner), _leaf(2)), 600, "half");
        eq(pool.claimed(TASK, CLIENT, address(partner), 2), 600, "booked");
        eq(pool.claimMany(TASK, CLIENT, address(partner), _all()), 600, "the rest");
        eq(pool.claimMany(TASK, CLIENT, address(other), _all()), 60, "the other token by the same split");
        eq(partner.balanceOf(payees[0]), 200, "went to the payee of the leaf");
        eq(pool.ledger(TASK, CLIENT, address(partner)).paid, 1200, "books");
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.NothingDue.selector, payees[2], 600));
        pool.claim(TASK, CLIENT, address(partner), _leaf(2));
    }

    function test_a_bonus_goes_by_the_name_of_the_tasks_money() public view {
        eq(pool.accountOf(TASK, CLIENT), keccak256(abi.encode(TASK, CLIENT)), "escrow's key");
    }

    function test_a_cancelled_tasks_split_is_the_refund() public {
        _lock(partner, 600);
        delete payees;
        delete weights;
        payees.push(CLIENT);
        weights.push(100);
        _record();
        uint256 before = partner.balanceOf(CLIENT);
        eq(_claim(partner, 0), 600, "all of it");
        eq(partner.balanceOf(CLIENT) - before, 600, "back at the client");
    }

    function test_money_that_comes_later_is_shared_alike() public {
        _lock(partner, 600);
        _record();
        _claim(partner, 2);
        _send(600);
        eq(_claim(partner, 2), 300, "half of the addition");
    }

    function test_only_a_client_with_an_open_funded_task_locks() public {
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NotFunded.selector, TASK, address(this)));
        pool.lock(TASK, IERC20(address(partner)), 1);
        _settled(true);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySettled.selector, TASK, CLIENT));
        _lock(partner, 1);
        _settled(false);
        vm.expectRevert(ShareLedger.ZeroAmount.selector);
        _lock(partner, 0);
        partner.setSilent(true);
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.NothingReceived.selector, address(partner)));
        _lock(partner, 1);
        yes(!pool.bonusOf(TASK, CLIENT).locked, "nothing was locked");
    }

    function test_a_split_needs_a_lock_and_is_recorded_once() public {
        (BonusPool.Split memory s, EpochHeader memory h) = _split(true);
        _settled(true);
        EpochHeader[] memory list = _anchored(h);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NothingLocked.selector, TASK, CLIENT));
        pool.recordSplit(TASK, CLIENT, list, s);
        _settled(false);
        _lock(partner, 600);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NoSplit.selector, TASK, CLIENT));
        _claim(partner, 0);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NoSplit.selector, TASK, CLIENT));
        pool.claimMany(TASK, CLIENT, address(partner), _all());
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NoSplit.selector, TASK, CLIENT));
        pool.due(TASK, CLIENT, address(partner), 1, 0);
        _settled(true);
        pool.recordSplit(TASK, CLIENT, list, s);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySplit.selector, TASK, CLIENT));
        pool.recordSplit(TASK, CLIENT, list, s);
        _settled(false);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySplit.selector, TASK, CLIENT));
        _lock(partner, 1);
    }

    function test_every_part_of_a_split_is_signed() public {
        _lock(partner, 600);
        _settled(true);
        (BonusPool.Split memory right, EpochHeader memory h) = _split(true);
        EpochHeader[] memory list = _anchored(h);
        for (uint256 part; part < 7; ++part) {
            BonusPool.Split memory s = abi.decode(abi.encode(right), (BonusPool.Split));
            if (part == 0) s.state = keccak256("another");
            if (part == 1) s.shares.root = keccak256("another");
            if (part == 2) s.shares.totalWeight += 1;
            if (part == 3) s.shares.count += 1;
            if (part == 4) s.index = 0;
            if (part == 5) s.index = 5;
            if (part == 6) s.proof = new bytes32[](41);
            vm.expectRevert(abi.encodeWithSelector(BonusPool.BadSplit.selector, TASK, CLIENT));
            pool.recordSplit(TASK, CLIENT, list, s);
        }
        // The same leaf as a flat one is not what was signed either.
        _fallBack(h, 14 days);
        right.scored = false;
        vm.expectRevert(abi.encodeWithSelector(BonusPool.BadSplit.selector, TASK, CLIENT));
        pool.recordSplit(TASK, CLIENT, list, right);
        // Another client's bonus of the same name needs a leaf of its own.
        lane.setEscrow(TASK, address(this), 1, LANE, false);
        partner.mint(address(this), 1);
        pool.lock(TASK, IERC20(address(partner)), 1);
        lane.setEscrow(TASK, address(this), 1, LANE, true);
        right.scored = true;
        vm.expectRevert(abi.encodeWithSelector(BonusPool.BadSplit.selector, TASK, address(this)));
        pool.recordSplit(TASK, address(this), list, right);
    }

    function test_an_empty_split_is_refused() public {
        _lock(partner, 600);
        _settled(true);
        for (uint256 part; part < 3; ++part) {
            (BonusPool.Split memory s,) = _split(true);
            if (part == 0) s.shares.root = 0;
            if (part == 1) s.shares.totalWeight = 0;
            if (part == 2) s.shares.count = 0;
            EpochHeader memory h;
            (s, h) = _wrap(s);
            EpochHeader[] memory list = _anchored(h);
            vm.expectRevert(BonusPool.EmptySplit.selector);
            pool.recordSplit(TASK, CLIENT, list, s);
        }
    }

    function test_another_lanes_committee_has_no_say() public {
        _lock(partner, 600);
        _settled(true);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(true);
        h.lane = LANE + 1;
        EpochHeader[] memory list = _anchored(h);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.WrongLane.selector, LANE, LANE + 1));
        pool.recordSplit(TASK, CLIENT, list, s);
    }

    function test_a_scored_split_needs_a_settled_task() public {
        _lock(partner, 600);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(true);
        EpochHeader[] memory list = _anchored(h);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NotSettled.selector, TASK, CLIENT));
        pool.recordSplit(TASK, CLIENT, list, s);
    }

    function test_a_header_that_could_be_revoked_proves_nothing() public {
        _lock(partner, 600);
        _settled(true);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(true);
        EpochHeader[] memory list = _anchored(h);
        lane.setClaimable(h.epoch, false);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NotFinal.selector, LANE, h.epoch));
        pool.recordSplit(TASK, CLIENT, list, s);
        lane.setClaimable(h.epoch, true);
        lane.setHead(lane.hashOf(h), false);
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, list, s);
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, new EpochHeader[](0), s);
    }

    /// @dev Epochs may follow each other faster than they become final; then the one that proves lies behind the head.
    function test_headers_lead_from_a_final_epoch_to_the_head() public {
        _lock(partner, 600);
        _settled(true);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(true);
        EpochHeader[] memory list = new EpochHeader[](3);
        list[0] = h;
        for (uint256 i = 1; i < 3; ++i) {
            list[i].lane = LANE;
            list[i].epoch = h.epoch + uint64(i);
            list[i].parent = lane.hashOf(list[i - 1]);
        }
        lane.setHead(lane.hashOf(list[2]), true);
        lane.setClaimable(h.epoch, true);
        bytes32 parent = list[1].parent;
        list[1].parent = keccak256("another");
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, list, s);
        list[1].parent = parent;
        list[0].stateRoot ^= bytes32(uint256(1));
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, list, s);
        list[0].stateRoot ^= bytes32(uint256(1));
        pool.recordSplit(TASK, CLIENT, list, s);
        eq(_claim(partner, 2), 300, "claimable");
    }

    /// @dev Only the last KEPT_ROOTS epochs can be asked for: the oldest of them speaks for all before it.
    function test_a_split_can_be_recorded_however_far_the_lane_has_gone() public {
        _lock(partner, 600);
        _settled(true);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(true);
        EpochHeader[] memory list = new EpochHeader[](20);
        list[0] = h;
        for (uint256 i = 1; i < 20; ++i) {
            list[i].lane = LANE;
            list[i].epoch = h.epoch + uint64(i);
            list[i].parent = lane.hashOf(list[i - 1]);
        }
        lane.setHead(lane.hashOf(list[19]), true);
        for (uint256 i; i < 20; ++i) {
            lane.setClaimable(h.epoch + uint64(i), i != 4);
        }
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NotFinal.selector, LANE, h.epoch + 4));
        pool.recordSplit(TASK, CLIENT, list, s);
        for (uint256 i; i < 20; ++i) {
            lane.setClaimable(h.epoch + uint64(i), i == 4);
        }
        pool.recordSplit(TASK, CLIENT, list, s);
        eq(_claim(partner, 2), 300, "claimable");
    }

    function test_in_a_fallback_accepted_work_shares_at_the_flat_rate() public {
        _lock(partner, 600);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(false);
        EpochHeader[] memory list = _anchored(h);
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, list, s);
        _fallBack(h, 14 days);
        EpochHeader[] memory more = new EpochHeader[](2);
        (more[0], more[1]) = (h, h);
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, more, s);
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, new EpochHeader[](0), s);
        // The lane may go on meanwhile: the escrow's header is the last word about this task.
        lane.setHead(lane.hashOf(h), false);
        lane.setClaimable(h.epoch, false);
        pool.recordSplit(TASK, CLIENT, list, s);
        eq(_claim(partner, 2), 300, "claimable");
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySplit.selector, TASK, CLIENT));
        _lock(partner, 1);
        _later(10_000 days);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySplit.selector, TASK, CLIENT));
        pool.refund(TASK, CLIENT, address(partner));
        eq(pool.claimMany(TASK, CLIENT, address(partner), _all()), 300, "claims never expire");
    }

    function test_another_header_than_the_fallbacks_proves_no_flat_split() public {
        _lock(partner, 600);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(false);
        _fallBack(h, 14 days);
        h.epoch += 1;
        EpochHeader[] memory list = _anchored(h);
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, list, s);
    }

    function test_a_fallbacks_bonus_nobody_recorded_goes_back_after_the_window() public {
        _lock(partner, 600);
        (BonusPool.Split memory s, EpochHeader memory h) = _split(false);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.TooEarly.selector, 0));
        pool.refund(TASK, CLIENT, address(partner));
        _fallBack(h, 14 days);
        uint256 free = vm.getBlockTimestamp() + 14 days;
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NotSettled.selector, TASK, CLIENT));
        pool.requestRefund(TASK, CLIENT);
        vm.warp(free - 1);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.TooEarly.selector, free));
        pool.refund(TASK, CLIENT, address(partner));
        vm.warp(free);
        eq(pool.refund(TASK, CLIENT, address(partner)), 600, "all of it");
        // A split that comes now shares what comes later.
        _send(60);
        pool.recordSplit(TASK, CLIENT, _chain(h), s);
        eq(_claim(partner, 2), 30, "half of what came later");
    }

    function test_a_bonus_nobody_recorded_goes_back_after_the_notice() public {
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NothingLocked.selector, TASK, CLIENT));
        pool.requestRefund(TASK, CLIENT);
        _lock(partner, 600);
        _lock(other, 60);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NotSettled.selector, TASK, CLIENT));
        pool.requestRefund(TASK, CLIENT);
        _settled(true);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.TooEarly.selector, 0));
        pool.refund(TASK, CLIENT, address(partner));
        pool.requestRefund(TASK, CLIENT);
        uint256 free = vm.getBlockTimestamp() + pool.NOTICE_SECONDS();
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadyRequested.selector, free));
        pool.requestRefund(TASK, CLIENT);
        vm.warp(free - 1);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.TooEarly.selector, free));
        pool.refund(TASK, CLIENT, address(partner));
        vm.warp(free);
        uint256 before = partner.balanceOf(CLIENT);
        eq(pool.refund(TASK, CLIENT, address(partner)), 600, "all of it");
        eq(partner.balanceOf(CLIENT) - before, 600, "to the client");
        vm.expectRevert(abi.encodeWithSelector(BonusPool.NothingLeft.selector, address(partner)));
        pool.refund(TASK, CLIENT, address(partner));
        // A split that comes now shares what is still there and what comes later, and nothing else.
        _record();
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySplit.selector, TASK, CLIENT));
        pool.refund(TASK, CLIENT, address(other));
        eq(pool.claimMany(TASK, CLIENT, address(other), _all()), 60, "the other token");
        _send(6);
        eq(_claim(partner, 1), 2, "a third of the new");
        eq(_claim(partner, 2), 3, "half of the new");
    }

    function test_work_can_still_be_recorded_in_the_notice_and_ends_the_refund() public {
        _lock(partner, 600);
        _settled(true);
        pool.requestRefund(TASK, CLIENT);
        _later(365 days - 1);
        _record();
        _later(10_000 days);
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySplit.selector, TASK, CLIENT));
        pool.refund(TASK, CLIENT, address(partner));
        vm.expectRevert(abi.encodeWithSelector(BonusPool.AlreadySplit.selector, TASK, CLIENT));
        pool.requestRefund(TASK, CLIENT);
        eq(pool.claimMany(TASK, CLIENT, address(partner), _all()), 600, "claims never expire");
    }

    function test_coins_sent_to_a_till_are_shared_or_refunded_too() public {
        _lock(partner, 1);
        (bool sent,) = pool.till(TASK, CLIENT).call{value: 60}("");
        yes(sent, "the till takes coins");
        _settled(true);
        pool.requestRefund(TASK, CLIENT);
        _later(365 days);
        eq(pool.refund(TASK, CLIENT, address(0)), 60, "coins");
        eq(CLIENT.balance, 60, "at the client");
        _record();
        (sent,) = pool.till(TASK, CLIENT).call{value: 60}("");
        eq(pool.claim(TASK, CLIENT, address(0), _leaf(2)), 30, "half");
    }

    function test_a_bad_partner_token_spoils_only_its_own_pool() public {
        for (uint256 way; way < 7; ++way) {
            setUp();
            _lock(other, 600);
            _lock(partner, 600);
            address till = pool.till(TASK, CLIENT);
            if (way == 4) partner.setPhantom(till, 1e24);
            if (way == 5) partner.setScale(50);
            if (way == 6) partner.setFee(50);
            _record();
            if (way == 0) partner.setPaused(true);
            if (way == 1) partner.setDead(true);
            if (way == 2) partner.setFailing(true);
            if (way == 3) partner.setSilent(true);
            bytes memory call = abi.encodeCall(pool.claim, (TASK, CLIENT, address(partner), _leaf(2)));
            (bool ok,) = address(pool).call(call);
            yes(ok == (way == 3 || way > 4), "the bad token's claim");
            eq(pool.claimMany(TASK, CLIENT, address(other), _all()), 600, "the good token's claims");
            eq(other.balanceOf(payees[2]), 300, "arrived");
            eq(other.balanceOf(till), 0, "to the unit");
        }
    }

    function test_a_token_that_calls_back_gains_nothing() public {
        _lock(other, 600);
        bytes4 why = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
        // While locking, while claiming and while being refunded.
        partner.arm(address(pool), abi.encodeCall(pool.lock, (TASK, IERC20(address(other)), 1)));
        eq(_lock(partner, 600), 600, "counted once");
        _refused(why);
        uint256 snapshot = vm.getBlockTimestamp();
        _record();
        partner.arm(address(pool), abi.encodeCall(pool.claim, (TASK, CLIENT, address(partner), _leaf(2))));
        eq(_claim(partner, 2), 300, "once");
        _refused(why);
        partner.arm(address(pool), abi.encodeCall(pool.claimMany, (TASK, CLIENT, address(other), _all())));
        eq(_claim(partner, 1), 200, "once");
        _refused(why);
        eq(vm.getBlockTimestamp(), snapshot, "at one time");
        // A second bonus, which is refunded.
        lane.setEscrow(keccak256("second"), CLIENT, 1, LANE, false);
        vm.prank(CLIENT);
        pool.lock(keccak256("second"), IERC20(address(partner)), 600);
        lane.setEscrow(keccak256("second"), CLIENT, 1, LANE, true);
        pool.requestRefund(keccak256("second"), CLIENT);
        _later(365 days);
        partner.arm(
            address(pool), abi.encodeCall(pool.refund, (keccak256("second"), CLIENT, address(partner)))
        );
        eq(pool.refund(keccak256("second"), CLIENT, address(partner)), 600, "once");
        _refused(why);
        eq(partner.balanceOf(pool.till(TASK, CLIENT)), 100, "the other bonus is untouched");
    }

    function _refused(bytes4 why) private view {
        yes(partner.called() && !partner.succeeded(), "refused");
        eq(bytes32(bytes4(partner.answer())), bytes32(why), "by the guard");
    }

    function test_it_needs_an_anchor_and_an_escrow() public {
        vm.expectRevert(ShareLedger.BadConfiguration.selector);
        new BonusPool(IAnchorLanes(address(0)), TaskEscrow(address(lane)));
        vm.expectRevert(ShareLedger.BadConfiguration.selector);
        new BonusPool(IAnchorLanes(address(lane)), TaskEscrow(address(0)));
    }

    function testFuzz_a_bonus_is_shared_to_a_unit_for_each_leaf(uint256 seed, uint256 count, uint256 amount, uint256 fee)
        public
    {
        count = within(count, 1, 12);
        amount = within(amount, 1000, 1e24);
        delete payees;
        delete weights;
        for (uint256 i; i < count; ++i) {
            payees.push(address(uint160(0xF000 + i)));
            weights.push(uint128(uint256(keccak256(abi.encode(seed, i))) >> 132));
        }
        weights[count - 1] += 1;
        partner.setFee(within(fee, 0, 99));
        uint256 received = _lock(partner, amount);
        eq(received, amount - amount * partner.fee() / 100, "less the fee");
        partner.setFee(0);
        _record();
        uint256 total = pool.bonusOf(TASK, CLIENT).shares.totalWeight;
        uint256 drawn;
        for (uint256 i; i < count; ++i) {
            uint256 part = received * weights[i] / total;
            if (part != 0) eq(_claim(partner, i), part, "part");
            eq(partner.balanceOf(payees[i]), part, "arrived");
            drawn += part;
        }
        yes(received - drawn < count, "dust");
    }
}

/// @dev The pool beside the real contracts: a signed header settles the main reward and anchors the bonus.
contract BonusPoolNetworkTest is World {
    address private constant CLIENT = address(0xC11E);
    bytes32 private constant TASK = keccak256("task");

    BonusPool private pool;
    StrangeToken private partner;
    address[] private payees;
    uint128[] private weights;

    function setUp() public {
        _deploy(1, 21);
        _validators(3);
        anchor.drawCommittee(0);
        vm.roll(vm.getBlockNumber() + 1);
        pool = new BonusPool(IAnchorLanes(address(anchor)), escrow);
        partner = new StrangeToken();
        partner.mint(CLIENT, 900);
        (payees, weights) = (new address[](2), new uint128[](2));
        (payees[0], payees[1]) = (address(0xA1), address(0xA2));
        (weights[0], weights[1]) = (20e6, 10e6);
        _fund(CLIENT, TASK, 0, 30e6, 0);
        vm.prank(CLIENT);
        pool.lock(TASK, IERC20(address(partner)), 900);
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _settle() private returns (EpochHeader[] memory list, BonusPool.Split memory s) {
        s.state = keccak256("state");
        s.scored = true;
        s.shares = ShareTrees.build(payees, weights);
        SettledTask[] memory settled = _one(TASK, CLIENT);
        list = new EpochHeader[](2);
        list[0] = _next(0, settled);
        list[0].stateRoot = Bonuses.stateRoot(s.state, Bonuses.leaf(TASK, CLIENT, true, s.shares));
        list[0].payoutRoot = Trees.root(Trees.payoutLeaves(payees, weights));
        list[0].payoutCount = 2;
        _post(list[0], settled);
        vm.roll(vm.getBlockNumber() + 1);
        list[1] = _next(0, _none());
        (list[1].payoutRoot, list[1].payoutCount) = (list[0].payoutRoot, 2);
        _post(list[1], _none());
    }

    function _main() private {
        bytes32[] memory leaves = Trees.payoutLeaves(payees, weights);
        for (uint256 i; i < 2; ++i) {
            distributor.claim(2, payees[i], weights[i], i, Trees.proof(leaves, i));
            eq(token.balanceOf(payees[i]), weights[i], "main reward");
        }
    }

    function test_both_rewards_of_a_settled_task_are_paid() public {
        (EpochHeader[] memory list, BonusPool.Split memory s) = _settle();
        pool.recordSplit(TASK, CLIENT, list, s);
        _main();
        for (uint256 i; i < 2; ++i) {
            pool.claim(TASK, CLIENT, address(partner), ShareTrees.claim(payees, weights, i));
        }
        eq(partner.balanceOf(payees[0]), 600, "first bonus");
        eq(partner.balanceOf(payees[1]), 300, "second bonus");
    }

    function test_the_main_reward_never_asks_the_partner_token() public {
        partner.setDead(true);
        (EpochHeader[] memory list, BonusPool.Split memory s) = _settle();
        pool.recordSplit(TASK, CLIENT, list, s);
        _main();
        bytes memory call = abi.encodeCall(
            pool.claim, (TASK, CLIENT, address(partner), ShareTrees.claim(payees, weights, 0))
        );
        (bool ok,) = address(pool).call(call);
        yes(!ok, "the bonus waits");
        partner.setDead(false);
        eq(
            pool.claim(TASK, CLIENT, address(partner), ShareTrees.claim(payees, weights, 0)), 600, "until the token wakes"
        );
    }

    function test_a_header_alone_that_is_not_the_head_is_not_enough() public {
        (EpochHeader[] memory list, BonusPool.Split memory s) = _settle();
        EpochHeader[] memory first = new EpochHeader[](1);
        first[0] = list[0];
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, first, s);
    }

    /// @dev One header and one tree pay both rewards of a lane whose committee is gone.
    function test_a_fallback_pays_both_rewards_from_one_header() public {
        bytes32[] memory leaves = new bytes32[](3);
        leaves[0] = PositionalMerkle.flatLeaf(TASK, CLIENT, payees[0], weights[0]);
        leaves[1] = PositionalMerkle.flatLeaf(TASK, CLIENT, payees[1], weights[1]);
        BonusPool.Split memory s;
        (s.state, s.shares, s.index) = (keccak256("state"), ShareTrees.build(payees, weights), 2);
        leaves[2] = Bonuses.leaf(TASK, CLIENT, false, s.shares);
        s.proof = Trees.proof(leaves, 2);
        EpochHeader[] memory list = new EpochHeader[](1);
        list[0] = _next(0, _none());
        list[0].stateRoot = Bonuses.stateRoot(s.state, Trees.root(leaves));
        _post(list[0], _none());
        vm.expectRevert(BonusPool.NotCanonical.selector);
        pool.recordSplit(TASK, CLIENT, list, s);
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        escrow.openFallback(TASK, CLIENT);
        pool.recordSplit(TASK, CLIENT, list, s);
        for (uint256 i; i < 2; ++i) {
            escrow.claimFallback(
                TASK,
                CLIENT,
                list[0],
                TaskEscrow.FallbackClaim(payees[i], weights[i], s.state, i, Trees.proof(leaves, i))
            );
            eq(token.balanceOf(payees[i]), weights[i], "main reward");
            pool.claim(TASK, CLIENT, address(partner), ShareTrees.claim(payees, weights, i));
        }
        eq(partner.balanceOf(payees[0]), 600, "first bonus");
        eq(partner.balanceOf(payees[1]), 300, "second bonus");
    }
}
