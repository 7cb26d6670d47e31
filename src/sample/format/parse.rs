//! Format strings to nodes.

use super::alias::Alias;
use super::{Flags, Format, Node, Purpose};
use crate::sample::{Place, Registry, expr};

pub(super) fn parse(
    text: &[u8],
    purpose: Purpose,
    (places, is_http): (&[Place], bool),
    registry: &Registry,
) -> Result<Format, String> {
    let mut parser = Parser {
        nodes: Vec::new(),
        of_bytes: Vec::new(),
        literal: Vec::new(),
        defaults: Flags::default(),
        places,
        is_http,
        registry,
    };
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => parser.variable(after)?,
            b' ' if purpose != Purpose::Rule => {
                parser.separator();
                after
            }
            _ => {
                parser.literal.push(byte);
                after
            }
        };
    }
    parser.flush();
    Ok(Format {
        nodes: parser.nodes.into_boxed_slice(),
        purpose,
        of_bytes: parser.of_bytes.into_boxed_slice(),
    })
}

struct Parser<'r> {
    nodes: Vec<Node>,
    of_bytes: Vec<Box<str>>,
    /// Text that is not a node yet.
    literal: Vec<u8>,
    /// Flags that `%o` has set for all that follow.
    defaults: Flags,
    places: &'r [Place],
    is_http: bool,
    registry: &'r Registry,
}

fn shown(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

impl Parser<'_> {
    fn flush(&mut self) {
        if !self.literal.is_empty() {
            let text = std::mem::take(&mut self.literal).into_boxed_slice();
            self.nodes.push(Node::Text(text));
        }
    }

    fn separator(&mut self) {
        self.flush();
        if !matches!(self.nodes.last(), Some(Node::Separator)) {
            self.nodes.push(Node::Separator);
        }
    }

    /// What follows a `%`; returns what follows the variable.
    fn variable<'t>(&mut self, text: &'t [u8]) -> Result<&'t [u8], String> {
        let mut flags = self.defaults;
        let mut rest = text;
        match text.first() {
            None => return Err("truncated line after '%'".into()),
            Some(b'%') => {
                self.literal.push(b'%');
                return Ok(&text[1..]);
            }
            Some(b'{') => {
                let inner = &text[1..];
                let Some(end) = inner.iter().position(|byte| *byte == b'}') else {
                    return Err(format!("truncated line after '{}'", shown(inner)));
                };
                read_flags(&inner[..end], &mut flags);
                rest = &inner[end + 1..];
                if !matches!(rest.first(), Some(b'[' | b'a'..=b'z' | b'A'..=b'Z')) {
                    return Err(format!(
                        "parse argument modifier without variable name near '%{{{}}}'",
                        shown(&inner[..end])
                    ));
                }
            }
            Some(_) => {}
        }
        match rest.first() {
            Some(b'[') => self.sample(&rest[1..], flags),
            Some(byte) if byte.is_ascii_alphanumeric() => self.alias(rest, flags),
            // HAProxy drops a percent sign before anything else.
            _ => Ok(rest),
        }
    }

    fn alias<'t>(&mut self, text: &'t [u8], flags: Flags) -> Result<&'t [u8], String> {
        let end = text
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric())
            .unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        if name == b"o" {
            self.defaults = flags;
            return Ok(rest);
        }
        let Some((alias, is_http_only)) = Alias::find(name) else {
            return Err(format!(
                "no such format variable '{}'. If you wanted to emit the '%' character verbatim, you need to use '%%'",
                shown(name)
            ));
        };
        if is_http_only && !self.is_http {
            return Err(format!(
                "format variable '{}' is reserved for HTTP mode",
                shown(name)
            ));
        }
        self.flush();
        self.nodes.push(Node::Variable(alias, flags));
        Ok(rest)
    }

    fn sample<'t>(&mut self, text: &'t [u8], flags: Flags) -> Result<&'t [u8], String> {
        let in_expression = |what: String| {
            format!(
                "failed to parse sample expression <{}> : {what}",
                shown(text)
            )
        };
        let end = expression_end(text);
        let inner = &text[..end];
        let parsed = expr::parse_word(inner, self.registry)
            .map_err(|error| in_expression(error.to_string()))?;
        match text.get(end) {
            Some(b']') => {}
            Some(other) => {
                let found = *other as char;
                return Err(format!(
                    "expected ']' after '{}', but found '{found}'",
                    shown(inner)
                ));
            }
            None => return Err(format!("missing ']' after '{}'", shown(inner))),
        }
        let places = parsed.places();
        if !self.places.iter().any(|place| places.contains(*place)) {
            return Err(format!(
                "sample fetch <{}> may not be reliably used here because it needs '{}' which is not available here",
                shown(text),
                parsed.source().describe()
            ));
        }
        if parsed.source().is_bytes() {
            self.of_bytes.push(shown(text).into());
        }
        self.flush();
        self.nodes.push(Node::Sample(parsed, flags));
        Ok(&text[end + 1..])
    }
}

/// `+Q,-X`: signs hold until the next one; other letters mean nothing, as in HAProxy.
fn read_flags(text: &[u8], flags: &mut Flags) {
    let mut sign = None;
    for byte in text {
        let flag = match byte {
            b'+' => {
                sign = Some(true);
                continue;
            }
            b'-' => {
                sign = Some(false);
                continue;
            }
            b'Q' => &mut flags.quote,
            b'X' => &mut flags.hex,
            b'E' => &mut flags.escape,
            _ => continue,
        };
        *flag = sign.unwrap_or(*flag);
    }
}

/// Where the expression at the start of `text` ends: at the first byte, outside of arguments, that cannot be part of one.
fn expression_end(text: &[u8]) -> usize {
    let mut depth = 0u32;
    let mut quote = None;
    let mut bytes = text.iter().enumerate();
    while let Some((at, &byte)) = bytes.next() {
        match (byte, quote) {
            (_, Some(open)) if byte == open => quote = None,
            (b'\\', Some(b'"') | None) if depth > 0 => _ = bytes.next(),
            (_, Some(_)) => {}
            (b'"' | b'\'', None) if depth > 0 => quote = Some(byte),
            (b'(', None) => depth += 1,
            (b')', None) => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            (b',' | b'.' | b'_' | b'-' | b'+' | b':', None) => {}
            _ if byte.is_ascii_alphanumeric() => {}
            _ => return at,
        }
    }
    text.len()
}
