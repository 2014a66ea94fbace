//! `nvbind-provider-aws`: answers nvbind's calls on standard input, by AWS's SDK.

fn main() -> std::io::Result<()> {
    let mut provider = nvbind_cloud_aws::Aws::from_environment()?;
    nvbind_cloud::provider::serve("aws", &mut provider)
}
