//! Passwords of key files: from a file or from the terminal, never from the command line itself, where other users can read them.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use super::{
    args::PasswordArgs,
    failure::{Exit, Failure},
    folder,
    text::Printer,
};
use crate::keys::Password;

/// Largest password in bytes.
const PASSWORD_BYTES_MAX: usize = 1_024;
/// Fewest characters of a new password.
const PASSWORD_CHARS_MIN: usize = 8;
const ADVICE: &str =
    "name a file that holds it with --password-file FILE, or run this command at a terminal";

/// Where passwords come from.
#[derive(Clone, Debug)]
pub struct Passwords {
    file: Option<PathBuf>,
    terminal: bool,
}

impl Passwords {
    /// As the command line says; without a file a person at a terminal is asked.
    pub fn new(args: &PasswordArgs) -> Self {
        Self::from_file(args.password_file.clone())
    }

    /// From this file, or from a person at a terminal.
    pub fn from_file(file: Option<PathBuf>) -> Self {
        Self {
            file,
            terminal: io::stdin().is_terminal(),
        }
    }

    /// The password of a key that is encrypted already.
    ///
    /// # Errors
    /// A file that cannot be read, and nobody to ask.
    pub fn existing(&self, key_file: &Path) -> Result<Password, Failure> {
        let place = key_file.display();
        match &self.file {
            Some(file) => read(file),
            None if self.terminal => ask(&format!("Password of {place}: ")),
            None => Err(Failure::new(
                Exit::Config,
                format!(
                    "the key in {place} is encrypted, and there is nobody to ask for its password"
                ),
            )
            .next(ADVICE)),
        }
    }

    /// A new password for a key.
    ///
    /// # Errors
    /// As [`Self::existing`]; one that is too short, or typed differently the second time.
    pub fn fresh(&self) -> Result<Password, Failure> {
        match &self.file {
            Some(file) => long_enough(read(file)?),
            None if self.terminal => {
                twice(long_enough(ask("New password for the account key: ")?)?)
            }
            None => Err(Failure::new(
                Exit::Usage,
                "a new password is needed, and there is nobody to ask",
            )
            .next(ADVICE)),
        }
    }

    /// The password for a key that is about to be made, or none to keep it as it is. A person is asked on networks with value only, so
    /// that a first try on a development network needs no answer.
    ///
    /// # Errors
    /// As [`Self::fresh`].
    pub fn for_new_key(&self, value: bool, printer: Printer) -> Result<Option<Password>, Failure> {
        if self.file.is_some() {
            return self.fresh().map(Some);
        }
        if !value || !self.terminal || printer.json {
            return Ok(None);
        }
        let typed = ask("Password for the account key (empty: keep the key unencrypted): ")?;
        if typed.is_empty() {
            return Ok(None);
        }
        twice(long_enough(typed)?).map(Some)
    }
}

fn long_enough(password: Password) -> Result<Password, Failure> {
    if password.len() < PASSWORD_CHARS_MIN {
        return Err(Failure::new(
            Exit::Usage,
            format!("the new password has fewer than {PASSWORD_CHARS_MIN} characters"),
        )
        .next("choose a longer one; several words are easy to remember and hard to guess"));
    }
    Ok(password)
}

fn twice(password: Password) -> Result<Password, Failure> {
    if ask("Once more: ")?.equals(&password) {
        return Ok(password);
    }
    Err(
        Failure::new(Exit::Usage, "the two passwords are not the same")
            .next("try again; nothing was changed"),
    )
}

fn ask(prompt: &str) -> Result<Password, Failure> {
    rpassword::prompt_password(prompt)
        .map(|typed| Password::new(typed.into_bytes()))
        .map_err(|e| {
            Failure::new(
                Exit::Failure,
                format!("the terminal gives no password: {e}"),
            )
            .next(ADVICE)
        })
}

/// The content of a password file without the line break at its end, as geth reads it.
fn read(path: &Path) -> Result<Password, Failure> {
    let mut bytes = folder::read_private(path, "the password file", PASSWORD_BYTES_MAX)?;
    while matches!(bytes.last(), Some(b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(Failure::new(
            Exit::Config,
            format!("the password file {} is empty", path.display()),
        )
        .next("write the password into it"));
    }
    Ok(Password::new(std::mem::take(&mut *bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Printer = Printer { json: true };

    fn from(dir: &Path, text: &[u8]) -> Passwords {
        let path = dir.join("password");
        let _ = std::fs::remove_file(&path);
        folder::write_new(&path, 0o600, text).unwrap();
        Passwords {
            file: Some(path),
            terminal: false,
        }
    }

    #[test]
    fn a_password_file_is_read_without_the_line_break_at_its_end() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["correct horse", "correct horse\n", "correct horse\r\n"] {
            let password = from(dir.path(), text.as_bytes()).fresh().unwrap();
            assert!(
                password.equals(&Password::new(b"correct horse".to_vec())),
                "{text:?}"
            );
        }
        for (text, why) in [
            (&b"\n"[..], "is empty"),
            (b"short\n", "fewer than 8"),
            (&[b'x'; PASSWORD_BYTES_MAX + 1], "larger than 1024 bytes"),
        ] {
            let refused = from(dir.path(), text).fresh().expect_err(why);
            assert!(refused.text.contains(why), "{refused:?}");
        }
    }

    #[test]
    fn a_password_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let passwords = from(dir.path(), b"correct horse");
        let path = dir.path().join("password");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = passwords.fresh().expect_err("readable by all");
        assert!(refused.next.starts_with("chmod 600"), "{refused:?}");
    }

    #[test]
    fn without_a_file_and_a_terminal_nobody_waits_for_an_answer() {
        let nobody = Passwords {
            file: None,
            terminal: false,
        };
        let refused = nobody.existing(Path::new("k")).expect_err("nobody");
        assert_eq!(refused.exit, Exit::Config);
        assert!(refused.next.contains("--password-file"));
        assert!(nobody.fresh().is_err());
        assert!(nobody.for_new_key(true, QUIET).unwrap().is_none());
    }
}
