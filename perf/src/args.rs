//! Command lines of the form `--name value` and `--flag`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::str::FromStr;

/// The options of a command line. Every mistake ends the program with the usage text and code 2.
pub struct Args {
    usage: &'static str,
    values: HashMap<String, String>,
}

impl Args {
    /// Reads the process's arguments. `flags` take no value, `options` take one; anything else is a mistake.
    pub fn parse(usage: &'static str, flags: &[&str], options: &[&str]) -> Args {
        let mut args = Args {
            usage,
            values: HashMap::new(),
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let Some(name) = word.strip_prefix("--") else {
                args.fail(&format!("'{word}' is no option"));
            };
            if name == "help" {
                println!("{usage}");
                std::process::exit(0);
            }
            if flags.contains(&name) {
                args.values.insert(name.to_string(), String::new());
            } else if options.contains(&name) {
                let Some(value) = words.next() else {
                    args.fail(&format!("--{name} needs a value"));
                };
                args.values.insert(name.to_string(), value);
            } else {
                args.fail(&format!("unknown option --{name}"));
            }
        }
        args
    }

    /// Whether a flag was given.
    pub fn flag(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// An option's text, if given.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// An option's value, if given.
    pub fn value<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(_) => self.fail(&format!("--{name}: '{text}' is not understood")),
        }
    }

    /// An option's value or this default.
    pub fn value_or<T: FromStr>(&self, name: &str, default: T) -> T {
        self.value(name).unwrap_or(default)
    }

    /// An option that has to be there.
    pub fn required<T: FromStr>(&self, name: &str) -> T {
        match self.value(name) {
            Some(value) => value,
            None => self.fail(&format!("--{name} is missing")),
        }
    }

    /// Addresses separated by commas; at least one.
    pub fn addresses(&self, name: &str) -> Vec<SocketAddr> {
        let text: String = self.required(name);
        let parsed: Result<Vec<SocketAddr>, _> = text.split(',').map(str::parse).collect();
        match parsed {
            Ok(addresses) => addresses,
            Err(_) => self.fail(&format!("--{name}: '{text}' is no list of addresses")),
        }
    }

    fn fail(&self, what: &str) -> ! {
        eprintln!("{what}\n\n{}", self.usage);
        std::process::exit(2)
    }
}
