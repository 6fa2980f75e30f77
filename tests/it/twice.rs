//! Every handler and every sweep: done twice, by two at once, and cut at each step and done again,
//! the rows end the same.
//!
//! A step is everything that commits, and everything that follows a commit (`failpoint`). The matches
//! on `CommandKind` and `Sweep` are exhaustive: a new one without a scene does not compile.

mod scenes;

use std::time::Duration;

use anyhow::Context as _;
use chrono::TimeDelta;
use latchkey_shared::failpoint::cut_at;
use latchkey_shared::messages::{Command, CommandKind};
use latchkey_tests::TestApp;
use latchkey_tests::app::{Options, Tap, worn};
use latchkey_tests::sandbox::{Endpoint, Fault, Kind, Rotation};
use latchkey_worker::context::Context;
use latchkey_worker::handlers;
use latchkey_worker::permits::Permits;
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};

use scenes::{CLEARED, invalid_token, page};

/// Longer than any lease, so that what was cut may be taken again.
const LATER: TimeDelta = TimeDelta::minutes(4);
/// The same for an exchange, whose code lives for a minute.
const SOON: TimeDelta = TimeDelta::seconds(40);
/// More steps than any handler or sweep has.
const TOO_MANY: usize = 60;

/// How often a sweep may fail in a row.
const RUNS: usize = 5;

/// A state of the world in which a handler or a sweep has something to do.
#[derive(Clone, Copy, Debug)]
enum Scene {
    Approved,
    ApprovedAndRefused,
    ApprovedAndUnknown,
    Due,
    DueAndRefused,
    DueAndAway,
    /// Two pages, at a platform whose exchange brings a short-lived token.
    ApprovedPages,
    Chosen,
    /// Somebody else has the one slot.
    ApprovedTooLate,
    ApprovedToBeClaimed,
    Claimed,
    Checked,
    CheckedAndDead,
    CheckedAndAway,
    EndsSoon,
    Released,
    ReleasedWithoutAnswer,
    Undelivered,
    UndeliveredAndGone,
    /// What was delivered is to be delivered again.
    Replaying,
    /// A connect whose person never came back, and one that nobody claimed.
    Unfinished,
    Deleted,
    /// All that is left of a deleted workspace is to destroy it.
    DeletedAndTold,
    Ended,
    /// An access token has ended, and nobody has noticed.
    Lapsed,
    /// A platform fails, and nobody was told.
    Failing,
    Old,
}

fn scenes_of_handler(kind: CommandKind) -> &'static [Scene] {
    match kind {
        CommandKind::CallbackReceived => &[
            Scene::Approved,
            Scene::ApprovedAndRefused,
            Scene::ApprovedAndUnknown,
            Scene::ApprovedPages,
            Scene::Chosen,
            Scene::ApprovedTooLate,
            Scene::ApprovedToBeClaimed,
            Scene::Claimed,
        ],
        CommandKind::RefreshDue => &[Scene::Due, Scene::DueAndRefused, Scene::DueAndAway],
        CommandKind::CheckDue => &[Scene::Checked, Scene::CheckedAndDead, Scene::CheckedAndAway],
        CommandKind::RevocationDue => &[Scene::Released, Scene::ReleasedWithoutAnswer],
        CommandKind::WebhookDue => &[Scene::Undelivered, Scene::UndeliveredAndGone],
    }
}

fn scenes_of_sweep(sweep: Sweep) -> &'static [Scene] {
    match sweep {
        Sweep::Relay | Sweep::TakeAuthorized => &[Scene::Approved],
        Sweep::PlanRefreshes | Sweep::MeasureDebt => &[Scene::Due],
        Sweep::NoteLapses => &[Scene::Lapsed],
        Sweep::AnnounceHealth => &[Scene::Failing],
        Sweep::DueChecks => &[Scene::Checked],
        Sweep::ReauthNotices => &[Scene::EndsSoon],
        Sweep::DueDeliveries => &[Scene::Undelivered],
        Sweep::Replays => &[Scene::Replaying],
        Sweep::DeleteWorkspaces => &[Scene::Deleted, Scene::DeletedAndTold],
        Sweep::ExpireConnects => &[Scene::Unfinished],
        Sweep::ExpireGrants => &[Scene::Ended],
        Sweep::Partitions | Sweep::Prune => &[Scene::Old],
    }
}

/// One app in which everything is done by hand, and a workspace for each run.
struct Stage {
    app: TestApp,
    context: Context,
    commands: tokio::sync::Mutex<Tap>,
}

/// A workspace with something to do in it.
struct Set {
    workspace: String,
    command: Option<Command>,
}

impl Stage {
    async fn new() -> anyhow::Result<Self> {
        let app = TestApp::start_with(Options {
            // A cut after the platform's answer leaves a token in doubt: here it forgives.
            rotation: Rotation::Grace(Duration::from_secs(3600)),
            grace_seconds: Some(3600),
            access_lifetime: Duration::from_secs(7 * 86_400),
            refresh_lifetime: Some(Duration::from_secs(30 * 86_400)),
            callback_wait: Duration::from_millis(50),
            // So that the lease on an exchange ends while its code is still good.
            call_timeout: Some(Duration::from_secs(10)),
            pools: Vec::new(),
            platforms: worn(&["FACEBOOK_PAGE", "LINKEDIN_PERSON"]),
            ..Options::default()
        })
        .await?;
        app.sandbox.set_pages("sam", ["7001", "7002"].map(page).to_vec());
        let running = app.worker_context().clone();
        let store = running.store.over(app.db()?);
        let context =
            Context { answers: store.clone(), store, permits: Permits::new(8), ..running };
        let commands = tokio::sync::Mutex::new(app.tap("commands").await?);
        Ok(Self { app, context, commands })
    }

    /// Every run was judged by its rows; what is still in the queues finds its row done.
    async fn strike(mut self) -> anyhow::Result<()> {
        self.app.receiver.answer_normally();
        self.app.sandbox.clear_faults();
        self.app.execute(CLEARED).await?;
        let settings = self.app.worker_settings(Options::default().pools, 8);
        self.app.add_worker_with(&settings).await?;
        self.app.until_none("webhook_deliveries WHERE status = 'pending'").await?;
        self.app.finish().await
    }

    async fn handle(&self, command: &Command) -> bool {
        handlers::handle(&self.context, command).await.is_ok()
    }

    async fn workspace(&self) -> anyhow::Result<String> {
        let made = self.app.http.post("/v1/workspaces", &json!({ "name": "Twice" })).await?;
        Ok(made.expect(201)?.json()["id"].as_str().context("a workspace has an id")?.to_owned())
    }

    async fn set(&self, scene: Scene) -> anyhow::Result<Set> {
        self.app.execute(CLEARED).await?;
        let workspace = self.workspace().await?;
        let command = match scene {
            Scene::Approved => Some(self.approved(&workspace, "SANDBOX").await?),
            Scene::ApprovedAndRefused => {
                let command = self.approved(&workspace, "SANDBOX").await?;
                Some(self.but(Endpoint::TokenCode, Fault::InvalidGrant, command))
            }
            Scene::ApprovedAndUnknown => {
                let command = self.approved(&workspace, "SANDBOX").await?;
                Some(self.but(Endpoint::Userinfo, Fault::Status { status: 403 }, command))
            }
            Scene::Due => Some(self.due(&workspace).await?),
            Scene::DueAndRefused => {
                let command = self.due(&workspace).await?;
                Some(self.but(Endpoint::TokenRefresh, Fault::InvalidGrant, command))
            }
            Scene::DueAndAway => {
                let command = self.due(&workspace).await?;
                // After a 503 the grace window would have the token presented again at once.
                let busy = Fault::RateLimited { retry_after_secs: None };
                Some(self.but(Endpoint::TokenRefresh, busy, command))
            }
            Scene::ApprovedPages => Some(self.approved(&workspace, "FACEBOOK_PAGE").await?),
            Scene::Chosen => Some(self.chosen(&workspace).await?),
            Scene::ApprovedTooLate => Some(self.too_late(&workspace).await?),
            Scene::ApprovedToBeClaimed => Some(self.to_be_claimed(&workspace).await?),
            Scene::Claimed => Some(self.claimed(&workspace).await?),
            Scene::Checked => Some(self.checked(&workspace).await?),
            Scene::CheckedAndDead => {
                let command = self.checked(&workspace).await?;
                Some(self.but(Endpoint::Inspect, invalid_token(), command))
            }
            Scene::CheckedAndAway => {
                let command = self.checked(&workspace).await?;
                Some(self.but(Endpoint::Inspect, Fault::Status { status: 503 }, command))
            }
            Scene::Released => Some(self.released(&workspace).await?),
            Scene::ReleasedWithoutAnswer => {
                let command = self.released(&workspace).await?;
                Some(self.but(Endpoint::Revoke, Fault::Status { status: 503 }, command))
            }
            Scene::Undelivered => Some(self.undelivered(&workspace).await?),
            Scene::UndeliveredAndGone => {
                self.app.receiver.answer_with(axum::http::StatusCode::GONE, None);
                Some(self.undelivered(&workspace).await?)
            }
            for_a_sweep => {
                self.leave(for_a_sweep, &workspace).await?;
                None
            }
        };
        Ok(Set { workspace, command })
    }

    /// A state that only a sweep does something about.
    async fn leave(&self, scene: Scene, workspace: &str) -> anyhow::Result<()> {
        match scene {
            Scene::Unfinished => {
                self.start(workspace, "SANDBOX").await?;
                self.claiming(workspace).await?;
            }
            Scene::Replaying => self.replaying(workspace).await?,
            Scene::EndsSoon => {
                self.connected_at(workspace, "LINKEDIN_PERSON").await?;
                self.app.clock.advance(TimeDelta::days(352));
            }
            Scene::Deleted => self.deleted(workspace).await?,
            Scene::DeletedAndTold => self.deleted_and_told(workspace).await?,
            Scene::Ended => {
                self.connected(workspace).await?;
                self.app.clock.advance(TimeDelta::days(31));
            }
            Scene::Lapsed => {
                self.connected(workspace).await?;
                self.app.clock.advance(TimeDelta::days(8));
            }
            Scene::Failing => self.failing(workspace).await?,
            Scene::Old => {
                Sweep::Partitions.run(&self.context).await?;
                self.connected(workspace).await?;
                self.app.clock.advance(TimeDelta::days(100));
            }
            other => anyhow::bail!("{other:?} is a handler's"),
        }
        Ok(())
    }
}

/// For how long others have not done what the sweep is for.
fn idle_before(sweep: Sweep) -> TimeDelta {
    match sweep {
        Sweep::TakeAuthorized => TimeDelta::seconds(4),
        Sweep::ExpireConnects => TimeDelta::minutes(11),
        _ => LATER,
    }
}

/// How a piece of work is done in one run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Once,
    Twice,
    AtOnce,
    /// Dropped at this step, and done again when leases have ended.
    Cut(usize),
}

#[derive(Clone, Copy, Debug)]
enum Piece {
    Handler(Scene),
    Sweep(Sweep, Scene),
}

impl Stage {
    /// The rows that a piece of work leaves; `None` if it was to be cut and had no such step.
    async fn run(&self, piece: Piece, way: Way) -> anyhow::Result<Option<Value>> {
        self.app.sandbox.clear_faults();
        let scene = match piece {
            Piece::Handler(scene) | Piece::Sweep(_, scene) => scene,
        };
        let set = self.set(scene).await?;
        if let Piece::Sweep(sweep, _) = piece {
            self.app.clock.advance(idle_before(sweep));
            // What the API itself published is not the sweep's doing.
            self.commands.lock().await.rest().await;
        }
        let act = || self.act(piece, set.command.as_ref());
        match way {
            Way::Once => act().await?,
            Way::Twice => {
                act().await?;
                act().await?;
            }
            Way::AtOnce => drop(tokio::try_join!(act(), act())?),
            Way::Cut(step) => {
                if cut_at(step, act()).await.is_some() {
                    return Ok(None);
                }
                let exchanges = matches!(
                    piece,
                    Piece::Sweep(Sweep::TakeAuthorized, _)
                        | Piece::Handler(
                            Scene::Approved
                                | Scene::ApprovedAndRefused
                                | Scene::ApprovedAndUnknown
                                | Scene::ApprovedPages
                                | Scene::ApprovedTooLate
                                | Scene::ApprovedToBeClaimed
                        )
                );
                self.app.clock.advance(if exchanges { SOON } else { LATER });
                act().await?;
                if exchanges {
                    // What came after the exchange may hold the connect for longer than that.
                    self.app.clock.advance(LATER);
                    act().await?;
                }
            }
        }
        if let Piece::Sweep(sweep, _) = piece {
            self.has_sent(sweep, &set.workspace).await?;
        }
        self.app.rows(&set.workspace).await.map(Some)
    }

    /// A handler's failures are endings, too: what they leave is in the rows. A sweep that fails, because
    /// the broker or the database was too slow for it, runs again a second later, as its schedule says.
    async fn act(&self, piece: Piece, command: Option<&Command>) -> anyhow::Result<()> {
        let sweep = match piece {
            Piece::Handler(_) => {
                self.handle(command.expect("a handler's scene has a command")).await;
                return Ok(());
            }
            Piece::Sweep(sweep, _) => sweep,
        };
        let mut runs = 0;
        while let Err(error) = sweep.run(&self.context).await {
            runs += 1;
            anyhow::ensure!(runs < RUNS, "{sweep:?} failed {runs} times: {error:?}");
        }
        Ok(())
    }

    /// What only dispatches has done so.
    async fn has_sent(&self, sweep: Sweep, workspace: &str) -> anyhow::Result<()> {
        let kind = match sweep {
            Sweep::Relay => "callback_received",
            Sweep::PlanRefreshes => "refresh_due",
            Sweep::DueDeliveries => "webhook_due",
            Sweep::DueChecks => "check_due",
            _ => return Ok(()),
        };
        let about = match kind {
            "webhook_due" => {
                let id = format!(
                    "SELECT d.id FROM webhook_deliveries d JOIN events e ON e.id = d.event_id
                     WHERE e.workspace_id = '{workspace}'"
                );
                self.app.row(&id).await?["id"].as_str().unwrap_or_default().to_owned()
            }
            _ => workspace.to_owned(),
        };
        let mut commands = self.commands.lock().await;
        loop {
            let next = commands.next().await;
            let (came, body) = next.inspect_err(|_| eprintln!("{sweep:?} did not send {about}"))?;
            if came == kind && body.contains(&about) {
                return Ok(());
            }
        }
    }

    /// Plays a piece of work in every way; answers how many steps it has, and at which of them a cut
    /// ends otherwise.
    async fn play(&self, piece: Piece) -> anyhow::Result<(usize, Vec<usize>)> {
        let expected = self.run(piece, Way::Once).await?.context("it was not to be cut")?;
        for way in [Way::Twice, Way::AtOnce] {
            let rows = self.run(piece, way).await?.context("it was not to be cut")?;
            pretty_eq(&rows, &expected, &format!("{piece:?} {way:?}"));
        }
        let mut otherwise = Vec::new();
        for step in 1..TOO_MANY {
            let Some(rows) = self.run(piece, Way::Cut(step)).await? else {
                return Ok((step - 1, otherwise));
            };
            if ended_as_interrupted(&rows) {
                otherwise.push(step);
            } else {
                pretty_eq(&rows, &expected, &format!("{piece:?} cut at step {step}"));
            }
        }
        anyhow::bail!("{piece:?} has no end")
    }
}

/// What a cut may end with where nobody can know whether the platform was asked: the code was perhaps
/// presented, the refusal was perhaps of our making. The rows say so.
fn ended_as_interrupted(rows: &Value) -> bool {
    let any = |table: &str, says: fn(&Value) -> bool| {
        rows[table].as_array().is_some_and(|rows| rows.iter().any(says))
    };
    any("connects", |connect| connect["reason_code"] == "EXCHANGE_INTERRUPTED")
        || any("grants", |grant| grant["end_reason"] == "refresh_interrupted")
        || any("grants", |grant| grant["in_doubt_since"] == "time")
}

/// Names the first difference; whole tables side by side help nobody.
fn pretty_eq(rows: &Value, expected: &Value, what: &str) {
    for (table, expected) in expected.as_object().into_iter().flatten() {
        assert_eq!(
            serde_json::to_string_pretty(&rows[table]).unwrap_or_default(),
            serde_json::to_string_pretty(expected).unwrap_or_default(),
            "{what}: {table}"
        );
    }
}

async fn handler(kind: CommandKind) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    for scene in scenes_of_handler(kind) {
        let played = stage.play(Piece::Handler(*scene)).await;
        let (steps, otherwise) = played.inspect_err(|error| eprintln!("{scene:?}: {error:?}"))?;
        assert!(steps >= 2, "{kind} {scene:?} has no steps to be cut at");
        // From the commit that says "I shall call" to the one that says what came of it.
        assert!(otherwise.len() <= 3, "{kind} {scene:?}: {otherwise:?} of {steps} steps");
    }
    let ledger = stage.app.sandbox.ledger();
    let again = ledger.iter().filter(|entry| entry.kind == Kind::CodeRefused).count();
    assert_eq!(again, 0, "a code was presented twice");
    stage.strike().await
}

async fn sweep(sweep: Sweep) -> anyhow::Result<()> {
    let stage = Stage::new().await?;
    for scene in scenes_of_sweep(sweep) {
        let played = stage.play(Piece::Sweep(sweep, *scene)).await;
        let (steps, otherwise) = played.inspect_err(|error| eprintln!("{scene:?}: {error:?}"))?;
        assert!(steps >= 1, "{sweep:?} {scene:?} has no steps to be cut at");
        assert!(otherwise.len() <= 3, "{sweep:?} {scene:?}: {otherwise:?} of {steps} steps");
    }
    stage.strike().await
}

/// A test for each, so that one that fails says which it is, and none waits for the others.
macro_rules! twice {
    ($play:ident, $all:ident, $($name:ident => $what:expr),+ $(,)?) => {
        mod $play {
            use super::*;

            #[test]
            fn all_have_a_test() {
                assert_eq!([$($what),+].len(), $all::ALL.len());
            }

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() -> anyhow::Result<()> {
                    super::$play($what).await
                }
            )+
        }
    };
}

twice!(handler, CommandKind,
    callback_received => CommandKind::CallbackReceived,
    refresh_due => CommandKind::RefreshDue,
    check_due => CommandKind::CheckDue,
    revocation_due => CommandKind::RevocationDue,
    webhook_due => CommandKind::WebhookDue,
);

twice!(sweep, Sweep,
    relay => Sweep::Relay,
    take_authorized => Sweep::TakeAuthorized,
    plan_refreshes => Sweep::PlanRefreshes,
    announce_health => Sweep::AnnounceHealth,
    note_lapses => Sweep::NoteLapses,
    measure_debt => Sweep::MeasureDebt,
    due_checks => Sweep::DueChecks,
    reauth_notices => Sweep::ReauthNotices,
    due_deliveries => Sweep::DueDeliveries,
    replays => Sweep::Replays,
    delete_workspaces => Sweep::DeleteWorkspaces,
    expire_connects => Sweep::ExpireConnects,
    expire_grants => Sweep::ExpireGrants,
    partitions => Sweep::Partitions,
    prune => Sweep::Prune,
);
