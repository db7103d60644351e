//! Resource sizes as the contract writes them: `<int>M` or `<int>G`, and CPUs in hundredths.

use crate::problem::Fault;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A memory or storage size, kept as it was ordered: `2G` stays `2G`. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteSize {
    amount: u32,
    unit: ByteUnit,
}

impl Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Unit of a [`ByteSize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteUnit {
    /// MiB
    M,
    /// GiB
    G,
}

/// What a text that is no size has wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// Not digits and a unit.
    #[error("must be digits followed by M or G, such as 2G")]
    Form,
    /// More digits than the column holds.
    #[error("must have at most 9 digits")]
    TooLarge,
    /// Nothing, in this unit.
    #[error("must be positive: 0{0}")]
    Zero(ByteUnit),
}

impl ByteSize {
    /// Memory of an order that names none.
    pub const DEFAULT_MEMORY: Self = Self { amount: 1, unit: ByteUnit::G };
    /// Disk of an order that names none.
    pub const DEFAULT_STORAGE: Self = Self { amount: 10, unit: ByteUnit::G };
    /// The most digits that `varchar(10)` holds beside the unit.
    const MAX_DIGITS: usize = 9;

    /// Reads `<digits>M` or `<digits>G` in any case: ASCII digits only, no sign, no blanks.
    pub fn parse(text: &str) -> Result<Self, SizeError> {
        let (digits, unit) = split_unit(text).ok_or(SizeError::Form)?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SizeError::Form);
        }
        let digits = digits.trim_start_matches('0');
        match digits.len() {
            0 => Err(SizeError::Zero(unit)),
            1..=Self::MAX_DIGITS => digits.parse().map(|amount| Self { amount, unit }).map_err(|_| SizeError::TooLarge),
            _ => Err(SizeError::TooLarge),
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        (self.amount as u64) << self.unit.shift()
    }
}

fn split_unit(text: &str) -> Option<(&str, ByteUnit)> {
    if let Some(digits) = text.strip_suffix(['M', 'm']) {
        return Some((digits, ByteUnit::M));
    }
    text.strip_suffix(['G', 'g']).map(|digits| (digits, ByteUnit::G))
}

impl ByteUnit {
    const fn shift(self) -> u32 {
        match self {
            Self::M => 20,
            Self::G => 30,
        }
    }
}

impl fmt::Display for ByteUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::M => "M",
            Self::G => "G",
        })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.amount, self.unit)
    }
}

impl std::str::FromStr for ByteSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// A CPU limit, 0.1 to 8.0 with two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Decimal", into = "Decimal")]
pub struct CpuLimit(Decimal);

impl CpuLimit {
    /// The least.
    pub const MIN: Decimal = Decimal::from_parts(1, 0, 0, false, 1);
    /// The most.
    pub const MAX: Decimal = Decimal::from_parts(8, 0, 0, false, 0);

    /// Checks the range, then rounds to two decimals.
    pub fn new(cpus: Decimal) -> Result<Self, Fault> {
        if cpus < Self::MIN {
            return Err(below_least());
        }
        if cpus > Self::MAX {
            return Err(above_most());
        }
        Ok(Self(cpus.round_dp(2).normalize()))
    }

    /// Reads the number of a JSON body.
    pub fn from_f64(cpus: f64) -> Result<Self, Fault> {
        match Decimal::try_from(cpus) {
            Ok(cpus) => Self::new(cpus),
            Err(_) if cpus < 0.0 => Err(below_least()),
            Err(_) => Err(above_most()),
        }
    }

    /// The limit as a number.
    pub const fn as_decimal(self) -> Decimal {
        self.0
    }
}

fn below_least() -> Fault {
    Fault::form("greater_than_equal", "must be at least 0.1")
}

fn above_most() -> Fault {
    Fault::form("less_than_equal", "must be at most 8")
}

impl fmt::Display for CpuLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<Decimal> for CpuLimit {
    type Error = &'static str;
    fn try_from(cpus: Decimal) -> Result<Self, Self::Error> {
        Self::new(cpus).map_err(|_| "a CPU limit lies between 0.1 and 8")
    }
}

impl From<CpuLimit> for Decimal {
    fn from(limit: CpuLimit) -> Self {
        limit.0
    }
}

/// A number of bytes as people read it, e.g. `23.4 MB`; units of 1024.
pub fn for_people(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KB", "MB", "GB", "TB", "PB"];
    // Exact enough: one decimal is shown.
    let mut amount = bytes as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if amount < 1024.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, next);
    }
    if unit == "bytes" { format!("{bytes} bytes") } else { format!("{amount:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_read_one_decimal_and_a_unit() {
        for (bytes, text) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KB"), (24_536_678, "23.4 MB"), (u64::MAX, "16384.0 PB")]
        {
            assert_eq!(for_people(bytes), text);
        }
    }

    #[test]
    fn sizes_are_digits_and_a_unit() {
        assert_eq!(ByteSize::parse("2g").map(|size| (size.to_string(), size.bytes())), Ok(("2G".to_owned(), 2 << 30)));
        assert_eq!(ByteSize::parse("0512m").map(|size| (size.to_string(), size.bytes())), Ok(("512M".to_owned(), 512 << 20)));
        assert_eq!(ByteSize::parse("999999999G").map(ByteSize::bytes), Ok(999_999_999 << 30));
        for text in ["", "G", "1", "1T", "1GB", "+1G", "-1G", " 1G", "1G ", "1 G", "1.5G", "1e3G", "١G", "１G", "1G\0"] {
            assert_eq!(ByteSize::parse(text), Err(SizeError::Form), "{text}");
        }
        assert_eq!(ByteSize::parse("00g"), Err(SizeError::Zero(ByteUnit::G)));
        assert_eq!(ByteSize::parse("0M"), Err(SizeError::Zero(ByteUnit::M)));
        assert_eq!(ByteSize::parse("1000000000M"), Err(SizeError::TooLarge));
    }

    #[test]
    fn cpu_limits_keep_two_decimals_within_their_range() {
        let text = |cpus: f64| CpuLimit::from_f64(cpus).map(|limit| limit.to_string()).ok();
        for (cpus, kept) in [(0.1, "0.1"), (1.0, "1"), (1.25, "1.25"), (2.499, "2.5"), (8.0, "8")] {
            assert_eq!(text(cpus).as_deref(), Some(kept));
        }
        for cpus in [0.0, 0.099, -1.0, 8.001, 1e300, -1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE] {
            assert_eq!(text(cpus), None, "{cpus}");
        }
        assert_eq!(CpuLimit::from_f64(-1e300), Err(below_least()));
        assert_eq!(CpuLimit::from_f64(1e300), Err(above_most()));
        assert!(serde_json::from_str::<CpuLimit>("\"9\"").is_err(), "a record is checked when it is read");
    }

    proptest! {
        #[test]
        fn sizes_round_trip(amount in 1_u32..=999_999_999, unit in "[mMgG]") {
            let size = ByteSize::parse(&format!("{amount}{unit}"))?;
            prop_assert_eq!(size.to_string(), format!("{amount}{}", unit.to_ascii_uppercase()));
            prop_assert_eq!(ByteSize::parse(&size.to_string()), Ok(size));
            prop_assert!(size.to_string().len() <= 10, "as wide as its column");
        }

        #[test]
        fn no_text_panics(text in ".{0,200}") {
            if let Ok(size) = ByteSize::parse(&text) {
                prop_assert!(size.bytes() > 0);
            }
        }

        #[test]
        fn cpu_limits_stay_in_range(cpus in any::<f64>()) {
            if let Ok(limit) = CpuLimit::from_f64(cpus) {
                prop_assert!(limit.as_decimal() >= CpuLimit::MIN && limit.as_decimal() <= CpuLimit::MAX && limit.as_decimal().scale() <= 2);
            }
        }
    }
}
