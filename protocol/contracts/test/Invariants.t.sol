// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DevToken} from "../src/DevToken.sol";
import {Disputes} from "../src/Disputes.sol";
import {EpochAnchor} from "../src/EpochAnchor.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {Registry} from "../src/Registry.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";
import {World} from "./World.sol";

/// @dev Drives a two-lane network with random but valid steps and keeps its own books beside the contracts'.
contract Network is World {
    uint32 private constant LANES = 2;
    uint256 private constant PAYEES = 4;
    uint48 private constant DELAY = 1 days;
    address public constant REPORTER = address(0x4E90);
    bytes32 private constant STATE = keccak256("a state");

    struct Open {
        bytes32 taskId;
        address client;
        uint32 lane;
    }

    /// @dev One posted epoch. Two leaves of a faulty one stand in the wrong order.
    struct Epoch {
        EpochHeader header;
        uint128[PAYEES] totals;
        bool faulty;
        uint256 flatSet;
        uint256[] signers;
    }

    /// @dev A leaf of a flat-payout tree.
    struct Flat {
        bytes32 taskId;
        address client;
        address payee;
        uint128 amount;
    }

    struct FallbackTask {
        Open task;
        EpochHeader header;
        uint256 flatSet;
        bool closed;
    }

    address[] public payees;
    mapping(uint32 lane => Open[]) private _open;
    mapping(uint32 lane => uint128[PAYEES]) private _totals;
    mapping(uint32 lane => Epoch[]) private _epochs;
    Open[] private _settled;
    Flat[][] private _flatSets;
    FallbackTask[] private _fallbackTasks;
    mapping(bytes32 leaf => bool) private _flatPaid;
    uint256 private _tasks;
    uint256 private _keys = 4;

    /// @dev Deposits and bonds of open tasks, late top-ups nobody has taken back, and what fallbacks have not paid yet.
    uint256 public openMoney;
    uint256 public lateMoney;
    uint256 public fallbackMoney;
    /// @dev Stakes, and what was slashed of them.
    uint256 public stakes;
    uint256 public slashed;
    uint256 public slashes;
    mapping(uint32 lane => mapping(address payee => uint256)) public received;
    mapping(address payee => uint256) public receivedFlat;
    uint256 public epochs;
    uint256 public claims;
    uint256 public rewinds;
    uint256 public fallbackClaims;

    constructor() {
        _deploy(LANES, 21, DELAY);
        _validators(4);
        stakes = 4 * MIN;
        for (uint32 lane; lane < LANES; ++lane) {
            anchor.drawCommittee(lane);
        }
        for (uint256 i; i < PAYEES; ++i) {
            payees.push(address(uint160(0xA0 + i)));
        }
        _flatSets.push();
        vm.roll(vm.getBlockNumber() + 10);
    }

    function parts() external view returns (address, address, address, address[] memory) {
        return (address(token), address(escrow), address(registry), distributors);
    }

    function totalOf(uint32 lane, uint256 payee) external view returns (uint128) {
        return _totals[lane][payee];
    }

    function _of(uint32 lane) private view returns (RewardDistributor) {
        return RewardDistributor(distributors[lane]);
    }

    function mine(uint8 blocks, uint32 time) external {
        vm.roll(vm.getBlockNumber() + 1 + blocks % 3);
        vm.warp(vm.getBlockTimestamp() + 12 + time % 8 hours);
    }

    // ---- money of tasks ------------------------------------------------------------------------------------------

    function fund(uint32 lane, uint64 deposit, uint64 bond, uint8 client) external {
        lane %= LANES;
        deposit = deposit % 1_000e6 + 1;
        bond %= 100e6;
        address who = address(uint160(0xC0 + client % 3));
        bytes32 taskId = keccak256(abi.encode(++_tasks));
        _fund(who, taskId, lane, deposit, bond);
        _open[lane].push(Open(taskId, who, lane));
        openMoney += uint256(deposit) + bond;
        vm.roll(vm.getBlockNumber() + 1);
    }

    function topUp(uint32 lane, uint256 which, uint64 amount) external {
        lane %= LANES;
        if (_open[lane].length == 0) return;
        Open memory o = _open[lane][which % _open[lane].length];
        amount = amount % 10e6 + 1;
        token.mint(address(this), amount);
        token.approve(address(escrow), amount);
        escrow.topUp(o.taskId, o.client, amount);
        openMoney += amount;
    }

    function returnLate(uint256 which) public {
        if (_settled.length == 0) return;
        Open memory o = _settled[which % _settled.length];
        TaskEscrow.Escrow memory e = escrow.escrows(o.taskId, o.client);
        if (e.late == 0) return;
        escrow.returnLateTopUp(o.taskId, o.client);
        lateMoney -= e.late;
    }

    // ---- epochs --------------------------------------------------------------------------------------------------

    /// @dev Settles up to three open tasks and splits their money between the payees at random. One in four is faulty.
    function post(uint32 lane, uint256 count, uint256 split) external {
        lane %= LANES;
        (, address[] memory members,) = anchor.committee(lane);
        if (members.length == 0) return;
        _waitForBacklog(lane);
        Open[] storage open = _open[lane];
        uint256 n = count % 4;
        if (n > open.length) n = open.length;
        SettledTask[] memory settled = new SettledTask[](n);
        for (uint256 i; i < n; ++i) {
            Open memory o = open[open.length - 1];
            open.pop();
            settled[i] = SettledTask(o.taskId, o.client);
            _settled.push(o);
        }
        _postEpoch(lane, settled, split, members);
        for (uint256 i; i < n; ++i) {
            uint256 late = escrow.escrows(settled[i].taskId, settled[i].client).late;
            openMoney -= late;
            lateMoney += late;
        }
        vm.roll(vm.getBlockNumber() + 1);
    }

    /// @dev Fifteen roots may wait at a time.
    function _waitForBacklog(uint32 lane) private {
        (uint64 epoch,,) = anchor.head(lane);
        if (epoch < 15) return;
        (, uint48 activatesAt,) = _of(lane).roots(epoch - 14);
        if (vm.getBlockTimestamp() < activatesAt) vm.warp(activatesAt);
    }

    function _postEpoch(uint32 lane, SettledTask[] memory settled, uint256 split, address[] memory members) private {
        EpochHeader memory h = _next(lane, settled);
        uint256 fresh = h.totalOwed - _of(lane).totalReleased();
        Epoch storage e = _epochs[lane].push();
        uint128[PAYEES] storage totals = _totals[lane];
        openMoney -= fresh;
        for (uint256 i; i < PAYEES; ++i) {
            uint256 part = i + 1 == PAYEES ? fresh : uint256(keccak256(abi.encode(split, i))) % (fresh + 1);
            totals[i] += uint128(part);
            fresh -= part;
        }
        e.totals = totals;
        e.faulty = split % 4 == 0 && h.totalOwed != 0;
        e.flatSet = _flats(lane, split);
        h.stateRoot = keccak256(bytes.concat(hex"07", STATE, Trees.root(_flatLeaves(e.flatSet))));
        if (h.totalOwed != 0) {
            (h.payoutRoot, h.auditRoot, h.payoutCount) = (Trees.root(_leaves(e)), keccak256("audit"), uint32(PAYEES));
        }
        e.header = h;
        (,, uint16 threshold) = anchor.committee(lane);
        for (uint256 i; i < threshold; ++i) {
            e.signers.push(keyOf[members[i]]);
        }
        _post(h, settled);
        ++epochs;
    }

    /// @dev The leaves in the order of the tree.
    function _order(Epoch storage e) private view returns (address[] memory who, uint128[] memory totals) {
        (who, totals) = (new address[](PAYEES), new uint128[](PAYEES));
        for (uint256 i; i < PAYEES; ++i) {
            uint256 from = _place(e, i);
            (who[i], totals[i]) = (payees[from], e.totals[from]);
        }
    }

    /// @dev Where a payee's leaf stands; payees 1 and 2 change places in a faulty tree.
    function _place(Epoch storage e, uint256 payee) private view returns (uint256) {
        return e.faulty && (payee == 1 || payee == 2) ? 3 - payee : payee;
    }

    function _leaves(Epoch storage e) private view returns (bytes32[] memory) {
        (address[] memory who, uint128[] memory totals) = _order(e);
        return Trees.payoutLeaves(who, totals);
    }

    /// @dev One leaf for each task of the lane that stays open, of up to twice its money.
    function _flats(uint32 lane, uint256 split) private returns (uint256 id) {
        id = _flatSets.length;
        Flat[] storage set = _flatSets.push();
        for (uint256 i; i < _open[lane].length && i < 8; ++i) {
            Open memory o = _open[lane][i];
            uint256 money = escrow.escrows(o.taskId, o.client).deposit;
            uint256 amount = 1 + uint256(keccak256(abi.encode(split, i, "flat"))) % (2 * money);
            set.push(Flat(o.taskId, o.client, payees[i % PAYEES], uint128(amount)));
        }
    }

    function _flatLeaves(uint256 id) private view returns (bytes32[] memory leaves) {
        Flat[] storage set = _flatSets[id];
        leaves = new bytes32[](set.length);
        for (uint256 i; i < leaves.length; ++i) {
            Flat memory f = set[i];
            leaves[i] = keccak256(
                bytes.concat(hex"06", f.taskId, bytes20(f.client), bytes20(f.payee), bytes16(f.amount))
            );
        }
    }

    /// @dev Claims on any kept epoch, old and faulty ones included.
    function claim(uint32 lane, uint256 back, uint256 payee) public {
        lane %= LANES;
        Epoch[] storage list = _epochs[lane];
        if (list.length == 0) return;
        Epoch storage e = list[list.length - 1 - back % (list.length < 16 ? list.length : 16)];
        (,, bool claimable) = _of(lane).roots(e.header.epoch);
        if (!claimable) return;
        payee %= PAYEES;
        uint128 total = e.totals[payee];
        uint256 before = _of(lane).paid(payees[payee]);
        if (total <= before) return;
        uint256 place = _place(e, payee);
        _of(lane).claim(e.header.epoch, payees[payee], total, place, Trees.proof(_leaves(e), place));
        received[lane][payees[payee]] += total - before;
        ++claims;
    }

    // ---- validators and faults -----------------------------------------------------------------------------------

    function join() public {
        if (registry.validatorCount() >= 6) return;
        _validator(++_keys, MIN);
        stakes += MIN;
    }

    function quit(uint256 which) external {
        if (registry.validatorCount() < 3) return;
        address who = registry.validatorAt(which % registry.validatorCount());
        vm.prank(who);
        registry.requestUnbond();
    }

    /// @dev Anybody who is leaving tries to get away with its stake.
    function withdraw(uint256 which) external {
        address who = vm.addr(1 + which % _keys);
        uint256 stake = registry.accounts(who).stake;
        vm.prank(who);
        try registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0)) {
            stakes -= stake;
        } catch {}
    }

    function draw(uint32 lane) public {
        try anchor.drawCommittee(lane % LANES) {} catch {}
    }

    /// @dev Shows one of the faulty epochs that are posted, with the signature of one or of all of its signers.
    function accuse(uint32 lane, uint256 which, bool all) external {
        lane %= LANES;
        Epoch[] storage list = _epochs[lane];
        if (list.length == 0) return;
        uint256 from = list.length - 1 - which % (list.length < 6 ? list.length : 6);
        Epoch storage e = list[from];
        if (!e.faulty) return;
        Disputes.Evidence memory evidence = _evidence(lane, from, all);
        (address[] memory who, uint128[] memory totals) = _order(e);
        bytes32[] memory leaves = Trees.payoutLeaves(who, totals);
        uint256 before = _stakeOf(e);
        bool waiting = _pending(lane, e.header.epoch);
        disputes.proveDisorder(
            evidence,
            Disputes.PayoutLeaf(who[1], totals[1], 1, Trees.proof(leaves, 1)),
            Disputes.PayoutLeaf(who[2], totals[2], 2, Trees.proof(leaves, 2))
        );
        uint256 taken = before - _stakeOf(e);
        slashed += taken;
        stakes -= taken;
        slashes += e.signers.length;
        (uint64 epoch,,) = anchor.head(lane);
        yes((epoch == e.header.epoch - 1) == waiting, "taken back exactly while the root waits");
        if (waiting) {
            while (list.length > from) list.pop();
            ++rewinds;
            join();
            draw(lane);
        }
    }

    function _evidence(uint32 lane, uint256 from, bool all) private view returns (Disputes.Evidence memory evidence) {
        Epoch[] storage list = _epochs[lane];
        evidence.chain = new EpochHeader[](list.length - from);
        for (uint256 i; i < evidence.chain.length; ++i) {
            evidence.chain[i] = list[from + i].header;
        }
        evidence.reporter = REPORTER;
        bytes32 digest = anchor.digest(list[from].header);
        uint256[] memory signers = list[from].signers;
        for (uint256 i; i < (all ? signers.length : 1); ++i) {
            evidence.signatures = bytes.concat(evidence.signatures, _sign(signers[i], digest));
        }
    }

    function _stakeOf(Epoch storage e) private view returns (uint256 sum) {
        for (uint256 i; i < e.signers.length; ++i) {
            sum += registry.accounts(vm.addr(e.signers[i])).stake;
        }
    }

    function _pending(uint32 lane, uint64 epoch) private view returns (bool) {
        (, uint48 activatesAt, bool claimable) = _of(lane).roots(epoch);
        return activatesAt != 0 && !claimable;
    }

    /// @dev Whether every signer of every epoch that can still be taken back has its stake here, or was punished.
    function signersAreBound() external view returns (bool) {
        for (uint32 lane; lane < LANES; ++lane) {
            Epoch[] storage list = _epochs[lane];
            for (uint256 i = list.length; i > 0 && _pending(lane, list[i - 1].header.epoch); --i) {
                uint256[] storage signers = list[i - 1].signers;
                for (uint256 s; s < signers.length; ++s) {
                    if (registry.accounts(vm.addr(signers[s])).stake == 0) return false;
                }
            }
        }
        return true;
    }

    // ---- fallback ------------------------------------------------------------------------------------------------

    /// @dev One in eight times the lane is silent for as long as it takes.
    function openFallback(uint32 lane, uint256 which, uint8 patience) public {
        lane %= LANES;
        if (_open[lane].length == 0) return;
        which %= _open[lane].length;
        Open memory o = _open[lane][which];
        uint256 since = anchor.lastActivity(lane);
        uint256 funded = escrow.escrows(o.taskId, o.client).fundedAt;
        uint256 possibleAt = (since > funded ? since : funded) + FALLBACK;
        if (vm.getBlockTimestamp() < possibleAt) {
            if (patience % 8 != 0) return;
            vm.warp(possibleAt);
        }
        _open[lane][which] = _open[lane][_open[lane].length - 1];
        _open[lane].pop();
        escrow.openFallback(o.taskId, o.client);
        FallbackTask storage f = _fallbackTasks.push();
        f.task = o;
        uint256 count = _epochs[lane].length;
        if (count != 0) (f.header, f.flatSet) = (_epochs[lane][count - 1].header, _epochs[lane][count - 1].flatSet);
        TaskEscrow.Escrow memory e = escrow.escrows(o.taskId, o.client);
        openMoney -= uint256(e.deposit) + e.goldBond;
        fallbackMoney += uint256(e.deposit) + e.goldBond;
    }

    /// @dev Any leaf of the fixed header for any task in fallback; what is not due must be refused.
    function claimFallback(uint256 which, uint256 leaf) public {
        if (_fallbackTasks.length == 0) return;
        FallbackTask storage f = _fallbackTasks[which % _fallbackTasks.length];
        Flat[] storage set = _flatSets[f.flatSet];
        if (set.length == 0) return;
        leaf %= set.length;
        Flat memory x = set[leaf];
        uint256 left = escrow.fallbacks(f.task.taskId, f.task.client).left;
        bytes32[] memory leaves = _flatLeaves(f.flatSet);
        bool due = x.taskId == f.task.taskId && !f.closed && left != 0 && !_flatPaid[leaves[leaf]];
        uint256 before = token.balanceOf(x.payee);
        TaskEscrow.FallbackClaim memory c =
            TaskEscrow.FallbackClaim(x.payee, x.amount, STATE, leaf, Trees.proof(leaves, leaf));
        (bool ok,) = address(escrow).call(
            abi.encodeCall(escrow.claimFallback, (f.task.taskId, f.task.client, f.header, c))
        );
        yes(ok == due, "only the task's own leaves, once, while it is open");
        if (!ok) return;
        uint256 paid = token.balanceOf(x.payee) - before;
        eq(paid, x.amount < left ? x.amount : left, "as far as the deposit reaches");
        _flatPaid[leaves[leaf]] = true;
        receivedFlat[x.payee] += paid;
        fallbackMoney -= paid;
        ++fallbackClaims;
    }

    function closeFallback(uint256 which) public {
        if (_fallbackTasks.length == 0) return;
        FallbackTask storage f = _fallbackTasks[which % _fallbackTasks.length];
        TaskEscrow.Fallback memory state = escrow.fallbacks(f.task.taskId, f.task.client);
        if (f.closed || vm.getBlockTimestamp() < state.closesAt) return;
        uint256 before = token.balanceOf(f.task.client);
        escrow.closeFallback(f.task.taskId, f.task.client);
        fallbackMoney -= token.balanceOf(f.task.client) - before;
        f.closed = true;
    }

    // ---- the end -------------------------------------------------------------------------------------------------

    /// @dev Brings everything to an end without any client and without the committees that stand now: strangers open and
    ///      close fallbacks, and whoever registers next finishes what a rewind left open.
    function finish() external {
        for (uint32 lane; lane < LANES; ++lane) {
            while (_open[lane].length != 0) openFallback(lane, 0, 0);
        }
        for (uint256 i; i < _fallbackTasks.length; ++i) {
            for (uint256 leaf; leaf < _flatSets[_fallbackTasks[i].flatSet].length; ++leaf) {
                claimFallback(i, leaf);
            }
        }
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        for (uint256 i; i < _fallbackTasks.length; ++i) {
            closeFallback(i);
        }
        for (uint256 i; i < _settled.length; ++i) {
            returnLate(i);
        }
        for (uint32 lane; lane < LANES; ++lane) {
            join();
            draw(lane);
            vm.roll(vm.getBlockNumber() + 1);
            (, address[] memory members,) = anchor.committee(lane);
            _postEpoch(lane, _none(), 1, members);
            vm.warp(vm.getBlockTimestamp() + DELAY);
            for (uint256 i; i < PAYEES; ++i) {
                claim(lane, 0, i);
            }
        }
    }
}

contract InvariantsTest is Checks {
    address private constant DEAD = 0x000000000000000000000000000000000000dEaD;

    Network private network;
    DevToken private token;
    TaskEscrow private escrow;
    Registry private registry;
    RewardDistributor[] private distributors;

    function setUp() public {
        network = new Network();
        (address t, address e, address r, address[] memory d) = network.parts();
        (token, escrow, registry) = (DevToken(t), TaskEscrow(e), Registry(r));
        for (uint256 lane; lane < d.length; ++lane) {
            distributors.push(RewardDistributor(d[lane]));
        }
    }

    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(network);
    }

    /// @dev Everything but `finish`, which ends a run.
    function targetSelectors() public view returns (FuzzSelector[] memory list) {
        bytes4[14] memory steps = [
            Network.mine.selector,
            Network.fund.selector,
            Network.topUp.selector,
            Network.returnLate.selector,
            Network.post.selector,
            Network.claim.selector,
            Network.join.selector,
            Network.quit.selector,
            Network.withdraw.selector,
            Network.draw.selector,
            Network.accuse.selector,
            Network.openFallback.selector,
            Network.claimFallback.selector,
            Network.closeFallback.selector
        ];
        list = new FuzzSelector[](1);
        list[0].addr = address(network);
        list[0].selectors = new bytes4[](steps.length);
        for (uint256 i; i < steps.length; ++i) {
            list[0].selectors[i] = steps[i];
        }
    }

    /// @dev All at once: what is checked after a step costs more than the step.
    function invariant_money_and_stakes_are_where_the_books_say() public view {
        _lanesPayWhatTheyOwe();
        _escrowHoldsWhatIsOpen();
        _nobodyIsPaidTooMuch();
        _stakesAreWhole();
        yes(network.signersAreBound(), "who signed what can still be taken back has a stake to lose");
    }

    function _lanesPayWhatTheyOwe() private view {
        for (uint32 lane; lane < 2; ++lane) {
            uint256 owed;
            uint256 paid;
            for (uint256 i; i < 4; ++i) {
                owed += network.totalOf(lane, i);
                paid += network.received(lane, network.payees(i));
            }
            eq(owed, distributors[lane].totalReleased(), "owed is exactly what was released");
            eq(token.balanceOf(address(distributors[lane])), owed - paid, "balance is exactly what is due");
        }
    }

    function _escrowHoldsWhatIsOpen() private view {
        eq(
            token.balanceOf(address(escrow)),
            network.openMoney() + network.lateMoney() + network.fallbackMoney(),
            "escrow balance"
        );
    }

    function _nobodyIsPaidTooMuch() private view {
        for (uint256 i; i < 4; ++i) {
            address who = network.payees(i);
            uint256 sum = network.receivedFlat(who);
            for (uint32 lane; lane < 2; ++lane) {
                uint256 paid = distributors[lane].paid(who);
                eq(paid, network.received(lane, who), "books of payments");
                yes(paid <= network.totalOf(lane, i), "at most the newest leaf");
                sum += paid;
            }
            eq(token.balanceOf(who), sum, "paid is what arrived");
        }
    }

    function _stakesAreWhole() private view {
        eq(token.balanceOf(address(registry)), network.stakes(), "stakes");
        uint256 reward = token.balanceOf(network.REPORTER());
        uint256 burned = token.balanceOf(DEAD);
        eq(reward + burned, network.slashed(), "what was slashed is rewarded or burned");
        yes(burned >= reward && burned - reward <= network.slashes(), "half each, the odd unit burned");
    }

    /// @dev Wherever a run has ended, everything can be brought to an end by strangers after the timeouts.
    function afterInvariant() public {
        network.finish();
        eq(token.balanceOf(address(escrow)), 0, "the escrow is empty");
        eq(token.balanceOf(address(distributors[0])), 0, "everything is paid");
        eq(token.balanceOf(address(distributors[1])), 0, "in both lanes");
    }

    /// @dev Runs the steps once in a fixed order, so that a handler which silently does nothing would be noticed.
    function test_the_handler_really_does_everything() public {
        network.fund(0, 500e6, 5e6, 0);
        network.fund(1, 700e6, 0, 1);
        network.mine(1, 0);
        network.topUp(0, 0, 3e6);
        network.post(0, 1, 7);
        network.post(1, 1, 9);
        yes(network.lateMoney() == 3e6 + 1, "the top-up was late");
        network.returnLate(0);
        network.post(0, 0, 4);
        network.accuse(0, 0, true);
        eq(network.rewinds(), 1, "a fault was taken back");
        yes(network.slashed() != 0, "its signers paid");
        network.fund(0, 100e6, 1e6, 2);
        network.post(0, 0, 5);
        network.openFallback(0, 0, 0);
        network.claimFallback(0, 0);
        eq(network.fallbackClaims(), 1, "a fallback claim");
        for (uint256 i; i < 4; ++i) {
            network.claim(0, 0, i);
            network.claim(1, 0, i);
        }
        eq(network.epochs(), 4, "epochs");
        yes(network.claims() >= 4, "claims");
        invariant_money_and_stakes_are_where_the_books_say();
        afterInvariant();
    }
}
