// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

import {PositionalMerkle} from "../../src/PositionalMerkle.sol";
import {RewardDistributor} from "../../src/RewardDistributor.sol";

/// @dev More than any two leaves can hold, in one hand.
contract SymbolicToken is ERC20("Symbolic", "SYM") {
    constructor(address holder) {
        _mint(holder, type(uint256).max);
    }
}

/// @notice The arithmetic of claims, shown by halmos for all payees and totals at once. Stands where the anchor stands.
contract RewardDistributorSymbolic {
    RewardDistributor private d;
    SymbolicToken private token;

    function setUp() public {
        token = new SymbolicToken(address(this));
        d = new RewardDistributor(token, address(this), 0, 0);
        token.transfer(address(d), token.totalSupply());
    }

    /// @dev An epoch whose tree of two leaves starts with this one. What the tree owes does not matter to a claim.
    function _epoch(uint64 epoch, address payee, uint128 total, bytes32 sibling) private {
        bytes32 leaf = PositionalMerkle.payoutLeaf(payee, total);
        bytes32 root = keccak256(abi.encodePacked(uint8(0x01), leaf, sibling));
        d.activate(epoch, root, 2, 1, epoch);
    }

    function _claim(uint64 epoch, address payee, uint128 total, bytes32 sibling) private returns (uint256 amount) {
        RewardDistributor.Claim[] memory claims = new RewardDistributor.Claim[](1);
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = sibling;
        claims[0] = RewardDistributor.Claim(payee, total, 0, proof);
        return _call(abi.encodeCall(d.claimMany, (epoch, claims)));
    }

    /// @dev A call that must not revert: halmos passes over whatever reverts.
    function _call(bytes memory data) private returns (uint256 amount) {
        (bool done, bytes memory answer) = address(d).call(data);
        assert(done);
        return abi.decode(answer, (uint256));
    }

    /// @dev The token pays nobody at address zero, and what the distributor pays itself stays where it is.
    function _payable(address payee) private view returns (bool) {
        return payee != address(0) && payee != address(d);
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? b : a;
    }

    /// Whatever two epochs owe a payee and whichever is claimed first: after both it has the larger, to the unit, and after
    /// that nothing.
    function check_claims_pay_the_largest_leaf_once(
        address payee,
        uint128 first,
        uint128 second,
        bytes32 firstSibling,
        bytes32 secondSibling
    ) public {
        if (!_payable(payee)) return;
        _epoch(1, payee, first, firstSibling);
        _epoch(2, payee, second, secondSibling);

        uint256 amount = _claim(1, payee, first, firstSibling);
        assert(amount == first);
        assert(d.paid(payee) == first);

        uint256 more = _claim(2, payee, second, secondSibling);
        uint256 paid = d.paid(payee);
        assert(paid >= first);
        assert(paid == _max(first, second));
        assert(amount + more == paid);
        assert(token.balanceOf(payee) == paid);
        assert(token.balanceOf(address(d)) == type(uint256).max - paid);

        assert(_claim(1, payee, first, firstSibling) == 0);
        assert(_claim(2, payee, second, secondSibling) == 0);
        assert(d.paid(payee) == paid);
    }

    /// A claim for one payee changes no other's.
    function check_a_claim_changes_nobody_else(address payee, uint128 total, bytes32 sibling, address bystander) public {
        if (!_payable(payee) || payee == bystander || bystander == address(d)) return;
        _epoch(1, payee, total, sibling);
        uint256 balance = token.balanceOf(bystander);
        _claim(1, payee, total, sibling);
        assert(d.paid(bystander) == 0);
        assert(token.balanceOf(bystander) == balance);
    }

    /// A whole tree of two leaves claimed at once pays each payee its leaf, and one that stands there twice its larger leaf.
    function check_a_subtree_pays_each_leaf_once(address a, uint128 forA, address b, uint128 forB) public {
        if (!_payable(a) || !_payable(b)) return;
        bytes32 root = keccak256(
            abi.encodePacked(uint8(0x01), PositionalMerkle.payoutLeaf(a, forA), PositionalMerkle.payoutLeaf(b, forB))
        );
        d.activate(1, root, 2, 1, 1);
        bytes memory claim =
            abi.encodeCall(d.claimSubtree, (1, 0, abi.encodePacked(a, forA, b, forB), new bytes32[](0)));
        uint256 amount = _call(claim);
        if (a == b) {
            assert(d.paid(a) == _max(forA, forB));
            assert(amount == _max(forA, forB));
        } else {
            assert(d.paid(a) == forA && token.balanceOf(a) == forA);
            assert(d.paid(b) == forB && token.balanceOf(b) == forB);
            assert(amount == uint256(forA) + forB);
        }
        assert(_call(claim) == 0);
    }
}
