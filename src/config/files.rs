//! The files and directories of `-f`.
//!
//! Not here: what is in them.

use std::fs;
use std::path::Path;

use super::SourceFile;
use super::diag::{Diag, Severity};

/// Reads the files and directories of `-f`, in order. A directory stands for its files that end in `.cfg` and do not start
/// with a dot, in lexical order; other files and directories in it are left alone.
///
/// # Errors
/// One alert (HAProxy reports the first and exits with status 1).
pub fn load(paths: &[String]) -> Result<Vec<SourceFile>, Diag> {
    let mut files = Vec::new();
    for path in paths {
        let names = if Path::new(path).is_dir() {
            directory(path)?
        } else {
            vec![path.clone()]
        };
        for name in names {
            match fs::read(&name) {
                Ok(text) => files.push(SourceFile { name, text }),
                Err(error) => return Err(cannot_open("", &name, &error)),
            }
        }
    }
    Ok(files)
}

/// Names of the configuration files of a directory.
fn directory(path: &str) -> Result<Vec<String>, Diag> {
    let entries = fs::read_dir(path).map_err(|error| cannot_open("/directory", path, &error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| cannot_open("/directory", path, &error))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') || !name.ends_with(".cfg") {
            continue;
        }
        let full = format!("{path}/{name}");
        // A link that leads nowhere is an error, as in HAProxy; a directory is not a file.
        match fs::metadata(&full) {
            Ok(metadata) if metadata.is_file() => names.push(full),
            Ok(_) => {}
            Err(error) => return Err(cannot_open("", &full, &error)),
        }
    }
    names.sort();
    Ok(names)
}

fn cannot_open(what: &str, name: &str, error: &std::io::Error) -> Diag {
    // std appends the number: `No such file or directory (os error 2)`.
    let full = error.to_string();
    let reason = full.split(" (os error").next().unwrap_or(&full);
    let what = if what.is_empty() { "/directory" } else { what };
    Diag {
        severity: Severity::Alert,
        pos: None,
        text: format!("Cannot open configuration file{what} {name} : {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_its_configuration_files_in_order() {
        let folder = std::env::temp_dir().join(format!("burdock-files-{}", std::process::id()));
        fs::create_dir_all(folder.join("dir.cfg")).unwrap();
        for name in ["b.cfg", "a.cfg", "Z.cfg", ".hidden.cfg", "c.conf"] {
            fs::write(folder.join(name), name).unwrap();
        }
        let path = folder.to_str().unwrap().to_owned();
        let names: Vec<String> = load(std::slice::from_ref(&path))
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(
            names,
            ["Z.cfg", "a.cfg", "b.cfg"].map(|name| format!("{path}/{name}"))
        );
        let missing = format!("{path}/none.cfg");
        let error = load(std::slice::from_ref(&missing)).unwrap_err();
        assert_eq!(
            error.text,
            format!(
                "Cannot open configuration file/directory {missing} : No such file or directory"
            )
        );
        fs::remove_dir_all(folder).unwrap();
    }
}
