//! What this process uses of the machine, from `/proc/self` (proc(5)). What cannot be read is not told.

use std::fs;
use std::time::{Duration, Instant};

/// Measures from one reading to the next.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: Option<(Instant, Duration)>,
}

impl Meter {
    /// Share of one processor since the last reading, in percent.
    pub(super) fn cpu_percent(&mut self) -> Option<f64> {
        let (now, used) = (Instant::now(), cpu_time(&fs::read_to_string("/proc/self/stat").ok()?)?);
        let (before, used_before) = self.last.replace((now, used))?;
        let passed = now.duration_since(before).as_secs_f64();
        (passed > 0.0).then(|| 100.0 * used.saturating_sub(used_before).as_secs_f64() / passed)
    }
}

/// Resident memory, in MiB.
pub(super) fn memory_mb() -> Option<f64> {
    resident(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kibibytes) / 1024.0)
}

/// utime and stime are the 14th and 15th field; the second one, a name in parentheses, may contain anything.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        assert_eq!(resident("VmPeak:\t 9 kB\nVmRSS:\t   2048 kB\n"), Some(2.0));
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = format!("7 (a) b) S 1 1 1 0 -1 0 0 0 0 0 {ticks} {ticks} 0 0 20 0");
        assert_eq!(cpu_time(&stat), Some(Duration::from_secs(2)));
        assert_eq!((resident("no"), cpu_time("no")), (None, None));
    }

    #[test]
    fn this_process_uses_something() {
        assert!(memory_mb().unwrap() > 0.1);
        let mut meter = Meter::default();
        assert_eq!(meter.cpu_percent(), None, "there is nothing to compare with yet");
        assert!(meter.cpu_percent().is_some_and(|percent| percent >= 0.0));
    }
}
