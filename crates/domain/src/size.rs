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
