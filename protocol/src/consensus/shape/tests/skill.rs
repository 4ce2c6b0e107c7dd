use crate::consensus::{PayRule, pay};

use super::*;

#[test]
fn lazy_shapes_earn_nothing_and_able_ones_do() {
    let habits = [vec![CAREFUL; 6], vec![TIRED; 6], LAZY.to_vec()].concat();
    for (kind, votes, seeds) in [
        (ShapeKind::Span, 8, 60),
        (ShapeKind::Span, 40, 20),
        (ShapeKind::Box, 8, 60),
        (ShapeKind::Box, 40, 20),
        (ShapeKind::Polygon, 10, 4),
    ] {
        let mut skill = [0i64; 6];
        let mut wage = [0i64; 6];
        for seed in 0..seeds {
            let crowd = Crowd::draw(
                kind,
                &habits,
                votes * 4,
                4,
                &mut Rng(seed * 7 + votes as u64),
            );
            let result = crowd.infer(&BTreeMap::new());
            let mut add = |slot: usize, labelers: &[ShapeLabeler]| {
                for labeler in labelers {
                    let pay = pay(
                        &PayRule::with_price(1_000),
                        u64::from(labeler.votes),
                        labeler.skill_ppm,
                    );
                    skill[slot] += labeler.skill_ppm / labelers.len() as i64;
                    wage[slot] += (pay.earned as i64 - pay.lost as i64)
                        / i64::from(labeler.votes.max(1))
                        / labelers.len() as i64;
                }
            };
            add(0, &result.labelers[..6]);
            add(1, &result.labelers[6..12]);
            for slot in 2..6 {
                add(slot, &result.labelers[slot + 10..slot + 11]);
            }
        }
        let skill = skill.map(|sum| sum / seeds as i64);
        let wage = wage.map(|sum| sum / seeds as i64);
        println!(
            "{kind:?}, {votes} votes: mean skill of careful, tired, empty, whole, spot, anywhere {skill:?}; pay per mille {wage:?}"
        );
        assert!(
            skill[0] > 450_000 && skill[0] > skill[1] && skill[1] > 200_000,
            "{skill:?}"
        );
        for lazy in 2..6 {
            // Rounding of scaled coordinates for fixed answers; scatter of chance for drawn ones.
            let allowed = if lazy < 5 { 3_000 } else { 20_000 };
            assert!(
                skill[lazy] <= allowed && wage[lazy] <= 10,
                "{lazy}: {skill:?} {wage:?}"
            );
        }
    }
}

#[test]
fn gold_judges_a_labeler_who_works_alone() {
    let habits = [CAREFUL, Habit::Anywhere];
    let crowd = Crowd::draw(ShapeKind::Box, &habits, 40, 2, &mut Rng(1));
    let gold: BTreeMap<u32, Vec<ShapeObject>> = (0u32..).zip(crowd.truth.iter().cloned()).collect();
    let result = crowd.infer(&gold);
    println!("on gold alone: {:?}", result.labelers);
    assert!(result.labelers[0].skill_ppm > 650_000 && result.labelers[0].gold_seen == 40);
    assert!(result.labelers[1].skill_ppm < 60_000);
    for (item, truth) in result.items.iter().zip(&crowd.truth) {
        assert_eq!((item.posterior, item.objects.len()), (ONE, truth.len()));
    }
}

#[test]
fn those_who_copy_one_sheet_count_once() {
    // Three accounts hand in the same invented boxes besides four careful ones.
    let habits = vec![CAREFUL; 8];
    let mut rng = Rng(4);
    let (mut with, mut caught) = ([0u64; 2], 0);
    for _ in 0..10 {
        let mut crowd = Crowd::draw(ShapeKind::Box, &habits, 60, 4, &mut rng);
        crowd.labelers += 3;
        for item in 0..60u32 {
            let frame = crowd.frames[item as usize];
            let objects: Vec<ShapeObject> = (0..1 + rng.below(3))
                .map(|_| anywhere(ShapeKind::Box, frame, &mut rng))
                .collect();
            for labeler in 8..11 {
                crowd.votes.push(ShapeVote {
                    item,
                    labeler,
                    objects: objects.clone(),
                });
            }
        }
        let result = crowd.infer(&BTreeMap::new());
        for (item, truth) in result.items.iter().zip(&crowd.truth) {
            for found in &item.objects {
                let real = truth
                    .iter()
                    .any(|t| t.shape.iou(&found.object.shape) >= ONE / 3);
                with[usize::from(real)] += 1;
            }
        }
        caught += result.labelers[8..]
            .iter()
            .filter(|l| l.cluster.is_some())
            .count();
        assert!(
            result.labelers[..8]
                .iter()
                .all(|l| l.cluster.is_none() && l.skill_ppm > 300_000)
        );
    }
    println!(
        "ring of 3 against 4 careful: {} false and {} real objects published, {caught} of 30 ring members flagged",
        with[0], with[1]
    );
    assert!(with[0] * 20 < with[1] && caught >= 27, "{with:?} {caught}");
}
