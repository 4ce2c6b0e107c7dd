// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title Transfers that must arrive whole
/// @dev Tokens that take a fee, return false or deliver less than asked are refused, because every
///      contract here books the amount it asked for.
library ExactTransfer {
    using SafeERC20 for IERC20;

    /// @notice The receiver's balance rose by `received` instead of `expected` token base units.
    error InexactTransfer(uint256 expected, uint256 received);

    /// @dev Pulls `amount` from `from` into this contract; needs an allowance.
    function pullExact(IERC20 token, address from, uint256 amount) internal {
        uint256 before = token.balanceOf(address(this));
        // slither-disable-next-line arbitrary-send-erc20: `from` is msg.sender at every call.
        token.safeTransferFrom(from, address(this), amount);
        _requireRise(token, address(this), before, amount);
    }

    /// @dev Pushes `amount` to `to` and checks that all of it arrived there.
    function pushExact(IERC20 token, address to, uint256 amount) internal {
        uint256 before = token.balanceOf(to);
        token.safeTransfer(to, amount);
        _requireRise(token, to, before, amount);
    }

    function _requireRise(IERC20 token, address holder, uint256 before, uint256 amount) private view {
        uint256 afterwards = token.balanceOf(holder);
        uint256 received = afterwards > before ? afterwards - before : 0;
        if (received != amount) revert InexactTransfer(amount, received);
    }
}
