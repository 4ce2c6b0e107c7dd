// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {DevToken} from "../src/DevToken.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";
import {World} from "./World.sol";

/// @dev Drives a two-lane network with random but valid steps and keeps its own books beside the contracts'.
contract Network is World {
    uint32 private constant LANES = 2;
    uint256 private constant PAYEES = 4;

    struct Open {
        bytes32 taskId;
        address client;
    }

    /// @dev What one posted epoch's tree holds.
    struct Tree {
        uint64 epoch;
        uint128[PAYEES] totals;
    }

    address[] public payees;
    mapping(uint32 lane => Open[]) private _open;
    mapping(uint32 lane => uint128[PAYEES]) private _totals;
    mapping(uint32 lane => Tree[]) private _trees;
    Open[] private _settled;
    uint256 private _tasks;

    /// @dev Deposits and bonds of open tasks, and late top-ups nobody has taken back.
    uint256 public openMoney;
    uint256 public lateMoney;
    /// @dev Everything ever handed to clients as late top-ups.
    uint256 public returned;
    mapping(uint32 lane => mapping(address payee => uint256)) public received;
    uint256 public epochs;
    uint256 public claims;

    constructor() {
        _deploy(LANES, 21);
        _validators(3);
        for (uint32 lane; lane < LANES; ++lane) {
            anchor.drawCommittee(lane);
        }
        for (uint256 i; i < PAYEES; ++i) {
            payees.push(address(uint160(0xA0 + i)));
        }
        vm.roll(vm.getBlockNumber() + 10);
    }

    function parts() external view returns (address, address, address[] memory) {
        return (address(token), address(escrow), distributors);
    }

    function totalOf(uint32 lane, uint256 payee) external view returns (uint128) {
        return _totals[lane][payee];
    }

    function _of(uint32 lane) private view returns (RewardDistributor) {
        return RewardDistributor(distributors[lane]);
    }

    function mine(uint8 blocks) external {
        vm.roll(vm.getBlockNumber() + 1 + blocks % 3);
        vm.warp(vm.getBlockTimestamp() + 12);
    }

    function fund(uint32 lane, uint64 deposit, uint64 bond, uint8 client) external {
        lane %= LANES;
        deposit = deposit % 1_000e6 + 1;
        bond %= 100e6;
        address who = address(uint160(0xC0 + client % 3));
        bytes32 taskId = keccak256(abi.encode(++_tasks));
        _fund(who, taskId, lane, deposit, bond);
        _open[lane].push(Open(taskId, who));
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

    /// @dev Settles up to three open tasks and splits their money between the payees at random.
    function post(uint32 lane, uint256 count, uint256 split) external {
        lane %= LANES;
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
        EpochHeader memory h = _next(lane, settled);
        uint256 fresh = h.totalOwed - _of(lane).totalReleased();
        if (h.totalOwed != 0) (h.payoutRoot, h.payoutCount) = (_share(lane, h.epoch, fresh, split), uint32(PAYEES));
        _post(h, settled);
        ++epochs;
        openMoney -= fresh;
        for (uint256 i; i < n; ++i) {
            uint256 late = escrow.escrows(settled[i].taskId, settled[i].client).late;
            openMoney -= late;
            lateMoney += late;
        }
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _share(uint32 lane, uint64 epoch, uint256 fresh, uint256 split) private returns (bytes32 root) {
        uint128[PAYEES] storage totals = _totals[lane];
        for (uint256 i; i < PAYEES; ++i) {
            uint256 part = i + 1 == PAYEES ? fresh : uint256(keccak256(abi.encode(split, i))) % (fresh + 1);
            totals[i] += uint128(part);
            fresh -= part;
        }
        _trees[lane].push(Tree(epoch, totals));
        return Trees.root(_leaves(totals));
    }

    function _leaves(uint128[PAYEES] memory totals) private view returns (bytes32[] memory) {
        uint128[] memory list = new uint128[](PAYEES);
        for (uint256 i; i < PAYEES; ++i) {
            list[i] = totals[i];
        }
        return Trees.payoutLeaves(payees, list);
    }

    /// @dev Claims on any kept epoch, old ones included.
    function claim(uint32 lane, uint256 back, uint256 payee) external {
        lane %= LANES;
        Tree[] storage trees = _trees[lane];
        if (trees.length == 0) return;
        uint256 kept = trees.length < 16 ? trees.length : 16;
        Tree memory t = trees[trees.length - 1 - back % kept];
        payee %= PAYEES;
        uint128 total = t.totals[payee];
        address who = payees[payee];
        uint256 before = _of(lane).paid(who);
        if (total <= before) return;
        _of(lane).claim(t.epoch, who, total, payee, Trees.proof(_leaves(t.totals), payee));
        received[lane][who] += total - before;
        ++claims;
    }

    function returnLate(uint256 which) external {
        if (_settled.length == 0) return;
        Open memory o = _settled[which % _settled.length];
        TaskEscrow.Escrow memory e = escrow.escrows(o.taskId, o.client);
        if (e.late == 0) return;
        escrow.returnLateTopUp(o.taskId, o.client);
        lateMoney -= e.late;
        returned += e.late;
    }
}

contract InvariantsTest is Checks {
    Network private network;
    DevToken private token;
    TaskEscrow private escrow;
    RewardDistributor[] private distributors;

    function setUp() public {
        network = new Network();
        (address t, address e, address[] memory d) = network.parts();
        (token, escrow) = (DevToken(t), TaskEscrow(e));
        for (uint256 lane; lane < d.length; ++lane) {
            distributors.push(RewardDistributor(d[lane]));
        }
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(network);
    }

    function invariant_each_lane_can_pay_exactly_what_it_owes() public view {
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

    function invariant_the_escrow_holds_open_money_and_late_top_ups() public view {
        eq(token.balanceOf(address(escrow)), network.openMoney() + network.lateMoney(), "escrow balance");
    }

    function invariant_nobody_is_paid_more_than_their_leaf() public view {
        for (uint256 i; i < 4; ++i) {
            address who = network.payees(i);
            uint256 sum;
            for (uint32 lane; lane < 2; ++lane) {
                uint256 paid = distributors[lane].paid(who);
                eq(paid, network.received(lane, who), "books of payments");
                yes(paid <= network.totalOf(lane, i), "at most the newest leaf");
                sum += paid;
            }
            eq(token.balanceOf(who), sum, "paid is what arrived");
        }
    }

    /// @dev Runs the steps once in a fixed order, so that a handler which silently does nothing would be noticed.
    function test_the_handler_really_moves_money() public {
        network.fund(0, 500e6, 5e6, 0);
        network.fund(1, 700e6, 0, 1);
        network.mine(1);
        network.topUp(0, 0, 3e6);
        network.post(0, 1, 7);
        network.post(1, 1, 9);
        yes(network.lateMoney() == 3e6 + 1, "the top-up was late");
        network.returnLate(0);
        for (uint256 i; i < 4; ++i) {
            network.claim(0, 0, i);
            network.claim(1, 0, i);
        }
        eq(network.epochs(), 2, "epochs");
        yes(network.claims() >= 4, "claims");
        eq(token.balanceOf(address(escrow)), 0, "escrow is empty");
        eq(token.balanceOf(address(distributors[0])), 0, "everything is paid");
        eq(token.balanceOf(address(distributors[1])), 0, "in both lanes");
    }
}
