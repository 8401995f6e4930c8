// SPDX-License-Identifier: Apache-2.0
//! Objects are read from objects and from nothing else: a derived reader also takes a list of the fields' values, by which
//! `[]` could be a rule.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};

/// Asks the format for a map whatever the reader asks for.
pub(crate) struct MapsOnly<D>(pub(crate) D);

/// Passes on maps only.
struct MapVisitor<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for MapVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(map)
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for MapsOnly<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(MapVisitor(visitor))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// For types that derive `Deserialize` with `serde(remote = "Self")`.
macro_rules! read_from_objects {
    ($($raw:ident),+ $(,)?) => {$(
        impl<'de> serde::Deserialize<'de> for $raw {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // The derived one, which is of the type itself.
                $raw::deserialize($crate::object::MapsOnly(deserializer))
            }
        }
    )+};
}

/// For those that derive `Serialize` as well.
macro_rules! write_as_derived {
    ($($raw:ident),+ $(,)?) => {$(
        impl serde::Serialize for $raw {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $raw::serialize(self, serializer)
            }
        }
    )+};
}

pub(crate) use {read_from_objects, write_as_derived};
