//! Why a connect ended without an account, in a person's words: what happened, and what to do.

use latchkey_shared::db::connects::ConnectStatus;

use crate::code::Code;

const AGAIN: &str = "Go back to the application and connect again.";
const ASK: &str = "Go back to the application and connect again. If it fails again, send the reference below to the people who run the application.";

/// Title, what happened, what to do next.
pub(crate) fn of_ending(
    status: ConnectStatus,
    reason: &str,
) -> (&'static str, &'static str, &'static str) {
    match status {
        ConnectStatus::Expired => (
            "It took too long",
            "The connection was not finished in time, so nothing was connected.",
            AGAIN,
        ),
        ConnectStatus::Cancelled => (
            "The connection was cancelled",
            "The application took this connection back. Nothing was connected.",
            "Go back to the application to see why, or to connect again.",
        ),
        _ => of_consent(reason)
            .or_else(|| of_application(reason))
            .or_else(|| of_app_password(reason))
            .unwrap_or((
                "The account was not connected",
                "The platform did not let us finish the connection.",
                ASK,
            )),
    }
}

/// Why a connect was not even begun, where a person asked for it on a page of ours.
pub(super) fn of_refusal(code: Code) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match code {
        Code::ValidationFailed => (
            "This link is not complete",
            "The link that brought you here does not say what to connect, or not where.",
            "Go back to where you found it, and ask for a new one.",
        ),
        Code::PlatformNotConfigured => (
            "This platform cannot be connected yet",
            "The people who run this installation have not set the platform up.",
            "Ask them to do so, then try again.",
        ),
        Code::PlatformUnavailable => (
            "The platform does not answer",
            "It does not say where its pages are, so nothing was begun.",
            "Try again in a few minutes.",
        ),
        Code::AccountAlreadyConnected => (
            "An account is connected already",
            "This workspace takes one account of each platform, and it has one of this platform.",
            "Disconnect that one first, or use another workspace.",
        ),
        Code::TooManyOpenConnects | Code::OutboxFull | Code::RateLimited => (
            "Too much at once",
            "There are too many requests, or connections that were begun and not finished.",
            "Wait for some minutes, then try again.",
        ),
        _ => return None,
    })
}

/// What is there already, or not any more, where the account was to be connected.
fn of_application(reason: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match reason {
        "IDENTITY_MISMATCH" => (
            "That was another account",
            "You signed in with another account than the one to be reconnected. Nothing was changed.",
            "Sign out at the platform, or switch accounts there, then connect again from the application.",
        ),
        "ACCOUNT_ALREADY_CONNECTED" => (
            "Another account is connected already",
            "The application takes one account of this platform, and it has another one. Nothing was changed.",
            "To use this account instead, disconnect the other one in the application first. To renew the other one, connect again while signed in with that account at the platform.",
        ),
        "ACCOUNT_OF_ANOTHER_PROFILE" => (
            "This account is connected for somebody else",
            "In the application it belongs to another profile than yours. Nothing was changed.",
            "Have it disconnected there first, then connect it again.",
        ),
        "WORKSPACE_DELETED" => (
            "There is nothing to connect to any more",
            "What the account was to be connected to was deleted meanwhile, so nothing was connected.",
            "Go back to the application.",
        ),
        _ => return None,
    })
}

/// What can go wrong where the person approves in a browser.
fn of_consent(reason: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match reason {
        "ACCESS_DENIED" => (
            "You did not give access",
            "You chose not to give access, so nothing was connected.",
            "If that was a mistake, go back to the application and connect again.",
        ),
        "ISSUER_MISMATCH" => (
            "That was not the platform we asked",
            "You came back with an answer that is not from the platform you were sent to, so nothing was connected.",
            ASK,
        ),
        "CALLBACK_MISMATCH" => (
            "The answer came by another platform's address",
            "Somebody came back by another platform's address than you were sent to, so the connection was ended.",
            AGAIN,
        ),
        "BROWSER_MISMATCH" => (
            "Somebody came back in another browser",
            "The connection belongs to the browser in which it was begun, so it was ended. Nothing was connected.",
            AGAIN,
        ),
        "NO_ACCOUNTS" => (
            "There is nothing to connect",
            "The platform lists no page, organisation or channel of yours that can be connected.",
            "Check that you are signed in as the right person, that you gave access to what you want to connect, and that your role there lets you publish. Then connect again.",
        ),
        "PERMISSION_MISSING" => (
            "Something was left out",
            "You did not give all the access that we need, so nothing was connected.",
            "Connect again, and leave every box ticked that the platform shows you.",
        ),
        "ACTION_REQUIRED" => (
            "The platform wants you to do something first",
            "It asks you to finish something there before anything can be connected: to confirm who you are, or to set up a page or channel.",
            "Open the platform, do what it asks for, then connect again.",
        ),
        "IDENTITY_FAILED" => (
            "The platform does not answer",
            "You gave access, and the platform did not tell us who you are, although we asked it several times. Nothing was connected.",
            "Try again in a few minutes, or tomorrow if that does not help.",
        ),
        "PLATFORM_MISCONFIGURED" => (
            "This connection is not set up right",
            "The platform refuses the application, not you. The people who run it have been told.",
            "Send the reference below to them, and connect again once it is mended.",
        ),
        "LONG_LIVED_REFUSED" => (
            "The access would not have lasted",
            "The platform gave access for an hour and refused to give it for longer, so nothing was connected.",
            ASK,
        ),
        _ => return None,
    })
}

/// What can go wrong where the person gives us an app password.
fn of_app_password(reason: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match reason {
        "APP_PASSWORD_REQUIRED" => (
            "That was not an app password",
            "It was the password of your account, which we do not keep. Nothing was connected.",
            "Make an app password in the platform's settings and connect again with that.",
        ),
        "APP_PASSWORD_REFUSED" => (
            "The app password was refused",
            "The platform does not know this app password for this account. Nothing was connected.",
            "Check the handle, or make a new app password in the platform's settings, and connect again.",
        ),
        "TWO_FACTOR_REQUIRED" => (
            "The platform asks for a second factor",
            "An account with a second factor is connected by an app password, and this was none.",
            "Make an app password in the platform's settings and connect again with that.",
        ),
        "HANDLE_NOT_FOUND" => (
            "We could not find that handle",
            "Nobody has this handle at the moment, or it leads nowhere.",
            "Check how the handle is spelled, with its ending, and connect again.",
        ),
        "HANDLE_MISMATCH" => (
            "That handle belongs to somebody else",
            "The handle leads to an account that does not say the same of itself. Nothing was connected.",
            "Check the handle in the platform's settings, and connect again.",
        ),
        "HOST_NOT_ALLOWED" => (
            "Your account's host cannot be used",
            "Your data are on a host that we may not connect to, so nothing was connected.",
            "Ask the people who run the application whether they can allow it.",
        ),
        "ACCOUNT_TAKEN_DOWN" | "ACCOUNT_SUSPENDED" => (
            "The platform has suspended this account",
            "It answers that the account was taken down or suspended, so nothing was connected.",
            "Settle that with the platform first, then connect again.",
        ),
        "ACCOUNT_DEACTIVATED" => (
            "This account is deactivated",
            "The platform says that you have deactivated it, so nothing was connected.",
            "Activate it again at the platform, then connect again.",
        ),
        _ => return None,
    })
}
