//! The list of providers: a file in this folder and its line here are all that a provider needs.

use std::sync::Arc;

use tidings_contract::Provider;

use crate::SandboxInbox;

macro_rules! providers {
    ($($file:ident,)*) => {
        $(mod $file;)*

        /// The files of this folder that are registered.
        #[cfg(test)]
        pub(crate) const FILES: &[&str] = &[$(stringify!($file)),*];

        /// Makes every provider.
        pub(crate) fn all(inbox: &Arc<SandboxInbox>) -> Vec<Arc<dyn Provider>> {
            vec![$($file::provider(inbox)),*]
        }

        /// The providers that speak HTTP, as the conformance suite wants them.
        #[cfg(test)]
        pub(crate) fn subjects() -> Vec<crate::conformance::Subject> {
            [$($file::tests::subject()),*].into_iter().flatten().collect()
        }
    };
}

// The modules are declared inside a macro, so `cargo fmt` does not find them: format this folder by name.
providers! {
    alipay_mini,
    custom_http,
    dingtalk_robot,
    dingtalk_work,
    discord,
    email_smtp,
    feishu_app,
    feishu_robot,
    push_apns,
    push_fcm,
    push_getui,
    sandbox,
    slack,
    sms_aliyun,
    sms_lintong,
    sms_tencent,
    sms_twilio,
    sms_yunpian,
    teams,
    telegram,
    webhook,
    wechat_mini,
    wechat_official,
    wecom_app,
    wecom_robot,
}

/// The example of the README, which nobody registers.
#[cfg(test)]
#[path = "../../tests/example/sms_acme.rs"]
mod sms_acme;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::Registry;

    #[test]
    fn the_example_of_the_readme_is_a_whole_provider() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let example = fs::read_to_string(root.join("tests/example/sms_acme.rs")).expect("it is there");
        let readme = fs::read_to_string(root.join("README.md")).expect("it is there");
        assert!(readme.contains(&format!("```rust\n{example}```\n")), "README.md shows another example");
        let registry = Registry::new();
        let registry = registry.with(sms_acme::provider(registry.inbox()));
        let info = registry.get("sms/acme").expect("it was registered").info();
        let example = serde_json::from_str(info.example).expect("the example is JSON");
        crate::testing::open(&registry, info.name, example).expect("its settings are right");
        assert_eq!(sms_acme::tests::subject().map(|subject| subject.provider), Some(info.name));
    }

    /// Every source of this crate, without what is there for tests only.
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            match path.file_name().and_then(|name| name.to_str()) {
                Some("provider_tests" | "conformance" | "testing") => {}
                Some(name) if name.ends_with("_tests.rs") => {}
                _ if path.is_dir() => sources(&path, found),
                _ => found.push(path),
            }
        }
    }

    #[test]
    fn a_provider_touches_two_files_its_own_and_the_list() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        sources(&root, &mut files);
        // Those that are not called like their channel, whose name stands in the catalog as well.
        let providers = [
            "sms_tencent",
            "sms_aliyun",
            "sms_yunpian",
            "sms_lintong",
            "sms_twilio",
            "push_getui",
            "push_fcm",
            "push_apns",
            "email_smtp",
            "custom_http",
        ];
        for provider in providers {
            let own = root.join(format!("providers/{provider}.rs"));
            let name = if provider == "custom_http" { provider.to_owned() } else { provider.replacen('_', "/", 1) };
            let mut touched: Vec<_> = files
                .iter()
                .filter(|file| {
                    let text = fs::read_to_string(file).expect("readable");
                    // What stands below a file's tests does not count.
                    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                    **file == own || text.contains(provider) || text.contains(&format!("\"{name}\""))
                })
                .collect();
            touched.sort();
            let mut expected = [own.clone(), root.join("providers/mod.rs")];
            expected.sort();
            assert_eq!(touched, expected.iter().collect::<Vec<_>>(), "{provider}");
        }
    }
}
