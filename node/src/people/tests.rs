use super::*;
use crate::dataset::digits::{self, CLASSES, Digit};
use proptest::prelude::*;

/// The set with its pictures encoded once.
fn gallery() -> Vec<(Vec<u8>, Vec<u8>, Digit)> {
    let encode =
        |(n, digit): (usize, Digit)| (digits::name(n).into_bytes(), digits::png(&digit), digit);
    digits::load().into_iter().enumerate().map(encode).collect()
}

fn answer(person: &Person, (name, picture, digit): &(Vec<u8>, Vec<u8>, Digit)) -> u16 {
    person.answer(name, picture, Some(u16::from(digit.class)), CLASSES)
}

/// Right answers per thousand over `gallery`, averaged over five people of the kind.
fn right_per_mille(kind: Kind, gallery: &[(Vec<u8>, Vec<u8>, Digit)]) -> usize {
    let right = |seed| {
        let person = Person { kind, seed };
        gallery
            .iter()
            .filter(|g| answer(&person, g) == u16::from(g.2.class))
            .count()
    };
    (0..5).map(right).sum::<usize>() * 1_000 / (5 * gallery.len())
}

#[test]
fn accuracies_are_those_that_the_models_promise() {
    let gallery = gallery();
    for (kind, band) in [
        (Kind::Careful, 950..=970),
        (Kind::Tired, 785..=815),
        (Kind::Spammer, 90..=110),
        (Kind::Constant, 95..=105),
        (Kind::Ring(1), 80..=120),
    ] {
        let right = right_per_mille(kind, &gallery);
        assert!(
            band.contains(&right),
            "{kind}: {right} of 1000 right, expected {band:?}"
        );
    }
}

#[test]
fn looking_people_err_more_on_hard_pictures() {
    let eye = Eye::shared();
    let difficulty = |g: &(Vec<u8>, Vec<u8>, Digit)| {
        eye.look(eye.distances(&g.1).as_ref(), u16::from(g.2.class), CLASSES)
            .difficulty
    };
    let mut gallery = gallery();
    gallery.sort_by_key(difficulty);
    let third = gallery.len() / 3;
    let (easy, hard) = (&gallery[..third], &gallery[2 * third..]);
    for (kind, least) in [(Kind::Careful, 20), (Kind::Tired, 100)] {
        let (easy, hard) = (right_per_mille(kind, easy), right_per_mille(kind, hard));
        assert!(
            easy >= hard + least,
            "{kind}: {easy} right of 1000 easy pictures, {hard} of 1000 hard ones"
        );
    }
}

#[test]
fn an_error_names_the_class_that_looks_most_alike() {
    let eye = Eye::shared();
    let tired = Person {
        kind: Kind::Tired,
        seed: 3,
    };
    let mut errors = 0;
    for g in gallery() {
        let truth = u16::from(g.2.class);
        let answer = answer(&tired, &g);
        if answer != truth {
            let distances = eye.distances(&g.1).unwrap();
            assert_eq!(Some(answer), eye.nearest(&distances, CLASSES, Some(truth)));
            errors += 1;
        }
    }
    assert!(errors > 100, "{errors} errors");
}

#[test]
fn members_of_a_ring_agree_exactly_and_rings_differ() {
    let gallery = gallery();
    let answers = |kind, seed| -> Vec<u16> {
        gallery
            .iter()
            .map(|g| answer(&Person { kind, seed }, g))
            .collect()
    };
    let ring = answers(Kind::Ring(1), 1);
    assert_eq!(ring, answers(Kind::Ring(1), 2));
    assert_ne!(ring, answers(Kind::Ring(2), 1));
    assert_ne!(answers(Kind::Spammer, 1), answers(Kind::Spammer, 2));
    assert_ne!(answers(Kind::Tired, 1), answers(Kind::Tired, 2));
}

#[test]
fn a_constant_person_names_one_class_and_others_another() {
    let gallery = gallery();
    let mut named = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let person = Person {
            kind: Kind::Constant,
            seed,
        };
        let first = answer(&person, &gallery[0]);
        assert!(gallery.iter().all(|g| answer(&person, g) == first));
        named.insert(first);
    }
    assert!(named.len() > 3, "{named:?}");
}

#[test]
fn without_truth_a_person_goes_by_the_picture() {
    let gallery = gallery();
    let careful = Person {
        kind: Kind::Careful,
        seed: 1,
    };
    let right = gallery
        .iter()
        .filter(|g| careful.answer(&g.0, &g.1, None, CLASSES) == u16::from(g.2.class))
        .count();
    assert!((1_500..1_700).contains(&right), "{right} right");
}

#[test]
fn an_error_about_an_unreadable_item_names_any_other_class() {
    let tired = Person {
        kind: Kind::Tired,
        seed: 1,
    };
    for (classes, truth) in [(u16::MAX, u16::MAX - 1), (3, 0), (3, 1), (3, 2)] {
        let answers = (0..2_000u32)
            .map(|item| tired.answer(&item.to_be_bytes(), b"text", Some(truth), classes));
        let wrong: Vec<u16> = answers.filter(|&a| a != truth).collect();
        assert!(
            (300..500).contains(&wrong.len()),
            "{} of 2000 wrong",
            wrong.len()
        );
        assert!(wrong.iter().all(|&a| a < classes));
        for other in (0..classes).filter(|&c| classes == 3 && c != truth) {
            let named = wrong.iter().filter(|&&a| a == other).count();
            assert!(named * 3 > wrong.len(), "class {other} named {named} times");
        }
    }
}

#[test]
fn kinds_print_and_parse() {
    for kind in [
        Kind::Careful,
        Kind::Tired,
        Kind::Spammer,
        Kind::Constant,
        Kind::Ring(7),
    ] {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    assert!(
        "ring:x"
            .parse::<Kind>()
            .unwrap_err()
            .to_string()
            .contains("ring:NUMBER")
    );
    assert!("".parse::<Kind>().is_err());
}

proptest! {
    #[test]
    fn every_answer_is_a_class_of_the_task(
        ring: u32, seed: u64, item: Vec<u8>, picture: Vec<u8>, truth: Option<u16>, classes: u16,
    ) {
        for kind in [Kind::Careful, Kind::Tired, Kind::Spammer, Kind::Constant, Kind::Ring(ring)] {
            let person = Person { kind, seed };
            let answer = person.answer(&item, &picture, truth, classes);
            prop_assert!(answer < classes.max(1));
            prop_assert_eq!(answer, person.answer(&item, &picture, truth, classes));
        }
    }

    #[test]
    fn pictures_are_read_in_tasks_with_other_classes(place in 0usize..1_797, truth: Option<u16>, classes in 0u16..30) {
        let picture = digits::png(&digits::load()[place]);
        for kind in [Kind::Careful, Kind::Tired] {
            let answer = Person { kind, seed: 1 }.answer(b"x", &picture, truth, classes);
            prop_assert!(answer < classes.max(1));
        }
    }
}
