//! What goes wrong between us and PostgreSQL, and what a caller does about it.

use diesel::result::{DatabaseErrorKind, Error};

use super::wire::sqlstate;

/// What went wrong between us and PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The server could not be reached, or no connection became free in time.
    #[error("PostgreSQL is unavailable: {0}")]
    Unavailable(String),
    /// What stands between us and the server does not let us work. Says what to set.
    #[error("PostgreSQL cannot be used as it is reached: {0}")]
    Unfit(&'static str),
    /// The server answered with an error.
    #[error("a query failed")]
    Query(#[from] Error),
}

impl DbError {
    /// Whether the caller should try again later: the server is away or going away, or this session was of no use.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Query(Error::DatabaseError(kind, said)) => match kind {
                DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::ReadOnlyTransaction
                | DatabaseErrorKind::SerializationFailure
                | DatabaseErrorKind::UnableToSendCommand => true,
                _ => sqlstate::of(said.message()).is_some_and(sqlstate::ends_session),
            },
            Self::Query(error) => matches!(error, Error::BrokenTransactionManager),
            Self::Unfit(_) => false,
        }
    }

    /// Whether the same statement with the same values is refused every time.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Query(Error::DatabaseError(kind, said)) => match kind {
                DatabaseErrorKind::NotNullViolation | DatabaseErrorKind::CheckViolation => true,
                _ => sqlstate::of(said.message()).is_some_and(sqlstate::refuses_values),
            },
            Self::Query(error) => matches!(error, Error::SerializationError(_)),
            Self::Unavailable(_) | Self::Unfit(_) => false,
        }
    }

    /// Whether the values were refused: for good, or by what other rows say (SQLSTATE classes 22 and 23).
    #[must_use]
    pub fn refuses_values(&self) -> bool {
        let of_others = matches!(
            self,
            Self::Query(Error::DatabaseError(
                DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::ForeignKeyViolation,
                _
            ))
        );
        of_others || self.is_permanent()
    }

    /// Whether a uniqueness rule refused the row.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Query(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }

    /// Whether the uniqueness rule of this name refused the row.
    #[must_use]
    pub fn violates(&self, constraint: &str) -> bool {
        let Self::Query(Error::DatabaseError(_, said)) = self else { return false };
        self.is_unique_violation() && said.constraint_name() == Some(constraint)
    }

    /// Whether the row names another that is gone, or is still named by one.
    #[must_use]
    pub fn is_foreign_key_violation(&self) -> bool {
        matches!(self, Self::Query(Error::DatabaseError(DatabaseErrorKind::ForeignKeyViolation, _)))
    }
}
