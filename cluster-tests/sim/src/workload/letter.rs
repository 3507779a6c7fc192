//! Letters: what a caller sends, drawn by chance over all templates.

use rand::Rng;
use serde_json::{Value, json};

use super::Caller;
use crate::clock::{elapsed, in_ms};
use crate::lists::BARRED_MAIL;
use crate::poison::DEADLY;
use crate::stock::{MASKED, REFUSED};
use crate::world::Letter;

/// The addresses on the second channel: so few that their cap is met.
const MAILS: usize = 2;

impl Letter {
    /// A letter of one number to these, at once.
    pub(crate) fn new(template: &'static str, number: u64, to: Vec<String>) -> Self {
        let body = json!({"template": template, "to": to, "variables": {"n": number.to_string()}});
        Self { template, number, to, text: format!("number {number}"), body, ..Self::default() }
    }

    /// The address to which it goes on when the first channel is given up.
    pub(crate) fn or_by(mut self, mail: String) -> Self {
        let with_mail = |to: &String| json!({"to": to, "fallback": {"email": mail}});
        self.body["to"] = Value::Array(self.to.iter().map(with_mail).collect());
        self.mail = Some(mail);
        self
    }

    /// It says more than a number; `seen` is what the recipient is to see of that.
    fn saying(mut self, words: &str, seen: &str) -> Self {
        self.body["variables"]["w"] = words.into();
        self.text = format!("{} {seen}", self.text);
        self
    }
}

impl Caller {
    /// A new number. Numbers are used once, but for the template with dedup.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.chance.random_range(1_000..u64::MAX >> 12)
    }

    /// A new letter. For the templates with dedup or a cap, few numbers and recipients meet often.
    pub(crate) fn letter(&mut self) -> Letter {
        let template = match self.chance.random_range(0..100) {
            0..3 => "plain",
            3..5 => "heavy",
            5..13 => "routed",
            13..19 => "often",
            19..25 if self.world.plan.quiet => "night",
            19..35 => "once",
            35..52 => "unique",
            52..71 => "capped",
            71..81 => "fall",
            81..84 => "mail",
            84..88 => "wordy",
            88..91 => "strict",
            _ => "bad",
        };
        let number = if template == "unique" { self.chance.random_range(0..6) } else { self.fresh() };
        let few = matches!(template, "unique" | "often");
        let count = if self.chance.random_ratio(1, 3) { self.chance.random_range(2..6) } else { 1 };
        let first = self.chance.random_range(0..if few { 4 } else { 40_u32 });
        let phones = |count: u32| (0..count).map(|n| format!("+86138001{:05}", first * 7 + n)).collect();
        let mail = format!("m{}@legs.example", self.chance.random_range(0..MAILS));
        let letter = match template {
            "mail" => Letter::new(template, number, vec![mail]),
            "fall" if self.chance.random_ratio(1, 8) => {
                Letter::new(template, number, phones(1)).or_by(format!("m{BARRED_MAIL}"))
            }
            "fall" => Letter::new(template, number, phones(1)).or_by(mail),
            "wordy" if self.chance.random_ratio(1, 2) => {
                // Upper and lower case are the same to a dictionary, and a word is found inside of others.
                let (words, seen) = (MASKED.to_uppercase(), "*".repeat(MASKED.len()));
                Letter::new(template, number, phones(count)).saying(&format!("{words}ly so"), &format!("{seen}ly so"))
            }
            "strict" if self.chance.random_ratio(1, 2) => {
                Letter::new(template, number, phones(count)).saying(&format!("not {REFUSED}"), REFUSED)
            }
            "heavy" if self.chance.random_ratio(1, 2) => {
                Letter::new(template, number, phones(1)).saying(DEADLY, DEADLY)
            }
            "heavy" => Letter::new(template, number, phones(count)).saying("fine", "fine"),
            "wordy" | "strict" => Letter::new(template, number, phones(count)).saying("fine", "fine"),
            _ => Letter::new(template, number, phones(count)),
        };
        self.timed(letter)
    }

    /// Some letters are for later, and some are worth something for a while only.
    fn timed(&mut self, mut letter: Letter) -> Letter {
        // What waits for a limit is what runs out.
        let expires = if letter.template == "capped" { 3 } else { 10 };
        if self.chance.random_ratio(1, 6) {
            letter.body["send_at"] = in_ms(self.chance.random_range(500..5_000)).into();
        } else if self.chance.random_ratio(1, expires) {
            let ms = self.chance.random_range(1_000..4_000);
            letter.body["expires_at"] = in_ms(ms).into();
            letter.expires = Some(elapsed() + ms);
        }
        letter
    }
}
