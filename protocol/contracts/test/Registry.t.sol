// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {DevToken} from "../src/DevToken.sol";
import {EpochHeader} from "../src/EpochHeader.sol";
import {ExactTransfer} from "../src/ExactTransfer.sol";
import {Registry} from "../src/Registry.sol";
import {AnchorDouble, FalseToken, FeeToken, ReentrantToken} from "./Doubles.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";

contract RegistryTest is Checks {
    uint128 private constant MIN = 100e6;
    uint128 private constant BOND = 10e6;
    uint64 private constant UNBOND = 7 days;
    uint16 private constant SLASH = 2_500;
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;
    uint8 private constant CLIENT = 1;
    uint8 private constant LABELER = 2;
    uint8 private constant VALIDATOR = 4;

    DevToken private token = new DevToken();
    AnchorDouble private anchor = new AnchorDouble();
    Registry private registry = new Registry(token, MIN, BOND, UNBOND, SLASH, address(anchor));
    bytes private binding = new bytes(64);

    event Registered(
        address indexed account,
        bytes32 nodeKey,
        bytes32 sealKey,
        address payee,
        uint8 roles,
        uint128 stake,
        uint64 nonce,
        bytes binding
    );

    /// @dev The last headers of all lanes, kept here too: asking the anchor in the middle of a call would use up a prank.
    EpochHeader[] private heads;

    function setUp() public {
        _setLanes(1);
    }

    function _setLanes(uint32 count) private {
        anchor.setLanes(count);
        for (uint32 lane = uint32(heads.length); lane < count; ++lane) {
            heads.push().lane = lane;
        }
    }

    function _setLossRoot(uint32 lane, bytes32 root) private {
        anchor.setLossRoot(lane, root);
        heads[lane] = anchor.header(lane);
    }

    function _heads() private view returns (EpochHeader[] memory) {
        return heads;
    }

    function _nothing() private view returns (Registry.LossLeaf[][] memory) {
        return new Registry.LossLeaf[][](heads.length);
    }

    function _leaf(address account, uint128 loss, uint256 index, bytes32[] memory proof)
        private
        pure
        returns (Registry.LossLeaf[][] memory perLane)
    {
        perLane = new Registry.LossLeaf[][](1);
        perLane[0] = new Registry.LossLeaf[](1);
        perLane[0][0] = Registry.LossLeaf(account, loss, index, proof);
    }

    function _rich(address who) private {
        token.mint(who, 1_000_000e6);
        vm.prank(who);
        token.approve(address(registry), type(uint256).max);
    }

    function _join(address who, uint8 roles, uint128 stake) private {
        _rich(who);
        vm.prank(who);
        registry.register(keccak256(abi.encode(who)), bytes32(uint256(1)), who, roles, stake, binding);
    }

    function _leave(address who) private {
        vm.prank(who);
        registry.requestUnbond();
        vm.warp(vm.getBlockTimestamp() + UNBOND);
    }

    function _refuse(bytes memory why, bytes32 key, address payee, uint8 roles, uint128 stake, bytes memory sig)
        private
    {
        vm.expectRevert(why);
        registry.register(key, bytes32(0), payee, roles, stake, sig);
    }

    function test_registering_locks_the_stake_and_publishes_the_binding() public {
        _rich(address(this));
        binding[3] = 0x42;
        vm.expectEmit();
        emit Registered(address(this), bytes32(uint256(5)), bytes32(uint256(6)), address(7), 6, MIN, 0, binding);
        registry.register(bytes32(uint256(5)), bytes32(uint256(6)), address(7), 6, MIN, binding);
        Registry.Account memory a = registry.accounts(address(this));
        eq(a.nodeKey, bytes32(uint256(5)), "node key");
        eq(a.sealKey, bytes32(uint256(6)), "seal key");
        eq(a.payee, address(7), "payee");
        eq(a.roles, 6, "roles");
        eq(a.stake, MIN, "stake");
        eq(a.nonce, 1, "nonce");
        eq(token.balanceOf(address(registry)), MIN, "balance");
        eq(registry.accountOfNodeKey(bytes32(uint256(5))), address(this), "reverse look-up");
        eq(registry.validatorAt(0), address(this), "validator list");
    }

    function test_bad_registrations_are_refused() public {
        _rich(address(this));
        bytes32 key = bytes32(uint256(1));
        _refuse(abi.encodeWithSelector(Registry.ZeroNodeKey.selector), 0, address(1), CLIENT, 0, binding);
        _refuse(abi.encodeWithSelector(Registry.ZeroPayee.selector), key, address(0), CLIENT, 0, binding);
        _refuse(abi.encodeWithSelector(Registry.BadRoles.selector, 0), key, address(1), 0, 0, binding);
        _refuse(abi.encodeWithSelector(Registry.BadRoles.selector, 8), key, address(1), 8, 0, binding);
        bytes memory why = abi.encodeWithSelector(Registry.BadBindingLength.selector, 63);
        _refuse(why, key, address(1), CLIENT, 0, new bytes(63));
        why = abi.encodeWithSelector(Registry.StakeTooSmall.selector, BOND - 1, BOND);
        _refuse(why, key, address(1), LABELER, BOND - 1, binding);
        why = abi.encodeWithSelector(Registry.StakeTooSmall.selector, MIN - 1, MIN);
        _refuse(why, key, address(1), VALIDATOR | LABELER, MIN - 1, binding);
        registry.register(key, bytes32(0), address(1), CLIENT, 0, binding);
        why = abi.encodeWithSelector(Registry.AlreadyRegistered.selector, address(this));
        _refuse(why, bytes32(uint256(2)), address(1), CLIENT, 0, binding);
    }

    function test_a_node_key_belongs_to_one_account() public {
        registry.register(bytes32(uint256(1)), bytes32(0), address(1), CLIENT, 0, binding);
        vm.prank(address(2));
        vm.expectRevert(abi.encodeWithSelector(Registry.NodeKeyTaken.selector, bytes32(uint256(1)), address(this)));
        registry.register(bytes32(uint256(1)), bytes32(0), address(1), CLIENT, 0, binding);
    }

    function test_a_node_key_is_free_again_after_withdrawal_and_the_nonce_rises() public {
        registry.register(bytes32(uint256(1)), bytes32(0), address(1), CLIENT, 0, binding);
        _leave(address(this));
        registry.withdraw(_heads(), _nothing());
        eq(registry.accountOfNodeKey(bytes32(uint256(1))), address(0), "freed");
        vm.prank(address(2));
        registry.register(bytes32(uint256(1)), bytes32(0), address(1), CLIENT, 0, binding);
        vm.expectEmit();
        emit Registered(address(this), bytes32(uint256(9)), 0, address(1), CLIENT, 0, 1, binding);
        registry.register(bytes32(uint256(9)), bytes32(0), address(1), CLIENT, 0, binding);
    }

    function testFuzz_effective_stake_is_capped(uint128 stake, uint128 more) public {
        stake = uint128(within(stake, MIN, 500_000e6));
        more = uint128(within(more, 1, 500_000e6));
        _join(address(1), VALIDATOR, stake);
        eq(registry.effectiveStake(address(1)), stake < 4 * MIN ? stake : 4 * MIN, "first");
        vm.prank(address(1));
        registry.addStake(more);
        uint128 sum = stake + more;
        eq(registry.accounts(address(1)).stake, sum, "sum");
        eq(registry.effectiveStake(address(1)), sum < 4 * MIN ? sum : 4 * MIN, "after adding");
        eq(token.balanceOf(address(registry)), sum, "balance");
    }

    function test_only_validators_have_weight() public {
        _join(address(1), LABELER, MIN);
        eq(registry.effectiveStake(address(1)), 0, "labeler");
        eq(registry.effectiveStake(address(2)), 0, "stranger");
        eq(registry.validatorCount(), 0, "count");
    }

    /// @dev Any order of leaving keeps the list equal to the set of those who stayed.
    function testFuzz_the_validator_list_is_the_set_of_active_validators(uint256 size, uint256 order) public {
        uint256 n = within(size, 1, 12);
        bool[] memory gone = new bool[](n);
        for (uint256 i; i < n; ++i) {
            _join(address(uint160(100 + i)), VALIDATOR, MIN);
        }
        for (uint256 step; step < n; ++step) {
            uint256 who = uint256(keccak256(abi.encode(order, step))) % n;
            while (gone[who]) who = (who + 1) % n;
            vm.prank(address(uint160(100 + who)));
            registry.requestUnbond();
            gone[who] = true;
            eq(registry.validatorCount(), n - step - 1, "count");
            (address[] memory list, uint128[] memory weights) = registry.validators();
            for (uint256 i; i < list.length; ++i) {
                yes(!gone[uint160(list[i]) - 100], "left but listed");
                eq(registry.accounts(list[i]).validatorSlot, i + 1, "slot");
                eq(weights[i], MIN, "weight");
                eq(registry.validatorAt(i), list[i], "position");
            }
        }
    }

    function test_the_validator_list_is_bounded() public {
        for (uint256 i; i < registry.MAX_VALIDATORS(); ++i) {
            _join(address(uint160(1000 + i)), VALIDATOR, MIN);
        }
        _rich(address(1));
        vm.prank(address(1));
        vm.expectRevert(Registry.ValidatorListFull.selector);
        registry.register(bytes32(uint256(1)), bytes32(0), address(1), VALIDATOR, MIN, binding);
    }

    function test_leaving_takes_the_unbonding_time() public {
        _join(address(1), VALIDATOR, MIN);
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(Registry.NotUnbonding.selector, address(1)));
        registry.withdraw(_heads(), _nothing());
        vm.prank(address(1));
        registry.requestUnbond();
        uint64 readyAt = registry.accounts(address(1)).readyAt;
        eq(readyAt, vm.getBlockTimestamp() + UNBOND, "ready");
        eq(registry.effectiveStake(address(1)), 0, "weight while leaving");
        vm.warp(readyAt - 1);
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(Registry.NotReady.selector, readyAt));
        registry.withdraw(_heads(), _nothing());
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(Registry.Unbonding.selector, address(1)));
        registry.requestUnbond();
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(Registry.Unbonding.selector, address(1)));
        registry.addStake(1);
        vm.warp(readyAt);
        vm.prank(address(1));
        registry.withdraw(_heads(), _nothing());
        eq(token.balanceOf(address(1)), 1_000_000e6, "all back");
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(Registry.NotRegistered.selector, address(1)));
        registry.withdraw(_heads(), _nothing());
    }

    function test_strangers_can_neither_add_nor_leave() public {
        vm.expectRevert(abi.encodeWithSelector(Registry.NotRegistered.selector, address(this)));
        registry.addStake(1);
        vm.expectRevert(abi.encodeWithSelector(Registry.NotRegistered.selector, address(this)));
        registry.requestUnbond();
        registry.register(bytes32(uint256(1)), bytes32(0), address(1), CLIENT, 0, binding);
        vm.expectRevert(Registry.ZeroAmount.selector);
        registry.addStake(0);
    }

    function _losses(address a, uint128 la, address b, uint128 lb) private pure returns (bytes32[] memory) {
        address[] memory who = new address[](2);
        uint128[] memory totals = new uint128[](2);
        (who[0], totals[0], who[1], totals[1]) = (a, la, b, lb);
        return Trees.lossLeaves(who, totals);
    }

    function testFuzz_a_labelers_loss_is_burned_on_exit(uint128 stake, uint128 loss) public {
        stake = uint128(within(stake, BOND, 1_000_000e6));
        _join(address(5), LABELER, stake);
        bytes32[] memory tree = _losses(address(5), loss, address(9), 1);
        _setLossRoot(0, Trees.root(tree));
        _leave(address(5));
        vm.prank(address(5));
        registry.withdraw(_heads(), _leaf(address(5), loss, 0, Trees.proof(tree, 0)));
        uint256 burned = loss < stake ? loss : stake;
        eq(token.balanceOf(DEAD), burned, "burned");
        eq(token.balanceOf(address(5)), 1_000_000e6 - burned, "returned");
        eq(token.balanceOf(address(registry)), 0, "nothing left");
    }

    function test_a_loss_is_burned_once_and_the_rest_stays_owed() public {
        _join(address(5), LABELER, 100e6);
        bytes32[] memory tree = _losses(address(5), 150e6, address(9), 1);
        _setLossRoot(0, Trees.root(tree));
        _leave(address(5));
        vm.prank(address(5));
        registry.withdraw(_heads(), _leaf(address(5), 150e6, 0, Trees.proof(tree, 0)));
        eq(token.balanceOf(DEAD), 100e6, "first");
        vm.prank(address(5));
        registry.register(bytes32(uint256(5)), bytes32(0), address(5), LABELER, 100e6, binding);
        _leave(address(5));
        vm.prank(address(5));
        registry.withdraw(_heads(), _leaf(address(5), 150e6, 0, Trees.proof(tree, 0)));
        eq(token.balanceOf(DEAD), 150e6, "second takes the rest only");
    }

    function test_a_labeler_cannot_pass_with_a_wrong_or_foreign_loss() public {
        _join(address(5), LABELER, BOND);
        bytes32[] memory tree = _losses(address(5), 4e6, address(9), 0);
        _setLossRoot(0, Trees.root(tree));
        _leave(address(5));
        bytes memory bad = abi.encodeWithSelector(Registry.BadLossProof.selector, 0);
        bytes32[] memory proof = Trees.proof(tree, 0);
        vm.prank(address(5));
        vm.expectRevert(bad);
        registry.withdraw(_heads(), _leaf(address(5), 3e6, 0, proof));
        vm.prank(address(5));
        vm.expectRevert(bad);
        registry.withdraw(_heads(), _nothing());
        proof = Trees.proof(tree, 1);
        vm.prank(address(5));
        vm.expectRevert(bad);
        registry.withdraw(_heads(), _leaf(address(9), 0, 1, proof));
    }

    function test_without_any_loss_tree_a_labeler_leaves_whole() public {
        _join(address(5), LABELER, BOND);
        _leave(address(5));
        vm.prank(address(5));
        vm.expectRevert(abi.encodeWithSelector(Registry.BadLossProof.selector, 0));
        registry.withdraw(_heads(), _leaf(address(5), 1, 0, new bytes32[](0)));
        vm.prank(address(5));
        registry.withdraw(_heads(), _nothing());
        eq(token.balanceOf(address(5)), 1_000_000e6, "whole");
    }

    function test_validators_without_the_labeler_role_need_no_proof() public {
        _join(address(5), VALIDATOR, MIN);
        _setLossRoot(0, Trees.root(_losses(address(5), 4e6, address(9), 0)));
        _leave(address(5));
        vm.prank(address(5));
        registry.withdraw(_heads(), _nothing());
        eq(token.balanceOf(address(5)), 1_000_000e6, "whole");
    }

    function test_several_lanes_need_one_entry_each() public {
        _join(address(5), LABELER, BOND);
        _setLanes(2);
        bytes32[] memory tree = _losses(address(5), 4e6, address(9), 0);
        _setLossRoot(1, Trees.root(tree));
        _leave(address(5));
        vm.prank(address(5));
        vm.expectRevert(abi.encodeWithSelector(Registry.LaneCountMismatch.selector, 1, 2));
        registry.withdraw(_heads(), new Registry.LossLeaf[][](1));
        vm.prank(address(5));
        vm.expectRevert(abi.encodeWithSelector(Registry.LaneCountMismatch.selector, 1, 2));
        registry.withdraw(new EpochHeader[](1), new Registry.LossLeaf[][](2));
        Registry.LossLeaf[][] memory perLane = new Registry.LossLeaf[][](2);
        vm.prank(address(5));
        vm.expectRevert(abi.encodeWithSelector(Registry.BadLossProof.selector, 1));
        registry.withdraw(_heads(), perLane);
        perLane[1] = new Registry.LossLeaf[](1);
        perLane[1][0] = Registry.LossLeaf(address(5), 4e6, 0, Trees.proof(tree, 0));
        vm.prank(address(5));
        registry.withdraw(_heads(), perLane);
        eq(token.balanceOf(DEAD), 4e6, "burned");
    }

    function test_losses_are_shown_by_the_last_header_of_the_lane_only() public {
        _join(address(5), LABELER, BOND);
        _setLossRoot(0, 0);
        EpochHeader[] memory old = _heads();
        bytes32[] memory tree = _losses(address(5), 4e6, address(9), 0);
        _setLossRoot(0, Trees.root(tree));
        _leave(address(5));
        bytes memory why = abi.encodeWithSelector(Registry.NotTheHead.selector, 0);
        vm.prank(address(5));
        vm.expectRevert(why);
        registry.withdraw(old, _nothing());
        EpochHeader[] memory forged = _heads();
        forged[0].lossRoot = 0;
        vm.prank(address(5));
        vm.expectRevert(why);
        registry.withdraw(forged, _nothing());
        // Another lane's header proves nothing here, not even of a lane without epochs.
        forged[0] = EpochHeader(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        vm.prank(address(5));
        vm.expectRevert(why);
        registry.withdraw(forged, _nothing());
        vm.prank(address(5));
        registry.withdraw(_heads(), _leaf(address(5), 4e6, 0, Trees.proof(tree, 0)));
        eq(token.balanceOf(DEAD), 4e6, "burned");
    }

    /// @dev For every tree of even-numbered accounts: an odd-numbered one can prove its absence, a member cannot.
    function testFuzz_absence_is_provable_for_absentees_only(uint256 size, uint256 who, uint256 first, bool two)
        public
    {
        uint256 n = within(size, 1, 9);
        address[] memory accounts = new address[](n);
        uint128[] memory totals = new uint128[](n);
        for (uint256 i; i < n; ++i) {
            (accounts[i], totals[i]) = (address(uint160(0x1000 + 2 * i)), 1e6);
        }
        bytes32[] memory tree = Trees.lossLeaves(accounts, totals);
        _setLossRoot(0, Trees.root(tree));
        uint256 width = 1;
        while (width < n) width *= 2;

        // The honest proof for an account at or just before position `place`.
        uint256 place = within(who, 0, n);
        address absent = address(uint160(0x1000 + 2 * place - 1));
        _join(absent, LABELER, BOND);
        _leave(absent);
        uint256 from = place == 0 ? 0 : place - 1;
        uint256 count = place == 0 || place == width ? 1 : 2;
        Registry.LossLeaf[][] memory honest = _entry(tree, accounts, from, count);
        vm.prank(absent);
        registry.withdraw(_heads(), honest);
        eq(token.balanceOf(absent), 1_000_000e6, "absentee leaves whole");

        // A member tries any pair or single leaf of the tree that is not its own.
        if (place == n) return;
        address member = accounts[place];
        _join(member, LABELER, BOND);
        _leave(member);
        uint256 start = within(first, 0, width - 1);
        uint256 length = two && start + 1 < width ? 2 : 1;
        if (length == 1 && start == place) return;
        Registry.LossLeaf[][] memory forged = _entry(tree, accounts, start, length);
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(Registry.BadLossProof.selector, 0));
        registry.withdraw(_heads(), forged);
    }

    function _entry(bytes32[] memory tree, address[] memory accounts, uint256 from, uint256 count)
        private
        pure
        returns (Registry.LossLeaf[][] memory perLane)
    {
        perLane = new Registry.LossLeaf[][](1);
        perLane[0] = new Registry.LossLeaf[](count);
        for (uint256 i; i < count; ++i) {
            uint256 place = from + i;
            bool real = place < accounts.length;
            perLane[0][i] =
                Registry.LossLeaf(real ? accounts[place] : address(0), real ? 1e6 : 0, place, Trees.proof(tree, place));
        }
    }

    function test_two_neighbours_that_do_not_touch_prove_nothing() public {
        address[] memory accounts = new address[](4);
        uint128[] memory totals = new uint128[](4);
        for (uint256 i; i < 4; ++i) {
            accounts[i] = address(uint160(0x1000 + i));
        }
        bytes32[] memory tree = Trees.lossLeaves(accounts, totals);
        _setLossRoot(0, Trees.root(tree));
        _join(accounts[1], LABELER, BOND);
        _leave(accounts[1]);
        Registry.LossLeaf[][] memory perLane = new Registry.LossLeaf[][](1);
        perLane[0] = new Registry.LossLeaf[](2);
        perLane[0][0] = Registry.LossLeaf(accounts[0], 0, 0, Trees.proof(tree, 0));
        perLane[0][1] = Registry.LossLeaf(accounts[2], 0, 2, Trees.proof(tree, 2));
        vm.prank(accounts[1]);
        vm.expectRevert(abi.encodeWithSelector(Registry.BadLossProof.selector, 0));
        registry.withdraw(_heads(), perLane);
        perLane[0] = new Registry.LossLeaf[](3);
        vm.prank(accounts[1]);
        vm.expectRevert(abi.encodeWithSelector(Registry.BadLossProof.selector, 0));
        registry.withdraw(_heads(), perLane);
    }

    // ---- slashing ------------------------------------------------------------------------------------------------

    /// @dev To the unit: the part is rounded down, the reporter's half too, and the odd unit is burned.
    function testFuzz_a_slash_is_split_to_the_unit(uint128 stake, uint16 bps, uint8 times) public {
        stake = uint128(within(stake, MIN, 1_000_000e6));
        bps = uint16(within(bps, 1, 10_000));
        registry = new Registry(token, MIN, BOND, UNBOND, bps, address(anchor));
        _join(address(5), VALIDATOR, stake);
        _join(address(6), VALIDATOR, MIN);
        uint256 left = stake;
        for (uint256 i; i < times % 3 + 1; ++i) {
            left = _slash(left, bps);
        }
        eq(token.balanceOf(address(registry)), left + MIN, "the other's stake is untouched");
        eq(left + token.balanceOf(address(0x4E90)) + token.balanceOf(DEAD), stake, "nothing is lost or made");
        eq(registry.validatorCount(), 1, "out of the list");
        eq(registry.validatorAt(0), address(6), "the other stays");
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        uint256 before = token.balanceOf(address(5));
        vm.prank(address(5));
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        eq(token.balanceOf(address(5)) - before, left, "the rest comes back");
    }

    function _slash(uint256 stake, uint256 bps) private returns (uint256 left) {
        uint256 part = stake * bps / 10_000;
        uint256 reward = token.balanceOf(address(0x4E90)) + part / 2;
        uint256 burned = token.balanceOf(DEAD) + part - part / 2;
        registry.slash(address(5), address(0x4E90));
        left = stake - part;
        eq(registry.accounts(address(5)).stake, left, "stake");
        eq(token.balanceOf(address(0x4E90)), reward, "reporter");
        eq(token.balanceOf(DEAD), burned, "burned");
    }

    function test_losses_are_burned_from_what_a_slash_has_left() public {
        _join(address(5), LABELER | VALIDATOR, 100e6);
        bytes32[] memory tree = _losses(address(5), 90e6, address(9), 1);
        _setLossRoot(0, Trees.root(tree));
        registry.slash(address(5), address(0x4E90));
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        vm.prank(address(5));
        registry.withdraw(_heads(), _leaf(address(5), 90e6, 0, Trees.proof(tree, 0)));
        eq(token.balanceOf(DEAD), 12.5e6 + 75e6, "half of the slash and the rest of the stake");
        eq(token.balanceOf(address(registry)), 0, "empty");
    }

    function test_a_slash_reaches_the_next_registration_of_the_account() public {
        _join(address(5), VALIDATOR, MIN);
        _leave(address(5));
        vm.prank(address(5));
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        vm.prank(address(5));
        registry.register(bytes32(uint256(55)), 0, address(5), VALIDATOR, MIN, binding);
        registry.slash(address(5), address(0x4E90));
        eq(registry.accounts(address(5)).stake, MIN - MIN / 4, "slashed");
        eq(registry.accountOfNodeKey(bytes32(uint256(55))), address(5), "registered until it leaves");
    }

    function test_only_who_was_ever_registered_is_banned_and_only_by_disputes() public {
        vm.expectRevert(abi.encodeWithSelector(Registry.NotRegistered.selector, address(5)));
        registry.slash(address(5), address(0x4E90));
        yes(!registry.banned(address(5)), "not banned");
        _join(address(5), VALIDATOR, MIN);
        vm.prank(address(5));
        vm.expectRevert(abi.encodeWithSelector(Registry.OnlyDisputes.selector, address(5)));
        registry.slash(address(5), address(5));
    }

    function test_validators_wait_for_the_end_of_their_service() public {
        _join(address(5), VALIDATOR, MIN);
        _join(address(6), LABELER, BOND);
        anchor.setService(true, 0);
        _leave(address(5));
        vm.prank(address(5));
        vm.expectRevert(abi.encodeWithSelector(Registry.StillServing.selector, address(5)));
        registry.withdraw(_heads(), _nothing());
        uint64 until = uint64(vm.getBlockTimestamp());
        anchor.setService(false, until);
        vm.warp(until + UNBOND - 1);
        vm.prank(address(5));
        vm.expectRevert(abi.encodeWithSelector(Registry.NotReady.selector, until + UNBOND));
        registry.withdraw(_heads(), _nothing());
        vm.warp(until + UNBOND);
        vm.prank(address(5));
        registry.withdraw(_heads(), _nothing());
        eq(token.balanceOf(address(5)), 1_000_000e6, "whole");
        // Whoever is no validator serves in no committee.
        anchor.setService(true, 0);
        _leave(address(6));
        vm.prank(address(6));
        registry.withdraw(_heads(), _nothing());
        eq(token.balanceOf(address(6)), 1_000_000e6, "labeler");
    }

    function test_tokens_that_deliver_less_are_refused() public {
        FeeToken fee = new FeeToken();
        Registry r = new Registry(fee, MIN, BOND, UNBOND, SLASH, address(anchor));
        fee.mint(address(this), MIN);
        fee.approve(address(r), MIN);
        vm.expectRevert(abi.encodeWithSelector(ExactTransfer.InexactTransfer.selector, MIN, MIN - MIN / 100));
        r.register(bytes32(uint256(1)), bytes32(0), address(1), VALIDATOR, MIN, binding);
    }

    function test_tokens_that_return_false_are_refused() public {
        FalseToken bad = new FalseToken();
        Registry r = new Registry(IERC20(address(bad)), MIN, BOND, UNBOND, SLASH, address(anchor));
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(bad)));
        r.register(bytes32(uint256(1)), bytes32(0), address(1), VALIDATOR, MIN, binding);
    }

    function test_a_token_cannot_reenter() public {
        ReentrantToken evil = new ReentrantToken();
        Registry r = new Registry(evil, MIN, BOND, UNBOND, SLASH, address(anchor));
        evil.mint(address(this), MIN);
        evil.approve(address(r), MIN);
        evil.arm(address(r), abi.encodeCall(Registry.addStake, (1)));
        vm.expectRevert(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        r.register(bytes32(uint256(1)), bytes32(0), address(1), VALIDATOR, MIN, binding);
    }

    function test_bad_configurations_are_refused() public {
        vm.expectRevert(Registry.BadConfiguration.selector);
        new Registry(IERC20(address(0)), MIN, BOND, UNBOND, SLASH, address(anchor));
        vm.expectRevert(Registry.BadConfiguration.selector);
        new Registry(token, 0, BOND, UNBOND, SLASH, address(anchor));
        vm.expectRevert(Registry.BadConfiguration.selector);
        new Registry(token, type(uint128).max / 4 + 1, BOND, UNBOND, SLASH, address(anchor));
        vm.expectRevert(Registry.BadConfiguration.selector);
        new Registry(token, MIN, BOND, UNBOND, SLASH, address(0));
        vm.expectRevert(Registry.BadConfiguration.selector);
        new Registry(token, MIN, BOND, UNBOND, 0, address(anchor));
        vm.expectRevert(Registry.BadConfiguration.selector);
        new Registry(token, MIN, BOND, UNBOND, 10_001, address(anchor));
    }
}
