//! The burdock command.

use std::process::exit;

fn main() {
    let mut arguments = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let program = arguments.next().unwrap_or_else(|| "burdock".to_string());
    let arguments: Vec<String> = arguments.collect();
    exit(burdock::process::main(&program, &arguments))
}
