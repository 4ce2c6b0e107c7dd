// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";
import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {ShareTree} from "./ShareTree.sol";
import {Till} from "./Till.sol";

/// @title Income that is shared by weight
/// @dev An account is a till of its own; a ledger is one token in one till. Income is what ever arrived there, whichever
///      way, measured by balance: fees on transfers are simply not income. A payee's part is income * weight / total weight,
///      rounded down once over the whole income, so that many small payments lose nothing; what rounding leaves stays in
///      the till.
///      No call touches two ledgers, so a token that reverts, lies, loses balances or calls back can only spoil its own.
///      Every function that moves money must be `nonReentrant`: in the middle of a transfer, balance and books differ.
///      Invariants, for every token: paid <= income; sum of what leaves were paid == paid; and for a token that keeps its
///      promises, income - paid == balance.
abstract contract ShareLedger is ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @notice One token's books in one till, in token base units.
    struct Ledger {
        /// All that ever arrived.
        uint256 income;
        /// All that was ever paid out.
        uint256 paid;
    }

    /// @notice One leaf with its proof.
    struct Claim {
        /// Address in the leaf, which receives the money.
        address payee;
        /// Weight in the leaf.
        uint128 weight;
        /// Position of the leaf.
        uint256 index;
        /// Siblings with their sums, from the bottom.
        ShareTree.Node[] proof;
    }

    /// @dev Hash of a till's creation code; kept, because hashing it anew costs every call a copy of the code.
    bytes32 private immutable _tillCode = keccak256(type(Till).creationCode);

    mapping(bytes32 account => mapping(address token => Ledger)) internal _ledgers;
    /// @dev By position and not by payee, so that somebody with two leaves is paid for both.
    mapping(bytes32 account => mapping(address token => mapping(uint256 index => uint256))) internal _claimed;

    /// @notice `amount` arrived without a call to this contract and now belongs to the ledger.
    event Collected(bytes32 indexed account, address indexed token, uint256 amount);
    /// @notice `amount` went to `payee` for the leaf at `index`.
    event Claimed(
        bytes32 indexed account, address indexed token, address indexed payee, uint256 index, uint256 amount
    );

    /// @notice A constructor argument is the zero address.
    error BadConfiguration();
    /// @notice The amount is zero.
    error ZeroAmount();
    /// @notice The token moved nothing.
    error NothingReceived(address token);
    /// @notice The proof does not lead from this leaf to the root, or not with the tree's total weight.
    error BadProof(address payee, uint256 index);
    /// @notice All that this leaf has earned so far has been paid, or the till is empty.
    error NothingDue(address payee, uint256 paid);

    /// @dev Creates the till of an account, once.
    function _open(bytes32 account) internal returns (address) {
        return address(new Till{salt: account}());
    }

    /// @dev Address of an account's till, whether it exists yet or not.
    function _till(bytes32 account) internal view returns (address) {
        return Create2.computeAddress(account, _tillCode);
    }

    /// @dev What a till holds of a token; the zero address is the chain's own coin.
    function _balance(address till_, address token) internal view returns (uint256) {
        return token == address(0) ? till_.balance : IERC20(token).balanceOf(till_);
    }

    /// @dev Moves money out of a till.
    function _send(bytes32 account, address token, address to, uint256 amount) internal {
        Till(payable(_till(account))).send(token, to, amount);
    }

    /// @dev Books what has arrived since the last look.
    function _book(bytes32 account, address token) private returns (uint256 fresh) {
        Ledger storage l = _ledgers[account][token];
        uint256 arrived = l.paid + _balance(_till(account), token);
        uint256 income = l.income;
        // A token that lost balance has to earn it back before there is income again.
        if (arrived <= income) return 0;
        l.income = arrived;
        return arrived - income;
    }

    /// @dev Books what was sent to the till without a call.
    function _collect(bytes32 account, address token) internal returns (uint256 fresh) {
        fresh = _book(account, token);
        if (fresh != 0) emit Collected(account, token, fresh);
    }

    /// @dev Pulls `amount` from the caller into the till, books it and returns what arrived.
    function _pull(bytes32 account, IERC20 token, uint256 amount) internal returns (uint256 received) {
        if (amount == 0) revert ZeroAmount();
        _collect(account, address(token));
        address till_ = _till(account);
        uint256 before = token.balanceOf(till_);
        token.safeTransferFrom(msg.sender, till_, amount);
        uint256 afterwards = token.balanceOf(till_);
        if (afterwards <= before) revert NothingReceived(address(token));
        received = afterwards - before;
        _book(account, address(token));
    }

    /// @dev Pays one leaf what it has earned beyond what it was paid; reverts when that is nothing.
    function _claim(bytes32 account, address token, ShareTree.Shares memory shares, Claim calldata c)
        internal
        returns (uint256 amount)
    {
        _collect(account, token);
        amount = _pay(account, token, shares, c);
        // slither-disable-next-line incorrect-equality: whoever sends the till a unit has it paid out.
        if (amount == 0) revert NothingDue(c.payee, _claimed[account][token][c.index]);
    }

    /// @dev Pays many leaves; those with nothing due are skipped.
    function _claimMany(bytes32 account, address token, ShareTree.Shares memory shares, Claim[] calldata claims)
        internal
        returns (uint256 amount)
    {
        _collect(account, token);
        for (uint256 i; i < claims.length; ++i) {
            amount += _pay(account, token, shares, claims[i]);
        }
    }

    function _pay(bytes32 account, address token, ShareTree.Shares memory shares, Claim calldata c)
        private
        returns (uint256 amount)
    {
        if (!ShareTree.holds(shares, c.payee, c.weight, c.index, c.proof)) revert BadProof(c.payee, c.index);
        Ledger storage l = _ledgers[account][token];
        uint256 before = _claimed[account][token][c.index];
        amount = Math.mulDiv(l.income, c.weight, shares.totalWeight) - before;
        // A token that lost balance still pays what is there.
        uint256 held = _balance(_till(account), token);
        if (amount > held) amount = held;
        // slither-disable-next-line incorrect-equality: whoever sends the till a unit has it paid out.
        if (amount == 0) return 0;
        _claimed[account][token][c.index] = before + amount;
        l.paid += amount;
        // slither-disable-next-line reentrancy-events: booked before, and every way here is locked.
        _send(account, token, c.payee, amount);
        emit Claimed(account, token, c.payee, c.index, amount);
    }

    /// @dev What a claim would pay now to a leaf with `weight` at `index`.
    function _due(bytes32 account, address token, ShareTree.Shares memory shares, uint128 weight, uint256 index)
        internal
        view
        returns (uint256)
    {
        Ledger storage l = _ledgers[account][token];
        uint256 held = _balance(_till(account), token);
        uint256 part = Math.mulDiv(Math.max(l.income, l.paid + held), weight, shares.totalWeight);
        return Math.min(Math.saturatingSub(part, _claimed[account][token][index]), held);
    }
}
