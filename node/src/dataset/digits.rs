//! The built-in demonstration set: 1,797 pictures of handwritten digits with their true class.
//!
//! A demonstration labels these pictures, so that the accuracy it reports is measured and not made up. Origin, licence and
//! checksums: `node/assets/README.md`. It does not label anything. Invariant: [`decode_png`] of [`png()`] gives the same pixels.

use std::io::{Cursor, Read};

use flate2::read::GzDecoder;

use super::{chance::Chance, items::SourceItem};
use assay_protocol::crypto::hash;

/// Pixels along an edge of a picture.
pub const EDGE: usize = 8;
/// Number of classes: the digits 0 to 9.
pub const CLASSES: u16 = 10;
/// The darkest pixel (ink); 0 is paper.
pub const INK: u8 = 16;
/// Picture points along one pixel in a PNG, so that a person can see the digit.
pub const SCALE: usize = 8;
/// Bytes of a PNG that [`decode_png`] looks at.
pub const PNG_BYTES_MAX: usize = 64 * 1024;

const FILE: &[u8] = include_bytes!("../../assets/digits.csv.gz");
/// Bytes of the unpacked file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// Row by row from the top left; 0 (paper) to [`INK`].
    pub pixels: [u8; EDGE * EDGE],
    /// The digit that the writer was asked to write, below [`CLASSES`].
    pub class: u8,
}

/// All pictures, in the file's order.
///
/// # Panics
/// Never: the file is part of the program, and a test reads every row.
pub fn load() -> Vec<Digit> {
    let mut text = String::new();
    GzDecoder::new(FILE)
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .expect("the built-in file unpacks");
    text.lines()
        .map(|line| parse(line).expect("every built-in row holds 64 pixels and a class"))
        .collect()
}

fn parse(line: &str) -> Option<Digit> {
    let mut numbers = line.split(',').map(|n| n.parse::<u8>().ok());
    let mut pixels = [0; EDGE * EDGE];
    for pixel in &mut pixels {
        *pixel = numbers.next()?.filter(|&p| p <= INK)?;
    }
    let class = numbers.next()?.filter(|&c| u16::from(c) < CLASSES)?;
    numbers.next().is_none().then_some(Digit { pixels, class })
}

/// Label names for a task over this set.
pub fn labels() -> Vec<String> {
    (0..CLASSES).map(|c| c.to_string()).collect()
}

/// Name of the picture at `place` in the file, as an item of a task.
pub fn name(place: usize) -> String {
    format!("digit-{place:04}")
}

/// Place in the file of the item called `name`; `None` for any other name.
pub fn place(name: &str) -> Option<usize> {
    let place = name.strip_prefix("digit-")?.parse().ok()?;
    (self::name(place) == name).then_some(place)
}

/// `count` pictures drawn by `seed` as items of a task, `gold` of them (at most all) with their class as the known answer.
///
/// Both are cut to the size of the set.
pub fn items(count: usize, gold: usize, seed: &[u8; 32]) -> Vec<SourceItem> {
    let digits = load();
    let mut places: Vec<usize> = (0..digits.len()).collect();
    Chance::new(&hash("assay/1/dataset/digits", &[seed])).shuffle(&mut places);
    let item = |(n, place): (usize, usize)| SourceItem {
        name: name(place),
        media: "image/png".into(),
        bytes: png(&digits[place]),
        gold: (n < gold).then_some(u16::from(digits[place].class)),
    };
    places
        .into_iter()
        .take(count)
        .enumerate()
        .map(item)
        .collect()
}

/// The picture as a PNG: 8-bit grey, dark ink on white, [`SCALE`] times as large.
pub fn png(digit: &Digit) -> Vec<u8> {
    let edge = EDGE * SCALE;
    let mut points = Vec::with_capacity(edge * edge);
    for y in 0..edge {
        points.extend((0..edge).map(|x| grey(digit.pixels[y / SCALE * EDGE + x / SCALE])));
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, edge as u32, edge as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&points))
        .expect("an image of fixed size is written to memory");
    bytes
}

/// The pixels of a PNG that [`png()`] made; `None` for anything else.
pub fn decode_png(bytes: &[u8]) -> Option<[u8; EDGE * EDGE]> {
    let edge = EDGE * SCALE;
    if bytes.len() > PNG_BYTES_MAX {
        return None;
    }
    let limits = png::Limits {
        bytes: PNG_BYTES_MAX,
    };
    let mut reader = png::Decoder::new_with_limits(Cursor::new(bytes), limits)
        .read_info()
        .ok()?;
    let plain = reader.output_color_type() == (png::ColorType::Grayscale, png::BitDepth::Eight);
    if !plain || reader.info().size() != (edge as u32, edge as u32) {
        return None;
    }
    let mut points = vec![0; edge * edge];
    reader.next_frame(&mut points).ok()?;
    let mut pixels = [0; EDGE * EDGE];
    for (i, pixel) in pixels.iter_mut().enumerate() {
        let corner = i / EDGE * SCALE * edge + i % EDGE * SCALE;
        *pixel = (0..=INK).find(|&p| grey(p) == points[corner])?;
        let block = (0..SCALE).flat_map(|y| (0..SCALE).map(move |x| corner + y * edge + x));
        if block.into_iter().any(|at| points[at] != points[corner]) {
            return None;
        }
    }
    Some(pixels)
}

/// Grey value of a pixel: 255 is white paper, 0 is full ink.
fn grey(pixel: u8) -> u8 {
    255 - (u16::from(pixel.min(INK)) * 255 / u16::from(INK)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_set_is_the_one_that_its_readme_describes() {
        assert_eq!(
            blake3::hash(FILE).to_hex().as_str(),
            "6e6d08206f25ea2b4115da8d88938afa92b1e035f762278c06b5df6fb254188a"
        );
        let digits = load();
        assert_eq!(digits.len(), 1_797);
        let count = |class| digits.iter().filter(|d| d.class == class).count();
        let counts: Vec<usize> = (0..10).map(count).collect();
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn every_picture_survives_its_png() {
        for digit in load() {
            let bytes = png(&digit);
            assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
            assert_eq!(decode_png(&bytes), Some(digit.pixels));
        }
    }

    #[test]
    fn other_images_are_not_pictures_of_the_set() {
        let other = |edge: u32, color, points: &[u8]| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, edge, edge);
            encoder.set_color(color);
            encoder.set_depth(png::BitDepth::Eight);
            encoder
                .write_header()
                .unwrap()
                .write_image_data(points)
                .unwrap();
            bytes
        };
        let white = other(64, png::ColorType::Grayscale, &[255; 64 * 64]);
        assert_eq!(decode_png(&white), Some([0; 64]));
        assert_eq!(
            decode_png(&other(32, png::ColorType::Grayscale, &[255; 32 * 32])),
            None
        );
        assert_eq!(
            decode_png(&other(64, png::ColorType::Rgb, &[255; 64 * 64 * 3])),
            None
        );
        assert_eq!(
            decode_png(&other(64, png::ColorType::Grayscale, &[254; 64 * 64])),
            None,
            "no such grey"
        );
        let mut spot = [255; 64 * 64];
        spot[1] = 0;
        assert_eq!(
            decode_png(&other(64, png::ColorType::Grayscale, &spot)),
            None,
            "uneven block"
        );
        assert_eq!(decode_png(&white[..white.len() / 2]), None);
    }

    #[test]
    fn items_are_distinct_pictures_and_gold_is_their_class() {
        let digits = load();
        let drawn = items(100, 7, &[1; 32]);
        assert_eq!(drawn, items(100, 7, &[1; 32]));
        assert_ne!(drawn, items(100, 7, &[2; 32]));
        assert_eq!(
            drawn.iter().map(|i| &i.name).collect::<BTreeSet<_>>().len(),
            100
        );
        for (n, item) in drawn.iter().enumerate() {
            let digit = digits[place(&item.name).unwrap()];
            assert_eq!(decode_png(&item.bytes), Some(digit.pixels));
            assert_eq!(item.gold, (n < 7).then_some(u16::from(digit.class)));
        }
        assert_eq!(items(usize::MAX, 0, &[1; 32]).len(), 1_797);
    }

    #[test]
    fn only_names_of_the_set_have_a_place() {
        assert_eq!(place(&name(42)), Some(42));
        for other in ["digit-42", "digit-+042", "digit-00042", "cat", "digit-"] {
            assert_eq!(place(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_and_damaged_bytes_never_panic(bytes: Vec<u8>, at in 0usize..200, change: u8) {
            decode_png(&bytes);
            let mut damaged = png(&Digit { pixels: [7; 64], class: 0 });
            let at = at % damaged.len();
            damaged[at] ^= change;
            decode_png(&damaged);
        }
    }
}
