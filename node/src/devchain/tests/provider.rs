//! The chain behind an unmodified alloy provider.

use std::time::Duration;

use alloy::{
    eips::BlockNumberOrTag,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{B256, Bytes, U256, hex},
    providers::{Provider, ProviderBuilder},
    rpc::{
        client::RpcClient,
        types::{Filter, TransactionRequest},
    },
};

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .expect("done before the deadline")
}

#[tokio::test]
async fn an_unmodified_provider_deploys_calls_reads_logs_and_revert_data() {
    let (chain, alice) = chain_with_alice();
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(alice.key.clone()))
        .connect_client(RpcClient::new(chain, true));
    within(async {
        let deploy = TransactionRequest::default().with_deploy_code(contract_init());
        let receipt = provider
            .send_transaction(deploy)
            .await
            .unwrap()
            .get_receipt()
            .await
            .unwrap();
        assert!(receipt.status());
        let contract = receipt.contract_address.unwrap();

        let count = TransactionRequest::default().with_to(contract);
        for _ in 0..3 {
            let receipt = provider
                .send_transaction(count.clone())
                .await
                .unwrap()
                .get_receipt()
                .await
                .unwrap();
            assert!(receipt.status());
        }
        let read = TransactionRequest::default()
            .with_to(contract)
            .with_input(Bytes::from(vec![0; 32]));
        assert_eq!(
            provider.call(read).await.unwrap(),
            Bytes::from(U256::from(3).to_be_bytes::<32>())
        );
        assert_eq!(
            provider.get_storage_at(contract, U256::ZERO).await.unwrap(),
            U256::from(3)
        );

        let filter = Filter::new()
            .address(contract)
            .event_signature(counted_topic())
            .from_block(0);
        let logs = provider.get_logs(&filter).await.unwrap();
        let sums: Vec<U256> = logs
            .iter()
            .map(|l| U256::from_be_slice(&l.data().data))
            .collect();
        assert_eq!(sums, [1, 2, 3].map(U256::from));
        let other = filter.event_signature(B256::repeat_byte(9));
        assert!(provider.get_logs(&other).await.unwrap().is_empty());

        let fail = TransactionRequest::default()
            .with_to(contract)
            .with_input(vec![1]);
        let error = provider.call(fail).await.unwrap_err();
        let payload = error.as_error_resp().unwrap();
        assert_eq!(payload.code, 3);
        assert_eq!(
            payload.as_revert_data().unwrap(),
            Bytes::from(hex!("deadbeef"))
        );

        let block = provider
            .get_block_by_number(BlockNumberOrTag::Finalized)
            .full()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(block.header.number, 4);
        assert_eq!(block.header.hash, block.header.inner.hash_slow());
        assert_eq!(block.transactions.len(), 1);
        let by_hash = provider
            .get_block_by_hash(block.header.hash)
            .full()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(by_hash, block);
        assert!(
            provider
                .get_client_version()
                .await
                .unwrap()
                .contains("no value")
        );
    })
    .await;
}

#[tokio::test]
async fn one_provider_works_over_http_too_and_both_see_the_same_chain() {
    let (chain, mut alice) = chain_with_alice();
    let contract = alice.deploy(&chain);
    let server = chain.clone().serve("127.0.0.1:0".parse().unwrap()).unwrap();
    let provider = ProviderBuilder::new()
        .wallet(EthereumWallet::from(alice.key.clone()))
        .connect_http(server.url().parse().unwrap());
    within(async {
        let count = TransactionRequest::default().with_to(contract);
        let receipt = provider
            .send_transaction(count)
            .await
            .unwrap()
            .get_receipt()
            .await
            .unwrap();
        assert_eq!(receipt.logs().len(), 1);
        assert_eq!(provider.get_block_number().await.unwrap(), chain.number());
        server.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn interval_mining_makes_empty_blocks_and_transactions_do_not_wait_for_it() {
    let alice = Sender::new("alice");
    let cfg = DevChainConfig {
        block_interval: Some(Duration::from_millis(10)),
        ..config(&alice)
    };
    let chain = DevChain::open(cfg).unwrap();
    let mut alice = alice;
    chain.start_mining().unwrap();
    chain.start_mining().unwrap();
    within(async {
        while chain.number() < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let hash = alice.pay(&chain, Address::repeat_byte(1), 5);
    assert!(
        !chain
            .ask("eth_getTransactionReceipt", json!([hash]))
            .is_null()
    );
    chain.stop_mining();
    for number in 1..=chain.number() {
        assert_eq!(
            chain.block(number)["parentHash"],
            chain.block(number - 1)["hash"]
        );
    }
}

#[test]
fn mining_and_serving_outside_a_runtime_are_refused_with_an_error() {
    let alice = Sender::new("alice");
    let chain = DevChain::open(DevChainConfig {
        block_interval: Some(Duration::from_secs(1)),
        ..config(&alice)
    })
    .unwrap();
    assert!(matches!(
        chain.start_mining(),
        Err(super::super::DevChainError::NoRuntime(_))
    ));
    assert!(matches!(
        chain.serve("127.0.0.1:0".parse().unwrap()),
        Err(super::super::DevChainError::NoRuntime(_))
    ));
}
