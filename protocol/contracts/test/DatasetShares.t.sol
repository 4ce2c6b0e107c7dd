// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity =0.8.37;

import {IERC2981} from "@openzeppelin/contracts/interfaces/IERC2981.sol";
import {IERC721} from "@openzeppelin/contracts/token/ERC721/IERC721.sol";
import {ERC2981} from "@openzeppelin/contracts/token/common/ERC2981.sol";
import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {DatasetShares} from "../src/DatasetShares.sol";
import {IVersions, RevenueSplitter} from "../src/RevenueSplitter.sol";
import {ShareLedger} from "../src/ShareLedger.sol";
import {ShareTree} from "../src/ShareTree.sol";
import {Till} from "../src/Till.sol";
import {Checks} from "./Vm.sol";

contract DatasetSharesTest is Checks {
    address private constant CLIENT = address(0xC11E);
    bytes32 private constant TASK = keccak256("task");

    DatasetShares private data;
    RevenueSplitter private splitter;

    function setUp() public {
        data = new DatasetShares();
        splitter = data.splitter();
    }

    function _version(string memory name) private pure returns (DatasetShares.Version memory v) {
        v.content = keccak256(bytes(name));
        v.licence = keccak256("terms");
        v.shares = ShareTree.Shares(keccak256("tree"), 100, 3);
    }

    function _publish() private returns (uint256) {
        vm.prank(CLIENT);
        return data.publish(TASK, 750, _version("one"));
    }

    function test_a_client_publishes_the_data_set_of_its_task() public {
        uint256 id = _publish();
        eq(id, uint256(keccak256(abi.encode(TASK, CLIENT))), "the escrow's key of the task");
        eq(data.ownerOf(id), CLIENT, "the client holds the token");
        eq(data.versions(id), 1, "one version");
        DatasetShares.Version memory v = data.versionOf(id, 1);
        eq(v.content, keccak256("one"), "content");
        eq(v.licence, keccak256("terms"), "licence");
        ShareTree.Shares memory shares = data.sharesOf(id, 1);
        eq(shares.root, v.shares.root, "root");
        eq(shares.totalWeight, 100, "total weight");
        eq(shares.count, 3, "count");
    }

    function test_nobody_can_occupy_the_data_set_of_another() public {
        vm.prank(address(0xBAD));
        uint256 other = data.publish(TASK, 0, _version("stolen"));
        uint256 id = _publish();
        yes(other != id, "another token");
        eq(data.ownerOf(id), CLIENT, "the client still holds its own");
    }

    function test_a_data_set_is_published_once() public {
        uint256 id = _publish();
        vm.prank(CLIENT);
        vm.expectRevert(abi.encodeWithSelector(DatasetShares.AlreadyPublished.selector, id));
        data.publish(TASK, 0, _version("again"));
    }

    function test_the_holder_adds_versions_and_earlier_ones_stay() public {
        uint256 id = _publish();
        DatasetShares.Version memory next = _version("two");
        next.shares = ShareTree.Shares(keccak256("larger tree"), 1000, 9);
        vm.expectRevert(abi.encodeWithSelector(DatasetShares.OnlyHolder.selector, CLIENT, address(this)));
        data.addVersion(id, next);
        vm.prank(CLIENT);
        eq(data.addVersion(id, next), 2, "number");
        eq(data.sharesOf(id, 1).root, keccak256("tree"), "the first tree stays");
        eq(data.sharesOf(id, 2).root, keccak256("larger tree"), "the second is its own");
        yes(splitter.till(id, 1) != splitter.till(id, 2), "each has a till");
        yes(splitter.till(id, 2).code.length != 0, "which exists");
        vm.prank(CLIENT);
        data.transferFrom(CLIENT, address(this), id);
        eq(data.addVersion(id, _version("three")), 3, "the new holder adds the next");
        vm.prank(CLIENT);
        vm.expectRevert(abi.encodeWithSelector(DatasetShares.OnlyHolder.selector, address(this), CLIENT));
        data.addVersion(id, next);
    }

    function test_a_version_must_be_complete() public {
        for (uint256 missing; missing < 5; ++missing) {
            DatasetShares.Version memory v = _version("one");
            if (missing == 0) v.content = 0;
            if (missing == 1) v.licence = 0;
            if (missing == 2) v.shares.root = 0;
            if (missing == 3) v.shares.totalWeight = 0;
            if (missing == 4) v.shares.count = 0;
            vm.expectRevert(DatasetShares.IncompleteVersion.selector);
            data.publish(TASK, 0, v);
        }
    }

    function test_versions_that_do_not_exist_are_named_so() public {
        uint256 id = _publish();
        uint32[2] memory wrong = [uint32(0), 2];
        for (uint256 i; i < 2; ++i) {
            vm.expectRevert(abi.encodeWithSelector(DatasetShares.UnknownVersion.selector, id, wrong[i]));
            data.versionOf(id, wrong[i]);
            eq(data.sharesOf(id, wrong[i]).count, 0, "no shares");
        }
    }

    function test_royalties_go_to_the_first_version_whatever_is_added() public {
        uint256 id = _publish();
        address first = splitter.till(id, 1);
        vm.prank(CLIENT);
        data.addVersion(id, _version("two"));
        (address to, uint256 amount) = data.royaltyInfo(id, 10_000);
        eq(to, first, "receiver");
        eq(amount, 750, "amount");
        yes(first.code.length != 0, "the till exists");
        eq(Till(payable(first)).keeper(), address(splitter), "and is the splitter's");
    }

    function test_a_royalty_is_at_most_the_price() public {
        uint256 id = data.datasetId(TASK, address(this));
        vm.expectRevert(abi.encodeWithSelector(ERC2981.ERC2981InvalidTokenRoyalty.selector, id, 10_001, 10_000));
        data.publish(TASK, 10_001, _version("one"));
    }

    function test_it_says_what_it_is() public view {
        yes(data.supportsInterface(type(IERC721).interfaceId), "ERC-721");
        yes(data.supportsInterface(type(IERC2981).interfaceId), "ERC-2981");
        yes(data.supportsInterface(type(IERC165).interfaceId), "ERC-165");
        yes(!data.supportsInterface(0xffffffff), "nothing else");
        eq(address(splitter.shares()), address(data), "wired");
    }

    function test_only_the_data_sets_open_tills() public {
        vm.expectRevert(abi.encodeWithSelector(RevenueSplitter.OnlyShares.selector, address(this)));
        splitter.open(1, 1);
        vm.expectRevert(ShareLedger.BadConfiguration.selector);
        new RevenueSplitter(IVersions(address(0)));
    }
}
