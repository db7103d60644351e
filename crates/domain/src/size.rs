//! Resource sizes as the contract writes them: `<int>M` or `<int>G`, and CPUs in hundredths.

/// A memory or storage size, kept as it was ordered: `2G` stays `2G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ByteSize {
    /// Number before the unit; positive.
    pub amount: u32,
    /// The unit.
    pub unit: ByteUnit,
}
/// Unit of a [`ByteSize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteUnit {
    /// MiB
    M,
    /// GiB
    G,
}
