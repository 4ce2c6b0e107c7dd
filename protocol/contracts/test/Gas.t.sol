// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {Registry} from "../src/Registry.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev What each call costs as a transaction of its own (base cost and calldata included), with a ceiling that a
///      change must not break unnoticed. Every call runs isolated, so storage and accounts are cold as on a chain.
/// forge-config: default.isolate = true
contract GasTest is World {
    address private constant CLIENT = address(0xC11E);
    /// @dev Depth of a tree with a million leaves.
    uint256 private constant DEPTH = 20;

    event log_named_uint(string key, uint256 value);

    function setUp() public {
        _deploy(1, 21);
        token.mint(address(this), 1_000_000e6);
        token.approve(address(escrow), type(uint256).max);
    }

    function _ceiling(string memory what, uint256 most) private {
        uint256 used = vm.lastCallGas().used;
        emit log_named_uint(what, used);
        yes(used > 21_000, "measured as a transaction");
        if (used > most) revert Different(what, used, most);
    }

    function _header(uint256 signers, SettledTask[] memory settled, bytes32 root, uint32 count)
        private
        view
        returns (EpochHeader memory h, uint256 bits, bytes memory signatures)
    {
        h = _next(0, settled);
        h.payoutRoot = root;
        h.auditRoot = keccak256(bytes.concat(root));
        h.payoutCount = count;
        h.recordsRoot = keccak256("records");
        h.stateRoot = keccak256("state");
        h.payoutFile = keccak256("file");
        h.lossRoot = keccak256("losses");
        h.reputationRoot = keccak256(abi.encode(h.epoch));
        (bits, signatures) = _quorum(0, anchor.digest(h), signers);
    }

    function _epoch(uint256 signers, bytes32[] memory tasks, bytes32 root, uint32 count) private {
        SettledTask[] memory settled = new SettledTask[](tasks.length);
        for (uint256 i; i < tasks.length; ++i) {
            settled[i] = SettledTask(tasks[i], address(this));
        }
        vm.roll(vm.getBlockNumber() + 1);
        (EpochHeader memory h, uint256 bits, bytes memory signatures) =
            _header(signers, settled, root, count);
        anchor.post(h, settled, bits, signatures);
    }

    function test_gas_of_registration_and_draws() public {
        token.approve(address(registry), type(uint256).max);
        registry.register(bytes32(uint256(99)), bytes32(uint256(1)), address(1), 6, MIN, new bytes(64));
        _ceiling("register, first validator", 248_000);
        _validators(14);
        anchor.drawCommittee(0);
        _ceiling("drawCommittee, 15 of 15", 296_000);
        _validators2(16, 40);
        vm.warp(vm.getBlockTimestamp() + 3 days);
        anchor.requestDraw(0);
        _ceiling("requestDraw, 40 candidates", 636_000);
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        anchor.drawCommittee(0);
        _ceiling("drawCommittee, 21 of 40", 390_000);
    }

    function _validators2(uint256 from, uint256 to) private {
        for (uint256 key = from; key <= to; ++key) {
            _validator(key, MIN);
        }
    }

    function test_gas_of_an_epoch() public {
        _validators(15);
        anchor.drawCommittee(0);
        bytes32[] memory one = _tasks(1, "first");
        _epoch(15, one, keccak256("tree 0"), 1_000_000);
        bytes32[] memory none = new bytes32[](0);
        for (uint256 i = 1; i < 18; ++i) {
            _epoch(15, none, keccak256(abi.encode("tree", i)), 1_000_000);
        }
        _ceiling("post, no task, 15 of 15 signatures", 195_000);
        _epoch(10, none, keccak256("tree 18"), 1_000_000);
        _ceiling("post, no task, 10 of 15 signatures", 167_000);
        one = _tasks(1, "single");
        _epoch(10, one, keccak256("tree 19"), 1_000_000);
        _ceiling("post, 1 task, 10 of 15 signatures", 201_000);
        bytes32[] memory ten = _tasks(10, "ten");
        _ceiling("fund", 73_200);
        escrow.topUp(ten[0], address(this), 5e6);
        _ceiling("topUp, first of a task", 98_200);
        _epoch(10, ten, keccak256("tree 20"), 1_000_000);
        _ceiling("post, 10 tasks, 10 of 15 signatures", 385_000);
    }

    function _tasks(uint256 count, string memory name) private returns (bytes32[] memory ids) {
        ids = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            ids[i] = keccak256(abi.encode(name, i));
            escrow.fund(ids[i], 0, 100e6, 1e6);
        }
    }

    /// @dev A root over one known leaf and the given siblings.
    function _path(address payee, uint128 total, bytes32[] memory proof, uint256 index)
        private
        pure
        returns (bytes32 node)
    {
        node = keccak256(bytes.concat(hex"00", bytes20(payee), bytes16(total)));
        for (uint256 i; i < proof.length; ++i) {
            node = (index >> i) & 1 == 0
                ? keccak256(bytes.concat(hex"01", node, proof[i]))
                : keccak256(bytes.concat(hex"01", proof[i], node));
        }
    }

    function test_gas_of_claims_from_a_tree_of_a_million() public {
        _validators(3);
        anchor.drawCommittee(0);
        bytes32[] memory proof = new bytes32[](DEPTH);
        for (uint256 i; i < DEPTH; ++i) {
            proof[i] = keccak256(abi.encode(i));
        }
        address payee = address(uint160(uint256(keccak256("a payee like any other"))));
        bytes32[] memory task = new bytes32[](1);
        for (uint64 e = 1; e <= 2; ++e) {
            task[0] = keccak256(abi.encode(e));
            escrow.fund(task[0], 0, 1000e6, 0);
            uint128 total = 100e6 * e;
            _epoch(2, task, _path(payee, total, proof, 777_777), 1_000_000);
            distributor.claim(e, payee, total, 777_777, proof);
            if (e == 1) _ceiling("claim, first ever, a million leaves", 110_000);
            else _ceiling("claim, later, any number of epochs, a million leaves", 75_200);
        }
    }

    function test_gas_of_a_relayed_batch() public {
        _validators(3);
        anchor.drawCommittee(0);
        uint256 n = 100;
        address[] memory payees = new address[](n);
        uint128[] memory totals = new uint128[](n);
        for (uint256 i; i < n; ++i) {
            payees[i] = address(uint160(uint256(keccak256(abi.encode(i)))));
        }
        Trees.sort(payees);
        for (uint64 e = 1; e <= 2; ++e) {
            _batch(e, payees, totals);
        }
    }

    function _batch(uint64 e, address[] memory payees, uint128[] memory totals) private {
        for (uint256 i; i < totals.length; ++i) {
            totals[i] += 10e6;
        }
        bytes32[] memory leaves = Trees.payoutLeaves(payees, totals);
        bytes32[] memory task = new bytes32[](1);
        task[0] = keccak256(abi.encode(e));
        escrow.fund(task[0], 0, uint128(10e6 * payees.length), 0);
        _epoch(2, task, Trees.root(leaves), uint32(payees.length));
        RewardDistributor.Claim[] memory batch = new RewardDistributor.Claim[](payees.length);
        for (uint256 i; i < batch.length; ++i) {
            batch[i] = RewardDistributor.Claim(payees[i], totals[i], i, Trees.proof(leaves, i));
        }
        distributor.claimMany(e, batch);
        if (e == 1) _ceiling("claimMany, 100 payees, first ever", 6_040_000);
        else _ceiling("claimMany, 100 payees, later", 2_553_000);
    }

    /// @dev Two epochs of a whole subtree of 128 neighbours in a tree of a million, paid with one call each.
    function test_gas_of_a_subtree_of_a_million() public {
        _validators(3);
        anchor.drawCommittee(0);
        uint256 n = 128;
        address[] memory payees = new address[](n);
        for (uint256 i; i < n; ++i) {
            payees[i] = address(uint160(uint256(keccak256(abi.encode(i)))));
        }
        Trees.sort(payees);
        bytes32[] memory proof = new bytes32[](DEPTH - 7);
        for (uint256 i; i < proof.length; ++i) {
            proof[i] = keccak256(abi.encode(i));
        }
        for (uint64 e = 1; e <= 2; ++e) {
            uint256 used = _subtree(e, payees, proof);
            emit log_named_uint(e == 1 ? "claimSubtree, per payee of 128, first" : "claimSubtree, per payee of 128", used / n);
            if (e == 2 && used / n > 15_000) revert Different("claimSubtree, per payee", used / n, 15_000);
        }
    }

    function _subtree(uint64 e, address[] memory payees, bytes32[] memory proof) private returns (uint256) {
        uint256 n = payees.length;
        uint128[] memory totals = new uint128[](n);
        bytes memory packed;
        for (uint256 i; i < n; ++i) {
            totals[i] = 10e6 * e;
            packed = abi.encodePacked(packed, payees[i], totals[i]);
        }
        bytes32 node = Trees.root(Trees.payoutLeaves(payees, totals));
        uint256 position = 4711;
        for (uint256 i; i < proof.length; ++i) {
            node = (position >> i) & 1 == 0
                ? keccak256(bytes.concat(hex"01", node, proof[i]))
                : keccak256(bytes.concat(hex"01", proof[i], node));
        }
        bytes32[] memory task = new bytes32[](1);
        task[0] = keccak256(abi.encode(e));
        escrow.fund(task[0], 0, uint128(10e6 * n), 0);
        _epoch(2, task, node, 1_000_000);
        distributor.claimSubtree(e, position * n, packed, proof);
        return vm.lastCallGas().used;
    }

    function test_gas_of_leaving() public {
        token.approve(address(registry), type(uint256).max);
        registry.register(bytes32(uint256(99)), bytes32(uint256(1)), address(1), 4, MIN, new bytes(64));
        registry.addStake(MIN);
        _ceiling("addStake", 54_500);
        registry.requestUnbond();
        _ceiling("requestUnbond, validator", 38_300);
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        _ceiling("withdraw, validator", 54_300);
    }
}
