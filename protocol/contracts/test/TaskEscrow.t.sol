// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {DevToken} from "../src/DevToken.sol";
import {EpochHeader} from "../src/EpochHeader.sol";
import {ExactTransfer} from "../src/ExactTransfer.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {AnchorDouble, FalseToken, FeeToken, Headers, ReentrantToken} from "./Doubles.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";

contract TaskEscrowTest is Checks {
    address private constant DISTRIBUTOR = address(0xD157);
    address private constant CLIENT = address(0xC11E);
    bytes32 private constant TASK = keccak256("task");

    uint64 private constant FALLBACK = 14 days;

    DevToken private token = new DevToken();
    AnchorDouble private anchor = new AnchorDouble();
    TaskEscrow private escrow = new TaskEscrow(token, address(anchor), FALLBACK);

    event Funded(bytes32 indexed taskId, address indexed client, uint32 lane, uint128 deposit, uint128 goldBond);
    event ToppedUp(bytes32 indexed taskId, address indexed client, uint128 amount, uint128 deposit);
    event Released(bytes32 indexed taskId, address indexed client, uint256 amount);

    function setUp() public {
        _rich(CLIENT);
        _rich(address(this));
    }

    function _rich(address who) private {
        for (uint256 i; i < 4; ++i) {
            token.mint(who, 1_000_000e6);
        }
        vm.prank(who);
        token.approve(address(escrow), type(uint256).max);
    }

    function _fund(uint128 deposit, uint128 bond) private {
        vm.prank(CLIENT);
        escrow.fund(TASK, 0, deposit, bond);
    }

    function _release(uint64 asOf) private returns (uint256) {
        return anchor.release(escrow, TASK, CLIENT, 0, asOf, DISTRIBUTOR);
    }

    function testFuzz_funding_locks_deposit_and_bond(uint128 deposit, uint128 bond) public {
        deposit = uint128(within(deposit, 1, 1_000_000e6));
        bond = uint128(within(bond, 0, 1_000_000e6));
        vm.expectEmit();
        emit Funded(TASK, CLIENT, 0, deposit, bond);
        _fund(deposit, bond);
        TaskEscrow.Escrow memory e = escrow.escrows(TASK, CLIENT);
        eq(e.deposit, deposit, "deposit");
        eq(e.goldBond, bond, "bond");
        yes(!e.settled, "open");
        eq(token.balanceOf(address(escrow)), uint256(deposit) + bond, "balance");
    }

    function test_nobody_can_occupy_a_clients_task_id() public {
        escrow.fund(TASK, 0, 1, 0);
        _fund(100e6, 10e6);
        eq(escrow.escrows(TASK, CLIENT).deposit, 100e6, "client's own escrow");
        eq(escrow.escrows(TASK, address(this)).deposit, 1, "the squatter's own");
        eq(_release(0), 110e6, "settles the client's money only");
        eq(token.balanceOf(address(escrow)), 1, "squatter's unit stays");
        yes(escrow.escrowId(TASK, CLIENT) != escrow.escrowId(TASK, address(this)), "separate storage");
    }

    function test_funding_happens_once_with_money_and_in_a_known_lane() public {
        vm.expectRevert(TaskEscrow.ZeroAmount.selector);
        _fund(0, 5);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.UnknownLane.selector, 1));
        escrow.fund(TASK, 1, 1, 0);
        _fund(1, 0);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.AlreadyFunded.selector, TASK, CLIENT));
        _fund(1, 0);
        _release(0);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.AlreadyFunded.selector, TASK, CLIENT));
        _fund(1, 0);
    }

    function test_only_the_anchor_releases() public {
        _fund(1, 0);
        vm.prank(CLIENT);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.OnlyAnchor.selector, CLIENT));
        escrow.release(TASK, CLIENT, 0, 0, CLIENT);
    }

    function test_release_moves_everything_once() public {
        _fund(100e6, 10e6);
        vm.expectEmit();
        emit Released(TASK, CLIENT, 110e6);
        eq(_release(uint64(vm.getBlockNumber())), 110e6, "amount");
        eq(token.balanceOf(DISTRIBUTOR), 110e6, "distributor");
        yes(escrow.escrows(TASK, CLIENT).settled, "settled");
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.AlreadySettled.selector, TASK, CLIENT));
        _release(0);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.AlreadySettled.selector, TASK, CLIENT));
        escrow.topUp(TASK, CLIENT, 1);
    }

    function test_a_lane_releases_its_own_tasks_only() public {
        anchor.setLanes(2);
        _fund(1, 0);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.WrongLane.selector, 0, 1));
        anchor.release(escrow, TASK, CLIENT, 1, 0, DISTRIBUTOR);
    }

    function test_unknown_tasks_can_be_neither_released_nor_topped_up() public {
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NotFunded.selector, TASK, CLIENT));
        _release(0);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NotFunded.selector, TASK, CLIENT));
        escrow.topUp(TASK, CLIENT, 1);
        _fund(1, 0);
        vm.expectRevert(TaskEscrow.ZeroAmount.selector);
        escrow.topUp(TASK, CLIENT, 0);
    }

    function test_anyone_may_top_up() public {
        _fund(100, 10);
        vm.expectEmit();
        emit ToppedUp(TASK, CLIENT, 5, 105);
        escrow.topUp(TASK, CLIENT, 5);
        eq(_release(uint64(vm.getBlockNumber())), 115, "counts at its own block");
    }

    function test_a_top_up_after_the_epochs_block_cannot_change_the_epoch() public {
        _fund(100, 10);
        uint64 asOf = uint64(vm.getBlockNumber());
        vm.roll(asOf + 1);
        escrow.topUp(TASK, CLIENT, 7);
        eq(_release(asOf), 110, "as it stood at the epoch's block");
        eq(escrow.escrows(TASK, CLIENT).late, 7, "late");
        uint256 before = token.balanceOf(CLIENT);
        escrow.returnLateTopUp(TASK, CLIENT);
        eq(token.balanceOf(CLIENT) - before, 7, "back to the client, not the caller");
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NothingLate.selector, TASK, CLIENT));
        escrow.returnLateTopUp(TASK, CLIENT);
        eq(token.balanceOf(address(escrow)), 0, "nothing stuck");
    }

    function test_nothing_is_late_while_the_task_is_open() public {
        _fund(100, 10);
        escrow.topUp(TASK, CLIENT, 7);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NothingLate.selector, TASK, CLIENT));
        escrow.returnLateTopUp(TASK, CLIENT);
    }

    /// @dev Against a plain list of (block, amount): what counts is what was there at the epoch's block.
    function testFuzz_releases_count_exactly_the_top_ups_up_to_their_block(
        uint64[6] memory gaps,
        uint32[6] memory amounts,
        uint64 cut
    ) public {
        _fund(1000, 10);
        uint256 start = vm.getBlockNumber();
        uint256 current = start;
        uint64 asOf = uint64(start + cut % 20);
        uint256 expected = 1010;
        uint256 all = 1010;
        for (uint256 i; i < 6; ++i) {
            current += gaps[i] % 4;
            vm.roll(current);
            uint128 amount = uint128(amounts[i] % 1000) + 1;
            escrow.topUp(TASK, CLIENT, amount);
            all += amount;
            if (current <= asOf) expected += amount;
        }
        eq(escrow.fundedAt(TASK, CLIENT, uint48(asOf)), expected, "view");
        eq(_release(asOf), expected, "released");
        eq(escrow.escrows(TASK, CLIENT).late, all - expected, "late");
        eq(token.balanceOf(address(escrow)), all - expected, "balance");
        eq(escrow.fundedAt(TASK, CLIENT, uint48(asOf)), 0, "view after settling");
    }

    function test_amounts_beyond_the_stored_range_are_refused() public {
        uint128 big = 1 << 96;
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 96, big));
        _fund(big, 0);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 96, big));
        _fund(1, big);
        _fund(1, 0);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 96, big));
        escrow.topUp(TASK, CLIENT, big - 1);
    }

    function test_tokens_that_deliver_less_are_refused() public {
        FeeToken fee = new FeeToken();
        TaskEscrow e = new TaskEscrow(fee, address(anchor), FALLBACK);
        fee.mint(address(this), 1000);
        fee.approve(address(e), 1000);
        vm.expectRevert(abi.encodeWithSelector(ExactTransfer.InexactTransfer.selector, 1000, 990));
        e.fund(TASK, 0, 900, 100);
    }

    function test_tokens_that_return_false_are_refused() public {
        FalseToken bad = new FalseToken();
        TaskEscrow e = new TaskEscrow(IERC20(address(bad)), address(anchor), FALLBACK);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(bad)));
        e.fund(TASK, 0, 1, 0);
    }

    function test_a_token_cannot_reenter() public {
        ReentrantToken evil = new ReentrantToken();
        TaskEscrow e = new TaskEscrow(evil, address(anchor), FALLBACK);
        evil.mint(address(this), 1000);
        evil.approve(address(e), 1000);
        bytes[2] memory calls = [
            abi.encodeCall(e.topUp, (TASK, address(this), 1)), abi.encodeCall(e.returnLateTopUp, (TASK, address(this)))
        ];
        for (uint256 i; i < calls.length; ++i) {
            evil.arm(address(e), calls[i]);
            vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
            e.fund(TASK, 0, 1, 0);
        }
    }

    function test_bad_configurations_are_refused() public {
        vm.expectRevert(TaskEscrow.BadConfiguration.selector);
        new TaskEscrow(IERC20(address(0)), address(1), FALLBACK);
        vm.expectRevert(TaskEscrow.BadConfiguration.selector);
        new TaskEscrow(token, address(0), FALLBACK);
        vm.expectRevert(TaskEscrow.BadConfiguration.selector);
        new TaskEscrow(token, address(1), 0);
    }

    // ---- fallback ------------------------------------------------------------------------------------------------

    /// @dev One leaf of the flat-payout tree.
    struct Flat {
        bytes32 taskId;
        address client;
        address payee;
        uint128 amount;
    }

    event FallbackOpened(bytes32 indexed taskId, address indexed client, bytes32 headerHash, uint64 closesAt);
    event FallbackClaimed(bytes32 indexed taskId, address indexed client, address indexed payee, uint128 amount);
    event FallbackClosed(bytes32 indexed taskId, address indexed client, uint256 amount);

    bytes32 private constant STATE = keccak256("a state");

    function _flatTree(Flat[] memory list) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](list.length);
        for (uint256 i; i < list.length; ++i) {
            leaves[i] = keccak256(
                bytes.concat(
                    hex"06",
                    list[i].taskId,
                    bytes20(list[i].client),
                    bytes20(list[i].payee),
                    bytes16(list[i].amount)
                )
            );
        }
    }

    /// @dev Makes a header with this flat-payout tree the lane's last.
    function _head(bytes32[] memory leaves) private returns (EpochHeader memory h) {
        h.epoch = 1;
        h.stateRoot = keccak256(bytes.concat(hex"07", STATE, Trees.root(leaves)));
        anchor.setHead(h);
    }

    /// @dev Three payees of the task: 30, 40 and 50, and one of another client's.
    function _three() private pure returns (Flat[] memory list) {
        list = new Flat[](4);
        for (uint256 i; i < 3; ++i) {
            list[i] = Flat(TASK, CLIENT, address(uint160(0xA1 + i)), uint128(30 + 10 * i));
        }
        list[3] = Flat(TASK, address(0xBAD), address(0xA4), 60);
    }

    function _flat(address payee, uint128 amount, bytes32 state, uint256 index, bytes32[] memory proof)
        private
        pure
        returns (TaskEscrow.FallbackClaim memory)
    {
        return TaskEscrow.FallbackClaim(payee, amount, state, index, proof);
    }

    function _openAfterSilence() private {
        vm.warp(anchor.activity() + FALLBACK);
        escrow.openFallback(TASK, CLIENT);
    }

    function _claim(Flat memory f, EpochHeader memory h, bytes32[] memory leaves, uint256 i) private {
        escrow.claimFallback(TASK, CLIENT, h, _flat(f.payee, f.amount, STATE, i, Trees.proof(leaves, i)));
    }

    function test_a_silent_lane_pays_its_payees_and_then_its_client() public {
        _fund(100, 10);
        Flat[] memory list = _three();
        bytes32[] memory leaves = _flatTree(list);
        EpochHeader memory h = _head(leaves);
        vm.warp(anchor.activity() + FALLBACK);
        uint64 closesAt = uint64(vm.getBlockTimestamp() + FALLBACK);
        bytes32 hash = Headers.hash(h);
        vm.expectEmit();
        emit FallbackOpened(TASK, CLIENT, hash, closesAt);
        vm.prank(address(0xBEEF));
        escrow.openFallback(TASK, CLIENT);
        bytes32[] memory proof = Trees.proof(leaves, 1);
        vm.expectEmit();
        emit FallbackClaimed(TASK, CLIENT, list[1].payee, 40);
        vm.prank(address(0xBEEF));
        escrow.claimFallback(TASK, CLIENT, h, _flat(list[1].payee, 40, STATE, 1, proof));
        eq(token.balanceOf(list[1].payee), 40, "payee, not caller");
        eq(escrow.fallbacks(TASK, CLIENT).left, 60, "left");
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.AlreadyPaid.selector, list[1].payee));
        escrow.claimFallback(TASK, CLIENT, h, _flat(list[1].payee, 40, STATE, 1, proof));
        _claim(list[0], h, leaves, 0);
        vm.warp(closesAt - 1);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.FallbackRunning.selector, closesAt));
        escrow.closeFallback(TASK, CLIENT);
        vm.warp(closesAt);
        uint256 before = token.balanceOf(CLIENT);
        vm.expectEmit();
        emit FallbackClosed(TASK, CLIENT, 40);
        escrow.closeFallback(TASK, CLIENT);
        eq(token.balanceOf(CLIENT) - before, 40, "30 of the deposit and the bond");
        eq(token.balanceOf(address(escrow)), 0, "nothing is left");
        bytes memory why = abi.encodeWithSelector(TaskEscrow.NotInFallback.selector, TASK, CLIENT);
        vm.expectRevert(why);
        escrow.closeFallback(TASK, CLIENT);
        proof = Trees.proof(leaves, 2);
        vm.expectRevert(why);
        escrow.claimFallback(TASK, CLIENT, h, _flat(list[2].payee, 50, STATE, 2, proof));
    }

    function test_claims_beyond_the_deposit_get_what_is_left_and_never_the_bond() public {
        _fund(100, 10);
        Flat[] memory list = _three();
        bytes32[] memory leaves = _flatTree(list);
        EpochHeader memory h = _head(leaves);
        _openAfterSilence();
        for (uint256 i; i < 3; ++i) {
            _claim(list[i], h, leaves, i);
        }
        eq(token.balanceOf(list[2].payee), 30, "of 50");
        eq(token.balanceOf(address(escrow)), 10, "the bond");
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        uint256 before = token.balanceOf(CLIENT);
        escrow.closeFallback(TASK, CLIENT);
        eq(token.balanceOf(CLIENT) - before, 10, "goes back");
    }

    function test_an_empty_deposit_pays_nobody() public {
        _fund(70, 10);
        Flat[] memory list = _three();
        bytes32[] memory leaves = _flatTree(list);
        EpochHeader memory h = _head(leaves);
        _openAfterSilence();
        _claim(list[0], h, leaves, 0);
        _claim(list[1], h, leaves, 1);
        bytes32[] memory proof = Trees.proof(leaves, 2);
        vm.expectRevert(TaskEscrow.ZeroAmount.selector);
        escrow.claimFallback(TASK, CLIENT, h, _flat(list[2].payee, 50, STATE, 2, proof));
    }

    function test_the_silence_of_a_lane_without_tasks_counts_from_the_funding() public {
        vm.warp(anchor.activity() + 10 * FALLBACK);
        _fund(100, 10);
        uint256 fundedAt = vm.getBlockTimestamp();
        eq(escrow.escrows(TASK, CLIENT).fundedAt, fundedAt, "view");
        vm.warp(fundedAt + FALLBACK - 1);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.LaneActive.selector, 0, fundedAt + FALLBACK));
        escrow.openFallback(TASK, CLIENT);
        vm.warp(fundedAt + FALLBACK);
        escrow.openFallback(TASK, CLIENT);
    }

    function testFuzz_a_fallback_opens_after_the_silence_only(uint64 wait) public {
        _fund(100, 10);
        wait = uint64(within(wait, 0, FALLBACK - 1));
        uint256 possibleAt = anchor.activity() + FALLBACK;
        vm.warp(anchor.activity() + wait);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.LaneActive.selector, 0, possibleAt));
        escrow.openFallback(TASK, CLIENT);
        // Any sign of life moves the moment.
        anchor.setActivity(uint48(vm.getBlockTimestamp()));
        vm.warp(possibleAt + wait - 1);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.LaneActive.selector, 0, possibleAt + wait));
        escrow.openFallback(TASK, CLIENT);
        vm.warp(possibleAt + wait);
        escrow.openFallback(TASK, CLIENT);
    }

    function test_a_task_in_fallback_is_out_of_reach_for_epochs_and_top_ups() public {
        _fund(100, 10);
        _openAfterSilence();
        bytes memory why = abi.encodeWithSelector(TaskEscrow.InFallback.selector, TASK, CLIENT);
        vm.expectRevert(why);
        _release(0);
        vm.expectRevert(why);
        escrow.topUp(TASK, CLIENT, 1);
        vm.expectRevert(why);
        escrow.openFallback(TASK, CLIENT);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.AlreadyFunded.selector, TASK, CLIENT));
        _fund(1, 0);
        eq(escrow.fundedAt(TASK, CLIENT, uint48(vm.getBlockNumber())), 0, "nothing for an epoch");
        yes(!escrow.escrows(TASK, CLIENT).settled, "not settled");
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        escrow.closeFallback(TASK, CLIENT);
        vm.expectRevert(why);
        _release(0);
    }

    function test_settled_and_unknown_tasks_have_no_fallback() public {
        vm.warp(anchor.activity() + FALLBACK);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NotFunded.selector, TASK, CLIENT));
        escrow.openFallback(TASK, CLIENT);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NotInFallback.selector, TASK, CLIENT));
        escrow.closeFallback(TASK, CLIENT);
        _fund(100, 10);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NotInFallback.selector, TASK, CLIENT));
        escrow.closeFallback(TASK, CLIENT);
        _release(uint64(vm.getBlockNumber()));
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.AlreadySettled.selector, TASK, CLIENT));
        escrow.openFallback(TASK, CLIENT);
    }

    /// @dev The header is fixed when the fallback opens: a committee that wakes up afterwards cannot exchange it.
    function test_only_the_header_of_the_silence_counts() public {
        _fund(100, 10);
        bytes32[] memory leaves = _flatTree(_three());
        EpochHeader memory h = _head(leaves);
        _openAfterSilence();
        Flat[] memory greedy = _three();
        greedy[0].amount = 100;
        bytes32[] memory other = _flatTree(greedy);
        EpochHeader memory later = _head(other);
        bytes32[] memory proof = Trees.proof(other, 0);
        vm.expectRevert(
            abi.encodeWithSelector(TaskEscrow.WrongHeader.selector, Headers.hash(h), Headers.hash(later))
        );
        escrow.claimFallback(TASK, CLIENT, later, _flat(greedy[0].payee, 100, STATE, 0, proof));
        _claim(_three()[0], h, leaves, 0);
        eq(token.balanceOf(greedy[0].payee), 30, "by the old header");
    }

    function test_a_lane_without_epochs_gives_everything_back() public {
        _fund(100, 10);
        _openAfterSilence();
        EpochHeader memory none;
        vm.expectRevert(
            abi.encodeWithSelector(TaskEscrow.WrongHeader.selector, bytes32(0), Headers.hash(none))
        );
        escrow.claimFallback(TASK, CLIENT, none, _flat(address(0xA1), 30, 0, 0, new bytes32[](0)));
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        uint256 before = token.balanceOf(CLIENT);
        escrow.closeFallback(TASK, CLIENT);
        eq(token.balanceOf(CLIENT) - before, 110, "all");
    }

    function testFuzz_forged_flat_claims_are_refused(uint256 i, uint256 what, uint256 value) public {
        _fund(100, 10);
        Flat[] memory list = _three();
        bytes32[] memory leaves = _flatTree(list);
        EpochHeader memory h = _head(leaves);
        _openAfterSilence();
        i = i % 4;
        what = what % 5;
        Flat memory f = list[i];
        (bytes32 state, uint256 index, bytes32[] memory proof) = (STATE, i, Trees.proof(leaves, i));
        if (what == 0) f.amount = uint128(within(value, uint256(f.amount) + 1, type(uint128).max));
        if (what == 1) f.payee = address(uint160(within(value, 0xA5, type(uint160).max)));
        if (what == 2) index = within(value, 4, type(uint256).max);
        if (what == 3) state = keccak256(abi.encode(value));
        if (what == 4) proof[value % 2] ^= bytes32(uint256(1) << (value % 256));
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.BadFlatProof.selector, f.payee, index));
        escrow.claimFallback(TASK, CLIENT, h, _flat(f.payee, f.amount, state, index, proof));
        // A true leaf of another client's task pays nothing here either.
        proof = Trees.proof(leaves, 3);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.BadFlatProof.selector, list[3].payee, 3));
        escrow.claimFallback(TASK, CLIENT, h, _flat(list[3].payee, 60, STATE, 3, proof));
    }

    /// @dev Random deposits, bonds, top-ups and amounts, claimed in a random order: to the last unit, the payees get at most
    ///      the deposit, each at most its amount, and the client the rest.
    function testFuzz_a_fallback_splits_deposit_and_bond_exactly(
        uint64 deposit,
        uint64 bond,
        uint32 more,
        uint64[4] memory amounts,
        uint256 order
    ) public {
        deposit = uint64(within(deposit, 1, 1_000_000e6));
        bond = uint64(within(bond, 0, 1_000e6));
        _fund(deposit, bond);
        if (more != 0) escrow.topUp(TASK, CLIENT, more);
        Flat[] memory list = new Flat[](4);
        for (uint256 i; i < 4; ++i) {
            list[i] = Flat(TASK, CLIENT, address(uint160(0xA1 + i)), uint128(amounts[i] % 400_000e6));
        }
        bytes32[] memory leaves = _flatTree(list);
        EpochHeader memory h = _head(leaves);
        _openAfterSilence();
        uint256 left = uint256(deposit) + more;
        for (uint256 k; k < 4; ++k) {
            uint256 i = (order % 4 + k * (order % 8 < 4 ? 1 : 3)) % 4;
            uint256 due = list[i].amount < left ? list[i].amount : left;
            yes(_paid(h, list[i], i, leaves) == (due != 0), "paid when something is due");
            left -= due;
            eq(token.balanceOf(list[i].payee), due, "payee");
        }
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        uint256 before = token.balanceOf(CLIENT);
        escrow.closeFallback(TASK, CLIENT);
        eq(token.balanceOf(CLIENT) - before, left + bond, "the rest");
        eq(token.balanceOf(address(escrow)), 0, "to the last unit");
    }

    /// @dev Whether a claim went through.
    function _paid(EpochHeader memory h, Flat memory f, uint256 i, bytes32[] memory leaves) private returns (bool ok) {
        TaskEscrow.FallbackClaim memory claim = _flat(f.payee, f.amount, STATE, i, Trees.proof(leaves, i));
        (ok,) = address(escrow).call(abi.encodeCall(escrow.claimFallback, (TASK, CLIENT, h, claim)));
    }

    // ---- forced records ------------------------------------------------------------------------------------------

    event RecordForced(bytes32 indexed taskId, address indexed client, bytes record);

    function test_anyone_can_force_a_record_about_a_funded_task_and_no_money_moves() public {
        _fund(10e6, 1e6);
        uint256 held = token.balanceOf(address(escrow));
        bytes memory record = new bytes(32_768);
        record[7] = 0x55;
        vm.expectEmit();
        emit RecordForced(TASK, CLIENT, record);
        vm.prank(address(0x5742));
        escrow.forceRecord(TASK, CLIENT, record);
        eq(token.balanceOf(address(escrow)), held, "nothing moved");
    }

    function test_records_about_nothing_and_records_of_no_or_too_many_bytes_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.NotFunded.selector, TASK, CLIENT));
        escrow.forceRecord(TASK, CLIENT, hex"01");
        _fund(10e6, 1e6);
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.BadRecordLength.selector, 0));
        escrow.forceRecord(TASK, CLIENT, "");
        vm.expectRevert(abi.encodeWithSelector(TaskEscrow.BadRecordLength.selector, 32_769));
        escrow.forceRecord(TASK, CLIENT, new bytes(32_769));
    }
}
