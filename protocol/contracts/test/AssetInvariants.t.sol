// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {BonusPool, IAnchorLanes} from "../src/BonusPool.sol";
import {DatasetShares} from "../src/DatasetShares.sol";
import {EpochHeader} from "../src/EpochHeader.sol";
import {RevenueSplitter} from "../src/RevenueSplitter.sol";
import {ShareLedger} from "../src/ShareLedger.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {TaskEscrow} from "../src/TaskEscrow.sol";
import {LaneDouble, StrangeToken} from "./AssetDoubles.sol";
import {ShareTrees} from "./ShareTrees.sol";
import {Checks} from "./Vm.sol";

/// @dev Two data sets that get versions, payments and claims in two tokens, one with a fee, at random.
contract Market is Checks {
    uint256 public constant PAYEES = 5;

    struct Till {
        uint256 dataset;
        uint32 version;
    }

    DatasetShares public data = new DatasetShares();
    RevenueSplitter public splitter = data.splitter();
    StrangeToken[2] public tokens;
    Till[] public tills;
    address[] private _payees;
    mapping(uint256 till => uint128[]) private _weights;
    uint256[2] private _datasets;

    /// @dev What arrived in a till and what was sent out of it, by the token's own word.
    mapping(uint256 till => mapping(uint256 token => uint256)) public arrived;
    mapping(uint256 till => mapping(uint256 token => uint256)) public left;
    mapping(uint256 till => mapping(uint256 token => mapping(uint256 payee => uint256))) public drawn;
    uint256 public claims;

    constructor() {
        for (uint256 i; i < PAYEES; ++i) {
            _payees.push(address(uint160(0xF0 + i)));
        }
        for (uint256 i; i < 2; ++i) {
            tokens[i] = new StrangeToken();
            tokens[i].mint(address(this), type(uint128).max);
            (DatasetShares.Version memory v, uint128[] memory w) = _draw(i);
            _datasets[i] = data.publish(bytes32(i), 1000, v);
            _weights[tills.length] = w;
            tills.push(Till(_datasets[i], 1));
        }
        tokens[1].setFee(7);
    }

    function _draw(uint256 seed) private view returns (DatasetShares.Version memory v, uint128[] memory w) {
        w = new uint128[](PAYEES);
        for (uint256 i; i < PAYEES; ++i) {
            w[i] = uint128(uint256(keccak256(abi.encode(seed, i))) % 1e9);
        }
        w[0] += 1;
        v = DatasetShares.Version(keccak256("content"), keccak256("terms"), ShareTrees.build(_payees, w));
    }

    function count() external view returns (uint256) {
        return tills.length;
    }

    function weightOf(uint256 till, uint256 payee) external view returns (uint128) {
        return _weights[till][payee];
    }

    function addVersion(uint256 dataset, uint256 seed) external {
        if (tills.length >= 8) return;
        uint256 id = _datasets[dataset % 2];
        (DatasetShares.Version memory v, uint128[] memory w) = _draw(seed);
        uint32 version = data.addVersion(id, v);
        _weights[tills.length] = w;
        tills.push(Till(id, version));
    }

    function pay(uint256 till, uint256 token, uint256 amount) external {
        (till, token) = (till % tills.length, token % 2);
        amount = amount % 1e20 + 1;
        Till memory t = tills[till];
        uint256 before = tokens[token].balanceOf(splitter.till(t.dataset, t.version));
        uint256 received = splitter.pay(t.dataset, t.version, IERC20(address(tokens[token])), amount);
        eq(tokens[token].balanceOf(splitter.till(t.dataset, t.version)) - before, received, "what arrived");
        arrived[till][token] += received;
    }

    function send(uint256 till, uint256 token, uint256 amount) external {
        (till, token) = (till % tills.length, token % 2);
        Till memory t = tills[till];
        address to = splitter.till(t.dataset, t.version);
        uint256 before = tokens[token].balanceOf(to);
        tokens[token].transfer(to, amount % 1e10);
        arrived[till][token] += tokens[token].balanceOf(to) - before;
    }

    function claim(uint256 till, uint256 token, uint256 payee) external {
        (till, token, payee) = (till % tills.length, token % 2, payee % PAYEES);
        Till memory t = tills[till];
        address coin = address(tokens[token]);
        uint256 due = splitter.due(t.dataset, t.version, coin, _weights[till][payee], payee);
        if (due == 0) return;
        ShareLedger.Claim memory c = ShareTrees.claim(_payees, _weights[till], payee);
        eq(splitter.claim(t.dataset, t.version, coin, c), due, "what was due");
        left[till][token] += due;
        drawn[till][token][payee] += due;
        ++claims;
    }
}

/// @dev Tasks with a bonus in two tokens; settled, put into fallback, shared, refunded and claimed at random.
contract Bonuses is Checks {
    uint256 public constant PAYEES = 4;
    uint256 private constant TASKS = 6;
    address public constant CLIENT = address(0xC11E);

    LaneDouble public lane = new LaneDouble();
    BonusPool public pool = new BonusPool(IAnchorLanes(address(lane)), TaskEscrow(address(lane)));
    StrangeToken[2] public tokens;
    address[] private _payees;
    uint128[][TASKS] private _weights;
    bool[TASKS] private _settled;
    bool[TASKS] private _split;
    uint64[TASKS] private _closesAt;
    uint64 private _epoch;

    mapping(uint256 task => mapping(uint256 token => uint256)) public arrived;
    mapping(uint256 task => mapping(uint256 token => uint256)) public left;
    mapping(uint256 task => mapping(uint256 token => uint256)) public refunded;
    /// @dev Refunded after the split was recorded, or before the notice or the fallback's window was over.
    uint256 public wrongRefunds;
    uint256 public refunds;
    uint256 public claims;

    constructor() {
        for (uint256 i; i < PAYEES; ++i) {
            _payees.push(address(uint160(0xF0 + i)));
        }
        for (uint256 i; i < 2; ++i) {
            tokens[i] = new StrangeToken();
            tokens[i].mint(CLIENT, type(uint128).max);
        }
        tokens[1].setFee(7);
        for (uint256 i; i < TASKS; ++i) {
            lane.setEscrow(bytes32(i), CLIENT, 1, 0, false);
        }
    }

    function wait(uint256 time) external {
        vm.warp(vm.getBlockTimestamp() + time % 200 days);
    }

    function lock(uint256 task, uint256 token, uint256 amount) external {
        (task, token) = (task % TASKS, token % 2);
        if (_settled[task] || _split[task]) return;
        vm.prank(CLIENT);
        arrived[task][token] += pool.lock(bytes32(task), IERC20(address(tokens[token])), amount % 1e20 + 1);
    }

    function settle(uint256 task) external {
        task %= TASKS;
        if (_closesAt[task] != 0) return;
        _settled[task] = true;
        lane.setEscrow(bytes32(task), CLIENT, 1, 0, true);
    }

    function record(uint256 task, uint256 seed) external {
        task %= TASKS;
        if (!_settled[task] || _split[task] || !pool.bonusOf(bytes32(task), CLIENT).locked) return;
        (EpochHeader[] memory list, BonusPool.Split memory s) = _draw(task, seed, true);
        _split[task] = true;
        lane.setHead(lane.hashOf(list[0]), true);
        lane.setClaimable(_epoch, true);
        pool.recordSplit(bytes32(task), CLIENT, list, s);
    }

    /// @dev The escrow opens the task for fallback, and sometimes somebody shows the flat split.
    function fallBack(uint256 task, uint256 seed, bool shown) external {
        task %= TASKS;
        if (_settled[task] || _closesAt[task] != 0 || !pool.bonusOf(bytes32(task), CLIENT).locked) return;
        (EpochHeader[] memory list, BonusPool.Split memory s) = _draw(task, seed, false);
        _closesAt[task] = uint64(vm.getBlockTimestamp() + 14 days);
        lane.setFallback(bytes32(task), CLIENT, lane.hashOf(list[0]), _closesAt[task]);
        _split[task] = shown;
        if (shown) pool.recordSplit(bytes32(task), CLIENT, list, s);
    }

    /// @dev A split by random weights and the header that holds it.
    function _draw(uint256 task, uint256 seed, bool scored)
        private
        returns (EpochHeader[] memory list, BonusPool.Split memory s)
    {
        uint128[] memory w = new uint128[](PAYEES);
        for (uint256 i; i < PAYEES; ++i) {
            w[i] = uint128(uint256(keccak256(abi.encode(seed, i))) % 1e9);
        }
        w[0] += 1;
        _weights[task] = w;
        (s.scored, s.shares) = (scored, ShareTrees.build(_payees, w));
        bytes32 leaf = keccak256(
            bytes.concat(
                hex"0a",
                bytes32(task),
                bytes20(CLIENT),
                scored ? bytes1(0x01) : bytes1(0x00),
                s.shares.root,
                bytes16(s.shares.totalWeight),
                bytes4(s.shares.count)
            )
        );
        list = new EpochHeader[](1);
        list[0].epoch = ++_epoch;
        list[0].stateRoot = keccak256(bytes.concat(hex"07", s.state, leaf));
    }

    function claim(uint256 task, uint256 token, uint256 payee) external {
        (task, token, payee) = (task % TASKS, token % 2, payee % PAYEES);
        if (!_split[task]) return;
        address coin = address(tokens[token]);
        uint256 due = pool.due(bytes32(task), CLIENT, coin, _weights[task][payee], payee);
        if (due == 0) return;
        ShareLedger.Claim memory c = ShareTrees.claim(_payees, _weights[task], payee);
        eq(pool.claim(bytes32(task), CLIENT, coin, c), due, "what was due");
        left[task][token] += due;
        ++claims;
    }

    function requestRefund(uint256 task) external {
        task %= TASKS;
        (bool ok,) = address(pool).call(abi.encodeCall(pool.requestRefund, (bytes32(task), CLIENT)));
        if (ok && (_split[task] || !_settled[task])) ++wrongRefunds;
    }

    function refund(uint256 task, uint256 token) external {
        (task, token) = (task % TASKS, token % 2);
        BonusPool.Bonus memory b = pool.bonusOf(bytes32(task), CLIENT);
        uint256 held = tokens[token].balanceOf(pool.till(bytes32(task), CLIENT));
        (bool ok,) =
            address(pool).call(abi.encodeCall(pool.refund, (bytes32(task), CLIENT, address(tokens[token]))));
        if (!ok) return;
        uint256 notBefore = _settled[task] ? b.refundAt : _closesAt[task];
        if (_split[task] || notBefore == 0 || vm.getBlockTimestamp() < notBefore) ++wrongRefunds;
        refunded[task][token] += held;
        ++refunds;
    }
}

contract SplitterInvariantsTest is Checks {
    Market private market;

    function setUp() public {
        market = new Market();
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(market);
    }

    function invariant_each_till_holds_what_arrived_less_what_was_drawn() public view {
        RevenueSplitter splitter = market.splitter();
        for (uint256 i; i < market.count(); ++i) {
            (uint256 id, uint32 version) = market.tills(i);
            for (uint256 t; t < 2; ++t) {
                StrangeToken token = market.tokens(t);
                uint256 held = token.balanceOf(splitter.till(id, version));
                eq(held, market.arrived(i, t) - market.left(i, t), "balance");
                ShareLedger.Ledger memory l = splitter.ledger(id, version, address(token));
                eq(l.paid, market.left(i, t), "paid");
                yes(l.income <= market.arrived(i, t), "income");
            }
        }
    }

    function invariant_nobody_draws_more_than_a_part() public view {
        for (uint256 i; i < market.count(); ++i) {
            (uint256 id, uint32 version) = market.tills(i);
            uint256 total = market.data().sharesOf(id, version).totalWeight;
            for (uint256 t; t < 2; ++t) {
                for (uint256 p; p < market.PAYEES(); ++p) {
                    uint256 part = market.arrived(i, t) * market.weightOf(i, p) / total;
                    yes(market.drawn(i, t, p) <= part, "at most the part");
                    eq(
                        market.splitter().claimed(id, version, address(market.tokens(t)), p),
                        market.drawn(i, t, p),
                        "books"
                    );
                }
            }
        }
    }

    /// @dev Runs the steps once in a fixed order, so that a handler which silently does nothing would be noticed.
    function test_the_market_really_moves_money() public {
        market.addVersion(0, 1);
        for (uint256 t; t < 2; ++t) {
            for (uint256 i; i < 3; ++i) {
                market.pay(i, t, 1e18);
                market.send(i, t, 1e9);
                for (uint256 p; p < 5; ++p) {
                    market.claim(i, t, p);
                }
            }
        }
        eq(market.count(), 3, "versions");
        eq(market.claims(), 30, "claims");
        invariant_each_till_holds_what_arrived_less_what_was_drawn();
        invariant_nobody_draws_more_than_a_part();
    }
}

contract BonusInvariantsTest is Checks {
    Bonuses private bonuses;

    function setUp() public {
        bonuses = new Bonuses();
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(bonuses);
    }

    function invariant_each_bonus_holds_what_was_locked_less_what_went_out() public view {
        BonusPool pool = bonuses.pool();
        for (uint256 task; task < 6; ++task) {
            for (uint256 t; t < 2; ++t) {
                StrangeToken token = bonuses.tokens(t);
                uint256 held = token.balanceOf(pool.till(bytes32(task), bonuses.CLIENT()));
                uint256 gone = bonuses.left(task, t) + bonuses.refunded(task, t);
                eq(held, bonuses.arrived(task, t) - gone, "balance");
                ShareLedger.Ledger memory l = pool.ledger(bytes32(task), bonuses.CLIENT(), address(token));
                eq(l.paid, bonuses.left(task, t), "paid");
                eq(l.income, bonuses.arrived(task, t) - bonuses.refunded(task, t), "income");
            }
        }
    }

    function invariant_nothing_goes_back_against_the_rules() public view {
        eq(bonuses.wrongRefunds(), 0, "refunds after a split or before their time");
    }

    /// @dev Runs the steps once in a fixed order, so that a handler which silently does nothing would be noticed.
    function test_the_bonuses_really_move_money() public {
        for (uint256 task; task < 4; ++task) {
            bonuses.lock(task, 0, 1e18);
            bonuses.lock(task, 1, 1e18);
        }
        bonuses.settle(0);
        bonuses.record(0, 1);
        bonuses.settle(1);
        bonuses.requestRefund(1);
        bonuses.fallBack(2, 2, true);
        bonuses.fallBack(3, 3, false);
        for (uint256 task; task < 4; ++task) {
            for (uint256 p; p < 4; ++p) {
                bonuses.claim(task, 0, p);
                bonuses.claim(task, 1, p);
            }
            bonuses.refund(task, 0);
        }
        eq(bonuses.claims(), 16, "claims");
        eq(bonuses.refunds(), 0, "refunds before their time");
        bonuses.wait(199 days);
        bonuses.wait(199 days);
        for (uint256 task; task < 4; ++task) {
            bonuses.refund(task, 0);
        }
        eq(bonuses.refunds(), 2, "refunds");
        eq(bonuses.refunded(1, 0), 1e18 + 1, "after the notice");
        eq(bonuses.refunded(3, 0), 1e18 + 1, "after the fallback");
        invariant_each_bonus_holds_what_was_locked_less_what_went_out();
        invariant_nothing_goes_back_against_the_rules();
    }
}
