// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @dev A token that anybody can make behave like one that escrows cannot work with. Its code is a fixture of the node's tests, too.
contract MoodyToken is ERC20 {
    enum Mood {
        Sound,
        /// Keeps one percent of every transfer.
        Fee,
        /// Reports failure by returning false, and moves nothing.
        False,
        /// Moves everything and returns nothing, as some old tokens do.
        Silent,
        /// Refuses every transfer.
        Paused,
        /// Says that it has eight decimals.
        Eight,
        /// Has no symbol.
        Nameless
    }

    /// @dev The name that OpenZeppelin's pausable tokens use.
    error EnforcedPause();

    Mood public mood;

    constructor() ERC20("Moody", "MOODY") {}

    /// @dev As the play money of development networks.
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function setMood(Mood mood_) external {
        mood = mood_;
    }

    function symbol() public view override returns (string memory) {
        require(mood != Mood.Nameless);
        return super.symbol();
    }

    function decimals() public view override returns (uint8) {
        return mood == Mood.Eight ? 8 : 6;
    }

    function transfer(address to, uint256 value) public override returns (bool) {
        if (mood == Mood.False) return false;
        bool done = super.transfer(to, value);
        _hush();
        return done;
    }

    function transferFrom(address from, address to, uint256 value) public override returns (bool) {
        if (mood == Mood.False) return false;
        bool done = super.transferFrom(from, to, value);
        _hush();
        return done;
    }

    function _hush() private view {
        if (mood == Mood.Silent) {
            assembly ("memory-safe") {
                return(0, 0)
            }
        }
    }

    function _update(address from, address to, uint256 value) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, value);
        if (mood == Mood.Paused) revert EnforcedPause();
        uint256 fee = mood == Mood.Fee ? value / 100 : 0;
        super._update(from, to, value - fee);
        if (fee != 0) super._update(from, address(0xFEE), fee);
    }
}
