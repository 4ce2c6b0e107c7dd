// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {CodeBlob} from "../src/CodeBlob.sol";
import {Checks} from "./Vm.sol";

/// @dev Library calls are inlined, so a revert can only be expected through a contract of its own.
contract BlobFace {
    function write(bytes memory data) external returns (address) {
        return CodeBlob.write(data);
    }
}

contract CodeBlobTest is Checks {
    function testFuzz_what_is_written_is_read(bytes memory data) public {
        address blob = CodeBlob.write(data);
        eq(keccak256(CodeBlob.read(blob)), keccak256(data), "content");
        eq(blob.code.length, data.length + 1, "one byte more");
        (bool ok, bytes memory result) = blob.call(hex"01");
        yes(ok && result.length == 0, "calling the blob does nothing");
    }

    function test_data_beyond_the_code_limit_is_refused() public {
        BlobFace face = new BlobFace();
        bytes memory largest = new bytes(CodeBlob.MAX_BYTES);
        eq(CodeBlob.read(face.write(largest)).length, CodeBlob.MAX_BYTES, "largest");
        vm.expectRevert(CodeBlob.BlobNotCreated.selector);
        face.write(new bytes(CodeBlob.MAX_BYTES + 1));
    }
}
