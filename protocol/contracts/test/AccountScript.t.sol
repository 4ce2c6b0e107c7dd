// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {AccountScript} from "../src/AccountScript.sol";
import {MoodyToken} from "./MoodyToken.sol";
import {Checks} from "./Vm.sol";

contract AccountScriptTest is Checks {
    AccountScript private script = new AccountScript();
    MoodyToken private token = new MoodyToken();
    address private constant ANN = address(0xA1);

    function _calls(uint256 value) private view returns (AccountScript.Call[] memory calls) {
        calls = new AccountScript.Call[](3);
        calls[0] = AccountScript.Call(address(token), abi.encodeCall(token.transfer, (ANN, value)));
        calls[1] = AccountScript.Call(address(token), abi.encodeCall(token.balanceOf, (ANN)));
        calls[2] = AccountScript.Call(address(0xE0A), "");
    }

    function testFuzz_calls_are_made_in_order_by_the_account_whose_code_it_is(uint256 value) public {
        value = within(value, 0, type(uint128).max);
        token.mint(address(script), value);
        AccountScript.Outcome[] memory outcomes = script.run(_calls(value));
        yes(outcomes[0].success && abi.decode(outcomes[0].data, (bool)), "the transfer");
        eq(abi.decode(outcomes[1].data, (uint256)), value, "what the next call sees");
        yes(outcomes[2].success && outcomes[2].data.length == 0, "an account without code");
    }

    function test_a_call_that_fails_leaves_its_reason_and_ends_nothing() public {
        token.mint(address(script), 5);
        token.setMood(MoodyToken.Mood.Paused);
        AccountScript.Outcome[] memory outcomes = script.run(_calls(5));
        yes(!outcomes[0].success, "refused");
        eq(keccak256(outcomes[0].data), keccak256(abi.encodeWithSelector(MoodyToken.EnforcedPause.selector)), "reason");
        eq(abi.decode(outcomes[1].data, (uint256)), 0, "nothing moved");
    }
}
