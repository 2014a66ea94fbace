//! What an image says about its command (`config` of an OCI image configuration).

use nvbind_workload::Workload;
use serde::Deserialize;

/// What an image says about its command and its surroundings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    /// `NAME=value` entries.
    pub env: Option<Vec<String>>,
    /// What always begins the command line.
    pub entrypoint: Option<Vec<String>>,
    /// The rest of the command line, unless the user gives one.
    pub cmd: Option<Vec<String>>,
    /// Working directory.
    pub working_dir: String,
    /// `user[:group]`.
    pub user: String,
}

impl ImageConfig {
    /// Puts the image's settings where the workload has none of its own.
    pub fn fill(&self, workload: &mut Workload) {
        let given = std::mem::take(&mut workload.command);
        let arguments = if given.is_empty() {
            self.cmd.clone().unwrap_or_default()
        } else {
            given
        };
        workload.command = self.entrypoint.iter().flatten().cloned().chain(arguments).collect();
        let own = self.env.iter().flatten().filter_map(|entry| entry.split_once('='));
        let own: Vec<_> = own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        workload.env.splice(0..0, own);
        let workdir = Some(&self.working_dir).filter(|path| !path.is_empty());
        workload.workdir = workload.workdir.take().or(workdir.map(Into::into));
        let user = Some(&self.user).filter(|user| !user.is_empty());
        workload.user = workload.user.take().or(user.cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    fn config() -> ImageConfig {
        serde_json::from_str(
            r#"{"Env":["A=1","B=2=3"],"Entrypoint":["/init"],"Cmd":["serve"],"WorkingDir":"/srv","User":"ada","Labels":{}}"#,
        )
        .unwrap()
    }

    #[test]
    fn an_image_fills_what_the_user_left_open() {
        let mut workload = Workload::new("w");
        config().fill(&mut workload);
        assert_eq!(workload.command, words(&["/init", "serve"]));
        assert_eq!(workload.env, [("A".into(), "1".into()), ("B".into(), "2=3".into())]);
        assert_eq!(workload.workdir, Some("/srv".into()));
        assert_eq!(workload.user, Some("ada".into()));
    }

    #[test]
    fn the_user_has_the_last_word_but_not_over_the_entrypoint() {
        let mut workload = Workload::new("w");
        workload.command = words(&["check", "-v"]);
        workload.env = vec![("A".into(), "9".into())];
        workload.user = Some("0".into());
        config().fill(&mut workload);
        assert_eq!(workload.command, words(&["/init", "check", "-v"]));
        assert_eq!(workload.env.last(), Some(&("A".into(), "9".into())));
        assert_eq!(workload.user, Some("0".into()));
    }

    #[test]
    fn nulls_are_nothing() {
        let config: ImageConfig = serde_json::from_str(r#"{"Env":null,"Cmd":null,"Entrypoint":null}"#).unwrap();
        assert_eq!(config, ImageConfig::default());
    }
}
