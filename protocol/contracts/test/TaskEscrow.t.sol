// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";

import {DevToken} from "../src/DevToken.sol";
import {ExactTransfer} from "../src/ExactTransfer.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {AnchorDouble, FalseToken, FeeToken, ReentrantToken} from "./Doubles.sol";
import {Checks} from "./Vm.sol";

contract TaskEscrowTest is Checks {
    address private constant DISTRIBUTOR = address(0xD157);
    address private constant CLIENT = address(0xC11E);
    bytes32 private constant TASK = keccak256("task");

    DevToken private token = new DevToken();
    AnchorDouble private anchor = new AnchorDouble();
    TaskEscrow private escrow = new TaskEscrow(token, address(anchor));

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
        uint128 big = 1 << 112;
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 112, big));
        _fund(big, 0);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 112, big));
        _fund(1, big);
        _fund(1, 0);
        vm.expectRevert(abi.encodeWithSelector(SafeCast.SafeCastOverflowedUintDowncast.selector, 112, big));
        escrow.topUp(TASK, CLIENT, big - 1);
    }

    function test_tokens_that_deliver_less_are_refused() public {
        FeeToken fee = new FeeToken();
        TaskEscrow e = new TaskEscrow(fee, address(anchor));
        fee.mint(address(this), 1000);
        fee.approve(address(e), 1000);
        vm.expectRevert(abi.encodeWithSelector(ExactTransfer.InexactTransfer.selector, 1000, 990));
        e.fund(TASK, 0, 900, 100);
    }

    function test_tokens_that_return_false_are_refused() public {
        FalseToken bad = new FalseToken();
        TaskEscrow e = new TaskEscrow(IERC20(address(bad)), address(anchor));
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(bad)));
        e.fund(TASK, 0, 1, 0);
    }

    function test_a_token_cannot_reenter() public {
        ReentrantToken evil = new ReentrantToken();
        TaskEscrow e = new TaskEscrow(evil, address(anchor));
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
        new TaskEscrow(IERC20(address(0)), address(1));
        vm.expectRevert(TaskEscrow.BadConfiguration.selector);
        new TaskEscrow(token, address(0));
    }
}
