//! The tables as diesel sees them; `migrations/` is the truth.

diesel::table! {
    organisations (id) { id -> Text, name -> Text, created_at -> Timestamptz, }
}
diesel::table! {
    workspaces (id) {
        id -> Text,
        organisation_id -> Text,
        name -> Text,
        redirect_allowlist -> Array<Text>,
        account_policy -> Text,
        created_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        destroyed_at -> Nullable<Timestamptz>,
    }
}
diesel::table! {
    data_keys (id) {
        id -> Text,
        organisation_id -> Nullable<Text>,
        workspace_id -> Nullable<Text>,
        kek_id -> Text,
        wrapped -> Bytea,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    keyring_canaries (kek_id) { kek_id -> Text, sealed -> Bytea, created_at -> Timestamptz, }
}
diesel::table! {
    api_keys (id) {
        id -> Text,
        organisation_id -> Text,
        workspace_id -> Nullable<Text>,
        role -> Text,
        name -> Text,
        hash -> Bytea,
        created_at -> Timestamptz,
        revoked_at -> Nullable<Timestamptz>,
    }
}
diesel::table! {
    sessions (hash) {
        hash -> Bytea,
        organisation_id -> Text,
        api_key_id -> Text,
        expires_at -> Timestamptz,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    idempotency_keys (organisation_id, api_key_id, key_hash) {
        organisation_id -> Text,
        api_key_id -> Text,
        key_hash -> Bytea,
        fingerprint -> Bytea,
        turn -> BigInt,
        lease_until -> Timestamptz,
        sealed_answer -> Nullable<Bytea>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    producers (broker_user) {
        broker_user -> Text,
        api_key_id -> Text,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    requests (producer, message_id) {
        producer -> Text,
        message_id -> Text,
        kind -> Text,
        fingerprint -> Bytea,
        workspace_id -> Nullable<Text>,
        subject_id -> Nullable<Text>,
        sealed_reply -> Nullable<Bytea>,
        refusal -> Nullable<Jsonb>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    profiles (id) {
        id -> Text,
        workspace_id -> Text,
        external_id -> Nullable<Text>,
        name -> Text,
        metadata -> Jsonb,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    apps (id) {
        id -> Text,
        organisation_id -> Text,
        workspace_id -> Nullable<Text>,
        platform -> Text,
        name -> Text,
        client_id -> Text,
        scopes -> Nullable<Array<Text>>,
        door -> Text,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    app_secrets (id) {
        id -> Text,
        organisation_id -> Text,
        app_id -> Text,
        sealed_secret -> Bytea,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    grants (id) {
        id -> Text,
        workspace_id -> Text,
        platform -> Text,
        app_id -> Nullable<Text>,
        status -> Text,
        generation -> BigInt,
        sealed_tokens -> Nullable<Bytea>,
        renewable -> Bool,
        scopes -> Array<Text>,
        holder_hash -> Nullable<Bytea>,
        issued_at -> Timestamptz,
        access_expires_at -> Nullable<Timestamptz>,
        refresh_expires_at -> Nullable<Timestamptz>,
        refresh_at -> Nullable<Timestamptz>,
        next_attempt_at -> Nullable<Timestamptz>,
        attempts -> Integer,
        dispatches -> Integer,
        lease_holder -> Nullable<Text>,
        lease_until -> Nullable<Timestamptz>,
        calling_generation -> Nullable<BigInt>,
        in_doubt_since -> Nullable<Timestamptz>,
        overdue_since -> Nullable<Timestamptz>,
        last_refreshed_at -> Nullable<Timestamptz>,
        last_error_code -> Nullable<Text>,
        last_error_at -> Nullable<Timestamptz>,
        end_reason -> Nullable<Text>,
        released_at -> Nullable<Timestamptz>,
        revocation_sent_at -> Nullable<Timestamptz>,
        reauth_at -> Nullable<Timestamptz>,
        reauth_notice_at -> Nullable<Timestamptz>,
        wake_at -> Nullable<Timestamptz>,
        refused_since -> Nullable<Timestamptz>,
        refused_as -> Nullable<Text>,
        action_needed_since -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    accounts (id) {
        id -> Text,
        workspace_id -> Text,
        platform -> Text,
        platform_user_id -> Text,
        app_id -> Nullable<Text>,
        profile_id -> Nullable<Text>,
        grant_id -> Nullable<Text>,
        username -> Nullable<Text>,
        display_name -> Nullable<Text>,
        avatar_url -> Nullable<Text>,
        status -> Text,
        status_reason -> Nullable<Text>,
        scopes -> Array<Text>,
        missing_scopes -> Array<Text>,
        metadata -> Jsonb,
        event_sequence -> BigInt,
        revocation -> Nullable<Jsonb>,
        connected_at -> Timestamptz,
        token_expired_at -> Nullable<Timestamptz>,
        disconnected_at -> Nullable<Timestamptz>,
        sealed_token -> Nullable<Bytea>,
        next_check_at -> Nullable<Timestamptz>,
        check_failures -> Integer,
        exclusive -> Bool,
        check_refused_since -> Nullable<Timestamptz>,
        check_refused_as -> Nullable<Text>,
        action_needed_since -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    app_health (platform, app_id) {
        platform -> Text,
        app_id -> Text,
        failing -> Jsonb,
        failing_since -> Nullable<Timestamptz>,
        cause -> Nullable<Text>,
        reason -> Nullable<Text>,
        refused_since -> Nullable<Timestamptz>,
        recent_refusals -> Double,
        recent_successes -> Double,
        recent_at -> Nullable<Timestamptz>,
        succeeded_at -> Nullable<Timestamptz>,
        braked_since -> Nullable<Timestamptz>,
        probe_at -> Nullable<Timestamptz>,
        opened_at -> Nullable<Timestamptz>,
        refusals_believed -> Bool,
        busy_until -> Nullable<Timestamptz>,
        announce -> Nullable<Text>,
        announce_since -> Nullable<Timestamptz>,
    }
}
diesel::table! {
    workers (id) { id -> Text, started_at -> Timestamptz, renewed_at -> Timestamptz, }
}
diesel::table! {
    app_pauses (platform, app_id) { platform -> Text, app_id -> Text, until -> Timestamptz, reason -> Text, }
}
diesel::table! {
    connects (id) {
        id -> Text,
        workspace_id -> Text,
        platform -> Text,
        app_id -> Nullable<Text>,
        profile_id -> Nullable<Text>,
        account_id -> Nullable<Text>,
        grant_id -> Nullable<Text>,
        status -> Text,
        reason_code -> Nullable<Text>,
        platform_error -> Nullable<Jsonb>,
        timeline -> Jsonb,
        redirect_url -> Nullable<Text>,
        redirect_uri -> Text,
        scopes -> Array<Text>,
        metadata -> Jsonb,
        state_hash -> Bytea,
        sealed_verifier -> Nullable<Bytea>,
        sealed_code -> Nullable<Bytea>,
        sealed_candidates -> Nullable<Bytea>,
        selection -> Nullable<Array<Text>>,
        deselection -> Array<Text>,
        page_hash -> Nullable<Bytea>,
        account_ids -> Array<Text>,
        lease_until -> Nullable<Timestamptz>,
        status_at -> Timestamptz,
        expires_at -> Timestamptz,
        issuer -> Nullable<Text>,
        iss_required -> Bool,
        binding -> Text,
        exclusive -> Bool,
        result_format -> Text,
        link_hash -> Nullable<Bytea>,
        sealed_state -> Nullable<Bytea>,
        sealed_claim -> Nullable<Bytea>,
        claimed_at -> Nullable<Timestamptz>,
        tries -> Integer,
        code_hash -> Nullable<Bytea>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    events (id, created_at) {
        id -> Text,
        organisation_id -> Text,
        workspace_id -> Nullable<Text>,
        #[sql_name = "type"]
        kind -> Text,
        account_id -> Nullable<Text>,
        sequence -> Nullable<BigInt>,
        data -> Jsonb,
        epoch -> Integer,
        xid -> BigInt,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    event_epochs (epoch) {
        epoch -> Integer,
        cluster -> Text,
        started_at -> Timestamptz,
    }
}
diesel::table! {
    account_history (position, created_at) {
        position -> BigInt,
        workspace_id -> Text,
        account_id -> Text,
        #[sql_name = "type"]
        kind -> Text,
        data -> Jsonb,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    outbox (id, created_at) {
        id -> Text,
        kind -> Text,
        routing_key -> Text,
        body -> Jsonb,
        available_at -> Timestamptz,
        attempts -> Integer,
        publications -> Integer,
        unfinished -> Integer,
        organisation_id -> Nullable<Text>,
        last_error -> Nullable<Text>,
        ending -> Nullable<Text>,
        done_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    dead_letters (id) {
        id -> Text,
        message_id -> Nullable<Text>,
        #[sql_name = "type"]
        kind -> Nullable<Text>,
        queue -> Nullable<Text>,
        routing_key -> Text,
        headers -> Jsonb,
        body -> Bytea,
        reason -> Text,
        died_at -> Timestamptz,
    }
}
diesel::table! {
    webhook_endpoints (id) {
        id -> Text,
        organisation_id -> Text,
        workspace_id -> Nullable<Text>,
        url -> Text,
        event_types -> Array<Text>,
        sealed_secret -> Bytea,
        secret_generation -> BigInt,
        sealed_old_secret -> Nullable<Bytea>,
        old_secret_until -> Nullable<Timestamptz>,
        failing_since -> Nullable<Timestamptz>,
        pace -> Text,
        disabled_at -> Nullable<Timestamptz>,
        disabled_reason -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    webhook_deliveries (id) {
        id -> Text,
        organisation_id -> Text,
        endpoint_id -> Text,
        event_id -> Text,
        event_at -> Timestamptz,
        body -> Nullable<Jsonb>,
        status -> Text,
        attempts -> Integer,
        round_start -> Integer,
        next_attempt_at -> Nullable<Timestamptz>,
        attempt_until -> Nullable<Timestamptz>,
        last_status -> Nullable<Integer>,
        last_error -> Nullable<Text>,
        ended_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}
diesel::table! {
    webhook_replays (endpoint_id) {
        endpoint_id -> Text,
        organisation_id -> Text,
        after_epoch -> Integer,
        after_xid -> BigInt,
        after_id -> Text,
        epoch -> Integer,
        existing -> Text,
        asked_at -> Timestamptz,
        worked_at -> Timestamptz,
    }
}
diesel::table! {
    webhook_attempts (delivery_id, number) {
        delivery_id -> Text,
        number -> Integer,
        organisation_id -> Text,
        begun_at -> Timestamptz,
        duration_ms -> Nullable<Integer>,
        http_status -> Nullable<Integer>,
        error -> Nullable<Text>,
        answer -> Nullable<Text>,
    }
}

diesel::joinable!(sessions -> api_keys (api_key_id));
diesel::joinable!(webhook_deliveries -> webhook_endpoints (endpoint_id));
diesel::allow_tables_to_appear_in_same_query!(accounts, grants);
diesel::joinable!(producers -> api_keys (api_key_id));
diesel::allow_tables_to_appear_in_same_query!(api_keys, producers);
diesel::allow_tables_to_appear_in_same_query!(api_keys, sessions);
diesel::allow_tables_to_appear_in_same_query!(webhook_deliveries, webhook_endpoints, events);
