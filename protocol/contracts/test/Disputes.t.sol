// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Disputes} from "../src/Disputes.sol";
import {EpochAnchor} from "../src/EpochAnchor.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {Registry} from "../src/Registry.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev Names the given disputes, and a registry that belongs to somebody else.
contract Impostor {
    address public immutable disputes;
    address public immutable registry;

    constructor(address disputes_, address registry_) {
        (disputes, registry) = (disputes_, registry_);
    }
}

/// @dev A network of one lane whose roots wait for a day, and trees of which every leaf can be wrong.
contract DisputesTest is World {
    uint48 private constant DELAY = 1 days;
    address private constant CLIENT = address(0xC11E);
    address private constant REPORTER = address(0x4E90);
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;
    uint256 private constant MEMBERS = 7;

    /// @dev What a committee signs: both trees, leaf by leaf.
    struct Tree {
        address[] payees;
        uint128[] totals;
        uint128[] before;
        bytes32[] payout;
        bytes32[] audit;
    }

    EpochHeader[] private posted;
    uint256 private tasks;

    event FaultProven(
        uint32 indexed lane,
        uint64 indexed epoch,
        bytes32 indexed headerHash,
        Disputes.Fault fault,
        bool rewound,
        address reporter
    );
    event EpochsRevoked(uint32 indexed lane, uint64 fromEpoch, uint64 head);
    event RootsRevoked(uint64 from, uint64 to);
    event Equivocated(
        uint32 indexed lane, uint64 indexed epoch, address indexed account, bytes32 first, bytes32 second
    );
    event Slashed(address indexed account, address indexed reporter, uint128 amount, uint128 rewarded);
    event Banned(address indexed account, bytes32 indexed nodeKey);

    function setUp() public {
        _deploy(1, 21, DELAY);
        _validators(MEMBERS);
        anchor.drawCommittee(0);
        vm.roll(vm.getBlockNumber() + 10);
    }

    // ---- trees and evidence --------------------------------------------------------------------------------------

    /// @dev The honest trees of these totals; the payees' order is the caller's.
    function _tree(address[] memory payees, uint128[] memory totals) private pure returns (Tree memory t) {
        (t.payees, t.totals) = (payees, totals);
        t.before = new uint128[](payees.length);
        for (uint256 i = 1; i < payees.length; ++i) {
            t.before[i] = t.before[i - 1] + totals[i - 1];
        }
        t.payout = Trees.payoutLeaves(payees, totals);
        t.audit = Trees.auditLeaves(payees, totals);
    }

    /// @dev Five payees A1 to A5 with 10, 20, 30, 40 and 50, which is a tree with three places of padding.
    function _five() private pure returns (Tree memory) {
        address[] memory payees = new address[](5);
        uint128[] memory totals = new uint128[](5);
        for (uint256 i; i < 5; ++i) {
            (payees[i], totals[i]) = (address(uint160(0xA1 + i)), uint128(10 * (i + 1)));
        }
        return _tree(payees, totals);
    }

    /// @dev Writes one audit leaf anew.
    function _reaudit(Tree memory t, uint256 i, address payee, uint128 total, uint128 before) private pure {
        t.before[i] = before;
        t.audit[i] = keccak256(bytes.concat(hex"05", bytes20(payee), bytes16(total), bytes16(before)));
    }

    function _sum(Tree memory t) private pure returns (uint256 sum) {
        for (uint256 i; i < t.totals.length; ++i) {
            sum += t.totals[i];
        }
    }

    function _payout(Tree memory t, uint256 i) private pure returns (Disputes.PayoutLeaf memory) {
        return Disputes.PayoutLeaf(t.payees[i], t.totals[i], i, Trees.proof(t.payout, i));
    }

    function _audit(Tree memory t, uint256 i) private pure returns (Disputes.AuditLeaf memory) {
        return Disputes.AuditLeaf(t.payees[i], t.totals[i], t.before[i], i, Trees.proof(t.audit, i));
    }

    /// @dev The next header with these trees; funds and settles a task so that it owes `owed`.
    function _header(Tree memory t, uint256 count, uint256 owed)
        private
        returns (EpochHeader memory h, SettledTask[] memory settled)
    {
        settled = _none();
        uint256 fresh = owed - distributor.totalReleased();
        if (fresh != 0) {
            bytes32 task = keccak256(abi.encode(++tasks));
            _fund(CLIENT, task, 0, uint128(fresh), 0);
            settled = _one(task, CLIENT);
        }
        vm.roll(vm.getBlockNumber() + 1);
        h = _next(0, settled);
        (h.payoutRoot, h.auditRoot, h.payoutCount) = (Trees.root(t.payout), Trees.root(t.audit), uint32(count));
    }

    function _epoch(Tree memory t, uint256 count, uint256 owed) private returns (EpochHeader memory h) {
        SettledTask[] memory settled;
        (h, settled) = _header(t, count, owed);
        _post(h, settled);
        posted.push(h);
    }

    function _epoch(Tree memory t) private returns (EpochHeader memory) {
        return _epoch(t, t.payees.length, _sum(t));
    }

    /// @dev Signatures of the validators with keys from `first` on.
    function _signatures(EpochHeader memory h, uint256 first, uint256 count) private view returns (bytes memory all) {
        bytes32 digest = anchor.digest(h);
        for (uint256 key = first; key < first + count; ++key) {
            all = bytes.concat(all, _sign(key, digest));
        }
    }

    /// @dev Accuses the header posted as number `from` (of those posted here), signed by the first five validators.
    function _evidence(uint256 from) private view returns (Disputes.Evidence memory e) {
        e.chain = new EpochHeader[](posted.length - from);
        for (uint256 i; i < e.chain.length; ++i) {
            e.chain[i] = posted[from + i];
        }
        e.signatures = _signatures(posted[from], 1, 5);
        e.reporter = REPORTER;
    }

    /// @dev What must hold after the conviction of the last header: five signers paid and are out, the lane went back.
    function _convicted(EpochHeader memory h) private view {
        bytes32 hash = anchor.hashHeader(h);
        yes(disputes.faulty(hash), "remembered");
        (uint64 epoch, bytes32 head,) = anchor.head(0);
        eq(epoch, h.epoch - 1, "back to the parent");
        eq(head, h.parent, "parent's hash");
        (, address[] memory members,) = anchor.committee(0);
        eq(members.length, 0, "dismissed");
        (bytes24 root,,) = distributor.roots(h.epoch);
        yes(root == 0, "root is gone");
        for (uint256 key = 1; key <= MEMBERS; ++key) {
            address who = vm.addr(key);
            yes(registry.banned(who) == (key <= 5), "signers are banned");
            yes(disputes.punished(hash, who) == (key <= 5), "punished");
            eq(registry.accounts(who).stake, key <= 5 ? MIN - MIN / 10 : MIN, "stake");
        }
        eq(registry.validatorCount(), MEMBERS - 5, "validators left");
        eq(token.balanceOf(REPORTER), 5 * (MIN / 20), "half to the reporter");
        eq(token.balanceOf(DEAD), 5 * (MIN / 20), "half burned");
    }

    // ---- every fault is caught -----------------------------------------------------------------------------------

    function test_leaves_out_of_order_are_caught_however_far_apart() public {
        Tree memory t = _five();
        (t.payees[1], t.payees[3]) = (t.payees[3], t.payees[1]);
        t = _tree(t.payees, t.totals);
        EpochHeader memory h = _epoch(t);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectRevert(Disputes.NoFault.selector);
        disputes.proveDisorder(e, _payout(t, 3), _payout(t, 1));
        vm.expectRevert(Disputes.NoFault.selector);
        disputes.proveDisorder(e, _payout(t, 0), _payout(t, 1));
        bytes32 hash = anchor.hashHeader(h);
        vm.expectEmit();
        emit RootsRevoked(1, 1);
        vm.expectEmit();
        emit EpochsRevoked(0, 1, 1);
        vm.expectEmit();
        emit FaultProven(0, 1, hash, Disputes.Fault.Disorder, true, REPORTER);
        disputes.proveDisorder(e, _payout(t, 1), _payout(t, 3));
        _convicted(h);
    }

    function test_a_payee_named_twice_is_caught() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        EpochHeader memory h = _epoch(t);
        disputes.proveDisorder(_evidence(0), _payout(t, 3), _payout(t, 4));
        _convicted(h);
    }

    function test_a_leaf_beyond_the_count_is_caught_in_both_trees() public {
        Tree memory t = _five();
        // Six leaves stand there, five are announced; both need eight places.
        bytes32[] memory six = new bytes32[](6);
        for (uint256 i; i < 5; ++i) {
            six[i] = t.payout[i];
        }
        six[5] = keccak256("anything");
        t.payout = six;
        EpochHeader memory h = _epoch(t);
        disputes.provePlace(_evidence(0), false, six[5], 5, Trees.proof(six, 5));
        _convicted(h);
    }

    function test_a_gap_below_the_count_is_caught_in_both_trees() public {
        Tree memory t = _five();
        t.audit[2] = bytes32(0);
        EpochHeader memory h = _epoch(t);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectRevert(Disputes.NoFault.selector);
        disputes.provePlace(e, false, t.payout[2], 2, Trees.proof(t.payout, 2));
        disputes.provePlace(e, true, bytes32(0), 2, Trees.proof(t.audit, 2));
        _convicted(h);
    }

    function test_a_missing_audit_tree_is_caught() public {
        Tree memory t = _five();
        t.audit = new bytes32[](0);
        EpochHeader memory h = _epoch(t);
        disputes.proveNoAudit(_evidence(0));
        _convicted(h);
    }

    function test_an_audit_leaf_with_another_total_is_caught() public {
        Tree memory t = _five();
        _reaudit(t, 2, t.payees[2], 31, t.before[2]);
        EpochHeader memory h = _epoch(t);
        Disputes.AuditLeaf memory leaf = _audit(t, 2);
        leaf.total = 31;
        disputes.proveMismatch(_evidence(0), leaf, t.payout[2], Trees.proof(t.payout, 2));
        _convicted(h);
    }

    function test_a_payout_place_that_nobody_can_open_is_caught_by_its_audit_leaf() public {
        Tree memory t = _five();
        t.payout[2] = keccak256("a word without a leaf");
        EpochHeader memory h = _epoch(t);
        disputes.proveMismatch(_evidence(0), _audit(t, 2), t.payout[2], Trees.proof(t.payout, 2));
        _convicted(h);
    }

    function test_sums_that_do_not_start_at_zero_are_caught() public {
        Tree memory t = _five();
        _reaudit(t, 0, t.payees[0], t.totals[0], 1);
        EpochHeader memory h = _epoch(t);
        disputes.proveEdge(_evidence(0), _audit(t, 0));
        _convicted(h);
    }

    function test_sums_that_do_not_continue_are_caught() public {
        Tree memory t = _five();
        _reaudit(t, 3, t.payees[3], t.totals[3], t.before[3] - 1);
        EpochHeader memory h = _epoch(t);
        disputes.proveSum(_evidence(0), _audit(t, 2), _audit(t, 3));
        _convicted(h);
    }

    /// @dev The tree owes 150 and the header says 149, which is what the contracts hold the lane to.
    function test_sums_that_do_not_end_at_what_is_owed_are_caught() public {
        Tree memory t = _five();
        EpochHeader memory h = _epoch(t, 5, 149);
        disputes.proveEdge(_evidence(0), _audit(t, 4));
        _convicted(h);
    }

    function test_sums_beyond_the_range_of_a_leaf_are_caught() public {
        Tree memory t = _five();
        t.totals[4] = type(uint128).max;
        t.payout = Trees.payoutLeaves(t.payees, t.totals);
        _reaudit(t, 4, t.payees[4], t.totals[4], t.before[4]);
        EpochHeader memory h = _epoch(t, 5, 150);
        disputes.proveEdge(_evidence(0), _audit(t, 4));
        _convicted(h);
    }

    function test_a_total_that_shrinks_is_caught() public {
        Tree memory t = _five();
        EpochHeader memory parent = _epoch(t);
        Tree memory u = _five();
        (u.totals[1], u.totals[2]) = (19, 31);
        u = _tree(u.payees, u.totals);
        EpochHeader memory h = _epoch(u);
        disputes.proveShrunk(_evidence(1), parent, _payout(t, 1), _payout(u, 1));
        _convicted(h);
        (bytes24 root,,) = distributor.roots(1);
        yes(root != 0, "the parent's root stays");
    }

    /// @dev The payee that vanished stood first, between two others, or last.
    function test_a_payee_that_vanished_is_caught_wherever_it_stood() public {
        uint256 snapshot = vm.snapshotState();
        for (uint256 gone; gone < 5; ++gone) {
            Tree memory t = _five();
            EpochHeader memory parent = _epoch(t);
            Tree memory u = _without(t, gone);
            EpochHeader memory h = _epoch(u);
            Disputes.PayoutLeaf[] memory around = new Disputes.PayoutLeaf[](gone == 0 || gone == 4 ? 1 : 2);
            around[0] = _payout(u, gone == 0 ? 0 : gone - 1);
            if (around.length == 2) around[1] = _payout(u, gone);
            disputes.proveOmitted(_evidence(1), parent, _payout(t, gone), around);
            _convicted(h);
            vm.revertToState(snapshot);
        }
    }

    /// @dev The tree of four that gives the vanished payee's total to another.
    function _without(Tree memory t, uint256 gone) private pure returns (Tree memory) {
        address[] memory payees = new address[](4);
        uint128[] memory totals = new uint128[](4);
        for (uint256 i; i < 4; ++i) {
            uint256 from = i < gone ? i : i + 1;
            (payees[i], totals[i]) = (t.payees[from], t.totals[from]);
        }
        totals[0] += t.totals[gone];
        return _tree(payees, totals);
    }

    // ---- honest headers cannot be punished -----------------------------------------------------------------------

    /// @dev A random honest tree of one to twelve payees; the second grows out of the first.
    function _honest(uint256 seed, Tree memory earlier) private pure returns (Tree memory) {
        uint256 old = earlier.payees.length;
        uint256 n = old + seed % 6 + (old == 0 ? 1 : 0);
        address[] memory payees = new address[](n);
        for (uint256 i; i < n; ++i) {
            payees[i] = i < old ? earlier.payees[i] : address(uint160(uint256(keccak256(abi.encode(seed, i)))));
        }
        Trees.sort(payees);
        uint128[] memory totals = new uint128[](n);
        for (uint256 i; i < n; ++i) {
            totals[i] = uint128(uint256(keccak256(abi.encode(seed, i, "total"))) % 1e6);
            for (uint256 j; j < old; ++j) {
                if (payees[i] == earlier.payees[j]) totals[i] += earlier.totals[j];
            }
        }
        if (old == 0) ++totals[0];
        return _tree(payees, totals);
    }

    function _harmless(bytes memory proof) private {
        (bool ok, bytes memory why) = address(disputes).call(proof);
        yes(!ok, "an honest header was convicted");
        // Not because the evidence is malformed: it shows true leaves, which are no fault.
        eq(bytes32(bytes4(why)), bytes32(Disputes.NoFault.selector), "refused as no fault");
    }

    /// forge-config: default.fuzz.runs = 300
    function testFuzz_no_leaves_of_honest_trees_are_a_fault(uint256 one, uint256 two, uint256 a, uint256 b, uint256 c)
        public
    {
        Tree memory none;
        Tree memory t = _honest(one, none);
        Tree memory u = _honest(two, t);
        EpochHeader memory parent = _epoch(t);
        _epoch(u);
        Disputes.Evidence memory e = _evidence(1);
        (a, b) = (a % u.payees.length, b % u.payees.length);
        _harmlessPlaces(e, u, a, b, c);
        _harmlessChanges(e, parent, t, u, a, c);
        eq(registry.validatorCount(), MEMBERS, "nobody was punished");
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, 2, "nothing was taken back");
    }

    function _harmlessPlaces(Disputes.Evidence memory e, Tree memory u, uint256 a, uint256 b, uint256 c) private {
        (Disputes.PayoutLeaf memory pa, Disputes.PayoutLeaf memory pb) = (_payout(u, a), _payout(u, b));
        _harmless(abi.encodeCall(disputes.proveDisorder, (e, pa, pb)));
        _harmless(abi.encodeCall(disputes.proveEdge, (e, _audit(u, a))));
        _harmless(abi.encodeCall(disputes.proveSum, (e, _audit(u, a), _audit(u, b))));
        if (a + 1 < u.payees.length) {
            _harmless(abi.encodeCall(disputes.proveSum, (e, _audit(u, a), _audit(u, a + 1))));
        }
        _harmless(abi.encodeCall(disputes.proveMismatch, (e, _audit(u, a), u.payout[a], pa.proof)));
        _harmless(abi.encodeCall(disputes.proveNoAudit, (e)));
        // Any place, padding included.
        uint256 place = c % (1 << pa.proof.length);
        for (uint256 kind; kind < 2; ++kind) {
            bytes32[] memory nodes = kind == 0 ? u.payout : u.audit;
            bytes32 node = place < nodes.length ? nodes[place] : bytes32(0);
            bytes32[] memory proof = Trees.proof(nodes, place);
            _harmless(abi.encodeCall(disputes.provePlace, (e, kind == 1, node, place, proof)));
        }
    }

    function _harmlessChanges(
        Disputes.Evidence memory e,
        EpochHeader memory parent,
        Tree memory t,
        Tree memory u,
        uint256 a,
        uint256 c
    ) private {
        Disputes.PayoutLeaf memory earlier = _payout(t, c % t.payees.length);
        _harmless(abi.encodeCall(disputes.proveShrunk, (e, parent, earlier, _payout(u, a))));
        for (uint256 i; i < u.payees.length; ++i) {
            if (u.payees[i] == earlier.payee) {
                _harmless(abi.encodeCall(disputes.proveShrunk, (e, parent, earlier, _payout(u, i))));
            }
            Disputes.PayoutLeaf[] memory around = new Disputes.PayoutLeaf[](1);
            around[0] = _payout(u, i);
            _harmless(abi.encodeCall(disputes.proveOmitted, (e, parent, earlier, around)));
            around = new Disputes.PayoutLeaf[](2);
            (around[0], around[1]) = (_payout(u, i), _payout(u, i + 1 < u.payees.length ? i + 1 : a));
            _harmless(abi.encodeCall(disputes.proveOmitted, (e, parent, earlier, around)));
        }
    }

    function test_a_total_that_stays_is_no_fault() public {
        Tree memory t = _five();
        EpochHeader memory parent = _epoch(t);
        _epoch(t);
        Disputes.Evidence memory e = _evidence(1);
        Disputes.PayoutLeaf memory leaf = _payout(t, 2);
        vm.expectRevert(Disputes.NoFault.selector);
        disputes.proveShrunk(e, parent, leaf, leaf);
    }

    function test_a_leaf_of_nothing_may_be_left_out() public {
        Tree memory t = _five();
        t.totals[2] = 0;
        t = _tree(t.payees, t.totals);
        EpochHeader memory parent = _epoch(t);
        Tree memory u = _without(t, 2);
        _epoch(u);
        Disputes.Evidence memory e = _evidence(1);
        Disputes.PayoutLeaf[] memory around = new Disputes.PayoutLeaf[](2);
        (around[0], around[1]) = (_payout(u, 1), _payout(u, 2));
        Disputes.PayoutLeaf memory earlier = _payout(t, 2);
        vm.expectRevert(Disputes.NoFault.selector);
        disputes.proveOmitted(e, parent, earlier, around);
    }

    /// @dev Leaves that do not stand in the tree are refused before they are judged.
    function testFuzz_forged_leaves_are_no_evidence(uint256 i, uint128 total, uint256 index) public {
        Tree memory t = _five();
        EpochHeader memory parent = _epoch(t);
        _epoch(t);
        Disputes.Evidence memory e = _evidence(1);
        i = i % 5;
        Disputes.PayoutLeaf memory true_ = _payout(t, i);
        Disputes.PayoutLeaf memory forged = _payout(t, i);
        forged.total = total;
        if (total == t.totals[i]) forged.index = index = within(index, 8, type(uint256).max);
        bytes memory why = abi.encodeWithSelector(Disputes.BadLeaf.selector, forged.index);
        vm.expectRevert(why);
        disputes.proveShrunk(e, parent, true_, forged);
        vm.expectRevert(why);
        disputes.proveShrunk(e, parent, forged, true_);
        vm.expectRevert(why);
        disputes.proveDisorder(e, forged, true_);
        // A shorter proof reaches an inner node, which is no place.
        true_.proof = new bytes32[](2);
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadLeaf.selector, i));
        disputes.proveDisorder(e, true_, true_);
        bytes32[] memory up = new bytes32[](2);
        bytes32[] memory proof = Trees.proof(t.payout, 0);
        (up[0], up[1]) = (proof[1], proof[2]);
        bytes32 inner = keccak256(bytes.concat(hex"01", t.payout[0], t.payout[1]));
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadLeaf.selector, 0));
        disputes.provePlace(e, false, inner, 0, up);
    }

    // ---- which header is accused ---------------------------------------------------------------------------------

    /// @dev A fault three epochs back takes all three with it; only its own signers pay.
    function test_a_fault_takes_back_every_later_epoch() public {
        Tree memory good = _five();
        _epoch(good);
        Tree memory bad = _five();
        bad.payees[4] = bad.payees[3];
        bad = _tree(bad.payees, bad.totals);
        EpochHeader memory h = _epoch(bad);
        _epoch(good);
        _epoch(good);
        Disputes.Evidence memory e = _evidence(1);
        eq(e.chain.length, 3, "headers");
        vm.expectEmit();
        emit EpochsRevoked(0, 2, 4);
        disputes.proveDisorder(e, _payout(bad, 3), _payout(bad, 4));
        _convicted(h);
        for (uint64 epoch = 2; epoch <= 4; ++epoch) {
            (bytes24 root,,) = distributor.roots(epoch);
            yes(root == 0, "revoked");
        }
        vm.warp(vm.getBlockTimestamp() + DELAY);
        bytes32[] memory proof = Trees.proof(good.payout, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.UnknownRoot.selector, 4));
        distributor.claim(4, good.payees[0], 10, 0, proof);
        distributor.claim(1, good.payees[0], 10, 0, proof);
        eq(token.balanceOf(good.payees[0]), 10, "the epoch before pays");
    }

    function test_only_posted_headers_can_be_accused() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        _epoch(t);
        _epoch(t);
        Disputes.PayoutLeaf memory a = _payout(t, 3);
        Disputes.PayoutLeaf memory b = _payout(t, 4);
        Disputes.Evidence memory e = _evidence(0);
        e.chain[1].parent = keccak256("another");
        vm.expectRevert(abi.encodeWithSelector(Disputes.BrokenChain.selector, 1));
        disputes.proveDisorder(e, a, b);
        e = _evidence(0);
        e.chain[0].view_ = 1;
        vm.expectRevert(abi.encodeWithSelector(Disputes.BrokenChain.selector, 1));
        disputes.proveDisorder(e, a, b);
        e.chain = new EpochHeader[](1);
        e.chain[0] = posted[0];
        vm.expectRevert(abi.encodeWithSelector(Disputes.NotTheHead.selector, 0));
        disputes.proveDisorder(e, a, b);
        e.chain = new EpochHeader[](0);
        vm.expectRevert(abi.encodeWithSelector(Disputes.BrokenChain.selector, 0));
        disputes.proveDisorder(e, a, b);
        // A lane without epochs has no head that an empty header could pass for.
        e.chain = new EpochHeader[](1);
        vm.expectRevert(abi.encodeWithSelector(Disputes.NotTheHead.selector, 0));
        disputes.proveNoAudit(e);
        e = _evidence(0);
        e.reporter = address(0);
        vm.expectRevert(Disputes.ZeroReporter.selector);
        disputes.proveDisorder(e, a, b);
    }

    function test_a_parent_must_be_the_parent() public {
        Tree memory t = _five();
        EpochHeader memory first = _epoch(t);
        EpochHeader memory second = _epoch(t);
        _epoch(t);
        Disputes.Evidence memory e = _evidence(2);
        Disputes.PayoutLeaf memory leaf = _payout(t, 0);
        bytes32 given = anchor.hashHeader(first);
        bytes memory why =
            abi.encodeWithSelector(Disputes.NotTheParent.selector, anchor.hashHeader(second), given);
        vm.expectRevert(why);
        disputes.proveShrunk(e, first, leaf, leaf);
        Disputes.PayoutLeaf[] memory around = new Disputes.PayoutLeaf[](1);
        around[0] = leaf;
        vm.expectRevert(why);
        disputes.proveOmitted(e, first, leaf, around);
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadNeighbours.selector, 3));
        disputes.proveOmitted(e, second, leaf, new Disputes.PayoutLeaf[](3));
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadNeighbours.selector, 0));
        disputes.proveOmitted(e, second, leaf, new Disputes.PayoutLeaf[](0));
    }

    function test_an_active_root_stays_but_its_signers_pay() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        EpochHeader memory h = _epoch(t);
        bytes32 hash = anchor.hashHeader(h);
        vm.warp(vm.getBlockTimestamp() + DELAY);
        Disputes.Evidence memory e = _evidence(0);
        vm.expectEmit();
        emit FaultProven(0, 1, hash, Disputes.Fault.Disorder, false, REPORTER);
        disputes.proveDisorder(e, _payout(t, 3), _payout(t, 4));
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, 1, "not taken back");
        (, address[] memory members,) = anchor.committee(0);
        eq(members.length, MEMBERS, "not dismissed");
        yes(registry.banned(vm.addr(1)), "banned");
        distributor.claim(1, t.payees[0], 10, 0, Trees.proof(t.payout, 0));
    }

    function test_one_second_before_activation_is_early_enough() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        EpochHeader memory h = _epoch(t);
        vm.warp(vm.getBlockTimestamp() + DELAY - 1);
        disputes.proveDisorder(_evidence(0), _payout(t, 3), _payout(t, 4));
        _convicted(h);
    }

    // ---- after a rewind ------------------------------------------------------------------------------------------

    /// @dev The money that moved with the faulty epoch is owed by the next header, to the last unit.
    function test_money_is_conserved_through_a_rewind_and_a_second_header() public {
        Tree memory t = _five();
        (t.totals[3], t.payees[4]) = (60, t.payees[3]);
        Tree memory bad = _tree(t.payees, t.totals);
        _epoch(bad, 5, 150);
        eq(token.balanceOf(address(distributor)), 150, "released");
        disputes.proveDisorder(_evidence(0), _payout(bad, 3), _payout(bad, 4));
        eq(token.balanceOf(address(distributor)), 150, "stays with the distributor");
        eq(distributor.totalReleased(), 150, "and on the books");
        vm.warp(vm.getBlockTimestamp() + 1 hours);
        anchor.drawCommittee(0);
        (uint64 term, address[] memory members, uint16 threshold) = anchor.committee(0);
        eq(term, 2, "terms never repeat");
        eq(members.length, 2, "without the banned");
        eq(threshold, 2, "quorum of two");
        // The next header owes the 150 and what a new task brings.
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory less = _next(0, _none());
        (less.payoutCount, less.totalOwed) = (1, 149);
        (uint256 signers, bytes memory signatures) = _quorum(0, anchor.digest(less), 2);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.NotConserved.selector, 149, 150));
        anchor.post(less, _none(), signers, signatures);
        Tree memory good = _five();
        good.totals[0] += 25;
        good = _tree(good.payees, good.totals);
        EpochHeader memory h = _epoch(good);
        eq(h.epoch, 1, "the same epoch again");
        vm.warp(vm.getBlockTimestamp() + DELAY);
        for (uint256 i; i < 5; ++i) {
            distributor.claim(1, good.payees[i], good.totals[i], i, Trees.proof(good.payout, i));
        }
        eq(token.balanceOf(address(distributor)), 0, "all of it is paid");
        eq(token.balanceOf(address(escrow)), 0, "nothing is left behind");
    }

    function test_a_dismissed_committee_cannot_post() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        _epoch(t);
        disputes.proveDisorder(_evidence(0), _payout(t, 3), _payout(t, 4));
        (,, uint64 term) = anchor.head(0);
        eq(term, 1, "the last term");
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory h = _next(0, _none());
        bytes memory signatures = _signatures(h, 1, 7);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.NoCommittee.selector, 0));
        anchor.post(h, _none(), 0x7f, signatures);
        eq(anchor.lastActivity(0), vm.getBlockTimestamp(), "a rewind is activity");
        anchor.drawCommittee(0);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.WrongTerm.selector, 2, 1));
        anchor.post(h, _none(), 0x7f, signatures);
    }

    /// @dev Also the faulty epoch's parent can be taken back, while no committee is in office.
    function test_two_faults_in_a_row_are_taken_back_one_by_one() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        _epoch(t);
        _epoch(t);
        disputes.proveDisorder(_evidence(1), _payout(t, 3), _payout(t, 4));
        posted.pop();
        Disputes.Evidence memory e = _evidence(0);
        disputes.proveDisorder(e, _payout(t, 3), _payout(t, 4));
        (uint64 epoch, bytes32 head,) = anchor.head(0);
        yes(epoch == 0 && head == 0, "nothing is left");
        // A second header with a fault costs a part of what is left of the stake.
        eq(registry.accounts(vm.addr(1)).stake, MIN * 81 / 100, "punished twice");
        anchor.drawCommittee(0);
        (uint64 term,,) = anchor.committee(0);
        eq(term, 2, "next term");
    }

    function test_a_pending_draw_falls_with_its_committee() public {
        _deploy(1, 5, DELAY);
        delete posted;
        _validators(7);
        anchor.requestDraw(0);
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        anchor.drawCommittee(0);
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        vm.roll(vm.getBlockNumber() + 1);
        for (uint256 i; i < TERM; ++i) {
            _epoch(t);
        }
        anchor.requestDraw(0);
        Disputes.Evidence memory e = _evidence(3);
        e.signatures = "";
        disputes.proveDisorder(e, _payout(t, 3), _payout(t, 4));
        (bool pending,,) = anchor.pendingDraw(0);
        yes(!pending, "gone");
    }

    function test_banned_candidates_of_a_draw_get_no_seat() public {
        _deploy(1, 5, DELAY);
        _validators(7);
        anchor.requestDraw(0);
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        (EpochHeader memory a, EpochHeader memory b) = _twins();
        disputes.proveEquivocation(a, b, _signatures(a, 1, 3), _signatures(b, 1, 3), REPORTER);
        anchor.drawCommittee(0);
        (, address[] memory members, uint16 threshold) = anchor.committee(0);
        yes(members.length >= 2 && members.length < 5, "some of the five drawn are banned");
        eq(threshold, (2 * members.length + 2) / 3, "two thirds of those who are left");
        for (uint256 i; i < members.length; ++i) {
            yes(!registry.banned(members[i]), "not banned");
        }
    }

    function test_a_draw_of_banned_candidates_only_is_thrown_away() public {
        _deploy(1, 5, DELAY);
        _validators(6);
        anchor.requestDraw(0);
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        (EpochHeader memory a, EpochHeader memory b) = _twins();
        disputes.proveEquivocation(a, b, _signatures(a, 1, 6), _signatures(b, 1, 6), REPORTER);
        vm.expectRevert(EpochAnchor.NoValidators.selector);
        anchor.drawCommittee(0);
        for (uint256 key = 11; key <= 16; ++key) {
            _validator(key, MIN);
        }
        anchor.drawCommittee(0);
        (bool pending,,) = anchor.pendingDraw(0);
        (, address[] memory members,) = anchor.committee(0);
        yes(!pending && members.length == 0, "neither draw nor committee");
        vm.roll(vm.getBlockNumber() + 1);
        anchor.requestDraw(0);
        (, ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("another seed"));
        anchor.drawCommittee(0);
        (, members,) = anchor.committee(0);
        eq(members.length, 5, "five of the six newcomers");
    }

    // ---- punishment ----------------------------------------------------------------------------------------------

    function test_a_signer_is_punished_once_per_header() public {
        Tree memory t = _five();
        (t.payees[3], t.payees[4]) = (t.payees[2], t.payees[2]);
        t = _tree(t.payees, t.totals);
        EpochHeader memory h = _epoch(t);
        vm.warp(vm.getBlockTimestamp() + DELAY);
        Disputes.Evidence memory e = _evidence(0);
        e.signatures = _signatures(h, 1, 2);
        e.signatures = bytes.concat(e.signatures, e.signatures);
        disputes.proveDisorder(e, _payout(t, 2), _payout(t, 3));
        eq(token.balanceOf(REPORTER), 2 * (MIN / 20), "two, each once");
        // Another fault of the same header is no second offence.
        disputes.proveDisorder(e, _payout(t, 2), _payout(t, 4));
        eq(token.balanceOf(REPORTER), 2 * (MIN / 20), "still two");
        // Whoever was left out pays later.
        bytes32 hash = anchor.hashHeader(h);
        bytes memory rest = _signatures(h, 1, 5);
        disputes.punish(hash, rest, address(0xBEEF));
        eq(token.balanceOf(address(0xBEEF)), 3 * (MIN / 20), "the other three");
        disputes.punish(hash, rest, address(0xBEEF));
        eq(token.balanceOf(address(0xBEEF)), 3 * (MIN / 20), "once");
    }

    function test_signers_pay_also_after_their_header_was_taken_back() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        EpochHeader memory h = _epoch(t);
        Disputes.Evidence memory e = _evidence(0);
        e.signatures = "";
        disputes.proveDisorder(e, _payout(t, 3), _payout(t, 4));
        eq(registry.validatorCount(), MEMBERS, "nobody yet");
        disputes.punish(anchor.hashHeader(h), _signatures(h, 1, 5), REPORTER);
        _convicted(h);
    }

    function test_nobody_is_punished_for_a_header_without_a_fault() public {
        EpochHeader memory h = _epoch(_five());
        bytes32 hash = anchor.hashHeader(h);
        bytes memory signatures = _signatures(h, 1, 5);
        vm.expectRevert(abi.encodeWithSelector(Disputes.NotFaulty.selector, hash));
        disputes.punish(hash, signatures, REPORTER);
    }

    function test_signatures_must_be_whole_and_of_somebody_who_was_registered() public {
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        EpochHeader memory h = _epoch(t);
        (Disputes.PayoutLeaf memory a, Disputes.PayoutLeaf memory b) = (_payout(t, 3), _payout(t, 4));
        Disputes.Evidence memory e = _evidence(0);
        e.signatures = bytes.concat(e.signatures, hex"00");
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadSignatureLength.selector, 321));
        disputes.proveDisorder(e, a, b);
        e.signatures = bytes.concat(_signatures(h, 1, 1), new bytes(64));
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadSignature.selector, 1));
        disputes.proveDisorder(e, a, b);
        e.signatures = _signatures(h, 99, 1);
        vm.expectRevert(abi.encodeWithSelector(Registry.NotRegistered.selector, vm.addr(99)));
        disputes.proveDisorder(e, a, b);
    }

    function test_bans_hold_for_the_account_and_for_its_node_key() public {
        (EpochHeader memory a, EpochHeader memory b) = _twins();
        address who = vm.addr(1);
        bytes32 key = registry.accounts(who).nodeKey;
        (bytes memory one, bytes memory two) = (_signatures(a, 1, 1), _signatures(b, 1, 1));
        vm.expectEmit();
        emit Slashed(who, REPORTER, MIN / 10, MIN / 20);
        vm.expectEmit();
        emit Banned(who, key);
        disputes.proveEquivocation(a, b, one, two, REPORTER);
        eq(registry.accounts(who).readyAt, vm.getBlockTimestamp() + UNBOND, "forced to leave");
        eq(registry.effectiveStake(who), 0, "no weight");
        // It serves until its committee is replaced, and leaves with the rest of its stake after the unbonding time.
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(Registry.StillServing.selector, who));
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        anchor.drawCommittee(0);
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        vm.prank(who);
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        eq(token.balanceOf(who), MIN - MIN / 10, "the rest");
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(Registry.AccountBanned.selector, who));
        registry.register(keccak256("fresh"), 0, who, 1, 0, new bytes(64));
        vm.expectRevert(abi.encodeWithSelector(Registry.NodeKeyTaken.selector, key, who));
        registry.register(key, 0, who, 1, 0, new bytes(64));
        eq(registry.accountOfNodeKey(key), address(0), "nobody answers to the key");
    }

    /// @dev An account that asked to leave before it signed, and one that has left and come back, pay like any other.
    function test_leaving_early_is_no_way_out() public {
        address who = vm.addr(1);
        vm.prank(who);
        registry.requestUnbond();
        uint64 readyAt = registry.accounts(who).readyAt;
        vm.warp(readyAt - 1);
        Tree memory t = _five();
        t.payees[4] = t.payees[3];
        t = _tree(t.payees, t.totals);
        _epoch(t);
        vm.warp(readyAt);
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(Registry.StillServing.selector, who));
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        disputes.proveDisorder(_evidence(0), _payout(t, 3), _payout(t, 4));
        eq(registry.accounts(who).stake, MIN - MIN / 10, "paid");
        eq(registry.accounts(who).readyAt, readyAt, "not earlier, not later");
        // Dismissed now; the whole unbonding time runs from here.
        (bool serving, uint64 until) = anchor.service(who);
        yes(!serving && until == vm.getBlockTimestamp(), "left with the committee");
        vm.warp(until + UNBOND - 1);
        vm.prank(who);
        vm.expectRevert(abi.encodeWithSelector(Registry.NotReady.selector, until + UNBOND));
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        vm.warp(until + UNBOND);
        vm.prank(who);
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        eq(token.balanceOf(who), MIN - MIN / 10, "the rest");
    }

    function test_an_account_without_a_stake_is_banned_all_the_same() public {
        // The committee goes on without its first member, who leaves.
        vm.prank(vm.addr(1));
        registry.requestUnbond();
        vm.warp(vm.getBlockTimestamp() + 2 days);
        anchor.drawCommittee(0);
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        vm.prank(vm.addr(1));
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        (EpochHeader memory a, EpochHeader memory b) = _twins();
        (bytes memory one, bytes memory two) = (_signatures(a, 1, 1), _signatures(b, 1, 1));
        vm.expectEmit();
        emit Slashed(vm.addr(1), REPORTER, 0, 0);
        vm.expectEmit();
        emit Banned(vm.addr(1), 0);
        disputes.proveEquivocation(a, b, one, two, REPORTER);
        yes(registry.banned(vm.addr(1)), "banned");
        eq(token.balanceOf(REPORTER), 0, "nothing to take");
    }

    // ---- equivocation --------------------------------------------------------------------------------------------

    /// @dev Two headers of one view that differ in their state.
    function _twins() private view returns (EpochHeader memory a, EpochHeader memory b) {
        a = _next(0, _none());
        b = _next(0, _none());
        b.stateRoot = keccak256("another state");
    }

    function test_whoever_signs_two_headers_of_one_view_is_caught() public {
        (EpochHeader memory a, EpochHeader memory b) = _twins();
        (bytes32 first, bytes32 second) = (anchor.hashHeader(a), anchor.hashHeader(b));
        bytes memory one = _signatures(a, 3, 2);
        bytes memory two = _signatures(b, 3, 2);
        vm.expectEmit();
        emit Equivocated(0, 1, vm.addr(3), first, second);
        vm.expectEmit();
        emit Equivocated(0, 1, vm.addr(4), first, second);
        disputes.proveEquivocation(a, b, one, two, REPORTER);
        yes(registry.banned(vm.addr(3)) && registry.banned(vm.addr(4)), "banned");
        eq(registry.validatorCount(), MEMBERS - 2, "the others stay");
        eq(token.balanceOf(REPORTER), 2 * (MIN / 20), "reward");
        // A third header of the view is the same offence, in any order.
        b.stateRoot = keccak256("a third state");
        two = _signatures(b, 3, 2);
        disputes.proveEquivocation(b, a, two, one, REPORTER);
        eq(token.balanceOf(REPORTER), 2 * (MIN / 20), "once");
    }

    function test_equivocation_takes_nothing_back() public {
        Tree memory t = _five();
        (EpochHeader memory a, SettledTask[] memory settled) = _header(t, 5, 150);
        _post(a, settled);
        EpochHeader memory b = abi.decode(abi.encode(a), (EpochHeader));
        b.payoutRoot = keccak256("another tree");
        disputes.proveEquivocation(a, b, _signatures(a, 1, 5), _signatures(b, 1, 5), REPORTER);
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, 1, "what was posted stays");
        (, address[] memory members,) = anchor.committee(0);
        eq(members.length, MEMBERS, "in office");
    }

    function testFuzz_headers_of_different_views_are_no_equivocation(uint256 field, uint64 value) public {
        (EpochHeader memory a, EpochHeader memory b) = _twins();
        field = field % 5;
        if (field == 0) b.lane = uint32(within(value, 1, type(uint32).max));
        if (field == 1) b.epoch = a.epoch + uint64(within(value, 1, 1e9));
        if (field == 2) b.view_ = uint32(within(value, 1, type(uint32).max));
        if (field == 3) b.term = a.term + uint64(within(value, 1, 1e9));
        if (field == 4) b.stateRoot = a.stateRoot;
        bytes memory one = _signatures(a, 1, 1);
        bytes memory two = _signatures(b, 1, 1);
        vm.expectRevert(Disputes.NotTwoHeaders.selector);
        disputes.proveEquivocation(a, b, one, two, REPORTER);
    }

    function test_equivocation_needs_both_signatures_of_the_same_account() public {
        (EpochHeader memory a, EpochHeader memory b) = _twins();
        bytes memory one = _signatures(a, 1, 2);
        bytes memory two = bytes.concat(_signatures(b, 1, 1), _signatures(b, 3, 1));
        vm.expectRevert(abi.encodeWithSelector(Disputes.DifferentSigners.selector, 1));
        disputes.proveEquivocation(a, b, one, two, REPORTER);
        // One header's signature twice: under the other digest it recovers somebody else.
        vm.expectRevert(abi.encodeWithSelector(Disputes.DifferentSigners.selector, 0));
        disputes.proveEquivocation(a, b, one, one, REPORTER);
        two = _signatures(b, 1, 1);
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadSignatureLength.selector, 64));
        disputes.proveEquivocation(a, b, one, two, REPORTER);
        vm.expectRevert(Disputes.ZeroReporter.selector);
        disputes.proveEquivocation(a, b, one, two, address(0));
    }

    // ---- rights and wiring ---------------------------------------------------------------------------------------

    function test_only_disputes_slash_and_rewind_and_only_the_anchor_revokes() public {
        _epoch(_five());
        vm.expectRevert(abi.encodeWithSelector(Registry.OnlyDisputes.selector, address(this)));
        registry.slash(vm.addr(1), REPORTER);
        vm.expectRevert(abi.encodeWithSelector(EpochAnchor.OnlyDisputes.selector, address(this)));
        anchor.rewind(0, 1, 0);
        vm.expectRevert(abi.encodeWithSelector(RewardDistributor.OnlyAnchor.selector, address(this)));
        distributor.revoke(1, 1);
    }

    function test_disputes_that_the_anchor_does_not_name_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadWiring.selector, address(anchor)));
        new Disputes(address(anchor));
    }

    function test_disputes_with_the_registry_of_another_anchor_are_refused() public {
        address judge = vm.computeCreateAddress(address(this), vm.getNonce(address(this)) + 1);
        Impostor impostor = new Impostor(judge, address(registry));
        vm.expectRevert(abi.encodeWithSelector(Disputes.BadWiring.selector, address(registry)));
        new Disputes(address(impostor));
    }
}
