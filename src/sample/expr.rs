//! Expressions: a fetch and its converters, compiled.

use super::args::{self, Arg};
use super::convert::{self, Convert};
use super::cursor::Cursor;
use super::fetch::{self, Fetch};
use super::registry::Registry;
use super::usage::{Place, Places, Source};
use super::value::{Sample, Type, Value, can_cast};
use super::vars::VarTarget;
use super::{Context, Error, key, known};
use crate::stick::{Key, KeyType, Table, TableSpec};
use std::fmt;

/// A compiled expression: a fetch and its converters.
#[derive(Clone)]
pub struct Expr {
    fetch: &'static Fetch,
    args: Box<[Arg]>,
    steps: Box<[Step]>,
}

/// A converter with its arguments.
#[derive(Clone)]
struct Step {
    convert: &'static Convert,
    args: Box<[Arg]>,
}

/// Parses the expression that `words` starts with: `fetch[(args)][,converter[(args)]]…`, where converters may also be words of their own
/// (`stick on src ipmask(24) table x`). Returns the expression and how many words it took; the first word that is no
/// converter (`table`, `if`, …) is left.
///
/// # Errors
/// In HAProxy's words, without `'stick': ` before it. No word at all is `missing fetch method`.
pub fn parse_expr<W: AsRef<[u8]>>(
    words: &[W],
    registry: &Registry,
) -> Result<(Expr, usize), Error> {
    let first = words.first().map(AsRef::as_ref).unwrap_or_default();
    let (fetch, args, mut rest) = parse_fetch(first, registry)?;
    let mut expr = Expr {
        fetch,
        args,
        steps: Box::default(),
    };
    let mut steps = Vec::new();
    let mut used = 1;
    loop {
        rest = skip_commas(rest);
        let at_word_start = rest.is_empty();
        if at_word_start {
            let Some(next) = words.get(used).map(AsRef::as_ref) else {
                break;
            };
            let name = keyword(next).0;
            if convert::find(name).is_none() && !known::is_converter(name) {
                break;
            }
            rest = next;
            used += 1;
        }
        rest = parse_converter(rest, expr.output_type_after(&steps), &mut steps, registry)?;
    }
    expr.steps = steps.into_boxed_slice();
    expr.name_links("sample fetch keyword");
    Ok((expr, used))
}

/// Parses an expression that is one word, as ACLs have them.
pub(super) fn parse_word(word: &[u8], registry: &Registry) -> Result<Expr, Error> {
    let (fetch, args, rest) = parse_fetch(word, registry)?;
    parse_steps(fetch, args, rest, registry)
}

/// The converters in the rest of a word, after a fetch.
pub(super) fn parse_steps(
    fetch: &'static Fetch,
    args: Box<[Arg]>,
    rest: &[u8],
    registry: &Registry,
) -> Result<Expr, Error> {
    let mut expr = Expr {
        fetch,
        args,
        steps: Box::default(),
    };
    let mut steps = Vec::new();
    let mut rest = skip_commas(rest);
    while !rest.is_empty() {
        rest = skip_commas(parse_converter(
            rest,
            expr.output_type_after(&steps),
            &mut steps,
            registry,
        )?);
    }
    expr.steps = steps.into_boxed_slice();
    expr.name_links("sample fetch keyword");
    Ok(expr)
}

fn skip_commas(text: &[u8]) -> &[u8] {
    let commas = text.iter().take_while(|byte| **byte == b',').count();
    &text[commas..]
}

/// Splits a keyword from its arguments and what follows.
pub(super) fn keyword(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|byte| matches!(byte, b'(' | b','))
        .unwrap_or(text.len());
    text.split_at(end)
}

type Parsed<'t> = (&'static Fetch, Box<[Arg]>, &'t [u8]);

fn parse_fetch<'t>(word: &'t [u8], registry: &Registry) -> Result<Parsed<'t>, Error> {
    let (name, rest) = keyword(word);
    if name.is_empty() {
        return Err(Error::new("missing fetch method"));
    }
    let shown = String::from_utf8_lossy(name);
    let fetch = fetch::find(name).ok_or_else(|| known::unknown_fetch(&shown, fetch::names()))?;
    note_source(fetch, registry);
    let (args, rest) = parse_fetch_args(fetch, rest).map_err(|error| error.in_fetch(&shown))?;
    let mut args = args;
    if let Some(check) = fetch.check
        && !args.is_empty()
    {
        check(&mut args, registry).map_err(|message| {
            Error::new(format!(
                "invalid args in fetch method '{shown}' : {message}"
            ))
        })?;
    }
    if !rest.is_empty() && !rest.starts_with(b",") {
        return Err(Error::new(format!(
            "missing comma after fetch keyword '{shown}'"
        )));
    }
    Ok((fetch, args, rest))
}

/// Whether requests have to be parsed also where they are only bytes, and whether it matters where clients connected to.
pub(super) fn note_source(fetch: &Fetch, registry: &Registry) {
    if let Source::HttpRequest | Source::RequestLine | Source::HttpEither = fetch.source {
        registry.ask_for_requests();
    }
    if fetch.needs_destination {
        registry.ask_for_destinations();
    }
}

/// The arguments after a fetch's name, without its own check.
pub(super) fn parse_fetch_args<'t>(
    fetch: &Fetch,
    rest: &'t [u8],
) -> Result<(Box<[Arg]>, &'t [u8]), args::ArgError> {
    args::parse(rest, fetch.signature)
}

fn parse_converter<'t>(
    text: &'t [u8],
    input: Type,
    steps: &mut Vec<Step>,
    registry: &Registry,
) -> Result<&'t [u8], Error> {
    let (name, rest) = keyword(text);
    let shown = String::from_utf8_lossy(name);
    let convert =
        convert::find(name).ok_or_else(|| known::unknown_converter(&shown, convert::names()))?;
    if !can_cast(input, convert.input) {
        return Err(Error::new(format!("converter '{shown}' cannot be applied")));
    }
    let (mut args, rest) =
        args::parse(rest, convert.signature).map_err(|error| error.in_converter(&shown))?;
    if let Some(check) = convert.check
        && !args.is_empty()
    {
        check(&mut args, registry).map_err(|message| {
            Error::new(format!("invalid args in converter '{shown}' : {message}"))
        })?;
    }
    if !rest.is_empty() && !rest.starts_with(b",") {
        return Err(Error::new(format!(
            "missing comma after converter '{shown}'"
        )));
    }
    steps.push(Step { convert, args });
    Ok(rest)
}

/// Whether values of the type can become keys of a table of that key type.
pub fn can_be_key(output: Type, key_type: KeyType) -> bool {
    can_cast(output, key::sample_type(key_type))
}

impl Expr {
    /// The value now, or `None` where there is none (no such header, a converter that cannot convert).
    pub fn eval<'v, 'a: 'v>(&'a self, cx: &'v mut Context<'a>) -> Option<Value<'v>> {
        let sample = self.run(cx, &mut Cursor::default())?;
        Some(sample.resolve(cx.scratch))
    }

    /// Evaluates and converts to a key of the table. `None` when there is no value, when it cannot be converted, or when the
    /// key would be empty (it is never stored).
    pub fn key<'v, 'a: 'v>(
        &'a self,
        cx: &'v mut Context<'a>,
        table: &TableSpec,
    ) -> Option<Key<'v>> {
        let sample = self.run(cx, &mut Cursor::default())?;
        key::convert(sample, cx.scratch, table)
    }

    /// Evaluates to a key of the table with that index, as [`Expr::key`]: what `use_it` makes of both.
    pub fn with_key<'a, R>(
        &'a self,
        cx: &mut Context<'a>,
        table: usize,
        use_it: impl FnOnce(Key<'_>, &mut Table) -> R,
    ) -> Option<R> {
        let sample = self.run(cx, &mut Cursor::default())?;
        let table = cx.tables.get_mut(table)?;
        let key = key::convert(sample, cx.scratch, table.spec())?;
        Some(use_it(key, table))
    }

    /// The value under evaluation. `cursor.more` says whether an iteration may go on, also when a converter had no value.
    pub(super) fn run<'a>(
        &'a self,
        cx: &mut Context<'a>,
        cursor: &mut Cursor,
    ) -> Option<Sample<'a>> {
        let Some(mut sample) = (self.fetch.run)(&self.args, cx, cursor) else {
            cursor.more = false;
            if !cx.is_final && self.is_to_come(cx) {
                cx.is_missing = true;
            }
            return None;
        };
        for step in &self.steps {
            let input = sample.cast(step.convert.input, cx.scratch)?;
            sample = (step.convert.run)(&step.args, input, cx)?;
        }
        Some(sample)
    }

    /// Whether the message that the fetch looks at is not there yet.
    fn is_to_come(&self, cx: &Context<'_>) -> bool {
        match self.fetch.source {
            _ if cx.facts.is_no_request => false,
            Source::HttpRequest | Source::RequestLine => cx.request.is_none(),
            Source::HttpResponse | Source::ResponseLine => cx.response.is_none(),
            Source::HttpEither => cx.request.is_none() && cx.response.is_none(),
            _ => false,
        }
    }

    fn output_type_after(&self, steps: &[Step]) -> Type {
        steps
            .last()
            .map_or(self.fetch.output, |step| step.convert.output)
    }

    /// Type of the values.
    pub fn output_type(&self) -> Type {
        self.output_type_after(&self.steps)
    }

    /// Evaluates, and sets a variable to the value if there is one.
    pub fn set_variable<'a>(&'a self, cx: &mut Context<'a>, target: &VarTarget) {
        // Nobody waits for a value: it is what there is.
        let was_final = std::mem::replace(&mut cx.is_final, true);
        let sample = self.run(cx, &mut Cursor::default());
        cx.is_final = was_final;
        if let Some(sample) = sample {
            cx.vars.set(target, sample.resolve(cx.scratch));
        }
    }

    /// Tells the links where they stand. `role` is what the fetch is called there, in HAProxy's words.
    pub(super) fn name_links(&self, role: &str) {
        let fetch = self.fetch.name;
        for (position, link) in args::links(&self.args) {
            link.place
                .replace(format!("arg {position} of {role} '{fetch}'"));
        }
        for step in &self.steps {
            for (position, link) in args::links(&step.args) {
                let convert = step.convert.name;
                link.place.replace(format!(
                    "arg {position} of conversion keyword '{convert}' for {role} '{fetch}'"
                ));
            }
        }
    }

    /// Whether it is a fetch alone, without converters.
    pub(super) fn is_plain(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether the values can become keys of a table of this type (HAProxy refuses the rule otherwise:
    /// `type of fetch not usable with type of stick-table`).
    pub fn can_be_key(&self, key_type: KeyType) -> bool {
        can_be_key(self.output_type(), key_type)
    }

    /// The value now, as an integer.
    pub fn eval_as_int<'v, 'a: 'v>(&'a self, cx: &'v mut Context<'a>) -> Option<Value<'v>> {
        let sample = self.run(cx, &mut Cursor::default())?;
        Some(sample.cast(Type::Int, cx.scratch)?.resolve(cx.scratch))
    }

    /// Name of the fetch, for messages.
    pub fn fetch_name(&self) -> &'static str {
        self.fetch.name
    }

    /// Whether it looks at the address that the client connected to.
    pub(super) fn needs_destination(&self) -> bool {
        self.fetch.needs_destination
    }

    /// Where the fetch gets its information from.
    pub fn source(&self) -> Source {
        self.fetch.source
    }

    /// Where the expression may be used.
    pub fn places(&self) -> Places {
        self.fetch.source.places()
    }

    /// HAProxy's error for an expression in a place that lacks its information: `fetch method 'res.cook' extracts information from
    /// 'HTTP response headers', none of which is available during request.` The caller gives the last words: `during request.`,
    /// `for 'store-response'.`, `here`.
    pub fn unavailable_in(&self, place: Place, place_words: &str) -> Option<Error> {
        if self.places().contains(place) {
            return None;
        }
        let (name, source) = (self.fetch.name, self.fetch.source.describe());
        Some(Error::new(format!(
            "fetch method '{name}' extracts information from '{source}', none of which is available {place_words}"
        )))
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({}{:?}", self.fetch.name, self.args)?;
        for step in &self.steps {
            write!(f, ",{}{:?}", step.convert.name, step.args)?;
        }
        f.write_str(")")
    }
}
