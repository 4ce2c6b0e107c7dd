//! A record that goes to the chain because no committee takes it.

use assay_protocol::{
    id::{Blob, NetworkId},
    message::{Enrol, Envelope, Kind},
};

use super::*;

fn record(network: NetworkId, task: TaskId) -> Envelope {
    let enrol = Enrol { capacity: 7 };
    Envelope::sign(&node(1), network, Kind::Enrol, task, 0, 1, &enrol)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_reaches_every_node_by_the_chain_once_and_the_books_agree() {
    let world = world().await;
    let client = world.rich(&key(0x31), 10_000).await;
    world.rich(&key(0x32), 0).await;
    let task = TaskId([1; 32]);
    let mut publisher = start(&world.profile, Some(key(0x31)), &MemoryStore::default());
    publisher.chain.submit(fund(1, 1_000, 50));
    publisher.done().await;

    let record = record(world.profile.id(), task);
    let call = ChainCall::ForceRecord {
        client,
        record: Box::new(record.clone()),
    };
    let mut labeler = start(&world.profile, Some(key(0x32)), &MemoryStore::default());
    labeler.chain.submit(call.clone());
    let done = labeler.done().await;
    assert!(
        matches!(&done, ChainEvent::Done { tx, .. } if *tx != Hash::ZERO),
        "{done:?}"
    );
    let fits = |f: &ChainFact| matches!(f, ChainFact::RecordForced { .. });
    let fact = publisher.fact("RecordForced", fits).await;
    let expected = ChainFact::RecordForced {
        task,
        client,
        record: Blob(record.to_bytes()),
    };
    assert_eq!(fact, expected);

    // Again, by a node that lost its memory and by somebody else: nothing is sent.
    for secret in [0x32, 0x31] {
        let mut again = start(&world.profile, Some(key(secret)), &MemoryStore::default());
        again.chain.submit(call.clone());
        let done = again.done().await;
        assert!(
            matches!(&done, ChainEvent::Done { tx: Hash::ZERO, .. }),
            "{done:?}"
        );
    }
    let nowhere = ChainCall::ForceRecord {
        client: Account([9; 20]),
        record: Box::new(record),
    };
    labeler.chain.submit(nowhere);
    let failed = labeler.until("Failed", |e| matches!(e, ChainEvent::Failed { .. }));
    let ChainEvent::Failed { why, .. } = failed.await else {
        unreachable!("filtered")
    };
    assert!(why.contains("NotFunded"), "{why}");
    audit(&world.profile).await.expect("the books agree");
}
