//! Dates in the layouts of log lines, each formatted once a second.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::sys::localtime::utc_offset_secs;

/// Abbreviated month names; days are never named in logs.
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A moment as seconds since 1970 and microseconds within the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub secs: i64,
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
pub(super) enum Zone {
    Local,
    Utc,
}

/// One second as text: `22/Nov/2026:13:39:55 +0000` (request dates), `Nov 22 13:39:55` (RFC 3164), and
/// `2026-11-22T13:39:55` with its zone `+00:00` (RFC 5424).
#[derive(Clone, Debug)]
pub(super) struct DateText {
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
        let (year, month, day) = civil_from_days(local.div_euclid(86_400));
        let in_day = u32::try_from(local.rem_euclid(86_400)).unwrap_or(0);
        let (hour, minute, second) = (in_day / 3600, in_day / 60 % 60, in_day % 60);
        let name = MONTHS[(month as usize - 1) % 12];
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

/// Year, month and day of a day number counted from 1970-01-01, in the proleptic Gregorian calendar. Counts in eras of
/// 400 years that begin in March, so that the leap day is the last of its year.
fn civil_from_days(days: i64) -> (u32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (
        u32::try_from(year).unwrap_or(0),
        u32::try_from(month).unwrap_or(1),
        u32::try_from(day).unwrap_or(1),
    )
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
    fn days_become_dates() {
        let cases = [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_779, (2026, 11, 22)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ];
        for (days, expected) in cases {
            assert_eq!(civil_from_days(days), expected, "{days}");
        }
    }

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
