//! How the walk looks: finished steps as lines, the current one as a spinner where there is a
//! terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Details stand under the step's own text: mark, time and name take this much.
const INDENT: usize = 33;

pub(super) struct Report {
    began: Instant,
    step: &'static str,
    waiting: String,
    spinner: Option<ProgressBar>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            step: "start",
            waiting: String::new(),
            spinner: Some(spinner()).filter(|spinner| !spinner.is_hidden()),
        }
    }

    pub(super) fn title(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// The step under way.
    pub(super) fn begin(&mut self, step: &'static str) {
        self.step = step;
        self.waiting.clear();
        self.show();
    }

    /// What the step waits for.
    pub(super) fn waiting(&mut self, what: &str) {
        what.clone_into(&mut self.waiting);
        self.show();
    }

    /// The step has happened.
    pub(super) fn done(&self, outcome: &str) {
        let mark = if self.spinner.is_some() { "\x1b[32m✓\x1b[0m" } else { "✓" };
        let elapsed = self.began.elapsed().as_secs_f64();
        self.print(&format!("  {mark} {elapsed:>6.2} s  {:<18} {outcome}", self.step));
    }

    /// More about the step that has just happened.
    pub(super) fn detail(&self, text: &str) {
        self.print(&format!("{:INDENT$}{}", "", self.dim(text)));
    }

    /// All steps have happened.
    pub(super) fn finish(&self, outcome: &str) {
        self.stop();
        println!("\nThe main job works: {outcome} in {:.1} s.", self.began.elapsed().as_secs_f64());
    }

    /// Takes the spinner away.
    pub(super) fn stop(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    pub(super) fn failed_at(&self) -> String {
        format!("the walk failed at step \"{}\"", self.step)
    }

    pub(super) fn timed_out_after(&self, timeout: Duration) -> String {
        let waiting = if self.waiting.is_empty() { "an answer" } else { &self.waiting };
        format!("{} after {timeout:?}, waiting for {waiting}", self.failed_at())
    }

    fn show(&self) {
        let Some(spinner) = &self.spinner else { return };
        spinner.set_prefix(self.step);
        let text = match self.waiting.as_str() {
            "" => String::new(),
            what => format!("waiting for {what}"),
        };
        spinner.set_message(text);
    }

    fn print(&self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.println(line),
            None => println!("{line}"),
        }
    }

    fn dim(&self, text: &str) -> String {
        if self.spinner.is_some() { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

fn spinner() -> ProgressBar {
    let style = ProgressStyle::with_template(
        "  {spinner:.cyan} {elapsed:>8}  {prefix:<18} {wide_msg:.dim}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner =
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout()).with_style(style);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}
