//! Tokens as administrators make, list and revoke them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::administration::{Attempt, fault, of};
use super::{Actor, Administration, Denied, HashError, Minted, Role, Scope};
use crate::clock::rfc3339;
use crate::control::store::{AdminToken, Page, StoreError};
use crate::secret::Secret;

/// How long a token holds if nobody says.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3_600);
/// The longest that one holds.
pub const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
/// The longest name of a token, in characters.
const NAME_CHARACTERS_MAX: usize = 100;

/// A token that is asked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is called by people.
    pub name: String,
    /// What its holder is to be.
    pub role: Role,
    /// Whose connectors its holder is to see.
    pub scope: Scope,
    /// How long it holds.
    pub lifetime: Duration,
}

/// A token that was made.
#[derive(Debug)]
pub struct Issued {
    /// As it is kept.
    pub record: AdminToken,
    /// The token itself, to be shown once.
    pub token: Secret,
}

impl Administration {
    /// Makes a token.
    ///
    /// # Errors
    ///
    /// [`Denied`]; it is in the audit log already.
    pub async fn issue(&self, actor: &Actor, wanted: Wanted) -> Result<Issued, Denied> {
        let mut attempt = Attempt::new(actor, "admin-token.create", "");
        match self.try_issue(&mut attempt, wanted).await {
            Ok(issued) => Ok(issued),
            Err(denied) => Err(self.deny(&attempt, denied).await),
        }
    }

    async fn try_issue(&self, attempt: &mut Attempt<'_>, wanted: Wanted) -> Result<Issued, Denied> {
        Self::may_write(attempt.actor)?;
        check(attempt.actor, &wanted)?;
        // A name may be anything; what was refused for its form is not repeated.
        attempt.target.clone_from(&wanted.name);
        if let Scope::One(organization) = &wanted.scope
            && self.store.organization(organization).await?.is_none()
        {
            return Err(no_such_organization());
        }
        let minted = self.mint().await?;
        let now = self.clock.wall();
        let record = AdminToken {
            id: minted.id,
            name: wanted.name,
            role: wanted.role,
            scope: wanted.scope,
            hash: minted.hash,
            created_at: now,
            expires_at: Some(now + wanted.lifetime),
            revoked_at: None,
        };
        attempt.target.clone_from(&record.id);
        attempt.organization = of(&record.scope);
        attempt.after = Some(shown(&record));
        let mut change = self.store.begin().await?;
        match change.insert_admin_token(&record).await {
            Err(StoreError::Conflict { .. }) => return Err(no_such_organization()),
            inserted => inserted?,
        }
        self.commit(change, attempt).await?;
        let token = minted.token;
        Ok(Issued { record, token })
    }

    /// A token, once it is its turn.
    async fn mint(&self) -> Result<Minted, HashError> {
        let turn = Arc::clone(&self.mints).acquire_owned().await;
        let turn = turn.map_err(|_| HashError::Ended)?;
        let minting = tokio::task::spawn_blocking(move || {
            let minted = Minted::new();
            // The turn ends with the work, whoever still waits for it.
            drop(turn);
            minted
        });
        minting.await.map_err(|_| HashError::Ended)?
    }

    /// The tokens that `actor` may know of, by ID, those that have ended too.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub async fn tokens(&self, actor: &Actor, page: Page) -> Result<Vec<AdminToken>, Denied> {
        Self::may_write(actor)?;
        Ok(self.store.admin_tokens(&actor.scope, page).await?)
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`Denied`].
    pub async fn token(&self, actor: &Actor, id: &str) -> Result<AdminToken, Denied> {
        Self::may_write(actor)?;
        let token = self.store.admin_token(id).await?;
        let token = token.filter(|token| sees(actor, &token.scope));
        token.ok_or(Denied::NotFound)
    }

    /// Ends a token now. One that was revoked before stays so.
    ///
    /// # Errors
    ///
    /// [`Denied`]; it is in the audit log already.
    pub async fn revoke(&self, actor: &Actor, id: &str) -> Result<(), Denied> {
        let mut attempt = Attempt::new(actor, "admin-token.revoke", plausible(id));
        match self.try_revoke(&mut attempt, id).await {
            Ok(()) => Ok(()),
            Err(denied) => Err(self.deny(&attempt, denied).await),
        }
    }

    async fn try_revoke(&self, attempt: &mut Attempt<'_>, id: &str) -> Result<(), Denied> {
        let mut token = self.token(attempt.actor, id).await?;
        attempt.target.clone_from(&token.id);
        attempt.organization = of(&token.scope);
        attempt.before = Some(shown(&token));
        if token.revoked_at.is_some() {
            return Ok(());
        }
        let now = self.clock.wall();
        let mut change = self.store.begin().await?;
        change.revoke_admin_token(id, now).await?;
        token.revoked_at = Some(now);
        attempt.after = Some(shown(&token));
        self.commit(change, attempt).await?;
        Ok(())
    }
}

/// Whether what belongs to `scope` exists for `actor`: the gateway's own only for who runs it.
fn sees(actor: &Actor, scope: &Scope) -> bool {
    match scope {
        Scope::One(organization) => actor.scope.includes(organization),
        Scope::All => actor.scope == Scope::All,
    }
}

/// Whether `actor` may have a token like `wanted` made.
fn check(actor: &Actor, wanted: &Wanted) -> Result<(), Denied> {
    if !sees(actor, &wanted.scope) {
        return Err(no_such_organization());
    }
    if wanted.role.exceeds(actor.role) {
        return Err(Denied::Forbidden);
    }
    let mut faults = Vec::new();
    let name = &wanted.name;
    if name.is_empty()
        || name.chars().count() > NAME_CHARACTERS_MAX
        || name.contains(char::is_control)
    {
        let form = "must be 1 to 100 characters without control characters";
        faults.push(fault("/name", form));
    }
    if wanted.lifetime.is_zero() || wanted.lifetime > TOKEN_LIFETIME_MAX {
        let form = "must be from 1 to 366 days";
        faults.push(fault("/expires_in_days", form));
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Denied::Invalid(faults)),
    }
}

/// An ID that may stand in the audit log although no token has it.
fn plausible(id: &str) -> &str {
    let sane = id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if sane { id } else { "" }
}

fn no_such_organization() -> Denied {
    let fault = fault("/organization", "there is no such organization");
    Denied::Invalid(vec![fault])
}

/// A token as the audit log has it: all but its hash.
fn shown(token: &AdminToken) -> Value {
    let date = |at: Option<SystemTime>| at.map(|at| rfc3339(at).to_string());
    json!({
        "id": token.id,
        "name": token.name,
        "role": token.role.name(),
        "organization": token.scope.to_string(),
        "expires_at": date(token.expires_at),
        "revoked_at": date(token.revoked_at),
    })
}
