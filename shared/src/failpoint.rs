//! Places at which a test stops a process or a handler, as a crash would.
//!
//! Compiled in only with the feature `failpoints`, which nothing but the tests turns on; without it
//! each of these functions is empty.

/// A named place. A process whose environment says so in `LATCHKEY_TEST_FAILPOINTS` does not get past
/// it: `name:hang` stops the task there, `name:panic` panics, `name:abort` ends the process at once;
/// `name[text]:…` only if what `about` tells contains the text. Several are separated by commas.
pub async fn reach(name: &str, about: impl FnOnce() -> String) {
    #[cfg(feature = "failpoints")]
    armed::reach(name, about).await;
    #[cfg(not(feature = "failpoints"))]
    let _ = (name, about);
}

/// Between one step of work on the database and the next: after a commit, and before a connection
/// or the broker is turned to.
pub(crate) async fn step() {
    #[cfg(feature = "failpoints")]
    armed::step().await;
}

#[cfg(feature = "failpoints")]
pub use armed::cut_at;

#[cfg(feature = "failpoints")]
mod armed {
    use std::process;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, OnceLock};

    use tokio::sync::Notify;

    struct Point {
        name: String,
        about: Option<String>,
        action: String,
    }

    #[expect(clippy::disallowed_methods, reason = "no setting of the product: tests alone have it")]
    fn points() -> &'static [Point] {
        static POINTS: OnceLock<Vec<Point>> = OnceLock::new();
        POINTS.get_or_init(|| {
            let text = std::env::var("LATCHKEY_TEST_FAILPOINTS").unwrap_or_default();
            text.split(',').filter(|entry| !entry.is_empty()).map(parse).collect()
        })
    }

    fn parse(entry: &str) -> Point {
        let (place, action) = entry.rsplit_once(':').expect("a failpoint is name:action");
        let (name, about) = match place.strip_suffix(']').and_then(|place| place.split_once('[')) {
            Some((name, about)) => (name, Some(about.to_owned())),
            None => (place, None),
        };
        Point { name: name.to_owned(), about, action: action.to_owned() }
    }

    pub(super) async fn reach(name: &str, about: impl FnOnce() -> String) {
        let Some(point) = points().iter().find(|point| point.name == name) else { return };
        if point.about.as_ref().is_some_and(|text| !about().contains(text.as_str())) {
            return;
        }
        tracing::error!("failpoint {name}: {}", point.action);
        match point.action.as_str() {
            "hang" => std::future::pending().await,
            "panic" => panic!("failpoint {name}"),
            _ => process::abort(),
        }
    }

    #[derive(Clone)]
    struct Cut {
        left: Arc<AtomicUsize>,
        reached: Arc<Notify>,
    }

    tokio::task_local! { static CUT: Cut; }

    /// Runs work as far as its n-th step, counted from 1, and drops it there. Answers what it came to
    /// if it had fewer.
    pub async fn cut_at<F: Future>(step: usize, work: F) -> Option<F::Output> {
        let cut = Cut { left: Arc::new(AtomicUsize::new(step)), reached: Arc::new(Notify::new()) };
        tokio::select! {
            output = CUT.scope(cut.clone(), work) => Some(output),
            () = cut.reached.notified() => None,
        }
    }

    pub(super) async fn step() {
        let Ok(cut) = CUT.try_with(Clone::clone) else { return };
        if cut.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            cut.reached.notify_one();
            std::future::pending().await
        }
    }
}
