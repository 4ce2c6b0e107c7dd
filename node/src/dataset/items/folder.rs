//! The one folder that items may come from: paths below it, bounded bytes, media types.
//!
//! Invariant: nothing outside the folder is read, whatever a path or a symbolic link says.

use std::{
    ffi::OsStr,
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use assay_protocol::limit;

use super::ITEMS_BYTES_MAX;

/// Media type by file ending; `application/octet-stream` when the ending is unknown.
///
/// # Errors
/// A sentence, for kinds that can carry scripts and are therefore not shown to labelers.
pub fn media_type(file: &str) -> Result<&'static str, String> {
    let ending = Path::new(file)
        .extension()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    Ok(match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "avif" => "image/avif",
        "bmp" => "image/bmp",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "json" => "application/json",
        "wav" => "audio/wav",
        "mp3" => "audio/mpeg",
        "ogg" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "m4a" => "audio/mp4",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "svg" | "svgz" | "htm" | "html" | "xhtml" => {
            return Err(format!(
                ".{ending} files can carry scripts; convert to an image or to plain text"
            ));
        }
        _ => "application/octet-stream",
    })
}

/// The folder that items may come from, and the bytes that may still be read.
pub(super) struct Folder {
    canonical: PathBuf,
    bytes_left: u64,
}

impl Folder {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            canonical: path.canonicalize()?,
            bytes_left: ITEMS_BYTES_MAX,
        })
    }

    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), String> {
        if bytes > limit::SHARD_BYTES_MAX {
            return Err(format!(
                "{bytes} bytes, an item has at most {}; make it smaller",
                limit::SHARD_BYTES_MAX
            ));
        }
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left
            .ok_or_else(|| format!("all items together exceed {ITEMS_BYTES_MAX} bytes; split the data set into several tasks"))?;
        Ok(())
    }

    /// Media type and content of a file below this folder.
    pub(super) fn read(&mut self, relative: &str) -> Result<(&'static str, Vec<u8>), String> {
        let inside = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
        if relative.is_empty() || !Path::new(relative).components().all(inside) {
            return Err(format!(
                "{relative:?} is not a path below the items file's folder; absolute paths and `..` are refused, copy the file there"
            ));
        }
        let media = media_type(relative).map_err(|why| format!("{relative:?}: {why}"))?;
        let failed = |e: io::Error| {
            format!("cannot read {relative:?}: {e}; check the spelling and the permissions")
        };
        let path = self
            .canonical
            .join(relative)
            .canonicalize()
            .map_err(failed)?;
        if !path.starts_with(&self.canonical) {
            return Err(format!(
                "{relative:?} leads out of the folder through a symbolic link; copy the file there"
            ));
        }
        let about = fs::metadata(&path).map_err(failed)?;
        if !about.is_file() {
            return Err(format!("{relative:?} is not a regular file"));
        }
        // Before anything is read; the file may still grow meanwhile, so reading is bounded too.
        self.spend(about.len())?;
        let mut bytes = Vec::with_capacity(about.len() as usize);
        fs::File::open(&path)
            .map_err(failed)?
            .take(about.len())
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.is_empty() {
            return Err(format!(
                "{relative:?} is empty; remove the item or fill the file"
            ));
        }
        if media.starts_with("text/") && std::str::from_utf8(&bytes).is_err() {
            return Err(format!("{relative:?} is not UTF-8; save the text as UTF-8"));
        }
        Ok((media, bytes))
    }
}
