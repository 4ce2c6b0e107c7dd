//! Every check fails when what it guards is broken: a good run is corrupted in one place, and exactly that check must see it.

use assay_protocol::{amount::Amount, id::Hash};
use assay_simulations::evidence::Evidence;

use crate::small::{failed, run_small};

#[test]
fn each_check_sees_its_own_corruption() {
    let good = run_small(1);
    assert_eq!(failed(&good), Vec::<&str>::new());
    let check = |name: &str, corrupt: &dyn Fn(&mut Evidence)| {
        let mut evidence = good.clone();
        corrupt(&mut evidence);
        let failed = failed(&evidence);
        assert!(
            failed.contains(&name),
            "{name} did not see its corruption; failed: {failed:?}"
        );
    };
    let task = good.tasks[0].id;
    let hash = good.tasks[0].outcome.expect("the task ended");
    check("terminal", &|e| {
        e.nodes[7].outcomes.remove(&task);
    });
    check("terminal", &|e| e.tasks[0].published = false);
    check("agreement", &|e| {
        e.nodes[3].outcomes.insert(task, Hash([1; 32]));
    });
    check("agreement", &|e| {
        let last = *e.nodes[2]
            .headers
            .keys()
            .next_back()
            .expect("epochs were anchored");
        e.nodes[2].headers.insert(last, Hash([2; 32]));
    });
    check("agreement", &|e| {
        e.conflicts
            .push("validator-0 adopted two headers for epoch 3".into())
    });
    let outcome = |e: &mut Evidence| {
        e.outcomes
            .get_mut(&hash)
            .expect("it is the outcome of the task")
            .clone()
    };
    check("task-money", &|e| {
        let mut o = outcome(e);
        o.money.refund = Amount(o.money.refund.0 + 1);
        e.outcomes.insert(hash, o);
    });
    check("task-money", &|e| {
        let mut o = outcome(e);
        o.labelers[0].earned = Amount(o.labelers[0].earned.0 + 1);
        e.outcomes.insert(hash, o);
    });
    check("chain-money", &|e| {
        e.money.owed = Amount(e.money.owed.0 + 1)
    });
    check("chain-money", &|e| {
        e.money.supply_changed = Some("block 5 changed the supply".into())
    });
    check("chain-money", &|e| {
        e.money.supply.1 = Amount(e.money.supply.1.0 + 1)
    });
    check("paid-once", &|e| e.money.claimed_again = Amount(1));
    check("paid-once", &|e| {
        e.money.claimed = Amount(e.money.claimed.0 - 1)
    });
    check("no-alarm", &|e| {
        e.alarms
            .push("careful-0 at 9 ms: the anchored header does not follow".into())
    });
    check("acknowledged-work", &|e| {
        let mut o = outcome(e);
        let node = e
            .nodes
            .iter()
            .find(|n| !n.acknowledged.is_empty())
            .expect("reveals were acknowledged");
        let (_, item, label) = node.acknowledged[0];
        let index = o
            .labelers
            .binary_search_by(|l| l.account.cmp(&node.account))
            .expect("it enrolled") as u32;
        o.votes.retain(|v| *v != (item, index, label));
        e.outcomes.insert(hash, o);
    });
    check("no-unjust-penalty", &|e| {
        e.unjust
            .push("validator-0 gave careful-1 10 points: bad signature".into())
    });
    check("accuracy", &|e| {
        let mut o = outcome(e);
        for item in o.items.iter_mut().filter(|i| !i.gold) {
            item.label = item.majority.map(|m| (m + 1) % 4);
        }
        e.outcomes.insert(hash, o);
    });
    check("no-profit", &|e| {
        let mut o = outcome(e);
        let withholder = e
            .nodes
            .iter()
            .find(|n| n.name == "withholder-0")
            .expect("it takes part")
            .account;
        let place = o
            .labelers
            .iter()
            .position(|l| l.account == withholder)
            .expect("it enrolled");
        o.labelers[place].earned = Amount(o.labelers[place].lost.0 + 1);
        e.outcomes.insert(hash, o);
    });
}
