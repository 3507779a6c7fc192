//! Reads a value of today's type from the bytes of an older program: every struct, however deep, is shown only the fields
//! it had then, and serde's `default` fills the rest.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::{Deserialize, de};

use super::shapes::Shapes;

/// A value whose bytes have the form `S`.
pub(super) struct Older<S, T>(pub(super) T, PhantomData<S>);

impl<'de, S: Shapes, T: Deserialize<'de>> Deserialize<'de> for Older<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(As::<S, D>::of(deserializer)).map(|value| Self(value, PhantomData))
    }
}

/// Wraps a deserializer, a visitor, a seed or an access, and everything that it is given.
struct As<S, I> {
    inner: I,
    shapes: PhantomData<S>,
}

impl<S, I> As<S, I> {
    fn of(inner: I) -> Self {
        Self { inner, shapes: PhantomData }
    }
}

/// The fields of `name` that are there.
fn there<S: Shapes, E: Error>(name: &str, fields: &'static [&'static str]) -> Result<&'static [&'static str], E> {
    let count = S::fields(name, fields).and_then(|count| fields.get(..count));
    count.ok_or_else(|| E::custom(format!("{name} does not begin with the fields it had in the older disk version")))
}

macro_rules! pass {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(As::<S, V>::of(visitor))
        }
    )*};
}

impl<'de, S: Shapes, D: Deserializer<'de>> Deserializer<'de> for As<S, D> {
    type Error = D::Error;

    pass! {
        deserialize_any deserialize_bool
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_option deserialize_unit
        deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, As::<S, V>::of(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, As::<S, V>::of(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple(len, As::<S, V>::of(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_tuple_struct(name, len, As::<S, V>::of(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let fields = there::<S, D::Error>(name, fields)?;
        self.inner.deserialize_struct(name, fields, As::<S, V>::of(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_enum(name, variants, EnumVisitor::<S, V> { visitor: As::of(visitor), name, variants })
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! show {
    ($($method:ident: $type:ty),* $(,)?) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, S: Shapes, V: Visitor<'de>> Visitor<'de> for As<S, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    show! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128,
        visit_u8: u8, visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32, visit_f64: f64,
        visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(As::<S, D>::of(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(As::<S, D>::of(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(As::<S, A>::of(access))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(As::<S, A>::of(access))
    }
}

impl<'de, S: Shapes, T: DeserializeSeed<'de>> DeserializeSeed<'de> for As<S, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        self.inner.deserialize(As::<S, D>::of(deserializer))
    }
}

impl<'de, S: Shapes, A: SeqAccess<'de>> SeqAccess<'de> for As<S, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_element_seed(As::<S, T>::of(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, S: Shapes, A: MapAccess<'de>> MapAccess<'de> for As<S, A> {
    type Error = A::Error;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.inner.next_key_seed(As::<S, T>::of(seed))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.inner.next_value_seed(As::<S, T>::of(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// The visitor, the access or the variant of an enum, whose names are needed once the variant is known.
struct EnumVisitor<S, V> {
    visitor: As<S, V>,
    name: &'static str,
    variants: &'static [&'static str],
}

impl<'de, S: Shapes, V: Visitor<'de>> Visitor<'de> for EnumVisitor<S, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = Choice::<S, A> { access: As::of(access), name: self.name, variants: self.variants };
        self.visitor.inner.visit_enum(access)
    }
}

struct Choice<S, A> {
    access: As<S, A>,
    name: &'static str,
    variants: &'static [&'static str],
}

impl<'de, S: Shapes, A: EnumAccess<'de>> EnumAccess<'de> for Choice<S, A> {
    type Error = A::Error;
    type Variant = Chosen<S, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        let mut number = None;
        let (value, variant) = self.access.inner.variant_seed(Overheard { inner: seed, number: &mut number })?;
        let chosen = number.and_then(|number| self.variants.get(number)).copied().unwrap_or_default();
        Ok((value, Chosen { variant: As::of(variant), name: self.name, chosen }))
    }
}

struct Chosen<S, A> {
    variant: As<S, A>,
    name: &'static str,
    chosen: &'static str,
}

impl<'de, S: Shapes, A: VariantAccess<'de>> VariantAccess<'de> for Chosen<S, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.variant.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        self.variant.inner.newtype_variant_seed(As::<S, T>::of(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.variant.inner.tuple_variant(len, As::<S, V>::of(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let fields = there::<S, A::Error>(&format!("{}::{}", self.name, self.chosen), fields)?;
        self.variant.inner.struct_variant(fields, As::<S, V>::of(visitor))
    }
}

/// A seed, a deserializer or a visitor that remembers which variant was read. Binary forms say its number.
struct Overheard<'a, I> {
    inner: I,
    number: &'a mut Option<usize>,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Overheard<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        self.inner.deserialize(Overheard { inner: deserializer, number: self.number })
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Overheard<'_, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_identifier(Overheard { inner: visitor, number: self.number })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Overheard<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<V::Value, E> {
        *self.number = usize::try_from(number).ok();
        self.inner.visit_u64(number)
    }
}
