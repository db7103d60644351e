//! What the terminal shows: bars where it is one, plain lines where it is not.

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// The lines of several things that go on at once.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
}

/// One of these things.
#[derive(Debug)]
pub(crate) struct Task {
    name: String,
    begin: Instant,
    bar: Option<ProgressBar>,
    last: String,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { bars: std::io::stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Begins a thing with an open end.
    pub(crate) fn task(&self, name: &str) -> Task {
        self.begin(name, ProgressBar::new_spinner(), "{spinner} {prefix:<14} {wide_msg} {elapsed:>5}")
    }

    /// Begins a thing of which percents are known.
    pub(crate) fn percents(&self, name: &str) -> Task {
        self.begin(name, ProgressBar::new(100), "{spinner} {prefix:<14} [{bar:30}] {percent:>3} % {wide_msg} {elapsed:>5}")
    }

    fn begin(&self, name: &str, bar: ProgressBar, template: &str) -> Task {
        let bar = self.bars.as_ref().map(|bars| {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = bars.add(bar).with_style(style).with_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Task { name: name.to_owned(), begin: Instant::now(), bar, last: String::new() }
    }
}

impl Task {
    /// Tells what is being done now; the same words twice are shown once.
    pub(crate) fn say(&mut self, what: &str) {
        if self.last == what {
            return;
        }
        what.clone_into(&mut self.last);
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => eprintln!("{}: {what}", self.name),
        }
    }

    /// Tells a detail that is worth a look only while it lasts.
    pub(crate) fn hint(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Moves the bar, where there is one.
    pub(crate) fn percent(&self, percent: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(percent);
        }
    }

    /// Ends it with a line that stays.
    pub(crate) fn done(self, what: &str) {
        let seconds = self.begin.elapsed().as_secs_f64();
        match &self.bar {
            Some(bar) => {
                bar.set_style(
                    ProgressStyle::with_template("✓ {prefix:<14} {wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
                bar.finish_with_message(format!("{what} ({seconds:.1} s)"));
            }
            None => eprintln!("{}: {what} ({seconds:.1} s)", self.name),
        }
    }
}
