// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";

/// @title An account that holds one ledger's money and nothing else
/// @notice Money that is simply sent here belongs to the ledger, so a payer needs to know nothing but the address.
/// @dev Created by the contract that keeps the books, which is the only one that can move the money. A token that loses,
///      freezes or invents balances does so in this account and in no other.
contract Till {
    using SafeERC20 for IERC20;

    /// @notice The contract that keeps the books.
    address public immutable keeper = msg.sender;

    /// @notice Only the keeper may call this.
    error OnlyKeeper(address caller);

    /// @notice Takes the chain's own coin.
    receive() external payable {}

    /// @notice Sends `amount` of `token` (the zero address: the chain's own coin) to `to`. Keeper only.
    function send(address token, address to, uint256 amount) external {
        if (msg.sender != keeper) revert OnlyKeeper(msg.sender);
        if (token == address(0)) Address.sendValue(payable(to), amount);
        else IERC20(token).safeTransfer(to, amount);
    }
}
