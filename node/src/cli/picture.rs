//! A small grey picture in the terminal, so that a person can label simple images without leaving it.

use std::io::Cursor;

/// Largest side of an image that is previewed, in pixels.
const SIDE_MAX: u32 = 4_096;
/// Memory that decoding may take, in bytes.
const DECODE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Columns of a preview; rows are half as many, because characters are about twice as high as wide.
const COLUMNS_MAX: u32 = 64;
/// From dark to light.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];

/// A PNG as rows of characters; `None` for anything else, and for what is damaged or too large. Foreign bytes: never panics.
pub fn preview(bytes: &[u8]) -> Option<String> {
    let mut decoder = png::Decoder::new_with_limits(
        Cursor::new(bytes),
        png::Limits {
            bytes: DECODE_BYTES_MAX,
        },
    );
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let (width, height) = reader.info().size();
    if width == 0 || height == 0 || width > SIDE_MAX || height > SIDE_MAX {
        return None;
    }
    let mut data = vec![
        0;
        reader
            .output_buffer_size()
            .filter(|size| *size <= DECODE_BYTES_MAX)?
    ];
    let frame = reader.next_frame(&mut data).ok()?;
    let samples = frame.color_type.samples();
    let columns = width.min(COLUMNS_MAX);
    let rows = (u64::from(height) * u64::from(columns) / u64::from(width) / 2)
        .clamp(1, u64::from(COLUMNS_MAX)) as u32;
    let mut text = String::new();
    for row in 0..rows {
        for column in 0..columns {
            let shade = mean(&data, &frame, samples, (column, columns), (row, rows))?;
            text.push(SHADES[usize::from(shade) * SHADES.len() / 256]);
        }
        text.push('\n');
    }
    Some(text)
}

/// Mean lightness of one cell of the grid, 0 to 255.
fn mean(
    data: &[u8],
    frame: &png::OutputInfo,
    samples: usize,
    column: (u32, u32),
    row: (u32, u32),
) -> Option<u8> {
    let range = |(at, of): (u32, u32), size: u32| {
        let start = u64::from(at) * u64::from(size) / u64::from(of);
        let end = (u64::from(at) + 1) * u64::from(size) / u64::from(of);
        start as usize..end.max(start + 1) as usize
    };
    let (mut sum, mut count) = (0u64, 0u64);
    for y in range(row, frame.height) {
        for x in range(column, frame.width) {
            let pixel = data
                .get(y * frame.line_size + x * samples..)?
                .get(..samples)?;
            let (colour, alpha) = match samples {
                2 | 4 => (&pixel[..samples - 1], u64::from(pixel[samples - 1])),
                _ => (pixel, 255),
            };
            let light: u64 = match colour {
                // Weights of ITU-R BT.601 in 256ths.
                [r, g, b] => (u64::from(*r) * 77 + u64::from(*g) * 150 + u64::from(*b) * 29) >> 8,
                [grey] => u64::from(*grey),
                _ => return None,
            };
            sum += light * alpha / 255;
            count += 1;
        }
    }
    sum.checked_div(count).map(|m| m.min(255) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn png_of(width: u32, height: u32, color: png::ColorType, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .unwrap()
            .write_image_data(data)
            .unwrap();
        bytes
    }

    #[test]
    fn light_and_dark_halves_are_told_apart() {
        let row: Vec<u8> = [0, 0, 255, 255].to_vec();
        let grey = png_of(4, 4, png::ColorType::Grayscale, &row.repeat(4));
        assert_eq!(preview(&grey).as_deref(), Some("  ██\n  ██\n"));
        let rgb: Vec<u8> = row.iter().flat_map(|v| [*v; 3]).collect();
        assert_eq!(
            preview(&png_of(4, 4, png::ColorType::Rgb, &rgb.repeat(4))),
            preview(&grey)
        );
        let clear: Vec<u8> = [255, 0].repeat(16);
        assert_eq!(
            preview(&png_of(4, 4, png::ColorType::GrayscaleAlpha, &clear)).as_deref(),
            Some("    \n    \n")
        );
    }

    #[test]
    fn a_large_picture_is_shrunk_and_a_huge_one_is_not_shown() {
        let wide = preview(&png_of(
            640,
            320,
            png::ColorType::Grayscale,
            &vec![128; 640 * 320],
        ))
        .unwrap();
        assert_eq!(
            (
                wide.lines().count(),
                wide.lines().next().unwrap().chars().count()
            ),
            (16, 64)
        );
        let tall = preview(&png_of(
            1,
            4_096,
            png::ColorType::Grayscale,
            &vec![128; 4_096],
        ))
        .unwrap();
        assert!(tall.lines().count() <= 64);
        let huge = png_of(
            SIDE_MAX + 1,
            1,
            png::ColorType::Grayscale,
            &vec![0; SIDE_MAX as usize + 1],
        );
        assert_eq!(preview(&huge), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), from in 0usize..60) {
            prop_assert!(preview(&bytes).is_none());
            // A true beginning gets further into the decoder.
            let mut good = png_of(8, 8, png::ColorType::Rgb, &[7; 192]);
            good.truncate(from.min(good.len()));
            good.append(&mut bytes);
            let _ = preview(&good);
        }
    }
}
