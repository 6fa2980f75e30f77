//! People who go on connecting while servers come and go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Answer, Http, TestApp};
use crate::Person;

/// Between one connect of a person and the next, and before what was answered 503 is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// A few people, each of whom connects one account after the other.
pub struct Crowd {
    people: Vec<JoinHandle<anyhow::Result<Seen>>>,
    stop: CancellationToken,
    done: Arc<AtomicUsize>,
}

/// What the crowd did and was answered.
#[derive(Debug, Default)]
pub struct Seen {
    /// The connects whose person came back, in no order.
    pub connects: Vec<String>,
    /// Every status that the API answered with.
    pub statuses: BTreeSet<u16>,
}

impl Crowd {
    /// Lets so many people begin.
    #[must_use]
    pub fn gather(app: &TestApp, people: usize) -> Self {
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let people = (0..people)
            .map(|number| {
                let (http, path) = (app.http.clone(), app.path("/connects"));
                let (stop, done) = (stop.clone(), done.clone());
                tokio::spawn(async move { go_on(&http, &path, number, (&stop, &done)).await })
            })
            .collect();
        Self { people, stop, done }
    }

    /// How many connects were begun and came back so far.
    #[must_use]
    pub fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Lets everybody finish the connect that they are at, and answers what they saw.
    ///
    /// # Errors
    /// When the API answered what it never should.
    pub async fn stop(self) -> anyhow::Result<Seen> {
        self.stop.cancel();
        let mut all = Seen::default();
        for seen in try_join_all(self.people).await? {
            let seen = seen?;
            all.connects.extend(seen.connects);
            all.statuses.extend(seen.statuses);
        }
        Ok(all)
    }
}

async fn go_on(
    http: &Http,
    path: &str,
    number: usize,
    (stop, done): (&CancellationToken, &AtomicUsize),
) -> anyhow::Result<Seen> {
    let (mut seen, wanted) = (Seen::default(), json!({ "platform": "SANDBOX" }));
    while !stop.is_cancelled() {
        let person = Person::new(format!("person-{number}-{}", seen.connects.len()))?;
        let started = until_served(&mut seen, || http.post(path, &wanted)).await?;
        let started = started.expect(201)?.json();
        let url = started["authorizeUrl"].as_str().context("it has an authorize URL")?;
        let callback = person.approve(url).await?;
        // 409: the answer before was lost, and what it told is true.
        until_served(&mut seen, || http.browse(callback.as_str())).await?;
        seen.connects.push(started["connectId"].as_str().unwrap_or_default().to_owned());
        done.fetch_add(1, Ordering::SeqCst);
        sleep(PAUSE).await;
    }
    Ok(seen)
}

/// Tries again for as long as the answer is 503.
async fn until_served<F, Fut>(seen: &mut Seen, ask: F) -> anyhow::Result<Answer>
where
    F: Fn() -> Fut,
    Fut: Future<Output = anyhow::Result<Answer>>,
{
    loop {
        let answer = ask().await?;
        seen.statuses.insert(answer.status);
        if answer.status != 503 {
            return Ok(answer);
        }
        sleep(PAUSE).await;
    }
}
