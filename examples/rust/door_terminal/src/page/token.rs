//! The secret that opens the page: a text file that nobody else may read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use subtle::ConstantTimeEq;

/// Characters that a token of one's own has at least.
const SHORTEST: usize = 32;
const LONGEST: usize = 256;

/// The token. Never shown: it has no `Display`, and `Debug` leaves it out.
pub struct Token(String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Reads the file at `path`, or makes it, of mode 0600, with 32 random bytes as 64 hexadecimal digits.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::InvalidData`] with the cause for a file that others may read, or that holds no token.
    pub fn open(path: &Path) -> io::Result<Token> {
        match Token::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Token::make(path),
            read => read,
        }
    }

    /// Reads the file at `path`: 32 to 256 visible characters on one line.
    ///
    /// # Errors
    /// As [`Token::open`]; [`io::ErrorKind::NotFound`] where there is no file.
    pub fn read(path: &Path) -> io::Result<Token> {
        let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
        let file = File::open(path)?;
        let meta = file.metadata()?;
        if !meta.is_file() || meta.mode() & 0o077 != 0 {
            return wrong("a token is a file that nobody else may read: set its mode to 0600");
        }
        let mut text = String::new();
        file.take(LONGEST as u64 + 2).read_to_string(&mut text)?;
        let token = text.trim_end_matches(['\r', '\n']);
        let visible = token.bytes().all(|b| b.is_ascii_graphic());
        if !visible || !(SHORTEST..=LONGEST).contains(&token.len()) {
            return wrong("a token has 32 to 256 visible characters");
        }
        Ok(Token(token.to_owned()))
    }

    fn make(path: &Path) -> io::Result<Token> {
        let mut bytes = [0u8; 32];
        getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
        let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{token}")?;
        Ok(Token(token))
    }

    /// Whether `given` is the token, in a time that depends on the length of `given` alone.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert_eq!(Token::read(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        let made = Token::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let again = Token::open(&path).unwrap();
        for token in [&made, &again] {
            assert!(token.is(text.trim().as_bytes()));
            assert!(
                !token.is(b"") && !token.is(text.as_bytes()) && !token.is(&text.as_bytes()[..63])
            );
            assert!(!format!("{token:?}").contains(text.trim()));
        }
        let other = Token::open(&dir.path().join("other")).unwrap();
        assert!(!other.is(text.trim().as_bytes()), "tokens are random");
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for text in
            ["", "short", &"x".repeat(31), &"x".repeat(257), &"a b".repeat(20), &"é".repeat(20)]
        {
            std::fs::write(&path, text).unwrap();
            mode(0o600);
            assert!(Token::open(&path).is_err(), "{text}");
        }
        std::fs::write(&path, "x".repeat(32)).unwrap();
        assert!(Token::open(&path).unwrap().is("x".repeat(32).as_bytes()));
        mode(0o640);
        assert!(Token::open(&path).unwrap_err().to_string().contains("0600"));
        assert!(Token::open(dir.path()).is_err());
        assert!(Token::open(&dir.path().join("no/token")).is_err());
    }
}
