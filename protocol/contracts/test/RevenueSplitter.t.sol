// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {DatasetShares} from "../src/DatasetShares.sol";
import {RevenueSplitter} from "../src/RevenueSplitter.sol";
import {ShareLedger} from "../src/ShareLedger.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {Till} from "../src/Till.sol";
import {StrangeToken, Unpayable} from "./AssetDoubles.sol";
import {ShareTrees} from "./ShareTrees.sol";
import {Checks} from "./Vm.sol";

contract RevenueSplitterTest is Checks {
    address private constant BUYER = address(0xB0B);

    DatasetShares private data;
    RevenueSplitter private splitter;
    StrangeToken private honest;
    StrangeToken private strange;
    uint256 private id;
    address[] private payees;
    uint128[] private weights;

    function setUp() public {
        data = new DatasetShares();
        splitter = data.splitter();
        honest = new StrangeToken();
        strange = new StrangeToken();
        honest.mint(BUYER, 1e30);
        strange.mint(BUYER, 1e30);
        for (uint160 i = 1; i <= 3; ++i) {
            payees.push(address(0xA0 + i));
            weights.push(uint128(i));
        }
        id = data.publish(keccak256("task"), 500, _version(ShareTrees.build(payees, weights)));
    }

    function _version(ShareTree.Shares memory shares) private pure returns (DatasetShares.Version memory) {
        return DatasetShares.Version(keccak256("content"), keccak256("terms"), shares);
    }

    function _pay(uint32 version, StrangeToken token, uint256 amount) private returns (uint256) {
        vm.prank(BUYER);
        return splitter.pay(id, version, IERC20(address(token)), amount);
    }

    function _leaf(uint256 i) private view returns (ShareLedger.Claim memory) {
        return ShareTrees.claim(payees, weights, i);
    }

    function _claim(StrangeToken token, uint256 i) private returns (uint256) {
        return splitter.claim(id, 1, address(token), _leaf(i));
    }

    function _all() private view returns (ShareLedger.Claim[] memory list) {
        list = new ShareLedger.Claim[](payees.length);
        for (uint256 i; i < list.length; ++i) {
            list[i] = _leaf(i);
        }
    }

    function test_income_is_shared_by_weight_and_anyone_draws_it() public {
        eq(_pay(1, honest, 600), 600, "received");
        eq(splitter.due(id, 1, address(honest), 3, 2), 300, "due before");
        vm.prank(address(0x57A));
        eq(splitter.claim(id, 1, address(honest), _leaf(2)), 300, "half");
        eq(honest.balanceOf(payees[2]), 300, "went to the payee of the leaf");
        eq(splitter.claimed(id, 1, address(honest), 2), 300, "booked");
        eq(splitter.claimMany(id, 1, address(honest), _all()), 300, "the rest in one call, the paid leaf skipped");
        eq(honest.balanceOf(payees[0]), 100, "first");
        eq(honest.balanceOf(payees[1]), 200, "second");
        ShareLedger.Ledger memory l = splitter.ledger(id, 1, address(honest));
        eq(l.income, 600, "income");
        eq(l.paid, 600, "paid");
    }

    function test_every_version_has_an_account_of_its_own() public view {
        eq(splitter.accountOf(id, 1), keccak256(abi.encode(id, uint32(1))), "first");
        yes(splitter.accountOf(id, 1) != splitter.accountOf(id, 2), "second");
    }

    function test_nothing_is_paid_twice() public {
        _pay(1, honest, 600);
        _claim(honest, 0);
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.NothingDue.selector, payees[0], 100));
        splitter.claim(id, 1, address(honest), _leaf(0));
        ShareLedger.Claim[] memory twice = new ShareLedger.Claim[](2);
        (twice[0], twice[1]) = (_leaf(1), _leaf(1));
        eq(splitter.claimMany(id, 1, address(honest), twice), 200, "once");
    }

    function test_a_wrong_leaf_is_refused() public {
        _pay(1, honest, 600);
        ShareLedger.Claim memory c = _leaf(0);
        c.weight = 6;
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.BadProof.selector, payees[0], 0));
        splitter.claim(id, 1, address(honest), c);
        c = _leaf(0);
        c.payee = address(this);
        ShareLedger.Claim[] memory list = new ShareLedger.Claim[](1);
        list[0] = c;
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.BadProof.selector, address(this), 0));
        splitter.claimMany(id, 1, address(honest), list);
    }

    function test_dust_stays_with_the_version_until_income_makes_it_whole() public {
        _pay(1, honest, 5);
        eq(splitter.claimMany(id, 1, address(honest), _all()), 0 + 1 + 2, "rounded down");
        eq(honest.balanceOf(splitter.till(id, 1)), 2, "dust");
        _pay(1, honest, 1);
        eq(splitter.claimMany(id, 1, address(honest), _all()), 1 + 1 + 1, "nothing was lost by paying in parts");
        eq(honest.balanceOf(splitter.till(id, 1)), 0, "no dust");
    }

    function test_a_contributor_with_two_leaves_is_paid_for_both() public {
        payees[1] = payees[0];
        id = data.publish(keccak256("other"), 0, _version(ShareTrees.build(payees, weights)));
        _pay(1, honest, 600);
        splitter.claimMany(id, 1, address(honest), _all());
        eq(honest.balanceOf(payees[0]), 300, "both");
    }

    function test_later_versions_dilute_nothing() public {
        _pay(1, honest, 600);
        uint128[] memory greedy = new uint128[](1);
        greedy[0] = type(uint128).max;
        address[] memory one = new address[](1);
        one[0] = address(this);
        data.addVersion(id, _version(ShareTrees.build(one, greedy)));
        _pay(1, honest, 600);
        _pay(2, honest, 70);
        eq(splitter.due(id, 1, address(honest), 3, 2), 600, "all income of the first version");
        ShareLedger.Claim memory mine = ShareTrees.claim(one, greedy, 0);
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.BadProof.selector, address(this), 0));
        splitter.claim(id, 1, address(honest), mine);
        eq(splitter.claim(id, 2, address(honest), mine), 70, "only what the second earned");
        eq(splitter.claimMany(id, 1, address(honest), _all()), 1200, "the first is whole");
    }

    function test_unknown_versions_take_no_money() public {
        bytes memory why = abi.encodeWithSelector(RevenueSplitter.UnknownVersion.selector, id, 2);
        vm.expectRevert(why);
        _pay(2, honest, 1);
        vm.expectRevert(why);
        splitter.claim(id, 2, address(honest), _leaf(0));
        vm.expectRevert(why);
        splitter.claimMany(id, 2, address(honest), _all());
        vm.expectRevert(why);
        splitter.collect(id, 2, address(honest));
        vm.expectRevert(why);
        splitter.due(id, 2, address(honest), 1, 0);
    }

    function test_a_plain_transfer_is_income_and_so_is_a_royalty() public {
        (address to, uint256 royalty) = data.royaltyInfo(id, 12_000);
        vm.prank(BUYER);
        honest.transfer(to, royalty);
        eq(splitter.due(id, 1, address(honest), 3, 2), 300, "due before anyone booked it");
        eq(splitter.collect(id, 1, address(honest)), 600, "fresh");
        eq(splitter.collect(id, 1, address(honest)), 0, "once");
        vm.prank(BUYER);
        honest.transfer(to, 60);
        eq(_pay(1, honest, 6), 6, "a payer is credited its own money only");
        eq(splitter.ledger(id, 1, address(honest)).income, 666, "all of it is income");
        vm.prank(BUYER);
        honest.transfer(to, 6);
        eq(_claim(honest, 2), 336, "a claim books by itself");
    }

    function test_the_chains_own_coin_is_income_too() public {
        address till = splitter.till(id, 1);
        (bool sent,) = till.call{value: 600}("");
        yes(sent, "the till takes coins");
        eq(splitter.claim(id, 1, address(0), _leaf(2)), 300, "half");
        eq(payees[2].balance, 300, "arrived");
        // One payee refuses; the others are paid.
        payees[0] = address(new Unpayable());
        id = data.publish(keccak256("other"), 0, _version(ShareTrees.build(payees, weights)));
        (sent,) = splitter.till(id, 1).call{value: 600}("");
        ShareLedger.Claim memory refusing = _leaf(0);
        (bool ok,) = address(splitter).call(abi.encodeCall(splitter.claim, (id, 1, address(0), refusing)));
        yes(!ok, "refused by its payee");
        eq(splitter.claim(id, 1, address(0), _leaf(1)), 200, "another payee");
    }

    function test_a_payment_must_move_something() public {
        vm.expectRevert(ShareLedger.ZeroAmount.selector);
        _pay(1, honest, 0);
        strange.setSilent(true);
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.NothingReceived.selector, address(strange)));
        _pay(1, strange, 5);
        strange.setSilent(false);
        strange.setFailing(true);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(strange)));
        _pay(1, strange, 5);
    }

    function test_nobody_but_the_splitter_opens_a_till() public {
        Till till = Till(payable(splitter.till(id, 1)));
        vm.expectRevert(abi.encodeWithSelector(Till.OnlyKeeper.selector, address(this)));
        till.send(address(honest), address(this), 1);
    }

    function test_fees_of_a_token_are_not_income() public {
        strange.setFee(10);
        eq(_pay(1, strange, 1000), 900, "what arrived");
        eq(splitter.claimMany(id, 1, address(strange), _all()), 900, "all that arrived can be drawn");
        eq(strange.balanceOf(splitter.till(id, 1)), 0, "nothing is left over");
        eq(strange.balanceOf(payees[2]), 405, "the payee bears the second fee");
    }

    /// @dev Fails in every way a token can; the same contributors' income in another token is drawn beside it.
    function test_a_bad_token_spoils_only_its_own_ledger() public {
        for (uint256 way; way < 5; ++way) {
            uint256 good = splitter.ledger(id, 1, address(honest)).income;
            _pay(1, honest, 600);
            _pay(1, strange, 600);
            _set(way, true);
            bytes memory call = abi.encodeCall(splitter.claim, (id, 1, address(strange), _leaf(2)));
            (bool ok,) = address(splitter).call(call);
            yes(ok == (way == 3), "only the token that says nothing gets away with it");
            eq(_claim(honest, 0) + _claim(honest, 1) + _claim(honest, 2), 600, "the good token's claims");
            eq(honest.balanceOf(payees[2]), (good + 600) / 2, "arrived");
            _set(way, false);
            strange = new StrangeToken();
            strange.mint(BUYER, 1e30);
        }
    }

    function _set(uint256 way, bool on) private {
        if (way == 0) strange.setPaused(on);
        if (way == 1) strange.setDead(on);
        if (way == 2) strange.setFailing(on);
        if (way == 3) strange.setSilent(on);
        if (way == 4) strange.setPhantom(splitter.till(id, 1), on ? 1e24 : 0);
    }

    function test_a_paused_token_is_paid_when_it_wakes() public {
        _pay(1, strange, 600);
        strange.setPaused(true);
        bytes memory call = abi.encodeCall(splitter.claim, (id, 1, address(strange), _leaf(2)));
        (bool ok,) = address(splitter).call(call);
        yes(!ok, "paused");
        eq(splitter.claimed(id, 1, address(strange), 2), 0, "nothing was booked");
        strange.setPaused(false);
        eq(_claim(strange, 2), 300, "paid");
    }

    /// @dev Two versions hold the same token, which takes away half of everything. Each still has what its own till has.
    function test_a_token_that_shrinks_moves_nothing_between_tills() public {
        data.addVersion(id, _version(ShareTrees.build(payees, weights)));
        _pay(1, strange, 600);
        _pay(2, strange, 600);
        eq(_claim(strange, 0), 100, "before");
        strange.setScale(50);
        eq(_claim(strange, 2), 250, "the till pays what it has, here all of it");
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.NothingDue.selector, payees[1], 0));
        splitter.claim(id, 1, address(strange), _leaf(1));
        eq(splitter.claim(id, 2, address(strange), _leaf(1)), 200, "the other version is untouched by that");
        // What the token lost has to be earned again before it counts.
        eq(_pay(1, strange, 100), 100, "who pays is credited all the same");
        eq(splitter.ledger(id, 1, address(strange)).income, 600, "no new income");
        eq(_claim(strange, 1), 100, "but it can be drawn");
    }

    function test_a_token_that_grows_shares_the_growth() public {
        _pay(1, strange, 600);
        _claim(strange, 0);
        strange.setScale(120);
        eq(_claim(strange, 2), 350, "half of 500 * 1.2 + 100");
        eq(_claim(strange, 1), 233, "a third");
        eq(_claim(strange, 0), 16, "a sixth less 100");
    }

    function test_a_sender_fee_hurts_the_own_ledger_only() public {
        data.addVersion(id, _version(ShareTrees.build(payees, weights)));
        _pay(1, strange, 600);
        _pay(2, strange, 600);
        strange.setSenderFee(20);
        eq(_claim(strange, 2), 300, "first, of 600");
        eq(_claim(strange, 0), 100, "second, of 240");
        eq(strange.balanceOf(splitter.till(id, 1)), 120, "what is left of the own till");
        eq(strange.balanceOf(splitter.till(id, 2)), 600, "the other till");
    }

    function test_a_token_that_calls_back_gains_nothing() public {
        _pay(1, strange, 600);
        _pay(1, honest, 600);
        bytes4 why = ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector;
        bytes[4] memory calls = [
            abi.encodeCall(splitter.claim, (id, 1, address(strange), _leaf(2))),
            abi.encodeCall(splitter.claimMany, (id, 1, address(honest), _all())),
            abi.encodeCall(splitter.pay, (id, 1, IERC20(address(honest)), 1)),
            abi.encodeCall(splitter.collect, (id, 1, address(strange)))
        ];
        for (uint256 i; i < 4; ++i) {
            strange.arm(address(splitter), calls[i]);
            if (i % 2 == 0) eq(_pay(1, strange, 600), 600, "counted once");
            else yes(_claim(strange, 2) != 0, "paid");
            yes(strange.called() && !strange.succeeded(), "refused");
            eq(bytes32(bytes4(strange.answer())), bytes32(why), "by the guard");
        }
        eq(splitter.ledger(id, 1, address(strange)).income, 1800, "income");
        eq(splitter.ledger(id, 1, address(honest)).income, 600, "the honest ledger");
        eq(_claim(strange, 1), 600, "a third of it");
    }

    /// @dev A tree whose publisher lies about the sums can lock money up but never hand out more than there is.
    function test_a_lying_tree_cannot_overdraw() public {
        ShareTree.Node memory a = ShareTree.Node(ShareTrees.leaf(payees[0], 10), 0);
        ShareTree.Node memory b = ShareTree.Node(ShareTrees.leaf(payees[1], 10), 10);
        id = data.publish(
            keccak256("lie"), 0, _version(ShareTree.Shares(ShareTrees.inner(a, b), 10, 2))
        );
        _pay(1, honest, 100);
        ShareLedger.Claim memory c = ShareLedger.Claim(payees[0], 10, 0, new ShareTree.Node[](1));
        c.proof[0] = b;
        vm.expectRevert(abi.encodeWithSelector(ShareLedger.BadProof.selector, payees[0], 0));
        splitter.claim(id, 1, address(honest), c);
        c = ShareLedger.Claim(payees[1], 10, 1, new ShareTree.Node[](1));
        c.proof[0] = a;
        eq(splitter.claim(id, 1, address(honest), c), 100, "the only provable leaf");
    }

    /// @dev Payments of any size in any rhythm: never more than came in, and less by at most one unit for each leaf.
    function testFuzz_claims_are_exact_to_a_unit_for_each_leaf(uint256 seed, uint256 count, uint256 payments) public {
        count = within(count, 1, 12);
        payments = within(payments, 1, 12);
        delete payees;
        delete weights;
        for (uint256 i; i < count; ++i) {
            payees.push(address(uint160(0xF000 + i)));
            weights.push(uint128(uint256(keccak256(abi.encode(seed, "w", i))) >> 132));
        }
        weights[0] += 1;
        id = data.publish(bytes32(seed), 0, _version(ShareTrees.build(payees, weights)));
        uint256 sum;
        for (uint256 i; i < payments; ++i) {
            uint256 amount = 1 + uint256(keccak256(abi.encode(seed, "p", i))) % (i % 2 == 0 ? 10 : 1e24);
            sum += _pay(1, honest, amount);
            splitter.claimMany(id, 1, address(honest), _all());
        }
        uint256 total = data.sharesOf(id, 1).totalWeight;
        uint256 drawn;
        for (uint256 i; i < count; ++i) {
            uint256 got = honest.balanceOf(payees[i]);
            eq(got, sum * weights[i] / total, "as if it had come at once, rounded down once");
            drawn += got;
        }
        yes(drawn <= sum && sum - drawn < count, "dust");
        eq(honest.balanceOf(splitter.till(id, 1)), sum - drawn, "the dust is in the till");
    }
}
