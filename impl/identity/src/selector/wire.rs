// SPDX-License-Identifier: Apache-2.0
//! A selector as YAML and JSON carry it.

use std::collections::BTreeMap;

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::validate;
use super::{EndpointSelector, Expression, Operator, SelectorError, SelectorKey};

/// A label selector as written, not yet checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RawSelector {
    /// Keys and the values they must have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Further demands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_expressions: Option<Vec<RawExpression>>,
}

/// An entry of `matchExpressions` as written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RawExpression {
    /// The label's key.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// For `In` and `NotIn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
}

/// Reads a `T` from a map and from nothing else. A derived reader also takes a list of the fields' values, by which `[]`
/// would be the selector that selects everything.
fn from_map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct MapOnly<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> de::Visitor<'de> for MapOnly<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of a label selector")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(MapOnly(PhantomData))
}

impl<'de> Deserialize<'de> for RawSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Fields {
            #[serde(default)]
            match_labels: Option<BTreeMap<String, String>>,
            #[serde(default)]
            match_expressions: Option<Vec<RawExpression>>,
        }
        let Fields { match_labels, match_expressions } = from_map(deserializer)?;
        Ok(Self { match_labels, match_expressions })
    }
}

impl<'de> Deserialize<'de> for RawExpression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            key: String,
            operator: String,
            #[serde(default)]
            values: Option<Vec<String>>,
        }
        let Fields { key, operator, values } = from_map(deserializer)?;
        Ok(Self { key, operator, values })
    }
}

/// Keys are read as users write them: see [`SelectorKey::parse`].
impl TryFrom<RawSelector> for EndpointSelector {
    type Error = SelectorError;

    fn try_from(raw: RawSelector) -> Result<Self, SelectorError> {
        validate::selector(raw, SelectorKey::parse)
    }
}

impl From<&EndpointSelector> for RawSelector {
    fn from(selector: &EndpointSelector) -> Self {
        let labels: BTreeMap<String, String> =
            selector.match_labels().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let expressions: Vec<RawExpression> =
            selector.match_expressions().iter().map(RawExpression::from).collect();
        Self {
            match_labels: (!labels.is_empty()).then_some(labels),
            match_expressions: (!expressions.is_empty()).then_some(expressions),
        }
    }
}

impl From<&Expression> for RawExpression {
    fn from(expression: &Expression) -> Self {
        let (operator, values) = match &expression.operator {
            Operator::In(values) => ("In", Some(values)),
            Operator::NotIn(values) => ("NotIn", Some(values)),
            Operator::Exists => ("Exists", None),
            Operator::DoesNotExist => ("DoesNotExist", None),
        };
        Self {
            key: expression.key.to_string(),
            operator: operator.to_owned(),
            values: values.map(|values| values.iter().map(ToString::to_string).collect()),
        }
    }
}

impl Serialize for EndpointSelector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawSelector::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EndpointSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(RawSelector::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
