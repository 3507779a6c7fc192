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
    teams,
    telegram,
    webhook,
    wechat_mini,
    wechat_official,
    wecom_app,
    wecom_robot,
}
