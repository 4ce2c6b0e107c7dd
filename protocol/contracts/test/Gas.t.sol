// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {Disputes} from "../src/Disputes.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {Registry} from "../src/Registry.sol";
import {RewardDistributor} from "../src/RewardDistributor.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev What each call costs as a transaction of its own (base cost and calldata included) under the rules of one fork. Every call runs
///      isolated, so storage and accounts are cold as on a chain. Costs must be exactly those of gas.snapshot.json:
///
///          ASSAY_GAS=write forge test --match-contract Gas --threads 1     # after a change that is meant
abstract contract GasTest is World {
    address private constant CLIENT = address(0xC11E);
    string private constant SNAPSHOT = "test/gas.snapshot.json";
    /// @dev Depth of a tree with a million leaves.
    uint256 private constant DEPTH = 20;

    event log(string line);

    /// @dev Whose rules hold, in lower case.
    function _fork() internal pure virtual returns (string memory);

    function setUp() public {
        vm.setEvmVersion(_fork());
        _deploy(1, 21);
        token.mint(address(this), 1_000_000e6);
        token.approve(address(escrow), type(uint256).max);
    }

    /// @dev Compares the cost of the last call with the snapshot, to the unit.
    function _exactly(string memory key) private returns (uint256 used) {
        used = vm.lastCallGas().used;
        yes(used > 21_000, "measured as a transaction");
        string memory place = string.concat(".", _fork(), ".", key);
        if (keccak256(bytes(vm.envOr("ASSAY_GAS", string("")))) == keccak256("write")) {
            vm.writeJson(vm.toString(used), SNAPSHOT, place);
        }
        eq(used, vm.parseJsonUint(vm.readFile(SNAPSHOT), place), key);
    }

    /// @dev One line of the table of goals, which are ceilings.
    function _goal(string memory what, uint256 ours, uint256 goal, string memory elsewhere) private {
        emit log(string.concat(what, ": ", vm.toString(ours), " / ", vm.toString(goal), " / ", elsewhere));
        if (ours > goal) revert Different(what, ours, goal);
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
        _exactly("register_first_validator");
        _validators(14);
        anchor.drawCommittee(0);
        _exactly("draw_15_of_15");
        _validators2(16, 40);
        vm.warp(vm.getBlockTimestamp() + 3 days);
        anchor.requestDraw(0);
        _exactly("request_draw_40");
        (, uint64 ref,) = anchor.pendingDraw(0);
        beacon.set(ref, keccak256("seed"));
        anchor.drawCommittee(0);
        _exactly("draw_21_of_40");
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
        uint256 used = _exactly("post_15_of_15");
        _goal("post, 15 of 15 (ours / goal / a bare prototype)", used, 130_000, "127,927");
        _goal("anchoring 1,000,000 labels in 10 epochs (ours / goal / prototype)", 10 * used, 1_500_000, "1,400,000");
        _epoch(10, none, keccak256("tree 18"), 1_000_000);
        _exactly("post_10_of_15");
        one = _tasks(1, "single");
        _epoch(10, one, keccak256("tree 19"), 1_000_000);
        _exactly("post_10_of_15_one_task");
        bytes32[] memory ten = _tasks(10, "ten");
        _exactly("fund");
        escrow.topUp(ten[0], address(this), 5e6);
        _exactly("top_up_first");
        _epoch(10, ten, keccak256("tree 20"), 1_000_000);
        _exactly("post_10_of_15_ten_tasks");
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
            if (e == 1) _exactly("claim_first");
            else _goal("claim, 1,000,000 leaves (ours / goal / Uniswap, one epoch)", _exactly("claim_later"), 62_000, "78,598");
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
        if (e == 1) _exactly("claim_many_100_first");
        else _exactly("claim_many_100_later");
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
            _subtree(e, payees, proof);
            uint256 each = _exactly(e == 1 ? "claim_subtree_128_first" : "claim_subtree_128_later") / n;
            if (e == 2) _goal("claimSubtree of 128, per payee (ours / goal / floor)", each, 15_000, "13,000");
        }
    }

    function _subtree(uint64 e, address[] memory payees, bytes32[] memory proof) private {
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
    }

    /// @dev A fault in a tree of a million, shown with ten signatures: ten stakes are cut and the lane goes back.
    function test_gas_of_a_dispute() public {
        _deploy(1, 21, 1 days);
        token.mint(address(this), 1_000_000e6);
        token.approve(address(escrow), type(uint256).max);
        _validators(15);
        anchor.drawCommittee(0);
        escrow.fund(keccak256("task"), 0, 1000e6, 0);
        bytes32[] memory one = new bytes32[](DEPTH);
        bytes32[] memory two = new bytes32[](DEPTH);
        for (uint256 i = 1; i < DEPTH; ++i) {
            one[i] = two[i] = keccak256(abi.encode(i));
        }
        one[0] = keccak256(bytes.concat(hex"00", bytes20(address(0xA1)), bytes16(uint128(20e6))));
        two[0] = keccak256(bytes.concat(hex"00", bytes20(address(0xA2)), bytes16(uint128(10e6))));
        vm.roll(vm.getBlockNumber() + 1);
        SettledTask[] memory settled = new SettledTask[](1);
        settled[0] = SettledTask(keccak256("task"), address(this));
        (EpochHeader memory h, uint256 bits, bytes memory signatures) =
            _header(10, settled, _path(address(0xA2), 10e6, one, 4), 1_000_000);
        anchor.post(h, settled, bits, signatures);
        Disputes.Evidence memory e = Disputes.Evidence(new EpochHeader[](1), signatures, address(0x4E90));
        e.chain[0] = h;
        disputes.proveDisorder(
            e, Disputes.PayoutLeaf(address(0xA2), 10e6, 4, one), Disputes.PayoutLeaf(address(0xA1), 20e6, 5, two)
        );
        _exactly("prove_disorder_10_signers");
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, 0, "taken back");
    }

    /// @dev A header taken back by the least number of votes; all fifteen who signed it pay.
    function test_gas_of_overruling() public {
        _deploy(1, 21, 1 days);
        token.mint(address(this), 1_000_000e6);
        token.approve(address(escrow), type(uint256).max);
        _validators(15);
        anchor.drawCommittee(0);
        SettledTask[] memory settled = _one(_tasks(1, "wrong")[0], address(this));
        vm.roll(vm.getBlockNumber() + 1);
        (EpochHeader memory h, uint256 bits, bytes memory signatures) =
            _header(15, settled, keccak256("tree"), 1_000_000);
        anchor.post(h, settled, bits, signatures);
        Disputes.Evidence memory e = Disputes.Evidence(new EpochHeader[](1), signatures, address(0x4E90));
        e.chain[0] = h;
        (, bytes memory votes) = _quorum(0, disputes.overruleDigest(anchor.hashHeader(h)), 8);
        disputes.overrule(e, votes);
        _exactly("overrule_8_of_15");
        (uint64 epoch,,) = anchor.head(0);
        eq(epoch, 0, "taken back");
    }

    function test_gas_of_a_forced_record() public {
        _validators(3);
        anchor.drawCommittee(0);
        bytes32 task = _tasks(1, "forced")[0];
        bytes memory record = new bytes(4096);
        for (uint256 i; i < record.length; ++i) {
            record[i] = 0x5a;
        }
        escrow.forceRecord(task, address(this), record);
        _exactly("force_record_4096_bytes");
    }

    function test_gas_of_a_fallback() public {
        _validators(3);
        anchor.drawCommittee(0);
        bytes32 task = _tasks(1, "silent")[0];
        bytes32[] memory proof = new bytes32[](DEPTH);
        bytes32 node = keccak256(
            bytes.concat(hex"06", task, bytes20(address(this)), bytes20(address(0xA1)), bytes16(uint128(10e6)))
        );
        for (uint256 i; i < DEPTH; ++i) {
            proof[i] = keccak256(abi.encode(i));
            node = keccak256(bytes.concat(hex"01", node, proof[i]));
        }
        vm.roll(vm.getBlockNumber() + 1);
        EpochHeader memory h = _next(0, _none());
        h.stateRoot = keccak256(bytes.concat(hex"07", keccak256("state"), node));
        _post(h, _none());
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        escrow.openFallback(task, address(this));
        _exactly("open_fallback");
        escrow.claimFallback(
            task, address(this), h, TaskEscrow.FallbackClaim(address(0xA1), 10e6, keccak256("state"), 0, proof)
        );
        _exactly("claim_fallback");
        vm.warp(vm.getBlockTimestamp() + FALLBACK);
        escrow.closeFallback(task, address(this));
        _exactly("close_fallback");
    }

    function test_gas_of_leaving() public {
        token.approve(address(registry), type(uint256).max);
        registry.register(bytes32(uint256(99)), bytes32(uint256(1)), address(1), 4, MIN, new bytes(64));
        registry.addStake(MIN);
        _exactly("add_stake");
        registry.requestUnbond();
        _exactly("request_unbond");
        vm.warp(vm.getBlockTimestamp() + UNBOND);
        registry.withdraw(new EpochHeader[](0), new Registry.LossLeaf[][](0));
        _exactly("withdraw_validator");
    }
}

/// forge-config: default.isolate = true
contract CancunGasTest is GasTest {
    function _fork() internal pure override returns (string memory) {
        return "cancun";
    }
}

/// @dev Since Prague what carries much calldata has a floor (EIP-7623).
/// forge-config: default.isolate = true
contract PragueGasTest is GasTest {
    function _fork() internal pure override returns (string memory) {
        return "prague";
    }
}

/// forge-config: default.isolate = true
contract OsakaGasTest is GasTest {
    function _fork() internal pure override returns (string memory) {
        return "osaka";
    }
}
