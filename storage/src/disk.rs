//! The one door through which this crate changes the file system.
//!
//! Every mutation (also those of the record engine) is announced to an optional [`DiskHook`]
//! before it happens. Production uses no hook; tests use one to copy the directory at each step,
//! to model what a power cut would leave, and to refuse a step as a full disk does. Reads do not
//! pass here. The lock file does not either: its content is only a hint for people.
//!
//! Files are created 0600 and directories 0700 on unix.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;

/// One change about to be made to the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskStep<'a> {
    /// A directory is created.
    CreateDir {
        /// The directory.
        path: &'a Path,
    },
    /// An empty file is created under a name that did not exist.
    CreateFile {
        /// The file.
        path: &'a Path,
    },
    /// Bytes are written; not durable before the next [`DiskStep::SyncFile`].
    Write {
        /// The file.
        path: &'a Path,
        /// First byte written.
        offset: u64,
        /// Bytes written.
        len: u64,
    },
    /// The length of a file changes.
    SetLen {
        /// The file.
        path: &'a Path,
        /// New length, bytes.
        len: u64,
    },
    /// The content of a file becomes durable.
    SyncFile {
        /// The file.
        path: &'a Path,
    },
    /// A file changes its name, replacing a file of the new name.
    Rename {
        /// Old name.
        from: &'a Path,
        /// New name.
        to: &'a Path,
    },
    /// A file is removed.
    RemoveFile {
        /// The file.
        path: &'a Path,
    },
    /// The names inside a directory become durable.
    SyncDir {
        /// The directory.
        path: &'a Path,
    },
}

/// Watches, and may refuse, every change to the file system.
pub trait DiskHook: Send + Sync + 'static {
    /// Called before `step` is made.
    ///
    /// # Errors
    /// An error takes the place of the step, which is then not made.
    fn before(&self, step: DiskStep<'_>) -> io::Result<()>;
}

/// The file system, with the optional hook in front of it.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    hook: Option<Arc<dyn DiskHook>>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk")
            .field("hooked", &self.hook.is_some())
            .finish()
    }
}

impl Disk {
    pub(crate) fn new(hook: Option<Arc<dyn DiskHook>>) -> Self {
        Self { hook }
    }

    /// Announces a step; the caller makes it when the answer is `Ok`.
    pub(crate) fn announce(&self, step: DiskStep<'_>) -> io::Result<()> {
        match &self.hook {
            Some(hook) => hook.before(step),
            None => Ok(()),
        }
    }

    /// Creates `path` and its missing parents, and makes the names created durable.
    pub(crate) fn create_dir_all(&self, path: &Path) -> Result<(), StoreError> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made =
            self.announce(DiskStep::CreateDir { path })
                .and_then(|()| match builder.create(path) {
                    // Another call may have been faster; only a file in the way is an error.
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
                    other => other,
                });
        made.map_err(|e| StoreError::io("create directory", path, e))?;
        match parent {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }

    /// Creates an empty file that must not exist yet.
    pub(crate) fn create_file(&self, path: &Path) -> Result<File, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        self.announce(DiskStep::CreateFile { path })
            .and_then(|()| options.open(path))
            .map_err(|e| StoreError::io("create", path, e))
    }

    /// Writes all of `bytes` at `offset`.
    pub(crate) fn write_at(
        &self,
        file: &mut File,
        path: &Path,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let len = bytes.len() as u64;
        self.announce(DiskStep::Write { path, offset, len })
            .and_then(|()| file.seek(SeekFrom::Start(offset)))
            .and_then(|_| file.write_all(bytes))
            .map_err(|e| StoreError::io("write", path, e))
    }

    /// Changes the length of a file.
    pub(crate) fn set_len(&self, file: &File, path: &Path, len: u64) -> Result<(), StoreError> {
        self.announce(DiskStep::SetLen { path, len })
            .and_then(|()| file.set_len(len))
            .map_err(|e| StoreError::io("resize", path, e))
    }

    /// Makes the content of a file durable.
    pub(crate) fn sync_file(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        self.announce(DiskStep::SyncFile { path })
            .and_then(|()| file.sync_data())
            .map_err(|e| StoreError::io("sync", path, e))
    }

    /// Renames a file within the data directory.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.announce(DiskStep::Rename { from, to })
            .and_then(|()| fs::rename(from, to))
            .map_err(|e| StoreError::io("rename", from, e))
    }

    /// Removes a file; one that is not there counts as removed.
    pub(crate) fn remove_file(&self, path: &Path) -> Result<(), StoreError> {
        self.announce(DiskStep::RemoveFile { path })
            .and_then(|()| match fs::remove_file(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            })
            .map_err(|e| StoreError::io("remove", path, e))
    }

    /// Makes the names in a directory durable (a no-op where directories cannot be opened).
    pub(crate) fn sync_dir(&self, path: &Path) -> Result<(), StoreError> {
        let sync = || {
            if cfg!(unix) {
                File::open(path)?.sync_all()
            } else {
                Ok(())
            }
        };
        self.announce(DiskStep::SyncDir { path })
            .and_then(|()| sync())
            .map_err(|e| StoreError::io("sync directory", path, e))
    }

    /// Writes a small file so that after a crash either the whole file is there or none:
    /// temporary name, content, sync, rename, directory sync.
    pub(crate) fn write_small_file(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let temp = path.with_extension("new");
        self.remove_file(&temp)?;
        let mut file = self.create_file(&temp)?;
        self.write_at(&mut file, &temp, 0, bytes)?;
        self.sync_file(&file, &temp)?;
        drop(file);
        self.rename(&temp, path)?;
        match path.parent() {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }
}

/// Reads exactly `len` bytes at `offset` of the file at `path`.
pub(crate) fn read_at(path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    // Ask the file how much it can give first: a short file must not cost an allocation.
    let available = file.metadata()?.len().saturating_sub(offset);
    if available < len as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
