// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IAnchorView} from "../src/IWiring.sol";
import {PositionalMerkle} from "../src/PositionalMerkle.sol";
import {ReputationAnchor} from "../src/ReputationAnchor.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {Bonuses} from "./BonusPool.t.sol";
import {ShareTrees} from "./ShareTrees.sol";
import {Trees} from "./Trees.sol";
import {Checks} from "./Vm.sol";

/// @dev Cheatcodes that only these tests use.
interface Json {
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonString(string calldata json, string calldata key) external pure returns (string memory);
    function toString(bytes32 value) external pure returns (string memory);
}

/// @dev The nodes' code writes vectors/golden.json; what is built here from the written definitions must be in it.
contract VectorsTest is Checks {
    Json private constant json = Json(address(vm));
    address private constant FIRST = address(bytes20(hex"1111111111111111111111111111111111111111"));
    address private constant SECOND = address(bytes20(hex"2222222222222222222222222222222222222222"));
    address private constant THIRD = address(bytes20(hex"3333333333333333333333333333333333333333"));
    address private constant CLIENT = address(bytes20(hex"cccccccccccccccccccccccccccccccccccccccc"));
    bytes32 private constant TASK = hex"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    bytes32 private constant OTHER = hex"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    bytes32 private constant DOMAIN = hex"5555555555555555555555555555555555555555555555555555555555555555";

    function _golden(bytes32 value, string memory name) private view {
        string memory file = json.readFile("../vectors/golden.json");
        string memory golden = json.parseJsonString(file, string.concat("$['", name, "']"));
        yes(
            keccak256(bytes(string.concat("0x", golden))) == keccak256(bytes(json.toString(value))), name
        );
    }

    function _shares() private pure returns (ShareTree.Shares memory) {
        address[] memory payees = new address[](3);
        uint128[] memory weights = new uint128[](3);
        (payees[0], payees[1], payees[2]) = (FIRST, SECOND, THIRD);
        (weights[0], weights[1], weights[2]) = (1, 1_000_000, 7);
        return ShareTrees.build(payees, weights);
    }

    function test_the_nodes_build_the_same_share_tree() public view {
        _golden(_shares().root, "share/root");
    }

    function test_the_nodes_build_the_same_bonus_tree() public view {
        bytes32[] memory leaves = new bytes32[](3);
        leaves[0] = PositionalMerkle.flatLeaf(OTHER, CLIENT, SECOND, 1_000_000);
        leaves[1] = Bonuses.leaf(TASK, CLIENT, true, _shares());
        leaves[2] = Bonuses.leaf(OTHER, CLIENT, false, _shares());
        bytes32 flatRoot = Trees.root(leaves);
        _golden(leaves[1], "bonus/leaf");
        _golden(flatRoot, "bonus/flat-root");
        bytes32 state = hex"dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";
        _golden(PositionalMerkle.stateRoot(state, flatRoot), "bonus/state-root");
    }

    function test_the_nodes_build_the_same_reputation_tree() public {
        ReputationAnchor reputation = new ReputationAnchor(IAnchorView(address(this)));
        bytes32[] memory leaves = new bytes32[](3);
        leaves[0] = reputation.leafOf(FIRST, DOMAIN, 1000, 0);
        leaves[1] = reputation.leafOf(SECOND, DOMAIN, 95_000, 4321);
        leaves[2] = reputation.leafOf(THIRD, DOMAIN, type(uint32).max, 1);
        _golden(Trees.root(leaves), "reputation/root");
    }
}
