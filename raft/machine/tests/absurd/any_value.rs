//! Makes a value of any type that serde can read: its enums, numbers, texts and lists are drawn, absurd ones often.

use proptest::prelude::Rng;
use proptest::test_runner::TestRng;
use serde::de::value::{Error, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

/// Most that is in a list.
const MANY: u64 = 3;
/// How deep what is drawn goes before lists and options stay empty.
const DEEP: usize = 24;

/// Draws what is asked for.
pub(crate) struct Any<'a> {
    pub(crate) chance: &'a mut TestRng,
    pub(crate) deep: usize,
}

impl Any<'_> {
    fn below(&mut self, most: u64) -> u64 {
        self.chance.next_u64() % most.max(1)
    }

    /// A number of so many bits: often small, often as large as it can be.
    fn number(&mut self, bits: u32) -> u64 {
        let most = u64::MAX >> (64 - bits);
        match self.below(8) {
            0 => most,
            1 => most - self.below(3),
            2 => most / 2 + self.below(3),
            3 => self.chance.next_u64() & most,
            4 => self.below(2_000_000_000_000) & most,
            _ => self.below(6),
        }
    }

    fn signed(&mut self, bits: u32) -> i64 {
        let number = self.number(bits) as i64;
        number.wrapping_shl(64 - bits).wrapping_shr(64 - bits)
    }

    fn text(&mut self) -> String {
        const TEXTS: [&str; 16] = [
            "",
            "main",
            "a",
            "b",
            "*",
            "sms",
            "email",
            "key",
            "template/a",
            "account/main",
            "webhook",
            "sandbox",
            "{}",
            "+8613800138000",
            "a@b.example",
            "\u{0}\u{10ffff}",
        ];
        match self.below(40) {
            0 => "x".repeat(5_000),
            n => TEXTS[n as usize % TEXTS.len()].to_owned(),
        }
    }

    fn count(&mut self) -> usize {
        if self.deep > DEEP { 0 } else { self.below(MANY + 1) as usize }
    }

    fn inner(&mut self) -> Any<'_> {
        Any { deep: self.deep + 1, chance: self.chance }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty, $bits:literal, $draw:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
            let number = self.$draw($bits);
            visitor.$visit(number as $type)
        }
    )*};
}

impl<'de> Deserializer<'de> for Any<'_> {
    type Error = Error;

    fn is_human_readable(&self) -> bool {
        false
    }

    numbers! {
        deserialize_u8 visit_u8 u8, 8, number;
        deserialize_u16 visit_u16 u16, 16, number;
        deserialize_u32 visit_u32 u32, 32, number;
        deserialize_u64 visit_u64 u64, 64, number;
        deserialize_i8 visit_i8 i8, 8, signed;
        deserialize_i16 visit_i16 i16, 16, signed;
        deserialize_i32 visit_i32 i32, 32, signed;
        deserialize_i64 visit_i64 i64, 64, signed;
    }

    fn deserialize_u128<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u128(u128::from(self.number(64)) << 64 | u128::from(self.number(64)))
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.below(2) == 0)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(f64::from_bits(self.number(64)))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_char('x')
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        // Ids of messages have 16 bytes, those of deliveries begin with one. Few different ones, so that they meet.
        let mut bytes = match self.below(12) {
            0 => vec![255; 16],
            1 => (0..16).map(|_| self.number(8) as u8).collect(),
            n => vec![n as u8 % 2; 16],
        };
        if self.below(2) == 0 {
            let tail = [0, self.below(3) as u8, 0, self.below(2) as u8, self.below(2) as u8];
            bytes.extend(if self.below(12) == 0 { [255; 5] } else { tail });
        }
        visitor.visit_bytes(&bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if self.deep > DEEP || self.below(2) == 0 { visitor.visit_none() } else { visitor.visit_some(self.inner()) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(mut self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self.inner())
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let left = self.count();
        visitor.visit_seq(Several { any: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { any: self, left })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { any: self, left })
    }

    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let left = self.count();
        visitor.visit_map(Several { any: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { any: self, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let variant = variants[self.below(variants.len() as u64) as usize];
        visitor.visit_enum(Variant { any: self, variant })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("nobody asks for names"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("the type has to say what it is"))
    }
}

/// Some of them, one after the other.
struct Several<'a> {
    any: Any<'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Several<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.any.inner()).map(Some)
    }
}

impl<'de> MapAccess<'de> for Several<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(self.any.inner())
    }
}

struct Variant<'a> {
    any: Any<'a>,
    variant: &'static str,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Error;
    type Variant = Any<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Any<'a>), Error> {
        let name: StrDeserializer<'_, Error> = de::IntoDeserializer::into_deserializer(self.variant);
        Ok((seed.deserialize(name)?, self.any))
    }
}

impl<'de> VariantAccess<'de> for Any<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.inner())
    }

    fn tuple_variant<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { any: self, left })
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Several { any: self, left: fields.len() })
    }
}
