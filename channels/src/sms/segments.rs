//! How many messages a text is split into on its way, and so how many are charged. 3GPP TS 23.038 §6 (alphabets),
//! TS 23.040 §9.2.3.24.1 (concatenation).

use serde::Serialize;

/// The default alphabet without its escape, in the order of the standard's table.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿\
                     abcdefghijklmnopqrstuvwxyzäöñüà";
/// The extension table: each takes the escape and one septet more.
const EXTENDED: &str = "\u{c}^{}\\[~]|€";

/// How a text travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// The GSM 7 bit default alphabet.
    Gsm7,
    /// UCS-2; characters outside the basic plane take two units.
    Ucs2,
}

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentRules {
    /// As the networks do: 160 or 153 septets, 70 or 67 units of UCS-2.
    Network,
    /// As suppliers in China charge, whatever the alphabet: 70 characters, or 67 in each part of a longer text.
    China,
}

/// How long a text is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Segments {
    /// How it travels.
    pub encoding: Encoding,
    /// Its length in units of the encoding: septets, or 16-bit units.
    pub units: usize,
    /// Into how many messages it is split, each of which is charged. An empty text is one.
    pub segments: usize,
    /// How many units the last of them has room for.
    pub left: usize,
}

impl Segments {
    /// Counts `text`, the signature included.
    pub fn count(text: &str, rules: SegmentRules) -> Self {
        let septets = text.chars().try_fold(0, |sum: usize, char| match () {
            () if BASIC.contains(char) => Some(sum + 1),
            () if EXTENDED.contains(char) => Some(sum + 2),
            () => None,
        });
        match (rules, septets) {
            (SegmentRules::Network, Some(units)) => Self::split(
                Encoding::Gsm7,
                units,
                (160, 153),
                text.chars().map(|c| 1 + usize::from(EXTENDED.contains(c))),
            ),
            (SegmentRules::Network, None) => {
                let units = text.encode_utf16().count();
                Self::split(Encoding::Ucs2, units, (70, 67), text.chars().map(char::len_utf16))
            }
            (SegmentRules::China, _) => {
                let units = text.encode_utf16().count();
                let segments = if units <= 70 { 1 } else { units.div_ceil(67) };
                let room = if segments == 1 { 70 } else { 67 * segments };
                Self { encoding: Encoding::Ucs2, units, segments, left: room - units }
            }
        }
    }

    /// Fills one message after the other; what takes two units is never torn apart.
    fn split(
        encoding: Encoding,
        units: usize,
        (alone, part): (usize, usize),
        widths: impl Iterator<Item = usize>,
    ) -> Self {
        if units <= alone {
            return Self { encoding, units, segments: 1, left: alone - units };
        }
        let (mut segments, mut used) = (1, 0);
        for width in widths {
            if used + width > part {
                segments += 1;
                used = 0;
            }
            used += width;
        }
        Self { encoding, units, segments, left: part - used }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str, rules: SegmentRules) -> (Encoding, usize, usize, usize) {
        let seen = Segments::count(text, rules);
        (seen.encoding, seen.units, seen.segments, seen.left)
    }

    #[test]
    fn the_default_alphabet_has_128_places_with_the_escape() {
        assert_eq!(BASIC.chars().count(), 127);
        assert_eq!(EXTENDED.chars().count(), 10);
    }

    #[test]
    fn the_networks_rules_are_counted_at_their_edges() {
        use Encoding::{Gsm7, Ucs2};
        let cases = [
            (String::new(), (Gsm7, 0, 1, 160)),
            ("a".repeat(160), (Gsm7, 160, 1, 0)),
            ("a".repeat(161), (Gsm7, 161, 2, 145)),
            ("a".repeat(306), (Gsm7, 306, 2, 0)),
            ("a".repeat(307), (Gsm7, 307, 3, 152)),
            ("€".repeat(80), (Gsm7, 160, 1, 0)),
            // 152 septets and an escape pair do not fit into 153: the pair moves on as a whole.
            (format!("{}€{}", "a".repeat(152), "a".repeat(20)), (Gsm7, 174, 2, 131)),
            ("错".repeat(70), (Ucs2, 70, 1, 0)),
            ("错".repeat(71), (Ucs2, 71, 2, 63)),
            ("错".repeat(134), (Ucs2, 134, 2, 0)),
            // A pair of surrogates is not torn apart either.
            (format!("{}😀{}", "错".repeat(66), "错".repeat(10)), (Ucs2, 78, 2, 55)),
            // One character outside the alphabet makes the whole text travel as UCS-2.
            (format!("{}错", "a".repeat(70)), (Ucs2, 71, 2, 63)),
        ];
        for (text, expected) in cases {
            assert_eq!(count(&text, SegmentRules::Network), expected, "{text}");
        }
    }

    #[test]
    fn in_china_every_character_counts_alike() {
        for (text, segments, left) in
            [("a".repeat(70), 1, 0), ("a".repeat(71), 2, 63), ("错".repeat(134), 2, 0), ("错".repeat(135), 3, 66)]
        {
            let seen = Segments::count(&text, SegmentRules::China);
            assert_eq!((seen.segments, seen.left), (segments, left), "{}", text.chars().count());
        }
    }
}
