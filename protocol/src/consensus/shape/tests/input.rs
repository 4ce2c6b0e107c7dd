use proptest::prelude::*;

use super::*;

fn object(x: u32, y: u32, w: u32, h: u32, label: u16) -> ShapeObject {
    ShapeObject {
        shape: Shape::Box { x, y, w, h },
        label,
    }
}

fn infer(
    kind: ShapeKind,
    votes: &[ShapeVote],
    gold: &[(u32, Vec<ShapeObject>)],
) -> Result<ShapeResult, ConsensusError> {
    let frame = match kind {
        ShapeKind::Span => Frame::of_length(100),
        ShapeKind::Box | ShapeKind::Polygon => Frame {
            width: 100,
            height: 50,
        },
    };
    infer_shapes(&ShapeInput {
        kind,
        frames: &[frame; 2],
        labelers: 300,
        classes: 2,
        votes,
        gold: &gold.iter().cloned().collect(),
    })
}

#[test]
fn bad_objects_are_named() {
    let vote = |item, labeler, objects: &[ShapeObject]| ShapeVote {
        item,
        labeler,
        objects: objects.to_vec(),
    };
    let good = object(0, 0, 100, 50, 1);
    assert!(
        infer(
            ShapeKind::Box,
            &[vote(0, 0, std::slice::from_ref(&good))],
            &[]
        )
        .is_ok()
    );
    for bad in [
        object(0, 0, 101, 50, 1),
        object(1, 0, 100, 50, 1),
        object(0, 0, 0, 50, 1),
        object(u32::MAX, 0, 1, 1, 1),
        object(0, 0, 1, 1, 2),
        ShapeObject {
            shape: Shape::Span { start: 0, end: 1 },
            label: 0,
        },
    ] {
        let result = infer(
            ShapeKind::Box,
            &[vote(1, 0, &[]), vote(0, 0, &[good.clone(), bad.clone()])],
            &[],
        );
        assert!(
            matches!(
                result,
                Err(ConsensusError::BadObject {
                    index: 1,
                    object: 1,
                    ..
                })
            ),
            "{bad:?}"
        );
        let result = infer(ShapeKind::Box, &[], &[(1, vec![bad])]);
        assert!(matches!(
            result,
            Err(ConsensusError::BadGold { item: 1, .. })
        ));
    }
    let polygon = |points: &[(u32, u32)]| ShapeObject {
        shape: Shape::Polygon(points.iter().map(|&(x, y)| Point { x, y }).collect()),
        label: 0,
    };
    let bow = [(0, 0), (10, 10), (10, 0), (0, 10)];
    for bad in [
        polygon(&[(0, 0), (1, 1)]),
        polygon(&[(0, 0), (1, 1), (2, 2)]),
        polygon(&bow),
        polygon(&[(0, 0), (101, 0), (0, 50)]),
    ] {
        let result = infer(ShapeKind::Polygon, &[vote(0, 0, &[bad])], &[]);
        assert!(matches!(
            result,
            Err(ConsensusError::BadObject {
                index: 0,
                object: 0,
                ..
            })
        ));
    }
    let span = |start, end| ShapeObject {
        shape: Shape::Span { start, end },
        label: 0,
    };
    assert!(infer(ShapeKind::Span, &[vote(0, 0, &[span(0, 100)])], &[]).is_ok());
    for bad in [span(5, 5), span(6, 5), span(0, 101)] {
        assert!(infer(ShapeKind::Span, &[vote(0, 0, &[bad])], &[]).is_err());
    }
    let twice = infer(ShapeKind::Box, &[vote(0, 3, &[]), vote(0, 3, &[])], &[]);
    assert!(matches!(
        twice,
        Err(ConsensusError::DuplicateVote {
            first: 0,
            second: 1,
            ..
        })
    ));
    assert!(matches!(
        infer(ShapeKind::Box, &[vote(2, 0, &[])], &[]),
        Err(ConsensusError::ItemOutOfRange { .. })
    ));
    assert!(matches!(
        infer(ShapeKind::Box, &[vote(0, 300, &[])], &[]),
        Err(ConsensusError::LabelerOutOfRange { .. })
    ));
    let many: Vec<ShapeObject> = (0..257)
        .map(|k| object(k % 100, k / 100, 1, 1, 0))
        .collect();
    let full = infer(ShapeKind::Box, &[vote(0, 0, &many)], &[]);
    assert!(matches!(
        full,
        Err(ConsensusError::BadObject {
            index: 0,
            object: 256,
            ..
        })
    ));
    let crowd: Vec<ShapeVote> = (0..9)
        .map(|labeler| vote(1, labeler, &many[..256]))
        .collect();
    let full = infer(ShapeKind::Box, &crowd, &[]);
    assert!(matches!(
        full,
        Err(ConsensusError::TooManyOnItem {
            item: 1,
            what: "objects",
            ..
        })
    ));
}

#[test]
fn small_crowds_give_plain_answers() {
    let vote = |labeler, objects: &[ShapeObject]| ShapeVote {
        item: 0,
        labeler,
        objects: objects.to_vec(),
    };
    let empty = infer(ShapeKind::Box, &[], &[]).unwrap();
    assert_eq!(empty.items[0], ShapeItem::default());
    let nothing = infer(ShapeKind::Box, &[vote(0, &[]), vote(1, &[])], &[]).unwrap();
    assert_eq!(
        (nothing.items[0].objects.len(), nothing.items[0].votes),
        (0, 2)
    );
    // Nothing is known about these two labelers, so they may have overlooked something.
    assert!((ONE / 2..ONE).contains(&nothing.items[0].posterior));
    assert_eq!(nothing.labelers[0].skill_ppm, 0);
    let same = object(10, 10, 20, 20, 1);
    let agreed = infer(
        ShapeKind::Box,
        &[0, 1, 2].map(|l| vote(l, std::slice::from_ref(&same))),
        &[],
    )
    .unwrap();
    assert_eq!(agreed.items[0].objects.len(), 1);
    assert_eq!(agreed.items[0].objects[0].object, same);
    assert_eq!(agreed.items[0].objects[0].votes, 3);
}

#[test]
fn one_item_follows_from_its_votes_and_the_table_and_order_changes_nothing() {
    let habits = [vec![CAREFUL; 4], vec![TIRED; 3], LAZY.to_vec()].concat();
    for kind in [ShapeKind::Span, ShapeKind::Box, ShapeKind::Polygon] {
        let mut rng = Rng(12);
        let mut crowd = Crowd::draw(kind, &habits, 30, 5, &mut rng);
        let gold = BTreeMap::from([(2, crowd.truth[2].clone()), (9, crowd.truth[9].clone())]);
        let result = crowd.infer(&gold);
        for item in (0..30).filter(|item| !gold.contains_key(&(*item as u32))) {
            assert_eq!(
                result.items[item],
                item_from_table(&result.table, &crowd.votes_of(item))
            );
        }
        for vote in &mut crowd.votes {
            rng.shuffle(&mut vote.objects);
        }
        rng.shuffle(&mut crowd.votes);
        assert_eq!(result, crowd.infer(&gold));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_admissible_boxes_are_scored_without_a_panic(
        votes in proptest::collection::btree_map(
            (0u32..2, 0u32..8),
            proptest::collection::vec((0u32..100, 0u32..50, 1u32..101, 1u32..51, 0u16..2), 0..6),
            0..12,
        ),
        gold in proptest::option::of((0u32..100, 0u32..50, 1u32..101, 1u32..51)),
    ) {
        let boxed = |(x, y, w, h, label): (u32, u32, u32, u32, u16)| object(x, y, w.min(100 - x), h.min(50 - y), label);
        let votes: Vec<ShapeVote> = votes
            .into_iter()
            .map(|((item, labeler), list)| ShapeVote { item, labeler, objects: list.into_iter().map(boxed).collect() })
            .collect();
        let gold: Vec<_> = gold.map(|(x, y, w, h)| (1, vec![boxed((x, y, w, h, 0))])).into_iter().collect();
        let result = infer(ShapeKind::Box, &votes, &gold).unwrap();
        let frame = Frame { width: 100, height: 50 };
        for item in &result.items {
            prop_assert!(item.posterior <= ONE);
            for found in &item.objects {
                prop_assert!(found.posterior <= ONE && found.label_posterior <= ONE);
                prop_assert_eq!(found.object.shape.fault(ShapeKind::Box, frame), None);
            }
        }
        for labeler in &result.labelers {
            prop_assert!(labeler.skill_ppm.abs() <= 1_000_000);
        }
    }
}
