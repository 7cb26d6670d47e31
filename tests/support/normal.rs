//! What two programs say, without what no two runs share, so that the rest can be compared.

/// Header names in lower case and sorted within each head; all else as it is.
pub fn normal_head(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    if text.len() > 5_000 {
        return format!("{} bytes\n", text.len());
    }
    let mut lines: Vec<String> = text.lines().map(normal_line).collect();
    let is_header = |line: &String| line.contains(": ");
    let mut start = 0;
    while start < lines.len() {
        let end = start
            + lines[start..]
                .iter()
                .take_while(|line| is_header(line))
                .count();
        lines[start..end].sort();
        start = end.max(start) + 1;
    }
    lines
        .iter()
        .fold(String::new(), |text, line| text + line + "\n")
}

fn normal_line(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, value)) if !name.contains(' ') => {
            format!("{}: {value}", name.to_ascii_lowercase())
        }
        _ => line.to_string(),
    }
}
