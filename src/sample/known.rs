//! Words of HAProxy's language that burdock does not support yet, so that an error can say so; and the nearest known word
//! for one that nobody knows.

use super::Error;
use super::nearest::nearest_word;

/// Fetches that HAProxy 2.6 lists (`haproxy -dKsmp`) or describes, and `fetch` does not have.
#[rustfmt::skip]
const FETCHES: &[&str] = &[
    "51d.all", "cpu_calls", "cpu_ns_avg", "cpu_ns_tot", "distcc_body", "distcc_param", "fcgi.docroot", "fcgi.index",
    "internal.htx.data", "internal.htx.free", "internal.htx.free_data", "internal.htx.has_eom", "internal.htx.nbblks",
    "internal.htx.size", "internal.htx.used", "internal.htx_blk.data", "internal.htx_blk.hdrname",
    "internal.htx_blk.hdrval", "internal.htx_blk.size", "internal.htx_blk.start_line", "internal.htx_blk.type",
    "internal.strm.is_htx", "lat_ns_avg", "lat_ns_tot", "res.cache_hit",
    "res.cache_name", "res.comp", "res.comp_algo", "sc1_clr_gpc", "ssl_bc", "ssl_bc_alg_keysize", "ssl_bc_alpn",
    "ssl_bc_cipher", "ssl_bc_client_random", "ssl_bc_err", "ssl_bc_err_str", "ssl_bc_is_resumed", "ssl_bc_npn",
    "ssl_bc_protocol", "ssl_bc_server_random", "ssl_bc_session_id", "ssl_bc_session_key", "ssl_bc_unique_id",
    "ssl_bc_use_keysize", "ssl_c_ca_err", "ssl_c_ca_err_depth", "ssl_c_chain_der", "ssl_c_der", "ssl_c_err",
    "ssl_c_i_dn", "ssl_c_key_alg", "ssl_c_notafter", "ssl_c_notbefore", "ssl_c_s_dn", "ssl_c_serial", "ssl_c_sha1",
    "ssl_c_sig_alg", "ssl_c_used", "ssl_c_verify", "ssl_c_version", "ssl_f_der", "ssl_f_i_dn", "ssl_f_key_alg",
    "ssl_f_notafter", "ssl_f_notbefore", "ssl_f_s_dn", "ssl_f_serial", "ssl_f_sha1", "ssl_f_sig_alg", "ssl_f_version",
    "ssl_fc_alg_keysize", "ssl_fc_alpn", "ssl_fc_cipher", "ssl_fc_cipherlist_bin", "ssl_fc_cipherlist_hex",
    "ssl_fc_cipherlist_str", "ssl_fc_cipherlist_xxh", "ssl_fc_client_early_traffic_secret",
    "ssl_fc_client_handshake_traffic_secret", "ssl_fc_client_random", "ssl_fc_client_traffic_secret_0",
    "ssl_fc_early_exporter_secret", "ssl_fc_ecformats_bin", "ssl_fc_eclist_bin", "ssl_fc_err", "ssl_fc_err_str",
    "ssl_fc_exporter_secret", "ssl_fc_extlist_bin", "ssl_fc_has_crt", "ssl_fc_has_early", "ssl_fc_has_sni",
    "ssl_fc_is_resumed", "ssl_fc_npn", "ssl_fc_protocol", "ssl_fc_protocol_hello_id",
    "ssl_fc_server_handshake_traffic_secret", "ssl_fc_server_random", "ssl_fc_server_traffic_secret_0",
    "ssl_fc_session_id", "ssl_fc_session_key", "ssl_fc_sni", "ssl_fc_unique_id", "ssl_fc_use_keysize",
    "ssl_s_chain_der", "ssl_s_der", "ssl_s_i_dn", "ssl_s_key_alg", "ssl_s_notafter", "ssl_s_notbefore", "ssl_s_s_dn",
    "ssl_s_serial", "ssl_s_sha1", "ssl_s_sig_alg", "ssl_s_version",
];

/// Converters that HAProxy 2.6 lists (`haproxy -dKcnv`) or describes, and `convert` does not have.
#[rustfmt::skip]
const CONVERTERS: &[&str] = &[
    "51d.single", "aes_gcm_dec", "da-csv", "da-csv-conv", "debug", "fix_is_valid", "fix_tag_value", "jwt_verify", "mqtt_field_value", "mqtt_is_valid", "protobuf",
    "ungrpc", "wt6",
];

/// The error for a fetch that is not among `words`.
pub(super) fn unknown_fetch(name: &str, words: impl Iterator<Item = &'static str>) -> Error {
    if FETCHES.contains(&name) {
        return Error::new(format!(
            "fetch method '{name}' is known to HAProxy but not supported by burdock"
        ));
    }
    Error {
        message: format!("unknown fetch method '{name}'"),
        nearest: nearest_word(words, name),
    }
}

/// The error for a converter that is not among `words`.
pub(super) fn unknown_converter(name: &str, words: impl Iterator<Item = &'static str>) -> Error {
    if CONVERTERS.contains(&name) {
        return Error::new(format!(
            "converter '{name}' is known to HAProxy but not supported by burdock"
        ));
    }
    Error {
        message: format!("unknown converter '{name}'"),
        nearest: nearest_word(words, name),
    }
}

/// Whether a word is a converter for HAProxy, so that it is not taken for the next keyword of the line.
pub(super) fn is_converter(name: &[u8]) -> bool {
    CONVERTERS.iter().any(|known| known.as_bytes() == name)
}
