//! Clients of AWS's services: which region, how long they wait, how often they try.

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_smithy_http_client::tls;
use std::time::Duration;

/// No call hangs: AWS answers in a second, RunInstances in a few.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);

/// A call and two more tries; launches have their own policy in `launch.rs`.
const ATTEMPTS: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const LONGEST_BACKOFF: Duration = Duration::from_secs(2);

/// Where the price list and the bill are served (docs.aws.amazon.com/general/latest/gr/billing.html).
const BILLING_REGION: &str = "us-east-1";

/// Makes clients for a region; credentials and connections are shared.
#[derive(Debug)]
pub(crate) struct Clients {
    config: SdkConfig,
}

impl Clients {
    /// By the environment, as every program on the SDK.
    pub(crate) async fn load() -> Self {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(FIRST_BACKOFF)
            .with_max_backoff(LONGEST_BACKOFF);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(retries)
            .load()
            .await;
        Self { config }
    }

    /// The region of the environment, else the one that every account has.
    pub(crate) fn home(&self) -> String {
        self.config
            .region()
            .map_or_else(|| BILLING_REGION.to_owned(), ToString::to_string)
    }

    pub(crate) fn ec2(&self, region: &str) -> aws_sdk_ec2::Client {
        let config = aws_sdk_ec2::config::Builder::from(&self.config).region(Region::new(region.to_owned()));
        aws_sdk_ec2::Client::from_conf(config.build())
    }

    pub(crate) fn parameters(&self, region: &str) -> aws_sdk_ssm::Client {
        let config = aws_sdk_ssm::config::Builder::from(&self.config).region(Region::new(region.to_owned()));
        aws_sdk_ssm::Client::from_conf(config.build())
    }

    pub(crate) fn quotas(&self, region: &str) -> aws_sdk_servicequotas::Client {
        let config = aws_sdk_servicequotas::config::Builder::from(&self.config).region(Region::new(region.to_owned()));
        aws_sdk_servicequotas::Client::from_conf(config.build())
    }

    pub(crate) fn identity(&self) -> aws_sdk_sts::Client {
        let config = aws_sdk_sts::config::Builder::from(&self.config).region(Region::new(self.home()));
        aws_sdk_sts::Client::from_conf(config.build())
    }

    pub(crate) fn price_list(&self) -> aws_sdk_pricing::Client {
        let config = aws_sdk_pricing::config::Builder::from(&self.config).region(Region::from_static(BILLING_REGION));
        aws_sdk_pricing::Client::from_conf(config.build())
    }

    pub(crate) fn costs(&self) -> aws_sdk_costexplorer::Client {
        let config =
            aws_sdk_costexplorer::config::Builder::from(&self.config).region(Region::from_static(BILLING_REGION));
        aws_sdk_costexplorer::Client::from_conf(config.build())
    }
}
