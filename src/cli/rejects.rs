//! The file of refused rows: `_line`, `_column` and `_reason`, which import
//! ignores, and then the row as it came, so that it can be mended and imported
//! again. It holds raw values: only its owner may read it. It appears whole or
//! not at all, and a file that somebody may be mending is never overwritten.

use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::failure::CommandError;
use crate::wire::v1::Refusal;

/// The columns before the row's own.
const HEAD: [&str; 3] = ["_line", "_column", "_reason"];
/// UTF-8's byte order mark, which spreadsheets want to see.
const BOM: &[u8] = b"\xef\xbb\xbf";
/// How many names are tried when the first ones are taken.
const NAMES_MAX: u32 = 1_000;

/// Refused rows on their way into a file.
#[derive(Debug)]
pub struct Rejects {
    path: PathBuf,
    replaces: bool,
    /// The rows; the header comes with the report, after them.
    rows: Option<csv::Writer<NamedTempFile>>,
}

impl Rejects {
    /// Writes to `path`, which is replaced if it is there.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            replaces: true,
            rows: None,
        }
    }

    /// Writes to `FILE.rejects.csv`, or `FILE.rejects-2.csv` and so on where
    /// that is there.
    #[must_use]
    pub fn beside(file: &Path) -> Self {
        Self {
            path: file.to_owned(),
            replaces: false,
            rows: None,
        }
    }

    /// Adds a refused row.
    ///
    /// # Errors
    /// [`CommandError::Unwritable`].
    pub fn add(&mut self, refusal: &Refusal, reason: &str) -> Result<(), CommandError> {
        self.try_add(refusal, reason)
            .map_err(|source| self.unwritable(source))
    }

    fn try_add(&mut self, refusal: &Refusal, reason: &str) -> io::Result<()> {
        if self.rows.is_none() {
            self.rows = Some(rows_writer(NamedTempFile::new_in(self.dir())?));
        }
        let Some(rows) = &mut self.rows else {
            return Ok(());
        };
        let line = refusal.line.to_string();
        let head = [line.as_str(), refusal.column.as_str(), reason];
        let record = refusal.record.iter().map(String::as_str);
        Ok(rows.write_record(head.into_iter().chain(record))?)
    }

    /// Writes the file under its name, if there are rows; the row's columns are
    /// named by `headers`.
    ///
    /// # Errors
    /// [`CommandError::Unwritable`].
    pub fn finish(mut self, headers: &[String]) -> Result<Option<PathBuf>, CommandError> {
        let Some(rows) = self.rows.take() else {
            return Ok(None);
        };
        let written = self.try_finish(rows, headers);
        written.map(Some).map_err(|source| self.unwritable(source))
    }

    fn try_finish(
        &self,
        rows: csv::Writer<NamedTempFile>,
        headers: &[String],
    ) -> io::Result<PathBuf> {
        let mut rows = rows.into_inner().map_err(csv::IntoInnerError::into_error)?;
        rows.rewind()?;
        let mut whole = NamedTempFile::new_in(self.dir())?;
        whole.write_all(BOM)?;
        let mut head = rows_writer(whole);
        head.write_record(HEAD.into_iter().chain(headers.iter().map(String::as_str)))?;
        let mut whole = head.into_inner().map_err(csv::IntoInnerError::into_error)?;
        io::copy(&mut rows, &mut whole)?;
        self.persist(whole)
    }

    fn persist(&self, mut whole: NamedTempFile) -> io::Result<PathBuf> {
        if self.replaces {
            whole.persist(&self.path).map_err(|e| e.error)?;
            return Ok(self.path.clone());
        }
        for number in 1..=NAMES_MAX {
            let path = self.numbered(number);
            match whole.persist_noclobber(&path) {
                Ok(_) => return Ok(path),
                Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => whole = e.file,
                Err(e) => return Err(e.error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        match number {
            1 => name.push(".rejects.csv"),
            n => name.push(format!(".rejects-{n}.csv")),
        }
        name.into()
    }

    fn dir(&self) -> &Path {
        match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        }
    }

    fn unwritable(&self, source: io::Error) -> CommandError {
        let path = if self.replaces {
            self.path.clone()
        } else {
            self.numbered(1)
        };
        CommandError::Unwritable { path, source }
    }
}

fn rows_writer(file: NamedTempFile) -> csv::Writer<NamedTempFile> {
    // A refused row may have any number of fields.
    csv::WriterBuilder::new().flexible(true).from_writer(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(record: &[&str]) -> Refusal {
        Refusal {
            line: 7,
            column: "value".into(),
            code: "phone.impossible".into(),
            record: record.iter().map(|f| (*f).to_owned()).collect(),
            ..Refusal::default()
        }
    }

    #[test]
    fn without_refused_rows_there_is_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let rejects = Rejects::beside(&dir.path().join("a.csv"));
        assert_eq!(
            rejects.finish(&["case_no".into()]).expect("nothing to do"),
            None
        );
        assert_eq!(dir.path().read_dir().expect("readable").count(), 0);
    }

    #[test]
    fn a_file_that_is_being_mended_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("a.csv");
        let write = || {
            let mut rejects = Rejects::beside(&file);
            rejects
                .add(&refusal(&["A-1", "phone,x"]), "too short")
                .expect("written");
            rejects
                .finish(&["case_no".into(), "value".into()])
                .expect("written")
                .expect("a file")
        };
        let (first, second) = (write(), write());
        assert!(first.ends_with("a.csv.rejects.csv") && second.ends_with("a.csv.rejects-2.csv"));
        let text = std::fs::read_to_string(&first).expect("readable");
        assert_eq!(
            text,
            "\u{feff}_line,_column,_reason,case_no,value\n7,value,too short,A-1,\"phone,x\"\n"
        );
        assert_eq!(
            dir.path().read_dir().expect("readable").count(),
            2,
            "no temporary files"
        );
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_rows() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let mut rejects = Rejects::at(&dir.path().join("r.csv"));
        rejects
            .add(&refusal(&["one", "two", "three"]), "no")
            .expect("written");
        let path = rejects.finish(&[]).expect("written").expect("a file");
        let mode = path.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let mut rejects = Rejects::at(Path::new("/no/such/dir/r.csv"));
        let error = rejects
            .add(&refusal(&[]), "no")
            .expect_err("it cannot be written");
        assert!(error.to_string().contains("/no/such/dir/r.csv"), "{error}");
    }
}
