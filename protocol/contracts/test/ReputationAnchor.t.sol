// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {EpochHeader} from "../src/EpochHeader.sol";
import {IAnchorView} from "../src/IWiring.sol";
import {ReputationAnchor} from "../src/ReputationAnchor.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

contract ReputationAnchorTest is World {
    address private constant SECOND = 0x2222222222222222222222222222222222222222;
    bytes32 private constant DOMAIN = hex"5555555555555555555555555555555555555555555555555555555555555555";

    ReputationAnchor private reputation;
    bytes32[] private leaves;

    function setUp() public {
        _deploy(2, 21);
        _validators(3);
        anchor.drawCommittee(0);
        anchor.drawCommittee(1);
        vm.roll(vm.getBlockNumber() + 1);
        reputation = new ReputationAnchor(IAnchorView(address(anchor)));
        leaves.push(_leaf(0x1111111111111111111111111111111111111111, 1000, 0));
        leaves.push(_leaf(SECOND, 95_000, 4321));
        leaves.push(_leaf(0x3333333333333333333333333333333333333333, type(uint32).max, 1));
    }

    /// @dev By the written definition.
    function _leaf(address account, uint64 alpha, uint64 beta) private pure returns (bytes32) {
        return keccak256(bytes.concat(hex"04", bytes20(account), DOMAIN, bytes8(alpha), bytes8(beta)));
    }

    function _posted(uint32 lane, bytes32 root) private returns (EpochHeader memory h) {
        h = _next(lane, _none());
        h.reputationRoot = root;
        _post(h, _none());
        vm.roll(vm.getBlockNumber() + 1);
    }

    /// @dev Values computed outside Solidity.
    function test_leaf_and_root_are_those_of_the_vectors() public view {
        eq(
            reputation.leafOf(SECOND, DOMAIN, 95_000, 4321),
            hex"0abb8a284fcfd10af82d55f8be0772e45c95f372c22df8abeab2e64c0cfff621",
            "leaf"
        );
        eq(Trees.root(leaves), hex"33753f0578ff8109e9f1ce8552a034b045e02269b091093803da9b1105276932", "root");
    }

    function test_the_newest_header_of_a_lane_proves_evidence() public {
        EpochHeader memory h = _posted(0, Trees.root(leaves));
        bytes32[] memory proof = Trees.proof(leaves, 1);
        yes(reputation.prove(h, SECOND, DOMAIN, 95_000, 4321, 1, proof), "proven");
        yes(!reputation.prove(h, SECOND, DOMAIN, 95_001, 4321, 1, proof), "more for");
        yes(!reputation.prove(h, SECOND, DOMAIN, 95_000, 4320, 1, proof), "less against");
        yes(!reputation.prove(h, address(1), DOMAIN, 95_000, 4321, 1, proof), "another account");
        yes(!reputation.prove(h, SECOND, bytes32(0), 95_000, 4321, 1, proof), "another domain");
        yes(!reputation.prove(h, SECOND, DOMAIN, 95_000, 4321, 2, proof), "another place");
        yes(!reputation.prove(h, SECOND, DOMAIN, 95_000, 4321, 5, proof), "a place outside the tree");
    }

    function test_a_header_that_is_not_the_newest_proves_nothing() public {
        EpochHeader memory old = _posted(0, Trees.root(leaves));
        bytes32[] memory proof = Trees.proof(leaves, 1);
        EpochHeader memory changed = _posted(0, keccak256("another tree"));
        yes(!reputation.prove(old, SECOND, DOMAIN, 95_000, 4321, 1, proof), "superseded");
        changed.reputationRoot = old.reputationRoot;
        yes(!reputation.prove(changed, SECOND, DOMAIN, 95_000, 4321, 1, proof), "never posted");
        old.lane = 1;
        yes(!reputation.prove(old, SECOND, DOMAIN, 95_000, 4321, 1, proof), "of another lane");
        EpochHeader memory none;
        none.lane = 1;
        none.reputationRoot = old.reputationRoot;
        yes(!reputation.prove(none, SECOND, DOMAIN, 95_000, 4321, 1, proof), "of a lane without epochs");
    }

    function test_an_empty_tree_proves_nothing() public {
        EpochHeader memory h = _posted(0, bytes32(0));
        yes(!reputation.prove(h, SECOND, DOMAIN, 95_000, 4321, 0, new bytes32[](0)), "zero root");
    }

    function test_it_needs_an_anchor() public {
        vm.expectRevert(ReputationAnchor.BadConfiguration.selector);
        new ReputationAnchor(IAnchorView(address(0)));
    }

    function testFuzz_any_evidence_of_a_posted_tree_is_proven(uint256 seed, uint256 count, uint256 pick) public {
        count = within(count, 1, 20);
        pick = within(pick, 0, count - 1);
        bytes32[] memory tree = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            (address account, uint64 alpha, uint64 beta) = _evidence(seed, i);
            tree[i] = _leaf(account, alpha, beta);
        }
        EpochHeader memory h = _posted(1, Trees.root(tree));
        bytes32[] memory proof = Trees.proof(tree, pick);
        (address who, uint64 a, uint64 b) = _evidence(seed, pick);
        yes(_proves(h, who, a, b, pick, proof), "proven");
        yes(!_proves(h, who, b, ~a, pick, proof), "other numbers");
    }

    function _proves(EpochHeader memory h, address who, uint64 a, uint64 b, uint256 index, bytes32[] memory proof)
        private
        view
        returns (bool)
    {
        return reputation.prove(h, who, DOMAIN, a, b, index, proof);
    }

    function _evidence(uint256 seed, uint256 i) private pure returns (address, uint64, uint64) {
        uint256 word = uint256(keccak256(abi.encode(seed, i)));
        return (address(uint160(word)), uint64(word >> 160), uint32(word >> 224));
    }
}
