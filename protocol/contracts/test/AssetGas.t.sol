// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {BonusPool, IAnchorLanes} from "../src/BonusPool.sol";
import {DatasetShares} from "../src/DatasetShares.sol";
import {EpochHeader, SettledTask} from "../src/EpochHeader.sol";
import {RevenueSplitter} from "../src/RevenueSplitter.sol";
import {ReputationAnchor} from "../src/ReputationAnchor.sol";
import {ShareLedger} from "../src/ShareLedger.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {ShareTrees} from "./ShareTrees.sol";
import {World} from "./World.sol";

/// @dev What each call costs as a transaction of its own (base cost and calldata included), with a ceiling that a
///      change must not break unnoticed. Trees have 10,000 leaves, the token is an ordinary ERC-20.
/// forge-config: default.isolate = true
contract AssetGasTest is World {
    uint32 private constant LEAVES = 10_000;
    uint256 private constant DEPTH = 14;
    bytes32 private constant TASK = keccak256("task");

    event log_named_uint(string key, uint256 value);

    function setUp() public {
        _deploy(1, 21);
        token.mint(address(this), 1_000_000e6);
        token.approve(address(escrow), type(uint256).max);
        _validators(3);
        anchor.drawCommittee(0);
    }

    function _ceiling(string memory what, uint256 most) private {
        uint256 used = vm.lastCallGas().used;
        emit log_named_uint(what, used);
        yes(used > 21_000, "measured as a transaction");
        if (used > most) revert Different(what, used, most);
    }

    /// @dev A leaf and siblings at will: all that a proof costs.
    function _tree(address payee) private pure returns (ShareTree.Shares memory shares, ShareLedger.Claim memory c) {
        c = ShareLedger.Claim(payee, 777, 7777, new ShareTree.Node[](DEPTH));
        ShareTree.Node memory node = ShareTree.Node(ShareTrees.leaf(payee, 777), 777);
        for (uint256 i; i < DEPTH; ++i) {
            c.proof[i] = ShareTree.Node(keccak256(abi.encode(i)), uint128(777 << i));
            node = (uint256(7777) >> i) & 1 == 0
                ? ShareTree.Node(ShareTrees.inner(node, c.proof[i]), node.sum + c.proof[i].sum)
                : ShareTree.Node(ShareTrees.inner(c.proof[i], node), node.sum + c.proof[i].sum);
        }
        shares = ShareTree.Shares(node.hash, node.sum, LEAVES);
    }

    function test_gas_of_a_data_set() public {
        DatasetShares data = new DatasetShares();
        RevenueSplitter splitter = data.splitter();
        token.approve(address(splitter), type(uint256).max);
        (ShareTree.Shares memory shares, ShareLedger.Claim memory c) = _tree(address(0xF00D));
        DatasetShares.Version memory v = DatasetShares.Version(keccak256("content"), keccak256("terms"), shares);
        uint256 id = data.publish(TASK, 500, v);
        _ceiling("publish", 415_000);
        data.addVersion(id, v);
        _ceiling("addVersion", 330_000);
        splitter.pay(id, 1, IERC20(address(token)), 1000e6);
        _ceiling("pay, first", 103_000);
        splitter.pay(id, 1, IERC20(address(token)), 1000e6);
        _ceiling("pay, later", 68_000);
        splitter.claim(id, 1, address(token), c);
        _ceiling("claim, first, 10,000 contributors", 147_000);
        splitter.pay(id, 1, IERC20(address(token)), 1_000_000);
        splitter.claim(id, 1, address(token), c);
        _ceiling("claim, later, 10,000 contributors", 94_000);
    }

    function test_gas_of_a_bonus() public {
        BonusPool pool = new BonusPool(IAnchorLanes(address(anchor)), escrow);
        token.approve(address(pool), type(uint256).max);
        escrow.fund(TASK, 0, 100e6, 0);
        pool.lock(TASK, IERC20(address(token)), 1000e6);
        _ceiling("lock, first", 325_000);
        pool.lock(TASK, IERC20(address(token)), 1000e6);
        _ceiling("lock, later", 73_000);
        ShareLedger.Claim memory c = _record(pool, 1);
        _ceiling("recordSplit, 1 header, 1,000 leaves in the tree", 123_000);
        pool.claim(TASK, address(this), address(token), c);
        _ceiling("claim of a bonus, first, 10,000 payees", 140_500);
    }

    function test_gas_of_a_split_sixteen_epochs_behind_the_head() public {
        BonusPool pool = new BonusPool(IAnchorLanes(address(anchor)), escrow);
        token.approve(address(pool), type(uint256).max);
        escrow.fund(TASK, 0, 100e6, 0);
        pool.lock(TASK, IERC20(address(token)), 1000e6);
        _record(pool, 16);
        _ceiling("recordSplit, 16 headers, 1,000 leaves in the tree", 223_000);
    }

    /// @dev Settles the task, posts epochs up to `headers` in all and records the split from the first.
    function _record(BonusPool pool, uint256 headers) private returns (ShareLedger.Claim memory c) {
        BonusPool.Split memory s;
        (s.shares, c) = _tree(address(0xF00D));
        (s.state, s.scored) = (keccak256("state"), true);
        s.index = 555;
        s.proof = new bytes32[](10);
        bytes32 node = keccak256(
            bytes.concat(
                hex"0a",
                TASK,
                bytes20(address(this)),
                hex"01",
                s.shares.root,
                bytes16(s.shares.totalWeight),
                bytes4(s.shares.count)
            )
        );
        for (uint256 i; i < 10; ++i) {
            s.proof[i] = keccak256(abi.encode("sibling", i));
            node = (s.index >> i) & 1 == 0
                ? keccak256(bytes.concat(hex"01", node, s.proof[i]))
                : keccak256(bytes.concat(hex"01", s.proof[i], node));
        }
        EpochHeader[] memory list = new EpochHeader[](headers);
        for (uint256 i; i < headers; ++i) {
            SettledTask[] memory settled = i == 0 ? _one(TASK, address(this)) : _none();
            bytes32 state = i == 0 ? keccak256(bytes.concat(hex"07", s.state, node)) : keccak256("state");
            list[i] = _posted(settled, state, keccak256("reputations"));
        }
        pool.recordSplit(TASK, address(this), list, s);
    }

    /// @dev Posts an epoch whose header is as wide as in earnest.
    function _posted(SettledTask[] memory settled, bytes32 state, bytes32 reputations)
        private
        returns (EpochHeader memory h)
    {
        vm.roll(vm.getBlockNumber() + 1);
        h = _next(0, settled);
        h.auditRoot = keccak256("audit");
        h.recordsRoot = keccak256("records");
        h.stateRoot = state;
        h.payoutFile = keccak256("file");
        h.lossRoot = keccak256("losses");
        h.reputationRoot = reputations;
        _post(h, settled);
    }

    function test_gas_of_showing_a_reputation() public {
        ReputationAnchor reputation = new ReputationAnchor(IAnchorLanes(address(anchor)));
        bytes32[] memory proof = new bytes32[](DEPTH);
        bytes32 node = reputation.leafOf(address(0xF00D), TASK, 95_000, 4321);
        for (uint256 i; i < DEPTH; ++i) {
            proof[i] = keccak256(abi.encode(i));
            node = keccak256(bytes.concat(hex"01", node, proof[i]));
        }
        EpochHeader memory h = _posted(_none(), keccak256("state"), node);
        // A plain call, because only that is measured like a transaction.
        (bool ok, bytes memory said) = address(reputation).call(
            abi.encodeCall(reputation.prove, (h, address(0xF00D), TASK, 95_000, 4321, 0, proof))
        );
        yes(ok && abi.decode(said, (bool)), "proven");
        _ceiling("prove, as a transaction, 10,000 leaves", 46_500);
    }
}
