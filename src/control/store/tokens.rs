//! Administrators' tokens, as rows. Only their hashes are here.

use std::time::SystemTime;

use super::change::Change;
use super::connectors::organization;
use super::engine::{Conditions, Row};
use super::{AdminToken, Page, Store, StoreError};
use crate::control::access::Scope;

const COLUMNS: &str = "id, name, role, organization, hash, created_at, expires_at, revoked_at";

impl Store {
    /// The tokens of `scope` by ID, those that have ended too.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn admin_tokens(
        &self,
        scope: &Scope,
        page: Page,
    ) -> Result<Vec<AdminToken>, StoreError> {
        let mut wanted = Conditions::new("1 = 1");
        wanted.add_some("organization =", owner(scope));
        wanted.add_some("id >", page.after);
        let (conditions, values) = wanted.finish();
        let limit = page.limit;
        let sql = format!(
            "SELECT {COLUMNS} FROM admin_tokens WHERE {conditions} ORDER BY id LIMIT {limit}"
        );
        let rows = self.engine().await?.query(sql, values).await?;
        rows.into_iter().map(read_token).collect()
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn admin_token(&self, id: &str) -> Result<Option<AdminToken>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM admin_tokens WHERE id = $1");
        let mut rows = self.engine().await?.query(sql, vec![id.into()]).await?;
        rows.pop().map(read_token).transpose()
    }
}

impl Change {
    /// Keeps a new token.
    ///
    /// # Errors
    ///
    /// [`StoreError::Conflict`] if its ID is taken, or its organization is not there.
    pub async fn insert_admin_token(&mut self, token: &AdminToken) -> Result<(), StoreError> {
        let sql = "INSERT INTO admin_tokens (id, name, role, organization, hash, created_at, \
             expires_at, revoked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let values = vec![
            token.id.as_str().into(),
            token.name.as_str().into(),
            token.role.name().into(),
            owner(&token.scope).into(),
            token.hash.as_str().into(),
            token.created_at.into(),
            token.expires_at.into(),
            token.revoked_at.into(),
        ];
        self.query(sql, values).await.map(drop)
    }

    /// Ends a token; whether there was one that had not been revoked yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub async fn revoke_admin_token(
        &mut self,
        id: &str,
        at: SystemTime,
    ) -> Result<Revoked, StoreError> {
        let sql = "UPDATE admin_tokens SET revoked_at = $1 \
             WHERE id = $2 AND revoked_at IS NULL RETURNING id";
        let rows = self.query(sql, vec![at.into(), id.into()]).await?;
        Ok(if rows.is_empty() {
            Revoked::NothingToDo
        } else {
            Revoked::Now
        })
    }
}

/// What became of a token that was to be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It is revoked with this change.
    Now,
    /// There is none, or it was revoked before.
    NothingToDo,
}

fn owner(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::One(organization) => Some(organization.as_str()),
        Scope::All => None,
    }
}

fn read_token(mut row: Row) -> Result<AdminToken, StoreError> {
    Ok(AdminToken {
        id: row.text()?,
        name: row.text()?,
        role: row
            .text()?
            .parse()
            .map_err(|_| StoreError::corrupt("a role"))?,
        scope: match row.text_or_null()? {
            Some(name) => Scope::One(organization(&name)?),
            None => Scope::All,
        },
        hash: row.text()?,
        created_at: row.time()?,
        expires_at: row.time_or_null()?,
        revoked_at: row.time_or_null()?,
    })
}
