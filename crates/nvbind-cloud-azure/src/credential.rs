//! Who asks: the credentials of Azure's own SDK, in an order that is quick where one is missing.

use crate::config::Identity;
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::http::ClientOptions;
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use std::sync::Arc;
use std::time::Duration;

/// How long the metadata service of a machine may take. It is on the machine itself; elsewhere nobody answers, and the SDK would try for 72 s.
const METADATA: Duration = Duration::from_secs(5);

/// An application's secret where `AZURE_CLIENT_SECRET` is set, a workload's token where `AZURE_FEDERATED_TOKEN_FILE` is; else the login of
/// the command `az`, else the managed identity of this machine.
pub(crate) fn credential(identity: &Identity, options: &ClientOptions) -> azure_core::Result<Arc<dyn TokenCredential>> {
    if let (Some(tenant), Some(client), Some(secret)) = (&identity.tenant, &identity.client, &identity.secret) {
        let options = ClientSecretCredentialOptions {
            client_options: options.clone(),
        };
        let secret = Secret::new(secret.clone());
        return Ok(ClientSecretCredential::new(
            tenant,
            client.clone(),
            secret,
            Some(options),
        )?);
    }
    if identity.is_federated {
        let options = WorkloadIdentityCredentialOptions {
            credential_options: ClientAssertionCredentialOptions {
                client_options: options.clone(),
            },
            ..WorkloadIdentityCredentialOptions::default()
        };
        return Ok(WorkloadIdentityCredential::new(Some(options))?);
    }
    let managed = ManagedIdentityCredentialOptions {
        user_assigned_id: identity.client.clone().map(UserAssignedId::ClientId),
        client_options: options.clone(),
    };
    Ok(Arc::new(LoginOrMachine {
        login: AzureCliCredential::new(None)?,
        machine: ManagedIdentityCredential::new(Some(managed))?,
    }))
}

/// The login of the command `az`, else the managed identity of this machine.
#[derive(Debug)]
struct LoginOrMachine {
    login: Arc<AzureCliCredential>,
    machine: Arc<ManagedIdentityCredential>,
}

#[async_trait]
impl TokenCredential for LoginOrMachine {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let no_login = match self.login.get_token(scopes, options.clone()).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let machine = tokio::time::timeout(METADATA, self.machine.get_token(scopes, options)).await;
        let no_machine = match machine {
            Ok(Ok(token)) => return Ok(token),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no metadata service answers".to_owned(),
        };
        Err(azure_core::Error::with_message(
            ErrorKind::Credential,
            format!(
                "no credentials: set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or run 'az login' (az: {no_login}; managed \
                 identity: {no_machine})"
            ),
        ))
    }
}
