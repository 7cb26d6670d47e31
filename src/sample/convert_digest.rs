//! Converters to message digests: `sha1`, `sha2`, `digest`, `hmac`.
//!
//! The digests that operators use are here; the others of OpenSSL are refused by name.

use super::args::{Arg, Args};
use super::context::Context;
use super::registry::Registry;
use super::value::Sample;
use hmac::{Mac, SimpleHmac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha224, Sha256, Sha384, Sha512};

/// A digest's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Names of OpenSSL's digests that are not here.
const OTHERS: &[&str] = &[
    "blake2b512",
    "blake2s256",
    "md4",
    "md5-sha1",
    "mdc2",
    "ripemd160",
    "rmd160",
    "sha3-224",
    "sha3-256",
    "sha3-384",
    "sha3-512",
    "sha512-224",
    "sha512-256",
    "shake128",
    "shake256",
    "sm3",
    "whirlpool",
];

impl Digest {
    fn named(name: &[u8]) -> Result<Digest, String> {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        Ok(match name.as_str() {
            "md5" => Digest::Md5,
            "sha1" | "sha-1" => Digest::Sha1,
            "sha224" | "sha2-224" => Digest::Sha224,
            "sha256" | "sha2-256" => Digest::Sha256,
            "sha384" | "sha2-384" => Digest::Sha384,
            "sha512" | "sha2-512" => Digest::Sha512,
            other if OTHERS.contains(&other) => {
                return Err(format!(
                    "algorithm '{other}' is known to HAProxy but not supported by burdock"
                ));
            }
            _ => return Err("algorithm must be a valid OpenSSL message digest name.".into()),
        })
    }

    /// Gives the digest of `bytes` to `write`.
    fn of<R>(self, bytes: &[u8], write: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Digest::Md5 => write(&Md5::digest(bytes)),
            Digest::Sha1 => write(&Sha1::digest(bytes)),
            Digest::Sha224 => write(&Sha224::digest(bytes)),
            Digest::Sha256 => write(&Sha256::digest(bytes)),
            Digest::Sha384 => write(&Sha384::digest(bytes)),
            Digest::Sha512 => write(&Sha512::digest(bytes)),
        }
    }

    /// Gives the authentication code of `bytes` to `write`.
    fn code<R>(self, key: &[u8], bytes: &[u8], write: impl FnOnce(&[u8]) -> R) -> Option<R> {
        fn code<M: Mac + hmac::digest::KeyInit, R>(
            key: &[u8],
            bytes: &[u8],
            write: impl FnOnce(&[u8]) -> R,
        ) -> Option<R> {
            let mut mac = <M as hmac::digest::KeyInit>::new_from_slice(key).ok()?;
            mac.update(bytes);
            Some(write(&mac.finalize().into_bytes()))
        }
        match self {
            Digest::Md5 => code::<SimpleHmac<Md5>, R>(key, bytes, write),
            Digest::Sha1 => code::<SimpleHmac<Sha1>, R>(key, bytes, write),
            Digest::Sha224 => code::<SimpleHmac<Sha224>, R>(key, bytes, write),
            Digest::Sha256 => code::<SimpleHmac<Sha256>, R>(key, bytes, write),
            Digest::Sha384 => code::<SimpleHmac<Sha384>, R>(key, bytes, write),
            Digest::Sha512 => code::<SimpleHmac<Sha512>, R>(key, bytes, write),
        }
    }
}

/// The digest of the value.
pub(super) fn run<'a>(
    algorithm: Digest,
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    cx.scratch
        .rewrite(input.content()?, |input, out| {
            algorithm.of(input, |digest| out.push(digest))
        })
        .map(Sample::Bin)
}

/// `sha2([bits])`, `digest(algorithm)`: what `check` made of the argument; SHA-256 without one.
pub(super) fn digest<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let algorithm = match args.first() {
        Some(Arg::Digest(algorithm)) => *algorithm,
        _ => Digest::Sha256,
    };
    run(algorithm, input, cx)
}

pub(super) fn check_digest(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    args[0] = Arg::Digest(Digest::named(args.bytes(0))?);
    Ok(())
}

pub(super) fn check_sha2(args: &mut [Arg], _: &Registry) -> Result<(), String> {
    args[0] = Arg::Digest(match args.int(0) {
        Some(224) => Digest::Sha224,
        Some(256) | None => Digest::Sha256,
        Some(384) => Digest::Sha384,
        Some(512) => Digest::Sha512,
        Some(bits) => return Err(format!("Unsupported number of bits: '{bits}'")),
    });
    Ok(())
}

/// Longest key of `hmac` in a variable.
const KEY_BYTES_MAX: usize = 512;

/// `hmac(algorithm,key)`: the key in base64, or a variable that has it so.
pub(super) fn hmac<'a>(
    args: &'a [Arg],
    input: Sample<'a>,
    cx: &mut Context<'a>,
) -> Option<Sample<'a>> {
    let Some(Arg::Digest(algorithm)) = args.first() else {
        return None;
    };
    let mut variable = [0; KEY_BYTES_MAX];
    let key = match args.get(1)? {
        Arg::Var(var) => cx.vars.read(*var, |value| {
            value.write_text(|text| super::convert_code::decode_into(text, &mut variable))
        })??,
        Arg::Str(key) => key,
        _ => return None,
    };
    cx.scratch
        .rewrite(input.content()?, |input, out| {
            algorithm.code(key, input, |code| out.push(code))?
        })
        .map(Sample::Bin)
}

pub(super) fn check_hmac(args: &mut [Arg], registry: &Registry) -> Result<(), String> {
    let algorithm = Digest::named(args.bytes(0))?;
    let key = args.bytes(1);
    args[1] = match registry.variable(key) {
        Ok(var) => Arg::Var(var),
        Err(_) => {
            let mut decoded = vec![0; key.len()];
            let decoded = super::convert_code::decode_into(key, &mut decoded).ok_or(
                "failed to parse key : argument needs to be base64 encoded, and can either be a string or a variable",
            )?;
            Arg::Str(decoded.into())
        }
    };
    args[0] = Arg::Digest(algorithm);
    Ok(())
}
