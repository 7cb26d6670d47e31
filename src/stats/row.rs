//! One line of `show stat` in any of its forms, written column by column.

use std::fmt::Write as _;

/// The columns of HAProxy 2.6, in order, each with the tag that the typed forms show: origin, nature and scope
/// (management manual, section 9.2).
const COLUMNS: &[(&str, &[u8; 3])] = &[
    ("pxname", b"KNS"),
    ("svname", b"KNS"),
    ("qcur", b"MGP"),
    ("qmax", b"MMP"),
    ("scur", b"MGP"),
    ("smax", b"MMP"),
    ("slim", b"CLP"),
    ("stot", b"MCP"),
    ("bin", b"MCP"),
    ("bout", b"MCP"),
    ("dreq", b"MCP"),
    ("dresp", b"MCP"),
    ("ereq", b"MCP"),
    ("econ", b"MCP"),
    ("eresp", b"MCP"),
    ("wretr", b"MCP"),
    ("wredis", b"MCP"),
    ("status", b"SGP"),
    ("weight", b"MaP"),
    ("act", b"SGP"),
    ("bck", b"SGP"),
    ("chkfail", b"MCP"),
    ("chkdown", b"MCP"),
    ("lastchg", b"MAP"),
    ("downtime", b"MCP"),
    ("qlimit", b"CGS"),
    ("pid", b"KGP"),
    ("iid", b"KGS"),
    ("sid", b"KGS"),
    ("throttle", b"MaP"),
    ("lbtot", b"MCP"),
    ("tracked", b"CNP"),
    ("type", b"CGS"),
    ("rate", b"MRP"),
    ("rate_lim", b"CLP"),
    ("rate_max", b"MMP"),
    ("check_status", b"MOP"),
    ("check_code", b"MOP"),
    ("check_duration", b"MDP"),
    ("hrsp_1xx", b"MCP"),
    ("hrsp_2xx", b"MCP"),
    ("hrsp_3xx", b"MCP"),
    ("hrsp_4xx", b"MCP"),
    ("hrsp_5xx", b"MCP"),
    ("hrsp_other", b"MCP"),
    ("hanafail", b"MCP"),
    ("req_rate", b"MRP"),
    ("req_rate_max", b"MMP"),
    ("req_tot", b"MCP"),
    ("cli_abrt", b"MCP"),
    ("srv_abrt", b"MCP"),
    ("comp_in", b"MCP"),
    ("comp_out", b"MCP"),
    ("comp_byp", b"MCP"),
    ("comp_rsp", b"MCP"),
    ("lastsess", b"MAP"),
    ("last_chk", b"MOP"),
    ("last_agt", b"MOP"),
    ("qtime", b"MaP"),
    ("ctime", b"MaP"),
    ("rtime", b"MaP"),
    ("ttime", b"MaP"),
    ("agent_status", b"MOP"),
    ("agent_code", b"MOP"),
    ("agent_duration", b"MDP"),
    ("check_desc", b"MOP"),
    ("agent_desc", b"MOP"),
    ("check_rise", b"CGS"),
    ("check_fall", b"CGS"),
    ("check_health", b"CGS"),
    ("agent_rise", b"CGS"),
    ("agent_fall", b"CGS"),
    ("agent_health", b"CGS"),
    ("addr", b"CGS"),
    ("cookie", b"CNS"),
    ("mode", b"CGS"),
    ("algo", b"CGS"),
    ("conn_rate", b"MRP"),
    ("conn_rate_max", b"MMP"),
    ("conn_tot", b"MCP"),
    ("intercepted", b"MCP"),
    ("dcon", b"MCP"),
    ("dses", b"MCP"),
    ("wrew", b"MCP"),
    ("connect", b"MCP"),
    ("reuse", b"MCP"),
    ("cache_lookups", b"MCP"),
    ("cache_hits", b"MCP"),
    ("srv_icur", b"MGP"),
    ("src_ilim", b"CLP"),
    ("qtime_max", b"MMP"),
    ("ctime_max", b"MMP"),
    ("rtime_max", b"MMP"),
    ("ttime_max", b"MMP"),
    ("eint", b"MCP"),
    ("idle_conn_cur", b"MGP"),
    ("safe_conn_cur", b"MGP"),
    ("used_conn_cur", b"MGP"),
    ("need_conn_est", b"MGP"),
    ("uweight", b"MaP"),
    ("agg_server_status", b"MGP"),
    ("agg_server_check_status", b"MGP"),
    ("agg_check_status", b"MGP"),
    ("ssl_sess", b"MCP"),
    ("ssl_reused_sess", b"MCP"),
    ("ssl_failed_handshake", b"MCP"),
    ("h2_headers_rcvd", b"MCP"),
    ("h2_data_rcvd", b"MCP"),
    ("h2_settings_rcvd", b"MCP"),
    ("h2_rst_stream_rcvd", b"MCP"),
    ("h2_goaway_rcvd", b"MCP"),
    ("h2_detected_conn_protocol_errors", b"MCP"),
    ("h2_detected_strm_protocol_errors", b"MCP"),
    ("h2_rst_stream_resp", b"MCP"),
    ("h2_goaway_resp", b"MCP"),
    ("h2_open_connections", b"MGP"),
    ("h2_backend_open_streams", b"MGP"),
    ("h2_total_connections", b"MCP"),
    ("h2_backend_total_streams", b"MCP"),
    ("h1_open_connections", b"MGP"),
    ("h1_open_streams", b"MGP"),
    ("h1_total_connections", b"MCP"),
    ("h1_total_streams", b"MCP"),
    ("h1_bytes_in", b"MCP"),
    ("h1_bytes_out", b"MCP"),
    ("h1_spliced_bytes_in", b"MCP"),
    ("h1_spliced_bytes_out", b"MCP"),
];

/// The CSV has a column `-` of its own before this one: it parts the columns of the protocol modules.
const FIRST_MODULE_COLUMN: &str = "ssl_sess";

/// Layout of the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// A line of comma separated values an object.
    #[default]
    Csv,
    /// A line a value, with its type.
    Typed,
    /// JSON with the same content as the typed form.
    Json,
}

/// What kind of object a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ObjectKind {
    Frontend,
    Backend,
    Server,
    Listener,
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    U32(u32),
    U64(u64),
    S32(i32),
    Text(&'a str),
}

/// Writes the values of one object. Columns are put in their order; those that are left out are empty in the CSV and
/// absent from the other forms.
pub struct Row<'a> {
    out: &'a mut Vec<u8>,
    form: Form,
    kind: ObjectKind,
    proxy_id: u32,
    object_id: u32,
    /// Column that comes next.
    next: usize,
    /// No value was written yet.
    empty: bool,
}

/// The first line of the CSV.
pub fn write_csv_header(out: &mut Vec<u8>) {
    out.extend_from_slice(b"# ");
    for (name, _) in COLUMNS {
        if *name == FIRST_MODULE_COLUMN {
            out.extend_from_slice(b"-,");
        }
        out.extend_from_slice(name.as_bytes());
        out.push(b',');
    }
    out.push(b'\n');
}

impl<'a> Row<'a> {
    /// Begins the row of an object. `object_id` is 0 for frontends and backends.
    pub fn begin(
        out: &'a mut Vec<u8>,
        form: Form,
        kind: ObjectKind,
        proxy_id: u32,
        object_id: u32,
    ) -> Self {
        if form == Form::Json {
            out.push(b'[');
        }
        Self {
            out,
            form,
            kind,
            proxy_id,
            object_id,
            next: 0,
            empty: true,
        }
    }

    /// Puts a value in the column `name`, which must come after those put before.
    pub fn put(&mut self, name: &str, value: Value<'_>) {
        self.skip_to(name);
        let tag = COLUMNS[self.next].1;
        self.write(tag, value);
    }

    /// Puts a value whose tag is `tag`, not the usual one of its column.
    pub fn put_tagged(&mut self, name: &str, tag: &[u8; 3], value: Value<'_>) {
        self.skip_to(name);
        self.write(tag, value);
    }

    /// Puts the same value in several columns that follow each other.
    pub fn put_all(&mut self, names: &[&str], value: Value<'_>) {
        for name in names {
            self.put(name, value);
        }
    }

    /// Ends the row.
    pub fn end(mut self) {
        match self.form {
            Form::Csv => {
                while self.next < COLUMNS.len() {
                    self.leave_empty();
                }
                self.out.push(b'\n');
            }
            Form::Typed => {}
            Form::Json => self.out.push(b']'),
        }
    }

    fn skip_to(&mut self, name: &str) {
        while COLUMNS
            .get(self.next)
            .is_some_and(|column| column.0 != name)
        {
            self.leave_empty();
        }
        assert!(
            self.next < COLUMNS.len(),
            "{name} is a column and comes after those put before"
        );
    }

    fn leave_empty(&mut self) {
        if self.form == Form::Csv {
            self.part_modules();
            self.out.push(b',');
        }
        self.next += 1;
    }

    fn part_modules(&mut self) {
        if COLUMNS[self.next].0 == FIRST_MODULE_COLUMN {
            self.out.extend_from_slice(b"-,");
        }
    }

    fn write(&mut self, tag: &[u8; 3], value: Value<'_>) {
        let (name, position) = (COLUMNS[self.next].0, self.next);
        match self.form {
            Form::Csv => {
                self.part_modules();
                write_csv_value(self.out, value);
                self.out.push(b',');
            }
            Form::Typed => {
                let letter = match self.kind {
                    ObjectKind::Frontend => 'F',
                    ObjectKind::Backend => 'B',
                    ObjectKind::Server => 'S',
                    ObjectKind::Listener => 'L',
                };
                // Writing to memory does not fail.
                let _ = write!(
                    Text(self.out),
                    "{letter}.{}.{}.{position}.{name}.1:",
                    self.proxy_id,
                    self.object_id
                );
                write_typed_value(self.out, *tag, value);
            }
            Form::Json => {
                if !self.empty {
                    self.out.push(b',');
                }
                let _ = write!(
                    Text(self.out),
                    "{{\"objType\":\"{:?}\",\"proxyId\":{},\"id\":{},",
                    self.kind,
                    self.proxy_id,
                    self.object_id
                );
                write_json_value(self.out, position, name, *tag, value);
            }
        }
        self.next += 1;
        self.empty = false;
    }
}

/// Writes `value` as CSV: text that could be misread is quoted, its quotes doubled.
fn write_csv_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(text)
            if text
                .bytes()
                .any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) =>
        {
            out.push(b'"');
            for byte in text.bytes() {
                if byte == b'"' {
                    out.push(b'"');
                }
                out.push(byte);
            }
            out.push(b'"');
        }
        _ => write_plain_value(out, value),
    }
}

/// Writes `TAG:type:value` and a newline.
pub(super) fn write_typed_value(out: &mut Vec<u8>, tag: [u8; 3], value: Value<'_>) {
    out.extend_from_slice(&tag);
    let _ = write!(Text(out), ":{}:", type_name(value));
    write_plain_value(out, value);
    out.push(b'\n');
}

/// Writes the part of a JSON value's object from `"field"` on, its closing brace included.
pub(super) fn write_json_value(
    out: &mut Vec<u8>,
    position: usize,
    name: &str,
    tag: [u8; 3],
    value: Value<'_>,
) {
    let [origin, nature, scope] = tag;
    let _ = write!(
        Text(out),
        "\"field\":{{\"pos\":{position},\"name\":\"{name}\"}},\"processNum\":1,\"tags\":{{\"origin\":\"{}\",\
         \"nature\":\"{}\",\"scope\":\"{}\"}},\"value\":{{\"type\":\"{}\",\"value\":",
        origin_name(origin),
        nature_name(nature),
        scope_name(scope),
        type_name(value)
    );
    match value {
        Value::Text(text) => write_json_text(out, text),
        _ => write_plain_value(out, value),
    }
    out.extend_from_slice(b"}}");
}

/// Writes `value` bare.
pub(super) fn write_plain_value(out: &mut Vec<u8>, value: Value<'_>) {
    let _ = match value {
        Value::U32(number) => write!(Text(out), "{number}"),
        Value::U64(number) => write!(Text(out), "{number}"),
        Value::S32(number) => write!(Text(out), "{number}"),
        Value::Text(text) => write!(Text(out), "{text}"),
    };
}

fn write_json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        let _ = match character {
            '"' => write!(Text(out), "\\\""),
            '\\' => write!(Text(out), "\\\\"),
            control if control < ' ' => write!(Text(out), "\\u{:04x}", u32::from(control)),
            other => write!(Text(out), "{other}"),
        };
    }
    out.push(b'"');
}

fn type_name(value: Value<'_>) -> &'static str {
    match value {
        Value::U32(_) => "u32",
        Value::U64(_) => "u64",
        Value::S32(_) => "s32",
        Value::Text(_) => "str",
    }
}

fn origin_name(letter: u8) -> &'static str {
    match letter {
        b'M' => "Metric",
        b'S' => "Status",
        b'K' => "Key",
        b'C' => "Config",
        b'P' => "Product",
        _ => "Unknown",
    }
}

fn nature_name(letter: u8) -> &'static str {
    match letter {
        b'A' => "Age",
        b'C' => "Counter",
        b'D' => "Duration",
        b'G' => "Gauge",
        b'L' => "Limit",
        b'M' => "Max",
        b'N' => "Name",
        b'O' => "Output",
        b'R' => "Rate",
        b'a' => "Avg",
        _ => "Unknown",
    }
}

fn scope_name(letter: u8) -> &'static str {
    match letter {
        b'P' => "Process",
        b'S' => "Service",
        _ => "Unknown",
    }
}

/// Bytes as a target of formatted text.
pub(super) struct Text<'a>(pub &'a mut Vec<u8>);

impl std::fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(form: Form) -> String {
        let mut out = Vec::new();
        let mut row = Row::begin(&mut out, form, ObjectKind::Server, 7, 2);
        row.put("pxname", Value::Text("a,\"b"));
        row.put("scur", Value::U32(3));
        row.put_tagged("rate", b"MGP", Value::U32(9));
        row.put("lastsess", Value::S32(-1));
        row.put("ssl_sess", Value::U64(0));
        row.end();
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_column_has_its_place() {
        let mut header = Vec::new();
        write_csv_header(&mut header);
        let header = String::from_utf8(header).expect("text");
        let line = row(Form::Csv).replace("\"a,\"\"b\"", "quoted");
        assert_eq!(
            (header.matches(',').count(), line.matches(',').count()),
            (128, 128)
        );
        let names: Vec<&str> = header.trim_start_matches("# ").split(',').collect();
        let values: Vec<&str> = line.split(',').collect();
        for (name, value) in [
            ("pxname", "quoted"),
            ("scur", "3"),
            ("rate", "9"),
            ("lastsess", "-1"),
            ("-", "-"),
            ("ssl_sess", "0"),
        ] {
            let position = names
                .iter()
                .position(|known| *known == name)
                .expect("a column");
            assert_eq!(values[position], value, "{name}");
        }
    }

    #[test]
    fn typed_and_json_leave_out_what_is_empty() {
        assert_eq!(
            row(Form::Typed),
            "S.7.2.0.pxname.1:KNS:str:a,\"b\nS.7.2.4.scur.1:MGP:u32:3\nS.7.2.33.rate.1:MGP:u32:9\n\
             S.7.2.55.lastsess.1:MAP:s32:-1\nS.7.2.103.ssl_sess.1:MCP:u64:0\n"
        );
        let json = row(Form::Json);
        assert!(json.starts_with(
            "[{\"objType\":\"Server\",\"proxyId\":7,\"id\":2,\"field\":{\"pos\":0,\"name\":\"pxname\"},\"processNum\":1,\
             \"tags\":{\"origin\":\"Key\",\"nature\":\"Name\",\"scope\":\"Service\"},\"value\":{\"type\":\"str\",\
             \"value\":\"a,\\\"b\"}},{\"objType\""
        ));
        assert!(json.ends_with("\"value\":0}}]"));
    }
}
