//! ACLs and conditions (configuration manual, 7.1, 7.2, 7.4).
//!
//! An ACL is a list of expressions with patterns; it matches when any of them does. A condition is a list of alternatives, each
//! a list of ACLs that must all match.

use super::cursor::Cursor;
use super::expr::{self, Expr};
use super::fetch;
use super::patterns::{Method, Operator, PatternSet};
use super::registry::Registry;
use super::scratch::Scratch;
use super::usage::{Place, Places, Source};
use super::value::{Sample, can_cast};
use super::{Context, Error};
use std::cell::OnceCell;
use std::rc::Rc;

/// Keywords that are another fetch with a method of its own, without their `_beg`, `_dir`, … forms.
const KEYWORDS: &[(&str, &str)] = &[
    ("base", "base"),
    ("cook", "req.cook"),
    ("hdr", "req.hdr"),
    ("path", "path"),
    ("scook", "res.cook"),
    ("shdr", "res.hdr"),
    ("url", "url"),
    ("urlp", "urlp"),
];

/// Forms of the keywords above.
const FORMS: &[&str] = &["beg", "dir", "dom", "end", "len", "reg", "sub"];

/// ACLs that are always there.
const PREDEFINED: &[(&str, &[&str])] = &[
    ("FALSE", &["always_false"]),
    ("HTTP", &["req.proto_http"]),
    ("HTTP_1.0", &["req.ver", "1.0"]),
    ("HTTP_1.1", &["req.ver", "1.1"]),
    ("HTTP_2.0", &["req.ver", "2.0"]),
    ("HTTP_CONTENT", &["req.hdr_val(content-length)", "gt", "0"]),
    ("HTTP_URL_ABS", &["url_reg", "^[^/:]*://"]),
    ("HTTP_URL_SLASH", &["url_beg", "/"]),
    ("HTTP_URL_STAR", &["url", "*"]),
    ("LOCALHOST", &["src", "127.0.0.1/8", "::1"]),
    ("METH_CONNECT", &["method", "CONNECT"]),
    ("METH_DELETE", &["method", "DELETE"]),
    ("METH_GET", &["method", "GET", "HEAD"]),
    ("METH_HEAD", &["method", "HEAD"]),
    ("METH_OPTIONS", &["method", "OPTIONS"]),
    ("METH_POST", &["method", "POST"]),
    ("METH_PUT", &["method", "PUT"]),
    ("METH_TRACE", &["method", "TRACE"]),
    ("RDP_COOKIE", &["req.rdp_cookie_cnt", "gt", "0"]),
    ("REQ_CONTENT", &["req.len", "gt", "0"]),
    ("TRUE", &["always_true"]),
    ("WAIT_END", &["wait_end"]),
];

/// Whether a condition holds, as far as the data that has come tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Truth {
    /// It does not.
    No,
    /// More data may tell.
    Unknown,
    /// It does.
    Yes,
}

impl Truth {
    fn negated_if(self, negated: bool) -> Truth {
        match self {
            Truth::No if negated => Truth::Yes,
            Truth::Yes if negated => Truth::No,
            other => other,
        }
    }
}

/// One test of an ACL.
#[derive(Clone, Debug)]
struct Test {
    /// The criterion's fetch, as it is written.
    keyword: Box<str>,
    expr: Expr,
    method: Method,
    /// Where its patterns are: a set, and the index in it.
    sources: Box<[(Rc<PatternSet>, usize)]>,
}

impl Test {
    fn matches(&self, sample: Sample<'_>, scratch: &mut Scratch) -> bool {
        match self.method {
            Method::Found => true,
            Method::Bool => sample.to_bool(scratch).unwrap_or(false),
            _ => self
                .sources
                .iter()
                .any(|(set, index)| set.matches(*index, sample, scratch)),
        }
    }

    fn evaluate<'a>(&'a self, cx: &mut Context<'a>) -> Truth {
        let mut cursor = Cursor::all();
        cx.is_missing = false;
        loop {
            cursor.more = false;
            match self.expr.run(cx, &mut cursor) {
                Some(sample) if self.matches(sample, cx.scratch) => return Truth::Yes,
                // a converter may have no value for this occurrence and one for the next
                _ if cursor.more => {}
                _ if cx.is_missing && !cx.is_final => return Truth::Unknown,
                _ => return Truth::No,
            }
        }
    }
}

/// A named ACL, or an anonymous one with an empty name.
#[derive(Clone, Debug)]
struct Acl {
    name: Box<str>,
    tests: Vec<Test>,
}

impl Acl {
    /// Whether one of its tests holds.
    fn evaluate<'a>(&'a self, cx: &mut Context<'a>) -> Truth {
        let mut best = Truth::No;
        for test in &self.tests {
            best = best.max(test.evaluate(cx));
            if best == Truth::Yes {
                break;
            }
        }
        best
    }

    /// Whether any of its tests can be done in the place.
    fn places(&self) -> impl Iterator<Item = (&str, Places)> + '_ {
        self.tests
            .iter()
            .map(|test| (&*test.keyword, test.expr.places()))
    }
}

/// The ACLs of one proxy (or of one defaults section), while the configuration is read.
///
/// Conditions refer to ACLs by name, and later lines may complete an ACL that a condition already uses. So conditions see the
/// ACLs only when the set is dropped or [`AclSet::finish`]ed; before that they never match.
#[derive(Debug)]
pub struct AclSet {
    acls: Vec<Acl>,
    registry: Registry,
    shared: Rc<OnceCell<Box<[Acl]>>>,
}

impl Drop for AclSet {
    fn drop(&mut self) {
        let acls = std::mem::take(&mut self.acls);
        let _ = self.shared.set(acls.into_boxed_slice()); // set once: only here
    }
}

impl AclSet {
    /// An empty set; the predefined ACLs (`TRUE`, `METH_GET`, …) are always there.
    pub fn new(registry: &Registry) -> AclSet {
        AclSet {
            acls: Vec::new(),
            registry: registry.clone(),
            shared: Rc::default(),
        }
    }

    /// What all expressions of the configuration share.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// `acl NAME CRITERION [FLAGS] [OPERATOR] [VALUE…]`, the words after `acl`. Returns warnings, in HAProxy's words
    /// (`parsing acl keyword 'src' :` and what follows).
    ///
    /// # Errors
    /// As HAProxy's, complete: `error detected while parsing ACL 'a' : unknown fetch method 'foo' in ACL expression 'foo'.`
    pub fn declare<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Result<Vec<String>, Error> {
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let Some((name, words)) = words.split_first() else {
            return Err(Error::new("missing ACL name"));
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let is_permitted =
            |letter: &char| letter.is_ascii_alphanumeric() || "-_.:".contains(*letter);
        if let Some(letter) = name.chars().find(|letter| !is_permitted(letter)) {
            return Err(Error::new(format!(
                "character '{letter}' is not permitted in acl name '{name}'."
            )));
        }
        if name.eq_ignore_ascii_case("or") {
            return Err(Error::new(format!(
                "acl name '{name}' will never match. 'or' is used to express a logical disjunction within a condition."
            )));
        }
        let (test, mut warnings) = parse_test(words, &self.registry).map_err(|error| Error {
            message: format!(
                "error detected while parsing ACL '{name}' : {}.",
                error.message
            ),
            nearest: error.nearest,
        })?;
        if let Some(pattern) = words.get(1).filter(|pattern| pattern.starts_with(b"(")) {
            let keyword = String::from_utf8_lossy(expr::keyword(words[0]).0);
            warnings.push(parenthesis_warning(
                &name,
                &keyword,
                &String::from_utf8_lossy(pattern),
            ));
        }
        match self.acls.iter_mut().find(|acl| *acl.name == *name) {
            Some(acl) => acl.tests.push(test),
            None => self.acls.push(Acl {
                name: name.into(),
                tests: vec![test],
            }),
        }
        Ok(warnings)
    }

    /// Makes the ACLs visible to the conditions that use them.
    pub fn finish(self) {}

    /// Index of the ACL of that name; a predefined one is added when it is used first.
    fn find(&mut self, name: &str) -> Result<usize, Error> {
        if let Some(index) = self.acls.iter().position(|acl| *acl.name == *name) {
            return Ok(index);
        }
        let Some((_, words)) = PREDEFINED
            .iter()
            .find(|(predefined, _)| *predefined == name)
        else {
            let known = self
                .acls
                .iter()
                .any(|acl| acl.name.eq_ignore_ascii_case(name));
            let nearest = super::nearest_word(PREDEFINED.iter().map(|(name, _)| *name), name)
                .filter(|_| !known);
            return Err(Error {
                message: format!("no such ACL : '{name}'"),
                nearest,
            });
        };
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let (test, _) = parse_test(&words, &self.registry)?;
        self.acls.push(Acl {
            name: name.into(),
            tests: vec![test],
        });
        Ok(self.acls.len() - 1)
    }
}

fn parenthesis_warning(acl: &str, keyword: &str, pattern: &str) -> String {
    format!(
        "parsing acl '{acl}' :\n  matching '{keyword}' for pattern '{pattern}' is likely a mistake and probably\n  not what you want. \
         Maybe you need to remove the extraneous space before '('.\n  If you are really sure this is not an error, please insert '--' \
         between the\n  match and the pattern to make this warning message disappear."
    )
}

fn no_pattern_warning(keyword: &str) -> String {
    format!(
        "parsing acl keyword '{keyword}' :\n  no pattern to match against were provided, so this ACL will never match.\n  If this is \
         what you intended, please add '--' to get rid of this warning.\n  If you intended to match only for existence, please use \
         '-m found'.\n  If you wanted to force an int to match as a bool, please use '-m bool'.\n"
    )
}

/// A criterion: the expression, and the method that its keyword implies.
fn parse_criterion(word: &[u8], registry: &Registry) -> Result<(Expr, Option<Method>), Error> {
    let (name, rest) = expr::keyword(word);
    let Some((fetch_name, method)) = acl_keyword(name)? else {
        let shown = String::from_utf8_lossy(word);
        let expr = expr::parse_word(word, registry).map_err(|error| Error {
            message: format!("{} in ACL expression '{shown}'", error.message),
            nearest: error.nearest,
        })?;
        return Ok((expr, None));
    };
    let shown = String::from_utf8_lossy(name);
    let in_keyword = |message: String| Error::new(format!("ACL keyword '{shown}' : {message}"));
    let fetch = fetch::find(fetch_name.as_bytes())
        .ok_or_else(|| super::known::unknown_fetch(fetch_name, fetch::names()))?;
    let (mut args, rest) =
        expr::parse_fetch_args(fetch, rest).map_err(|error| in_keyword(error.message))?;
    expr::note_source(fetch, registry);
    if let Some(check) = fetch.check {
        check(&mut args, registry)
            .map_err(|message| Error::new(format!("in argument to '{shown}', {message}")))?;
    }
    if !rest.is_empty() && !rest.starts_with(b",") {
        return Err(Error::new(format!(
            "ACL keyword '{shown}' : missing comma after fetch keyword."
        )));
    }
    let expr = expr::parse_steps(fetch, args, rest, registry).map_err(|error| Error {
        message: format!("ACL keyword '{shown}' : {}.", error.message),
        nearest: error.nearest,
    })?;
    // behind converters it is the type of their output that decides
    let method = expr.is_plain().then_some(method);
    Ok((expr, method))
}

/// The fetch and the method of a keyword that only ACLs know.
fn acl_keyword(name: &[u8]) -> Result<Option<(&'static str, Method)>, Error> {
    let Ok(name) = std::str::from_utf8(name) else {
        return Ok(None);
    };
    match name {
        "method" => return Ok(Some(("method", Method::Verb))),
        "req_ver" => return Ok(Some(("req.ver", Method::Str))),
        "payload" => return Ok(Some(("req.payload", Method::Bin))),
        "payload_lv" => return Ok(Some(("req.payload_lv", Method::Bin))),
        "req.ssl_ver" | "req_ssl_ver" => return Ok(Some(("req.ssl_ver", Method::Dotted))),
        "req_rdp_cookie" => return Ok(Some(("req.rdp_cookie", Method::Str))),
        "req_rdp_cookie_cnt" => return Ok(Some(("req.rdp_cookie_cnt", Method::Int))),
        "req_ssl_sni" => return Ok(Some(("req.ssl_sni", Method::Str))),
        "resp_ver" => return Ok(Some(("res.ver", Method::Str))),
        _ => {}
    }
    let find = |base: &str| {
        KEYWORDS
            .iter()
            .find(|(keyword, _)| *keyword == base)
            .map(|(_, fetch)| *fetch)
    };
    if let Some(fetch) = find(name) {
        return Ok(Some((fetch, Method::Str)));
    }
    let Some((base, form)) = name.rsplit_once('_') else {
        return Ok(None);
    };
    match find(base).filter(|_| FORMS.contains(&form)) {
        Some(fetch) => Ok(Some((fetch, method_named(form)?))),
        None => Ok(None),
    }
}

fn method_named(name: &str) -> Result<Method, Error> {
    Method::named(name.as_bytes()).ok_or_else(|| {
        Error::new(format!(
            "unknown matching method '{name}' when parsing ACL expression"
        ))
    })
}

/// Parses `CRITERION [FLAGS] [OPERATOR] [VALUE…]`; returns warnings too.
fn parse_test(words: &[&[u8]], registry: &Registry) -> Result<(Test, Vec<String>), Error> {
    let (criterion, mut rest) = match words.split_first() {
        Some((criterion, rest)) => (*criterion, rest),
        None => (&b""[..], words),
    };
    let (expr, implied) = parse_criterion(criterion, registry)?;
    expr.name_links("ACL keyword");
    let keyword = String::from_utf8_lossy(expr::keyword(criterion).0).into_owned();
    let mut method = implied.or_else(|| Method::implied_by(expr.output_type()));
    let mut flags = Flags::default();
    let mut sources = Vec::new();
    let origin = registry.origin();
    while let Some((flag, after)) = rest
        .split_first()
        .filter(|(flag, _)| flag.starts_with(b"-"))
    {
        let argument = after.first().copied().unwrap_or_default();
        let after_argument = after.get(1..).unwrap_or_default();
        rest = after;
        match *flag {
            b"--" => break,
            b"-i" => flags.ignore_case = true,
            b"-n" => {} // names are never resolved here
            b"-M" => flags.has_values = true,
            b"-u" => {
                flags.id = Some(parse_id(argument)?);
                rest = after_argument;
            }
            b"-m" => {
                if !sources.is_empty() {
                    return Err(Error::new(
                        "'-m' must only be specified before patterns and files in parsing ACL expression",
                    ));
                }
                method = Some(chosen_method(argument, &expr, implied)?);
                rest = after_argument;
            }
            b"-f" => {
                let method = needed(method, &expr)?;
                let source = registry
                    .pattern_file(argument, flags.has_values)
                    .and_then(|set| {
                        let user = (&*keyword, &origin);
                        let index = set.register(method, flags.ignore_case, None, user)?;
                        Ok((set, index))
                    })
                    .map_err(Error::new)?;
                sources.push(source);
                rest = after_argument;
            }
            _ => {
                let shown = String::from_utf8_lossy(flag);
                return Err(Error::new(format!(
                    "'{shown}' is not a valid ACL option. Please use '--' before any pattern beginning with a '-'"
                )));
            }
        }
    }
    let method = needed(method, &expr)?;
    let set = registry.line_patterns(flags.id).map_err(Error::new)?;
    let index = set
        .register(method, flags.ignore_case, None, (&keyword, &origin))
        .map_err(Error::new)?;
    let mut operator = Operator::default();
    for word in rest {
        match Operator::named(word).filter(|_| method.has_operators()) {
            Some(named) => operator = named,
            None => set.push(word, None, operator).map_err(Error::new)?,
        }
    }
    sources.push((set, index));
    let warnings = match words.len() {
        1 if method.takes_patterns() => {
            vec![no_pattern_warning(&String::from_utf8_lossy(criterion))]
        }
        _ => Vec::new(),
    };
    let sources = sources.into_boxed_slice();
    let word = String::from_utf8_lossy(criterion);
    let test = Test {
        keyword: word.split(['(', ',']).next().unwrap_or_default().into(),
        expr,
        method,
        sources,
    };
    Ok((test, warnings))
}

/// Flags before the patterns of an ACL.
#[derive(Default)]
struct Flags {
    ignore_case: bool,
    has_values: bool,
    id: Option<u32>,
}

fn parse_id(text: &[u8]) -> Result<u32, Error> {
    let text = std::str::from_utf8(text).unwrap_or("-");
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(id) if digits => Ok(id),
        _ if text.is_empty() => Ok(0),
        _ => Err(Error::new("the argument of -u must be an integer")),
    }
}

/// The method of `-m`, if it can be used with the values of the expression.
fn chosen_method(name: &[u8], expr: &Expr, implied: Option<Method>) -> Result<Method, Error> {
    let shown = String::from_utf8_lossy(name);
    let method = match method_named(&shown)? {
        Method::Str if implied == Some(Method::Verb) => Method::Verb,
        method => method,
    };
    if !can_cast(expr.output_type(), method.input()) {
        let fetch = expr.fetch_name();
        return Err(Error::new(format!(
            "matching method '{shown}' cannot be used with fetch keyword '{fetch}'"
        )));
    }
    Ok(method)
}

fn needed(method: Option<Method>, expr: &Expr) -> Result<Method, Error> {
    method.ok_or_else(|| {
        let fetch = expr.fetch_name();
        Error::new(format!(
            "matching method must be specified first (using '-m') when using a sample fetch of this type ('{fetch}')"
        ))
    })
}

/// One ACL of a condition.
#[derive(Clone, Copy, Debug)]
struct Term {
    acl: usize,
    negated: bool,
}

/// A compiled condition: `if` or `unless` with its ACLs. Clones share the ACLs.
#[derive(Clone, Debug)]
pub struct Condition {
    unless: bool,
    alternatives: Box<[Box<[Term]>]>,
    acls: Rc<OnceCell<Box<[Acl]>>>,
}

/// Parses `if …` or `unless …` to the end of `words`. Returns the condition and warnings (anonymous ACLs).
///
/// # Errors
/// As HAProxy's, e.g. `no such ACL : 'foo'`; the caller adds what it was parsing
/// (`'stick': error detected while parsing sticking condition : ` and a full stop).
pub fn parse_condition<W: AsRef<[u8]>>(
    words: &[W],
    acls: &mut AclSet,
) -> Result<(Condition, Vec<String>), Error> {
    let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
    let unless = match words.first() {
        Some(&b"if") => false,
        Some(&b"unless") => true,
        _ => {
            return Err(Error::new(
                "conditions must start with either 'if' or 'unless'",
            ));
        }
    };
    let mut alternatives: Vec<Vec<Term>> = Vec::new();
    let mut warnings = Vec::new();
    let mut new_alternative = true;
    let mut negated = false;
    let mut rest = &words[1..];
    while let Some((word, after)) = rest.split_first() {
        rest = after;
        if *word == b"||" || word.eq_ignore_ascii_case(b"or") {
            new_alternative = true;
            negated = false;
            continue;
        }
        let name = &word[word.iter().take_while(|byte| **byte == b'!').count()..];
        negated ^= (word.len() - name.len()) % 2 == 1;
        let acl = match name {
            b"" => continue, // a lone `!` negates what follows
            b"{" => {
                let Some(end) = rest.iter().position(|word| *word == b"}") else {
                    return Err(Error::new("missing closing '}' in condition"));
                };
                let (test, test_warnings) = parse_test(&rest[..end], &acls.registry)?;
                warnings.extend(test_warnings);
                rest = &rest[end + 1..];
                acls.acls.push(Acl {
                    name: "".into(),
                    tests: vec![test],
                });
                acls.acls.len() - 1
            }
            name => acls.find(&String::from_utf8_lossy(name))?,
        };
        if std::mem::take(&mut new_alternative) {
            alternatives.push(Vec::new());
        }
        if let Some(terms) = alternatives.last_mut() {
            terms.push(Term {
                acl,
                negated: std::mem::take(&mut negated),
            });
        }
    }
    let alternatives = alternatives
        .into_iter()
        .map(Vec::into_boxed_slice)
        .collect();
    Ok((
        Condition {
            unless,
            alternatives,
            acls: Rc::clone(&acls.shared),
        },
        warnings,
    ))
}

impl Condition {
    /// Whether the rule applies now. What would need data that has not come does not hold.
    pub fn matches<'a>(&'a self, cx: &mut Context<'a>) -> bool {
        self.evaluate(cx) == Truth::Yes
    }

    /// Whether the rule applies: the best of its alternatives, each as good as the worst of its terms.
    pub fn evaluate<'a>(&'a self, cx: &mut Context<'a>) -> Truth {
        let Some(acls) = self.acls.get() else {
            return Truth::No;
        };
        let mut best = Truth::No;
        for terms in &self.alternatives {
            let mut worst = Truth::Yes;
            for term in terms {
                let acl = acls.get(term.acl);
                let truth = acl.map_or(Truth::No, |acl| acl.evaluate(cx));
                worst = worst.min(truth.negated_if(term.negated));
                if worst == Truth::No {
                    break;
                }
            }
            best = best.max(worst);
            if best == Truth::Yes {
                break;
            }
        }
        best.negated_if(self.unless)
    }

    /// Where its ACLs get their information from, as far as they are declared.
    pub fn sources<'s>(&'s self, acls: &'s AclSet) -> impl Iterator<Item = Source> + 's {
        let terms = self.alternatives.iter().flatten();
        let used = terms.filter_map(|term| acls.acls.get(term.acl));
        used.flat_map(|acl| acl.tests.iter().map(|test| test.expr.source()))
    }

    /// HAProxy's warning for a condition with an ACL that needs what is not available in this place. Asked for while the set is
    /// still being filled, as HAProxy does.
    pub fn warning_in(&self, place: Place, acls: &AclSet) -> Option<String> {
        let place_name = place.describe();
        let terms = self.alternatives.iter().flatten();
        terms.filter_map(|term| acls.acls.get(term.acl)).find_map(|acl| {
            let name = &acl.name;
            let (keyword, _) = acl.places().find(|(_, places)| !places.contains(place))?;
            Some(if name.is_empty() {
                format!("anonymous acl will never match because it uses keyword '{keyword}' which is incompatible with '{place_name}'")
            } else if acl.places().all(|(_, places)| !places.contains(place)) {
                format!("acl '{name}' will never match because it only involves keywords that are incompatible with '{place_name}'")
            } else {
                format!("acl '{name}' involves keywords '{keyword}' which is incompatible with '{place_name}'")
            })
        })
    }
}
