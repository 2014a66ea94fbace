//! How far something that takes long has come: a bar, when stderr is a terminal. It has no colours.

use crate::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nvbind_engine::image::{Amount, Step};
use std::io::IsTerminal;
use std::mem::discriminant;

/// Words, bar, amounts, speed and time left; the words are padded so that bars stand below each other.
const TEMPLATE: &str = "{msg:10} [{bar:30}] {bytes:>11} / {total_bytes:11} {binary_bytes_per_sec:>12} {eta:>4}";

/// The bar of what is being done; it goes away at its end.
#[derive(Default)]
pub(crate) struct Bar {
    now: Option<(Step, ProgressBar)>,
}

impl Bar {
    /// Shows a step.
    pub(crate) fn show(&mut self, step: Step) {
        let (words, Amount { done, total }) = match step {
            Step::Pull(amount) => ("pulling", amount),
            Step::Unpack(amount) => ("unpacking", amount),
            Step::Wait => return output::note("nvbind: waiting for another nvbind that uses the image store"),
        };
        if !std::io::stderr().is_terminal() {
            return;
        }
        let is_same = |now: &Step| discriminant(now) == discriminant(&step);
        if !self.now.as_ref().is_some_and(|(now, _)| is_same(now)) {
            self.clear();
            self.now = Some((step, bar(words, total)));
        }
        if let Some((_, bar)) = &self.now {
            bar.set_position(done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some((_, bar)) = self.now.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar(words: &'static str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_message(words);
    match ProgressStyle::with_template(TEMPLATE) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
