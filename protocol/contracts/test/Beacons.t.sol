// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {RLP} from "@openzeppelin/contracts/utils/RLP.sol";

import {DevToken} from "../src/DevToken.sol";
import {PrevrandaoBeacon} from "../src/PrevrandaoBeacon.sol";
import {TestBeacon} from "../src/TestBeacon.sol";
import {Checks} from "./Vm.sol";

contract BeaconsTest is Checks {
    PrevrandaoBeacon private beacon = new PrevrandaoBeacon(4);

    /// @dev A header of today's shape (21 fields) with the given number and mix hash fields, already encoded.
    function _header(bytes memory number, bytes memory mixHash) private pure returns (bytes memory) {
        bytes[] memory f = new bytes[](21);
        for (uint256 i; i < f.length; ++i) {
            f[i] = RLP.encode(keccak256(abi.encode(i)));
        }
        f[2] = RLP.encode(address(0xC0));
        f[6] = RLP.encode(new bytes(256));
        f[7] = hex"80";
        f[8] = number;
        f[12] = RLP.encode(bytes("extra"));
        f[13] = mixHash;
        f[14] = RLP.encode(new bytes(8));
        return RLP.encode(f);
    }

    function _mine(uint64 number, bytes memory header) private {
        vm.setBlockhash(number, keccak256(header));
    }

    function testFuzz_a_recent_header_fixes_the_value(uint64 number, bytes32 value, uint256 age) public {
        number = uint64(within(number, 256, type(uint48).max));
        if (uint256(value) <= 1) value = bytes32(uint256(2));
        vm.roll(uint256(number) + within(age, 1, 256));
        bytes memory header = _header(RLP.encode(uint256(number)), RLP.encode(value));
        _mine(number, header);
        (, bool ready) = beacon.valueAt(number);
        yes(!ready, "not before recording");
        beacon.record(number, header);
        (bytes32 got, bool now_) = beacon.valueAt(number);
        yes(now_, "ready");
        eq(got, value, "value");
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.AlreadyRecorded.selector, number));
        beacon.record(number, header);
    }

    /// @dev Ethereum's genesis header, whose hash is public; its mix hash is zero, so it must be refused at the end.
    function test_a_real_header_is_parsed() public {
        bytes[] memory f = new bytes[](15);
        f[0] = RLP.encode(bytes32(0));
        f[1] = RLP.encode(bytes32(0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347));
        f[2] = RLP.encode(abi.encodePacked(address(0)));
        f[3] = RLP.encode(bytes32(0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544));
        f[4] = RLP.encode(bytes32(0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421));
        f[5] = f[4];
        f[6] = RLP.encode(new bytes(256));
        f[7] = RLP.encode(uint256(0x400000000));
        f[8] = hex"80";
        f[9] = RLP.encode(uint256(5000));
        f[10] = hex"80";
        f[11] = hex"80";
        f[12] = RLP.encode(bytes32(0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa));
        f[13] = RLP.encode(bytes32(0));
        f[14] = RLP.encode(abi.encodePacked(uint64(0x42)));
        bytes memory header = RLP.encode(f);
        bytes32 known = 0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3;
        eq(keccak256(header), known, "genesis hash");
        vm.roll(100);
        vm.setBlockhash(0, known);
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.NoRandomness.selector, 0));
        beacon.record(0, header);
    }

    function test_values_zero_and_one_are_refused() public {
        for (uint256 v; v < 2; ++v) {
            bytes memory header = _header(RLP.encode(uint256(900)), RLP.encode(bytes32(v)));
            _mine(900, header);
            vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.NoRandomness.selector, 900));
            beacon.record(900, header);
        }
    }

    function test_only_the_blocks_own_header_counts() public {
        bytes memory header = _header(RLP.encode(uint256(900)), RLP.encode(keccak256("v")));
        _mine(900, header);
        header[40] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.WrongHeader.selector, 900));
        beacon.record(900, header);
    }

    function test_blocks_outside_the_window_are_refused() public {
        bytes memory header = _header(RLP.encode(uint256(900)), RLP.encode(keccak256("v")));
        vm.roll(900 + 257);
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.BlockOutOfWindow.selector, 900));
        beacon.record(900, header);
        vm.roll(900);
        vm.expectRevert(abi.encodeWithSelector(PrevrandaoBeacon.BlockOutOfWindow.selector, 900));
        beacon.record(900, header);
    }

    /// @dev A chain whose headers have another shape must not yield a value by accident.
    function test_headers_of_another_shape_are_refused() public {
        bytes[5] memory bad = [
            _header(RLP.encode(uint256(901)), RLP.encode(keccak256("v"))),
            _header(RLP.encode(uint256(900)), RLP.encode(new bytes(31))),
            _header(RLP.encode(uint256(900)), RLP.encode(new bytes(33))),
            _header(RLP.encode(uint256(900)), hex"80"),
            bytes(hex"c0")
        ];
        for (uint256 i; i < bad.length; ++i) {
            _mine(900, bad[i]);
            vm.expectRevert(PrevrandaoBeacon.MalformedHeader.selector);
            beacon.record(900, bad[i]);
        }
        bytes memory good = _header(RLP.encode(uint256(900)), RLP.encode(keccak256("v")));
        bytes[3] memory broken = [bytes.concat(good, hex"00"), RLP.encode(good), bytes("")];
        for (uint256 i; i < broken.length; ++i) {
            _mine(900, broken[i]);
            vm.expectRevert(RLP.RLPInvalidEncoding.selector);
            beacon.record(900, broken[i]);
        }
    }

    function test_references_lie_in_the_future() public {
        eq(beacon.refAfter(10), 14, "prevrandao");
        eq(new TestBeacon().refAfter(10), 11, "test");
        vm.expectRevert(PrevrandaoBeacon.ZeroDelay.selector);
        new PrevrandaoBeacon(0);
    }

    function test_the_test_beacon_sets_once() public {
        TestBeacon t = new TestBeacon();
        (, bool ready) = t.valueAt(1);
        yes(!ready, "unset");
        vm.expectRevert(TestBeacon.ZeroValue.selector);
        t.set(1, 0);
        t.set(1, bytes32(uint256(9)));
        (bytes32 value, bool set) = t.valueAt(1);
        yes(set && value == bytes32(uint256(9)), "set");
        vm.expectRevert(abi.encodeWithSelector(TestBeacon.AlreadySet.selector, 1));
        t.set(1, bytes32(uint256(10)));
    }
}

contract DevTokenTest is Checks {
    function test_minting_is_open_and_capped_per_call() public {
        DevToken token = new DevToken();
        uint256 cap = token.MINT_CAP();
        token.mint(address(1), cap);
        token.mint(address(1), cap);
        eq(token.balanceOf(address(1)), 2 * cap, "minted");
        eq(token.decimals(), 6, "decimals");
        vm.expectRevert(abi.encodeWithSelector(DevToken.MintCapExceeded.selector, cap + 1));
        token.mint(address(1), cap + 1);
    }

    function test_a_permit_approves_without_a_transaction_of_the_holder() public {
        DevToken token = new DevToken();
        address holder = vm.addr(7);
        bytes32 permit = keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 body = keccak256(abi.encode(permit, holder, address(2), 5, 0, type(uint256).max));
        bytes32 digest = keccak256(bytes.concat(hex"1901", token.DOMAIN_SEPARATOR(), body));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(7, digest);
        token.permit(holder, address(2), 5, type(uint256).max, v, r, s);
        eq(token.allowance(holder, address(2)), 5, "allowance");
    }
}
