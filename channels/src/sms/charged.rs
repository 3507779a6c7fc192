//! How many messages a content of `sms` becomes, as far as that is known before it is sent.

use serde_json::Value;

use super::content::Sms;
use super::{SegmentRules, Segments};

/// Counts a filled content with its signature, for a number in E.164: by the rules of suppliers in China for theirs, by the
/// networks' for others. `None` where the text is the supplier's.
pub fn segments_of(content: &Value, to: Option<&str>) -> Option<Segments> {
    let sms = Sms::read(content).ok()?;
    let text = sms.text?;
    let text = sms.sign_name.map_or_else(|| text.clone(), |name| format!("【{name}】{text}"));
    let china = to.is_none_or(|to| to.starts_with("+86"));
    Some(Segments::count(&text, if china { SegmentRules::China } else { SegmentRules::Network }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_signature_counts_and_the_number_says_by_which_rules() {
        let text = "x".repeat(69);
        for (content, to, expected) in [
            (json!({"text": text}), Some("+8613800138000"), Some(1)),
            (json!({"text": text, "sign_name": "店"}), Some("+8613800138000"), Some(2)),
            (json!({"text": text, "url": "https://a.example"}), None, Some(2)),
            (json!({"text": text, "url": "https://a.example"}), Some("+12125552368"), Some(1)),
            (json!({"template_id": "otp", "params": ["1"]}), None, None),
            (json!({}), None, None),
        ] {
            assert_eq!(segments_of(&content, to).map(|s| s.segments), expected, "{content}");
        }
    }
}
