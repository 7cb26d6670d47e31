//! The pidfile: one line with the master's pid, from the moment the service runs until it ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::sys::process;

/// A pidfile that could be created.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    file: File,
}

impl Pidfile {
    /// Creates the file anew and empty, so that a path that cannot be written to is an error of the command.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path) -> io::Result<Pidfile> {
        // An old file gives way, whatever it is: a link or a file of another owner is not written through.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)?;
        // The daemon may have another working directory one day; the path has to stay good.
        Ok(Pidfile {
            path: std::path::absolute(path)?,
            file,
        })
    }

    /// The file that this process has written already, before it became a new image of itself.
    ///
    /// # Errors
    /// It is gone and cannot be created.
    pub fn keep(path: &Path) -> io::Result<Pidfile> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .open(path)?;
        Ok(Pidfile {
            path: path.to_path_buf(),
            file,
        })
    }

    /// Where it is, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the pid of this process.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn write(&mut self) -> io::Result<()> {
        self.file
            .write_all(format!("{}\n", process::pid()).as_bytes())
    }

    /// Removes the file, unless another process has put its own pid there meanwhile.
    pub fn remove(self) {
        let ours = format!("{}\n", process::pid());
        let content = fs::read_to_string(&self.path).unwrap_or_default();
        if content == ours || content.is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lives_as_long_as_it_names_us() {
        let path = std::env::temp_dir().join(format!("burdock-pidfile-{}", process::pid()));
        fs::write(&path, "an old one").unwrap();
        let mut pidfile = Pidfile::create(&path).unwrap();
        pidfile.write().unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("{}\n", process::pid())
        );
        pidfile.remove();
        assert!(!path.exists());
        let mut pidfile = Pidfile::create(&path).unwrap();
        pidfile.write().unwrap();
        fs::write(&path, "1\n").unwrap();
        pidfile.remove();
        assert!(path.exists(), "the file of a successor stays");
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_folder_that_does_not_exist_is_an_error() {
        assert!(Pidfile::create(Path::new("/nonexistent/pid")).is_err());
    }
}
