//! How the states of the world come about in which a handler or a sweep has something to do.

use latchkey_shared::ids::ConnectKey;
use std::collections::BTreeMap;

use anyhow::ensure;
use latchkey_shared::db::connects;
use latchkey_shared::messages::Command;
use latchkey_tests::Person;
use latchkey_tests::app::Connected;
use latchkey_tests::sandbox::{Endpoint, Fault, FaultRule, Page};
use latchkey_worker::sweeps::Sweep;
use serde_json::{Value, json};

use super::Stage;

/// What earlier runs left open is not to be done by this one.
pub const CLEARED: &str = "
    UPDATE outbox SET done_at = now(), ending = 'done' WHERE done_at IS NULL;
    UPDATE webhook_deliveries SET status = 'delivered', next_attempt_at = NULL WHERE status = 'pending';
    UPDATE accounts SET next_check_at = NULL;
    UPDATE grants SET next_attempt_at = NULL, reauth_notice_at = NULL WHERE status = 'active';
    UPDATE workspaces SET destroyed_at = now() WHERE deleted_at IS NOT NULL AND destroyed_at IS NULL;
    UPDATE grants SET overdue_since = now() WHERE status = 'active' AND overdue_since IS NULL;
    DELETE FROM app_health;
    DELETE FROM app_pauses;";

impl Stage {
    /// A platform fails, and nobody was told.
    pub(super) async fn failing(&self, workspace: &str) -> anyhow::Result<()> {
        self.connected(workspace).await?;
        let braked = "INSERT INTO app_health (platform, app_id, reason, braked_since, announce, announce_since)
                      VALUES ('SANDBOX', '', 'http_503', now(), 'degraded', now())";
        self.app.execute(braked).await
    }

    /// The same command, and a platform that will misbehave.
    pub(super) fn but(&self, endpoint: Endpoint, fault: Fault, command: Command) -> Command {
        self.app.sandbox.inject(FaultRule::new(endpoint, fault));
        command
    }

    pub(super) async fn start(&self, workspace: &str, platform: &str) -> anyhow::Result<Value> {
        let path = format!("/v1/workspaces/{workspace}/connects");
        let started = self.app.http.post(&path, &json!({ "platform": platform })).await?;
        Ok(started.expect(201)?.json())
    }

    pub(super) async fn approved(
        &self,
        workspace: &str,
        platform: &str,
    ) -> anyhow::Result<Command> {
        let started = self.start(workspace, platform).await?;
        self.approved_by(workspace, &started, "sam").await
    }

    /// Somebody approves while another one, of whom nothing is there yet, gets the one slot.
    pub(super) async fn too_late(&self, workspace: &str) -> anyhow::Result<Command> {
        let path = format!("/v1/workspaces/{workspace}");
        let one = json!({ "accountPolicy": "one_per_platform" });
        self.app.http.patch(&path, &one).await?.expect(200)?;
        let late = self.start(workspace, "SANDBOX").await?;
        self.connected(workspace).await?;
        self.approved_by(workspace, &late, "kim").await
    }

    pub(super) async fn to_be_claimed(&self, workspace: &str) -> anyhow::Result<Command> {
        let path = format!("/v1/workspaces/{workspace}/connects");
        let wanted = json!({
            "platform": "SANDBOX", "binding": "claim", "redirectUrl": "https://app.example/",
        });
        let started = self.app.http.post(&path, &wanted).await?.expect(201)?.json();
        self.approved_by(workspace, &started, "sam").await
    }

    /// What was approved waits for the application.
    pub(super) async fn claiming(&self, workspace: &str) -> anyhow::Result<Command> {
        let connect = self.to_be_claimed(workspace).await?;
        ensure!(self.handle(&connect).await, "it lays down the claim");
        Ok(connect)
    }

    pub(super) async fn claimed(&self, workspace: &str) -> anyhow::Result<Command> {
        let connect = self.claiming(workspace).await?;
        let id = connect.body()["connectId"].as_str().unwrap_or_default().parse()?;
        let db = self.app.db()?;
        let at = ConnectKey { workspace_id: &workspace.parse()?, id: &id };
        let claimed = connects::claim(&mut *db.conn().await?, at).await?;
        ensure!(claimed, "it waits for that");
        Ok(connect)
    }

    async fn approved_by(
        &self,
        workspace: &str,
        started: &Value,
        user: &str,
    ) -> anyhow::Result<Command> {
        self.app.approve(started, &Person::new(user)?).await?.expect(303)?;
        let ids = json!({ "workspaceId": workspace, "connectId": started["connectId"] });
        command("callback_received", &ids)
    }

    /// A choice of two pages, one of them taken.
    pub(super) async fn chosen(&self, workspace: &str) -> anyhow::Result<Command> {
        let connect = self.approved(workspace, "FACEBOOK_PAGE").await?;
        ensure!(self.handle(&connect).await, "it lists the pages");
        let id = connect.body()["connectId"].as_str().unwrap_or_default().to_owned();
        let path = format!("/v1/workspaces/{workspace}/connects/{id}/selection");
        self.app.http.post(&path, &json!({ "candidateIds": ["7001"] })).await?.expect(202)?;
        Ok(connect)
    }

    /// A page whose token is to be looked at.
    pub(super) async fn checked(&self, workspace: &str) -> anyhow::Result<Command> {
        let chosen = self.chosen(workspace).await?;
        ensure!(self.handle(&chosen).await, "it connects the page");
        let row = format!(
            "SELECT workspace_id AS \"workspaceId\", id AS \"accountId\" FROM accounts
             WHERE workspace_id = '{workspace}'"
        );
        command("check_due", &self.app.row(&row).await?)
    }

    pub(super) async fn connected(&self, workspace: &str) -> anyhow::Result<Connected> {
        self.connected_at(workspace, "SANDBOX").await
    }

    pub(super) async fn connected_at(
        &self,
        workspace: &str,
        platform: &str,
    ) -> anyhow::Result<Connected> {
        let connect = self.approved(workspace, platform).await?;
        ensure!(self.handle(&connect).await, "it connects");
        let row = format!(
            "SELECT id, account_ids[1] AS account FROM connects WHERE workspace_id = '{workspace}'"
        );
        let row = self.app.row(&row).await?;
        let text = |what: &str| row[what].as_str().unwrap_or_default().to_owned();
        Ok(Connected { account_id: text("account"), connect_id: text("id") })
    }

    pub(super) async fn due(&self, workspace: &str) -> anyhow::Result<Command> {
        let account = self.connected(workspace).await?.account_id;
        let path = format!("/v1/workspaces/{workspace}/accounts/{account}/refresh");
        self.app.http.post(&path, &json!({})).await?.expect(202)?;
        self.outbox("refresh_due", workspace).await
    }

    pub(super) async fn released(&self, workspace: &str) -> anyhow::Result<Command> {
        let account = self.connected(workspace).await?.account_id;
        let path = format!("/v1/workspaces/{workspace}/accounts/{account}");
        self.app.http.delete(&path).await?.expect(202)?;
        self.outbox("revocation_due", workspace).await
    }

    /// A workspace with an account and an open connect, deleted just now.
    pub(super) async fn deleted(&self, workspace: &str) -> anyhow::Result<()> {
        self.connected(workspace).await?;
        self.start(workspace, "SANDBOX").await?;
        self.app.http.delete(&format!("/v1/workspaces/{workspace}")).await?.expect(204)?;
        Ok(())
    }

    pub(super) async fn deleted_and_told(&self, workspace: &str) -> anyhow::Result<()> {
        self.deleted(workspace).await?;
        Sweep::DeleteWorkspaces.run(&self.context).await?;
        let revocation = self.outbox("revocation_due", workspace).await?;
        ensure!(self.handle(&revocation).await, "it tells the platform");
        Ok(())
    }

    pub(super) async fn undelivered(&self, workspace: &str) -> anyhow::Result<Command> {
        // An endpoint that said 410 in another run is asked again in this one.
        self.app
            .execute("UPDATE webhook_endpoints SET disabled_at = NULL, disabled_reason = NULL")
            .await?;
        self.start(workspace, "SANDBOX").await?;
        let ids = format!(
            "SELECT d.id AS \"deliveryId\", d.organisation_id AS \"organisationId\"
             FROM webhook_deliveries d JOIN events e ON e.id = d.event_id
             WHERE e.workspace_id = '{workspace}'"
        );
        command("webhook_due", &self.app.row(&ids).await?)
    }

    /// An event that was delivered, and a replay that begins just before it.
    pub(super) async fn replaying(&self, workspace: &str) -> anyhow::Result<()> {
        self.start(workspace, "SANDBOX").await?;
        let asked = format!(
            "UPDATE webhook_deliveries SET status = 'delivered', next_attempt_at = NULL WHERE status = 'pending';
             DELETE FROM webhook_replays;
             INSERT INTO webhook_replays (endpoint_id, organisation_id, after_epoch, after_xid, after_id,
                 epoch, existing, asked_at, worked_at)
             SELECT e.id, e.organisation_id, v.epoch, v.xid, '', v.epoch, pg_current_snapshot()::text, now(), now()
             FROM webhook_endpoints e, events v WHERE v.workspace_id = '{workspace}'"
        );
        self.app.execute(&asked).await
    }

    /// What the transaction that made it necessary sent.
    pub(super) async fn outbox(&self, kind: &str, workspace: &str) -> anyhow::Result<Command> {
        let query = format!(
            "SELECT body FROM outbox WHERE kind = '{kind}' AND body::text LIKE '%{workspace}%'"
        );
        command(kind, &self.app.row(&query).await?["body"])
    }
}

pub(super) fn page(id: &str) -> Page {
    let roles = vec!["CREATE_CONTENT".to_owned()];
    Page { id: id.to_owned(), name: format!("Page {id}"), username: None, roles }
}

pub(super) fn invalid_token() -> Fault {
    let error = json!({ "code": 190, "subcode": 492, "message": "the role on the page is lost" });
    let body = json!({ "data": { "is_valid": false, "error": error } }).to_string();
    Fault::Answer { status: 200, headers: BTreeMap::new(), body }
}

fn command(kind: &str, ids: &Value) -> anyhow::Result<Command> {
    Ok(Command::decode(kind, ids.to_string().as_bytes())?)
}
