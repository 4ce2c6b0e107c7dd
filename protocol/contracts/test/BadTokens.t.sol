// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {DevToken} from "../src/DevToken.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {MuteToken, StrangeToken} from "./AssetDoubles.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev One task of 600 with a gold bond of 60, paid in a token that misbehaves at any moment of the task's life. Three
///      labelers are owed 100, 200 and 300, the client gets its bond back; what everybody has in the end is counted.
contract BadTokensTest is World {
    address private constant A = address(0xA1);
    address private constant B = address(0xB2);
    address private constant C = address(0xC3);
    address private constant CLIENT = address(0xC11E);
    bytes32 private constant TASK = keccak256("task");
    bytes32 private constant STATE = keccak256("state");

    StrangeToken private strange;
    address[] private payees = [A, B, C, CLIENT];
    uint128[] private totals = [100, 200, 300, 60];

    function setUp() public {
        strange = new StrangeToken();
        _start(IERC20(address(strange)));
        strange.mint(CLIENT, 1000);
    }

    function _start(IERC20 money) private {
        token = new DevToken();
        _deploy(1, 21, 0, money);
        _validators(3);
        anchor.drawCommittee(0);
    }

    // ---- the task's life -----------------------------------------------------------------------------------------

    function _fundIt() private {
        vm.prank(CLIENT);
        escrow.fund(TASK, 0, 600, 60);
    }

    /// @dev A signed epoch that settles the task, as a call of `post`.
    function _settling() private returns (bytes memory) {
        vm.roll(vm.getBlockNumber() + 1);
        SettledTask[] memory settled = _one(TASK, CLIENT);
        EpochHeader memory h = _next(0, settled);
        (h.payoutRoot, h.payoutCount) = (Trees.root(_leaves()), 4);
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(h), 2);
        return abi.encodeCall(anchor.post, (h, settled, signers, signatures));
    }

    /// @dev A header whose flat leaves owe 100, 200 and 300 for the task, which it does not settle.
    function _flatEpoch() private returns (EpochHeader memory h) {
        vm.roll(vm.getBlockNumber() + 1);
        h = _next(0, _none());
        h.stateRoot = keccak256(bytes.concat(hex"07", STATE, Trees.root(_flats())));
        _post(h, _none());
    }

    function _leaves() private view returns (bytes32[] memory) {
        return Trees.payoutLeaves(payees, totals);
    }

    function _flats() private view returns (bytes32[] memory leaves) {
        leaves = new bytes32[](3);
        for (uint256 i; i < 3; ++i) {
            leaves[i] = keccak256(
                bytes.concat(hex"06", TASK, bytes20(CLIENT), bytes20(payees[i]), bytes16(totals[i]))
            );
        }
    }

    function _claiming(uint256 i) private view returns (bytes memory) {
        return abi.encodeCall(distributor.claim, (1, payees[i], totals[i], i, Trees.proof(_leaves(), i)));
    }

    /// @dev All payees of `from` to `to` in one call.
    function _claimingMany(uint256 from, uint256 to) private view returns (bytes memory) {
        RewardDistributor.Claim[] memory claims = new RewardDistributor.Claim[](to - from);
        for (uint256 i = from; i < to; ++i) {
            claims[i - from] = RewardDistributor.Claim(payees[i], totals[i], i, Trees.proof(_leaves(), i));
        }
        return abi.encodeCall(distributor.claimMany, (1, claims));
    }

    /// @dev The subtree of `count` payees from `first` on.
    function _claimingSubtree(uint256 first, uint256 count) private view returns (bytes memory) {
        bytes memory packed;
        for (uint256 i = first; i < first + count; ++i) {
            packed = bytes.concat(packed, bytes20(payees[i]), bytes16(totals[i]));
        }
        bytes32[] memory whole = Trees.proof(_leaves(), first);
        bytes32[] memory above = new bytes32[](count == 1 ? 2 : count == 2 ? 1 : 0);
        for (uint256 i; i < above.length; ++i) {
            above[i] = whole[whole.length - above.length + i];
        }
        return abi.encodeCall(distributor.claimSubtree, (1, first, packed, above));
    }

    function _claimingFlat(EpochHeader memory h, uint256 i) private view returns (bytes memory) {
        TaskEscrow.FallbackClaim memory claim =
            TaskEscrow.FallbackClaim(payees[i], totals[i], STATE, i, Trees.proof(_flats(), i));
        return abi.encodeCall(escrow.claimFallback, (TASK, CLIENT, h, claim));
    }

    function _closing() private view returns (bytes memory) {
        return abi.encodeCall(escrow.closeFallback, (TASK, CLIENT));
    }

    function _works(address to, bytes memory call, string memory what) private {
        (bool ok,) = to.call(call);
        yes(ok, what);
    }

    function _fails(address to, bytes memory call, string memory what) private {
        (bool ok,) = to.call(call);
        yes(!ok, what);
    }

    function _have(uint256 a, uint256 b, uint256 c, uint256 client) private view {
        eq(strange.balanceOf(A), a, "A");
        eq(strange.balanceOf(B), b, "B");
        eq(strange.balanceOf(C), c, "C");
        eq(strange.balanceOf(CLIENT), client, "client");
    }

    function _fundAndSettle() private {
        _fundIt();
        _works(address(anchor), _settling(), "post");
    }

    function _claimAll() private {
        for (uint256 i; i < 4; ++i) {
            _works(address(distributor), _claiming(i), "claim");
        }
    }

    /// @dev Whether the lane and the task are where they were before the epoch.
    function _untouched() private view {
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, 0, "no epoch");
        yes(!escrow.escrows(TASK, CLIENT).settled, "not settled");
        eq(distributor.totalReleased(), 0, "nothing booked");
    }

    function _open() private returns (EpochHeader memory h) {
        _fundIt();
        h = _flatEpoch();
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        escrow.openFallback(TASK, CLIENT);
    }

    // ---- a token that pauses, or reports failure -----------------------------------------------------------------

    function _stop(uint256 way, bool on) private {
        if (way == 0) strange.setPaused(on);
        else if (way == 1) strange.setDead(on);
        else strange.setFailing(on);
    }

    /// @dev Paused, wholly dead, or returning false: nothing is booked that did not happen, so nobody loses.
    function test_a_token_that_stops_for_a_while_costs_nobody_anything() public {
        bytes memory funding = abi.encodeCall(escrow.fund, (TASK, 0, 600, 60));
        uint256 fresh = vm.snapshotState();
        for (uint256 way; way < 3; ++way) {
            vm.revertToState(fresh);
            _stop(way, true);
            vm.prank(CLIENT);
            _fails(address(escrow), funding, "fund");
            eq(escrow.escrows(TASK, CLIENT).deposit, 0, "no task");
            _stop(way, false);
            _fundIt();
            _have(0, 0, 0, 340);

            bytes memory post = _settling();
            _stop(way, true);
            _fails(address(anchor), post, "post");
            _untouched();
            _stop(way, false);
            _works(address(anchor), post, "the same signatures, later");

            _stop(way, true);
            for (uint256 i; i < 4; ++i) {
                _fails(address(distributor), _claiming(i), "claim");
                eq(distributor.paid(payees[i]), 0, "not booked");
            }
            _fails(address(distributor), _claimingMany(0, 4), "claimMany");
            _fails(address(distributor), _claimingSubtree(0, 4), "claimSubtree");
            _stop(way, false);
            _have(0, 0, 0, 340);
            _works(address(distributor), _claiming(0), "claim");
            _works(address(distributor), _claimingMany(0, 2), "claimMany");
            _works(address(distributor), _claimingSubtree(2, 2), "claimSubtree");
            _have(100, 200, 300, 400);
            eq(strange.balanceOf(address(distributor)), 0, "nothing is left over");
        }
    }

    function test_a_fallback_outlasts_a_token_that_stops() public {
        uint256 fresh = vm.snapshotState();
        for (uint256 way; way < 3; ++way) {
            vm.revertToState(fresh);
            EpochHeader memory h = _open();
            _works(address(escrow), _claimingFlat(h, 0), "before");
            _stop(way, true);
            _fails(address(escrow), _claimingFlat(h, 1), "claim");
            vm.warp(vm.getBlockTimestamp() + FALLBACK);
            _fails(address(escrow), _closing(), "close");
            eq(escrow.fallbacks(TASK, CLIENT).left, 500, "the rest is owed");
            yes(!escrow.fallbacks(TASK, CLIENT).closed, "open");
            _stop(way, false);
            _works(address(escrow), _claimingFlat(h, 1), "claim after the window, before it is closed");
            _works(address(escrow), _closing(), "close");
            _have(100, 200, 0, 340 + 300 + 60);
            eq(strange.balanceOf(address(escrow)), 0, "nothing is left over");
        }
    }

    /// @dev A late top-up waits for the client as long as it takes.
    function test_a_late_top_up_outlasts_a_token_that_stops() public {
        _fundIt();
        bytes memory post = _settling();
        vm.prank(CLIENT);
        escrow.topUp(TASK, CLIENT, 40);
        _works(address(anchor), post, "post");
        strange.setPaused(true);
        bytes memory back = abi.encodeCall(escrow.returnLateTopUp, (TASK, CLIENT));
        _fails(address(escrow), back, "paused");
        strange.setPaused(false);
        _works(address(escrow), back, "returned");
        _have(0, 0, 0, 340);
    }

    // ---- a token that says it moved something --------------------------------------------------------------------

    /// @dev Says that all is well and moves nothing. No money is booked that is not there; but who claims while the token lies
    ///      is told to be paid, which no contract can tell without asking for two balances at every claim.
    function test_a_token_that_lies_fools_only_claims() public {
        strange.setSilent(true);
        vm.prank(CLIENT);
        _fails(address(escrow), abi.encodeCall(escrow.fund, (TASK, 0, 600, 60)), "fund");
        strange.setSilent(false);
        _fundIt();
        bytes memory post = _settling();
        strange.setSilent(true);
        _fails(address(anchor), post, "post");
        _untouched();
        strange.setSilent(false);
        _works(address(anchor), post, "post");
        strange.setSilent(true);
        _works(address(distributor), _claiming(0), "a lie");
        eq(distributor.paid(A), 100, "booked");
        strange.setSilent(false);
        _works(address(distributor), _claimingSubtree(0, 4), "the others");
        _have(0, 200, 300, 400);
        eq(strange.balanceOf(address(distributor)), 100, "what the lie kept");
    }

    // ---- fees ----------------------------------------------------------------------------------------------------

    function test_a_fee_is_refused_until_the_money_is_in_the_lane_and_then_borne_by_the_payee() public {
        strange.setFee(1);
        vm.prank(CLIENT);
        _fails(address(escrow), abi.encodeCall(escrow.fund, (TASK, 0, 600, 60)), "fund");
        strange.setFee(0);
        _fundIt();
        bytes memory post = _settling();
        strange.setFee(1);
        _fails(address(anchor), post, "post");
        _untouched();
        strange.setFee(0);
        _works(address(anchor), post, "post");
        strange.setFee(1);
        _claimAll();
        _have(99, 198, 297, 340 + 60);
        eq(strange.balanceOf(address(distributor)), 0, "every unit was sent");
    }

    /// @dev What the sender pays on top comes out of the lane: whoever claims last goes short, and gets it when it is there.
    function test_a_fee_of_the_sender_is_missing_at_the_end_of_the_lane() public {
        _fundAndSettle();
        strange.setSenderFee(10);
        _works(address(distributor), _claiming(0), "A");
        _works(address(distributor), _claiming(1), "B");
        _works(address(distributor), _claiming(3), "client");
        _fails(address(distributor), _claiming(2), "264 of 330 are there");
        eq(distributor.paid(C), 0, "not booked");
        strange.mint(address(distributor), 66);
        _works(address(distributor), _claiming(2), "C");
        _have(100, 200, 300, 400);
    }

    // ---- balances that change by themselves ----------------------------------------------------------------------

    /// @dev Half of everything is gone while the lane holds it: first come, first served, the rest when it grows back.
    function test_a_token_that_shrinks_pays_whole_claims_until_it_is_used_up() public {
        _fundAndSettle();
        strange.setScale(50);
        eq(strange.balanceOf(address(distributor)), 330, "half");
        _works(address(distributor), _claiming(2), "C");
        _fails(address(distributor), _claiming(0), "30 are left");
        _fails(address(distributor), _claimingMany(0, 4), "nothing is booked for anybody");
        eq(distributor.paid(A), 0, "A is still owed");
        strange.setScale(100);
        // C was paid in units of the small days.
        eq(strange.balanceOf(C), 600, "what C got is worth more now");
        strange.mint(address(distributor), 300);
        _works(address(distributor), _claimingSubtree(0, 4), "the others");
        _have(100, 200, 600, 400);
    }

    /// @dev In the escrow the whole task waits: an epoch that takes what is not there is refused, before and after.
    function test_a_token_that_shrinks_in_the_escrow_holds_up_its_task() public {
        _fundIt();
        bytes memory post = _settling();
        strange.setScale(50);
        _fails(address(anchor), post, "330 of 660 are there");
        _untouched();
        strange.setScale(100);
        _works(address(anchor), post, "grown back");
        _claimAll();
        _have(100, 200, 300, 400);
    }

    /// @dev The escrow keeps all tasks together: what settles first is whole, what comes after waits for the rest.
    function test_a_token_that_shrinks_or_charges_the_sender_serves_the_first_task() public {
        uint256 fresh = vm.snapshotState();
        for (uint256 way; way < 2; ++way) {
            vm.revertToState(fresh);
            _fundIt();
            address other = address(0x07E4);
            strange.mint(other, 660);
            vm.prank(other);
            escrow.fund(keccak256("another"), 0, 660, 0);
            bytes memory post = _settling();
            if (way == 0) strange.setScale(50);
            else strange.setSenderFee(20);
            _works(address(anchor), post, "the first");
            eq(strange.balanceOf(address(distributor)), 660, "whole");
            eq(strange.balanceOf(address(escrow)), way == 0 ? 0 : 528, "what is left for the other task's 660");
            if (way == 0) strange.setScale(100);
            else strange.setSenderFee(0);
            _claimAll();
        }
    }

    function test_a_token_that_shrinks_in_a_fallback_pays_while_there_is_something() public {
        EpochHeader memory h = _open();
        strange.setScale(50);
        _works(address(escrow), _claimingFlat(h, 2), "C");
        _fails(address(escrow), _claimingFlat(h, 0), "30 are left");
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        _fails(address(escrow), _closing(), "the client waits too");
        strange.mint(address(escrow), 660);
        _works(address(escrow), _claimingFlat(h, 0), "A");
        _works(address(escrow), _claimingFlat(h, 1), "B");
        _works(address(escrow), _closing(), "close");
        _have(100, 200, 300, 170 + 60);
    }

    /// @dev What grows by itself belongs to nobody's leaf and stays in the lane.
    function test_a_token_that_grows_pays_every_leaf_and_no_more() public {
        _fundIt();
        strange.setScale(200);
        _works(address(anchor), _settling(), "post");
        eq(distributor.totalReleased(), 660, "what was locked");
        eq(strange.balanceOf(address(escrow)), 660, "what grew in the escrow");
        strange.setScale(400);
        _claimAll();
        _have(100, 200, 300, 4 * 340 + 60);
        eq(strange.balanceOf(address(distributor)), 660, "what grew in the lane");
    }

    /// @dev A growth that does not divide the amount cannot be moved to the unit; the epoch waits and nothing is lost.
    function test_a_growth_that_rounds_is_refused_and_not_lost() public {
        _fundIt();
        bytes memory post = _settling();
        strange.setScale(130);
        _fails(address(anchor), post, "659 of 660 would arrive");
        _untouched();
        strange.setScale(150);
        _works(address(anchor), post, "660 divides");
        _claimAll();
        eq(strange.balanceOf(B), 199, "200 do not divide: the unit is the token's");
        eq(distributor.paid(B), 200, "booked");
    }

    // ---- a token that blocks somebody ----------------------------------------------------------------------------

    function test_a_blocked_payee_leaves_the_others_payable_and_keeps_its_claim() public {
        _fundAndSettle();
        strange.setBlocked(B, true);
        _fails(address(distributor), _claiming(1), "claim");
        _fails(address(distributor), _claimingMany(0, 4), "with B");
        _fails(address(distributor), _claimingSubtree(0, 4), "the whole tree");
        _fails(address(distributor), _claimingSubtree(0, 2), "the half with B");
        _have(0, 0, 0, 340);
        _works(address(distributor), _claimingSubtree(2, 2), "the half without B");
        _works(address(distributor), _claimingSubtree(0, 1), "the quarter before B");
        _have(100, 0, 300, 400);
        eq(distributor.paid(B), 0, "not booked");
        eq(strange.balanceOf(address(distributor)), 200, "B's");
        strange.setBlocked(B, false);
        _works(address(distributor), _claiming(1), "claim");
        _have(100, 200, 300, 400);
    }

    function test_a_batch_without_the_blocked_payee_pays_all_others() public {
        _fundAndSettle();
        strange.setBlocked(A, true);
        _works(address(distributor), _claimingMany(1, 4), "without A");
        _have(0, 200, 300, 400);
    }

    function test_a_blocked_payee_or_client_holds_up_nobody_elses_fallback() public {
        EpochHeader memory h = _open();
        strange.setBlocked(B, true);
        strange.setBlocked(CLIENT, true);
        _fails(address(escrow), _claimingFlat(h, 1), "B");
        _works(address(escrow), _claimingFlat(h, 0), "A");
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        _fails(address(escrow), _closing(), "client");
        _works(address(escrow), _claimingFlat(h, 2), "C, after the window");
        strange.setBlocked(B, false);
        _works(address(escrow), _claimingFlat(h, 1), "B");
        strange.setBlocked(CLIENT, false);
        _works(address(escrow), _closing(), "close");
        _have(100, 200, 300, 400);
    }

    /// @dev A blocked distributor or a blocked client stops no epoch that does not need them.
    function test_a_blocked_distributor_costs_its_lane_no_empty_epochs() public {
        _fundIt();
        bytes memory post = _settling();
        strange.setBlocked(address(distributor), true);
        _fails(address(anchor), post, "it cannot be paid");
        _untouched();
        strange.setBlocked(address(distributor), false);
        strange.setBlocked(CLIENT, true);
        _works(address(anchor), post, "the client is paid by claim");
        _works(address(distributor), _claimingMany(0, 3), "the labelers");
        _have(100, 200, 300, 340);
    }

    // ---- a token that returns nothing ----------------------------------------------------------------------------

    function test_a_token_without_return_values_works_from_funding_to_claims() public {
        MuteToken mute = new MuteToken();
        _start(IERC20(address(mute)));
        mute.mint(CLIENT, 1000);
        _fundAndSettle();
        _works(address(distributor), _claiming(0), "claim");
        _works(address(distributor), _claimingMany(0, 2), "claimMany");
        _works(address(distributor), _claimingSubtree(0, 4), "claimSubtree");
        for (uint256 i; i < 3; ++i) {
            eq(mute.balanceOf(payees[i]), totals[i], "labeler");
        }
        eq(mute.balanceOf(CLIENT), 400, "client");
        eq(mute.balanceOf(address(distributor)), 0, "nothing is left over");
    }

    function test_a_token_without_return_values_works_in_a_fallback() public {
        MuteToken mute = new MuteToken();
        _start(IERC20(address(mute)));
        mute.mint(CLIENT, 1000);
        EpochHeader memory h = _open();
        _works(address(escrow), _claimingFlat(h, 0), "A");
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        _works(address(escrow), _closing(), "close");
        eq(mute.balanceOf(A), 100, "A");
        eq(mute.balanceOf(CLIENT), 900, "client");
    }

    // ---- a token that calls back ---------------------------------------------------------------------------------

    /// @dev Every call that moves or books money, and those that change a lane, as the token could make them.
    function _inner(uint256 i, bytes memory post, EpochHeader memory flat) private view returns (address, bytes memory) {
        if (i == 0) return (address(escrow), abi.encodeCall(escrow.fund, (TASK, 0, 5, 2)));
        if (i == 1) return (address(escrow), abi.encodeCall(escrow.topUp, (TASK, CLIENT, 7)));
        if (i == 2) return (address(escrow), abi.encodeCall(escrow.returnLateTopUp, (TASK, CLIENT)));
        if (i == 3) return (address(escrow), abi.encodeCall(escrow.openFallback, (TASK, CLIENT)));
        if (i == 4) return (address(escrow), _claimingFlat(flat, 0));
        if (i == 5) return (address(escrow), _closing());
        if (i == 6) return (address(anchor), post);
        if (i == 7) return (address(anchor), abi.encodeCall(anchor.drawCommittee, (0)));
        if (i == 8) return (address(distributor), _claiming(0));
        if (i == 9) return (address(distributor), _claimingMany(0, 4));
        return (address(distributor), _claimingSubtree(0, 4));
    }

    uint256 private constant INNER = 11;

    /// @dev The token makes each call in the middle of each transfer of a task's life. Everybody ends with the same money, and
    ///      the escrow with what the token itself locked in the meantime.
    function test_a_token_that_calls_back_changes_nobodys_money() public {
        uint256 fresh = vm.snapshotState();
        for (uint256 outer; outer < 5; ++outer) {
            for (uint256 inner; inner < INNER; ++inner) {
                vm.revertToState(fresh);
                _life(outer, inner);
            }
        }
    }

    function _arm(bool now_, uint256 inner, bytes memory post) private {
        if (!now_) return;
        // The token has money of its own to play with.
        strange.mint(address(strange), 50);
        EpochHeader memory none;
        (address to, bytes memory call) = _inner(inner, post, none);
        strange.arm(to, call);
    }

    function _life(uint256 outer, uint256 inner) private {
        _arm(outer == 0, inner, "");
        _fundIt();
        bytes memory post = _settling();
        vm.prank(CLIENT);
        escrow.topUp(TASK, CLIENT, 40);
        _arm(outer == 1, inner, post);
        _works(address(anchor), post, "post");
        if (outer == 1) yes(!strange.succeeded() || inner >= 7, "escrow and anchor are locked");
        _arm(outer == 2, inner, post);
        _works(address(escrow), abi.encodeCall(escrow.returnLateTopUp, (TASK, CLIENT)), "late");
        if (outer == 2) yes(!strange.succeeded() || inner > 7, "the escrow is locked");
        _arm(outer == 3, inner, post);
        _works(address(distributor), _claimingMany(0, 2), "claimMany");
        _arm(outer == 4, inner, post);
        _works(address(distributor), _claimingSubtree(0, 4), "claimSubtree");
        _fails(address(distributor), _claiming(3), "all are paid");
        yes(strange.called(), "it called back");
        _have(100, 200, 300, 400);
        TaskEscrow.Escrow memory own = escrow.escrows(TASK, address(strange));
        eq(strange.balanceOf(address(escrow)), own.deposit + own.goldBond, "the escrow");
        eq(strange.balanceOf(address(distributor)), 0, "the lane");
    }

    function test_a_token_that_calls_back_in_a_fallback_changes_nobodys_money() public {
        uint256 fresh = vm.snapshotState();
        for (uint256 outer; outer < 2; ++outer) {
            for (uint256 inner; inner < 7; ++inner) {
                vm.revertToState(fresh);
                _silentLife(outer, inner);
            }
        }
    }

    function _silentLife(uint256 outer, uint256 inner) private {
        EpochHeader memory h = _open();
        strange.mint(address(strange), 50);
        (address to, bytes memory call) = _inner(inner, "", h);
        if (outer == 0) strange.arm(to, call);
        _works(address(escrow), _claimingFlat(h, 1), "B");
        _works(address(escrow), _claimingFlat(h, 0), "A");
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        if (outer == 1) strange.arm(to, call);
        _works(address(escrow), _closing(), "close");
        yes(strange.called() && !strange.succeeded(), "refused");
        if (to == address(escrow) && inner != 3) {
            bytes4 why = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
            eq(bytes32(bytes4(strange.answer())), bytes32(why), "by the guard");
        }
        _have(100, 200, 0, 340 + 300 + 60);
        eq(strange.balanceOf(address(escrow)), 0, "nothing is left over");
    }
}
