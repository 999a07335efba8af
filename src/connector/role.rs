//! The roles of administrators, as contact centres have them.

use std::fmt;
use std::str::FromStr;

/// What an administrator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `full-admin`
    FullAdmin,
    /// `contact-center-service-admin`
    ContactCenterServiceAdmin,
    /// `external-full-admin`: an external administrator with the full-admin role.
    ExternalFullAdmin,
    /// `external-contact-center-admin`: one with a contact-center custom role.
    ExternalContactCenterAdmin,
    /// `help-desk-full-admin`: a help-desk administrator with the full-admin role.
    HelpDeskFullAdmin,
    /// `partner-full-admin`
    PartnerFullAdmin,
    /// `external-read-only-admin`: an external administrator with the read-only role.
    ExternalReadOnlyAdmin,
    /// `help-desk-admin`: a help-desk administrator, basic.
    HelpDeskAdmin,
    /// `partner-read-only-admin`
    PartnerReadOnlyAdmin,
    /// `read-only-admin`: may not even see connectors.
    ReadOnlyAdmin,
}

/// What a role may do with what belongs to its organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// See it.
    Read,
    /// See, create, edit, deactivate, activate and delete it.
    Write,
}

/// Why a text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of {}", Role::ALL.map(Role::name).join(", "))]
pub struct UnknownRole;

impl Role {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::FullAdmin,
        Self::ContactCenterServiceAdmin,
        Self::ExternalFullAdmin,
        Self::ExternalContactCenterAdmin,
        Self::HelpDeskFullAdmin,
        Self::PartnerFullAdmin,
        Self::ExternalReadOnlyAdmin,
        Self::HelpDeskAdmin,
        Self::PartnerReadOnlyAdmin,
        Self::ReadOnlyAdmin,
    ];

    /// How it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::FullAdmin => "full-admin",
            Self::ContactCenterServiceAdmin => "contact-center-service-admin",
            Self::ExternalFullAdmin => "external-full-admin",
            Self::ExternalContactCenterAdmin => "external-contact-center-admin",
            Self::HelpDeskFullAdmin => "help-desk-full-admin",
            Self::PartnerFullAdmin => "partner-full-admin",
            Self::ExternalReadOnlyAdmin => "external-read-only-admin",
            Self::HelpDeskAdmin => "help-desk-admin",
            Self::PartnerReadOnlyAdmin => "partner-read-only-admin",
            Self::ReadOnlyAdmin => "read-only-admin",
        }
    }

    /// What it may do.
    pub fn access(self) -> Access {
        match self {
            Self::FullAdmin
            | Self::ContactCenterServiceAdmin
            | Self::ExternalFullAdmin
            | Self::ExternalContactCenterAdmin
            | Self::HelpDeskFullAdmin
            | Self::PartnerFullAdmin => Access::Write,
            Self::ExternalReadOnlyAdmin | Self::HelpDeskAdmin | Self::PartnerReadOnlyAdmin => {
                Access::Read
            }
            Self::ReadOnlyAdmin => Access::None,
        }
    }

    /// Whether it may connect the contact centre itself (kind `webex-cc`), which takes one of three
    /// of those that write.
    pub fn connects_the_contact_centre(self) -> bool {
        matches!(
            self,
            Self::FullAdmin | Self::ExternalFullAdmin | Self::ContactCenterServiceAdmin
        )
    }

    /// Whether it may do something that `other` may not.
    pub fn exceeds(self, other: Self) -> bool {
        self.access() > other.access()
            || (self.connects_the_contact_centre() && !other.connects_the_contact_centre())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
