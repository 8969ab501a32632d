//! A value in a manifest that knows where it stands, so that every complaint names the file and the field.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// One value of a YAML document and its place (`deploy/redis.yaml: spec.replicas`).
#[derive(Debug, Clone)]
pub struct Field<'a> {
    value: &'a Value,
    file: &'a str,
    path: String,
}

impl<'a> Field<'a> {
    /// The document itself.
    pub fn root(file: &'a str, value: &'a Value) -> Self {
        Self {
            value,
            file,
            path: String::new(),
        }
    }

    /// The field of this name, if it is there and not null.
    pub fn optional(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        Some(Self {
            value,
            file: self.file,
            path,
        })
    }

    /// The field of this name, which has to be there.
    pub fn required(&self, name: &str) -> Result<Self> {
        self.optional(name)
            .ok_or_else(|| self.complain(&format!("has no {name}")))
    }

    /// The elements of a list.
    pub fn items(&self) -> Result<Vec<Self>> {
        let Value::Array(items) = self.value else {
            bail!(self.complain("has to be a list"));
        };
        Ok(items
            .iter()
            .enumerate()
            .map(|(index, value)| Self {
                value,
                file: self.file,
                path: format!("{}[{index}]", self.path),
            })
            .collect())
    }

    /// The elements of the list of this name; none if it isn't there.
    pub fn list(&self, name: &str) -> Result<Vec<Self>> {
        self.optional(name).map_or(Ok(Vec::new()), |list| list.items())
    }

    /// A text that isn't empty.
    pub fn text(&self) -> Result<&'a str> {
        match self.value.as_str() {
            Some("") => Err(self.complain("is empty")),
            Some(text) => Ok(text),
            None => Err(self.complain("has to be a text")),
        }
    }

    /// A name as Kubernetes has them (RFC 1123): it becomes part of paths, so nothing else may.
    pub fn name(&self) -> Result<String> {
        let name = self.text()?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let inside = name.chars().all(|c| plain(c) || c == '-' || c == '.');
        if inside && name.starts_with(plain) && name.ends_with(plain) && name.len() <= 253 {
            return Ok(name.to_owned());
        }
        Err(self.complain(&format!(
            "is {name:?}, but a name is made of a-z, 0-9, '-' and '.' and starts and ends with a letter or digit"
        )))
    }

    /// A text or a bare number, which is how YAML reads `storage: 1024`.
    pub fn text_or_number(&self) -> Result<String> {
        match self.value {
            Value::Number(number) => Ok(number.to_string()),
            _ => self.text().map(str::to_owned),
        }
    }

    /// A whole number from 0 on.
    pub fn count(&self) -> Result<u64> {
        self.value
            .as_u64()
            .ok_or_else(|| self.complain("has to be a whole number, 0 or more"))
    }

    /// An error about this field.
    pub fn complain(&self, what: &str) -> anyhow::Error {
        match self.path.as_str() {
            "" => anyhow!("{}: the document {what}", self.file),
            path => anyhow!("{}: {path} {what}", self.file),
        }
    }

    /// Puts the place of this field before an error about its content.
    pub fn locate<T, E>(&self, result: std::result::Result<T, E>) -> Result<T>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        result.with_context(|| format!("{}: {}", self.file, self.path))
    }
}
