//! Whose account it is, and whether it may do what will be asked of it.

use crate::arm::{Call, Service};
use crate::id::{PERMISSIONS, SUBSCRIPTIONS, subscription_id};
use azure_core::credentials::TokenCredential;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nvbind_cloud::provider::{Account, ErrorClass, ProviderError};
use serde::Deserialize;
use std::sync::Arc;

/// What nvbind does, as Azure's roles name it.
const ACTIONS: [&str; 8] = [
    "Microsoft.Resources/subscriptions/resourceGroups/write",
    "Microsoft.Resources/subscriptions/resourceGroups/delete",
    "Microsoft.Network/virtualNetworks/write",
    "Microsoft.Network/networkSecurityGroups/write",
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/publicIPAddresses/write",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Compute/virtualMachines/delete",
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subscription {
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    state: String,
}

/// What a role allows, less what it does not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    not_actions: Vec<String>,
}

impl Permission {
    fn allows(&self, action: &str) -> bool {
        let holds = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, action));
        holds(&self.actions) && !holds(&self.not_actions)
    }
}

/// Looks at the subscription, and at what the credentials may do in it.
pub(crate) async fn check(
    arm: &Service,
    credential: &Arc<dyn TokenCredential>,
    scope: &str,
    subscription: &str,
) -> Result<Account, ProviderError> {
    let path = subscription_id(subscription);
    let found: Subscription = arm.send(&Call::get(&path, SUBSCRIPTIONS)).await?.json()?;
    // A subscription that cannot be paid for is `PastDue` or `Warned` first, and works.
    if matches!(found.state.as_str(), "Disabled" | "Deleted") {
        let why = format!(
            "the subscription {subscription} ({}) is {}",
            found.display_name, found.state
        );
        return Err(ProviderError::new(ErrorClass::Permission, "SubscriptionDisabled", why));
    }
    let permissions = format!("{path}/providers/Microsoft.Authorization/permissions");
    let permissions: Vec<Permission> = arm.list(&Call::get(permissions, PERMISSIONS)).await?;
    let is_allowed = |action: &str| permissions.iter().any(|permission| permission.allows(action));
    let missing: Vec<&str> = ACTIONS.into_iter().filter(|action| !is_allowed(action)).collect();
    if !missing.is_empty() {
        let why = format!(
            "in the subscription {subscription} not allowed: {}; the role Contributor allows it",
            missing.join(", ")
        );
        return Err(ProviderError::new(ErrorClass::Permission, "MissingPermissions", why));
    }
    let token = credential.get_token(&[scope], None).await;
    let identity = token.ok().and_then(|token| identity(token.token.secret()));
    Ok(Account {
        id: subscription.to_owned(),
        identity: identity.unwrap_or_else(|| "unknown".to_owned()),
    })
}

/// Whether a pattern of a role, with its stars, holds for an action; the case does not count.
fn fits(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_ascii_lowercase(), action.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = action.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(start) => rest = &rest[start + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

/// Who a token is for, by the claims that it carries
/// (<https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>). Only to be shown: nothing is decided by it.
fn identity(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        upn: Option<String>,
        unique_name: Option<String>,
        app_displayname: Option<String>,
        appid: Option<String>,
        oid: Option<String>,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let application = claims
        .app_displayname
        .or(claims.appid)
        .map(|id| format!("application {id}"));
    claims.upn.or(claims.unique_name).or(application).or(claims.oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for pattern in [
            "*",
            "Microsoft.Compute/*",
            "microsoft.compute/virtualMachines/write",
            "*/write",
            "*/virtualMachines/*",
        ] {
            assert!(fits(pattern, "Microsoft.Compute/virtualMachines/write"), "{pattern}");
        }
        for pattern in [
            "*/read",
            "Microsoft.Network/*",
            "Microsoft.Compute/virtualMachines",
            "*/disks/*",
        ] {
            assert!(!fits(pattern, "Microsoft.Compute/virtualMachines/write"), "{pattern}");
        }
        let contributor = Permission {
            actions: vec!["*".to_owned()],
            not_actions: vec!["Microsoft.Authorization/*/Write".to_owned()],
        };
        assert!(ACTIONS.iter().all(|action| contributor.allows(action)));
        assert!(!contributor.allows("Microsoft.Authorization/roleAssignments/write"));
    }

    #[test]
    fn a_token_tells_who_it_is_for() {
        let token = |claims: &str| format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(
            identity(&token(r#"{"upn": "ada@example.com", "oid": "1"}"#)).as_deref(),
            Some("ada@example.com")
        );
        assert_eq!(
            identity(&token(r#"{"appid": "7", "oid": "1"}"#)).as_deref(),
            Some("application 7")
        );
        assert_eq!(identity("opaque"), None);
    }
}
