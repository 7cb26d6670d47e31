//! Dates in the layouts of log lines, each formatted once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys::calendar::{MONTHS, civil_date};
use crate::sys::localtime::utc_offset_secs;

/// A moment as seconds since 1970 and microseconds within the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970.
    pub secs: i64,
    /// Microseconds within the second.
    pub micros: u32,
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            secs: i64::try_from(since.as_secs()).unwrap_or(0),
            micros: since.subsec_micros(),
        }
    }
}

/// Which clock on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// That of the machine.
    Local,
    /// Universal time.
    Utc,
}

/// One second as text: `22/Nov/2026:13:39:55 +0000` (request dates), `Nov 22 13:39:55` (RFC 3164), and
/// `2026-11-22T13:39:55` with its zone `+00:00` (RFC 5424).
#[derive(Clone, Debug)]
pub struct DateText {
    secs: i64,
    zone: Zone,
    request: [u8; 26],
    syslog: [u8; 15],
    iso: [u8; 19],
    iso_zone: [u8; 6],
}

impl DateText {
    /// The text of second `secs`, local time.
    pub fn new(secs: i64) -> Self {
        let zone = Zone::Local;
        let mut text = Self {
            secs,
            zone,
            request: [0; 26],
            syslog: [0; 15],
            iso: [0; 19],
            iso_zone: [0; 6],
        };
        text.format();
        text
    }

    /// Makes this the text of second `secs`.
    pub fn update(&mut self, secs: i64, zone: Zone) {
        if secs != self.secs || zone != self.zone {
            (self.secs, self.zone) = (secs, zone);
            self.format();
        }
    }

    /// `22/Nov/2026:13:39:55`.
    pub fn request(&self) -> &[u8] {
        &self.request[..20]
    }

    /// `22/Nov/2026:13:39:55 +0000`, the date of the common log format.
    pub fn request_with_zone(&self) -> &[u8] {
        &self.request
    }

    /// `Nov 22 13:39:55`; the day is padded with a space.
    pub fn syslog(&self) -> &[u8] {
        &self.syslog
    }

    /// `2026-11-22T13:39:55`, to be followed by a fraction and [`DateText::iso_zone`].
    pub fn iso(&self) -> &[u8] {
        &self.iso
    }

    /// `+00:00`.
    pub fn iso_zone(&self) -> &[u8] {
        &self.iso_zone
    }

    fn format(&mut self) {
        let offset = match self.zone {
            Zone::Local => utc_offset_secs(self.secs),
            Zone::Utc => 0,
        };
        let local = self.secs + i64::from(offset);
        let (year, month, day) = civil_date(local.div_euclid(86_400));
        let year = u32::try_from(year).unwrap_or(0);
        let in_day = u32::try_from(local.rem_euclid(86_400)).unwrap_or(0);
        let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
        let name = MONTHS[(month as usize - 1) % 12].as_bytes();
        let zone_minutes = offset.unsigned_abs() / 60;
        let sign = if offset < 0 { b'-' } else { b'+' };

        put2(&mut self.request[0..2], day);
        self.request[2] = b'/';
        self.request[3..6].copy_from_slice(name);
        self.request[6] = b'/';
        put4(&mut self.request[7..11], year);
        self.request[11] = b':';
        put_clock(&mut self.request[12..20], hour, minute, second);
        self.request[20] = b' ';
        self.request[21] = sign;
        put2(&mut self.request[22..24], zone_minutes / 60);
        put2(&mut self.request[24..26], zone_minutes % 60);

        self.syslog[0..3].copy_from_slice(name);
        self.syslog[3] = b' ';
        put2(&mut self.syslog[4..6], day);
        if day < 10 {
            self.syslog[4] = b' ';
        }
        self.syslog[6] = b' ';
        put_clock(&mut self.syslog[7..15], hour, minute, second);

        put4(&mut self.iso[0..4], year);
        self.iso[4] = b'-';
        put2(&mut self.iso[5..7], month);
        self.iso[7] = b'-';
        put2(&mut self.iso[8..10], day);
        self.iso[10] = b'T';
        put_clock(&mut self.iso[11..19], hour, minute, second);
        self.iso_zone[0] = sign;
        put2(&mut self.iso_zone[1..3], zone_minutes / 60);
        self.iso_zone[3] = b':';
        put2(&mut self.iso_zone[4..6], zone_minutes % 60);
    }
}

/// `time` as `22/Nov/2026:13:39:55`, local time.
pub fn date_text(time: SystemTime) -> String {
    let text = DateText::new(Moment::from(time).secs);
    String::from_utf8_lossy(text.request()).into_owned()
}

fn put2(to: &mut [u8], value: u32) {
    to[0] = b'0' + (value / 10 % 10) as u8;
    to[1] = b'0' + (value % 10) as u8;
}

fn put4(to: &mut [u8], value: u32) {
    put2(&mut to[0..2], value / 100);
    put2(&mut to[2..4], value % 100);
}

fn put_clock(to: &mut [u8], hour: u32, minute: u32, second: u32) {
    put2(&mut to[0..2], hour);
    to[2] = b':';
    put2(&mut to[3..5], minute);
    to[5] = b':';
    put2(&mut to[6..8], second);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_in_all_layouts() {
        let mut text = DateText::new(0);
        text.update(1_794_231_595, Zone::Utc);
        assert_eq!(
            text.syslog(),
            b"Nov  9 13:39:55",
            "a one-digit day is padded with a space"
        );
        assert_eq!(text.request(), b"09/Nov/2026:13:39:55");
        assert_eq!(text.request_with_zone(), b"09/Nov/2026:13:39:55 +0000");
        assert_eq!(
            (text.iso(), text.iso_zone()),
            (&b"2026-11-09T13:39:55"[..], &b"+00:00"[..])
        );
    }
}
