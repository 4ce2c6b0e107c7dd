// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Play money for development networks
/// @notice Anyone can mint it, so it has no value. A production network uses a vetted ERC-20 instead.
contract DevToken is ERC20Permit {
    /// @notice Most that one call may mint, in base units (one million tokens).
    uint256 public constant MINT_CAP = 1_000_000e6;

    /// @notice One call asked for `amount` base units, more than MINT_CAP.
    error MintCapExceeded(uint256 amount);

    constructor() ERC20("Assay Development Token", "ADEV") ERC20Permit("Assay Development Token") {}

    /// @notice Creates `amount` base units (at most MINT_CAP) for `to`. Open to everybody.
    function mint(address to, uint256 amount) external {
        if (amount > MINT_CAP) revert MintCapExceeded(amount);
        _mint(to, amount);
    }

    /// @notice Six decimals, like the stablecoins production networks are meant for.
    function decimals() public pure override returns (uint8) {
        return 6;
    }
}
