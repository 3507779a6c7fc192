//! Loading: defaults, then the file, then the environment. What keys there are is read from `default.toml`, so a new key
//! is at once settable everywhere.

use std::path::{Path, PathBuf};

use tidings_contract::Secret;
use toml::{Table, Value};

use crate::{Config, Mistake, Mistakes};

/// The commented defaults, as they stand in the source tree.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// What environment variables of the configuration start with.
const PREFIX: &str = "TIDINGS_";

impl Default for Config {
    fn default() -> Self {
        // The file is compiled in and a test reads it, so no user can meet this.
        toml::from_str(DEFAULT_TOML).unwrap_or_else(|error| unreachable!("default.toml: {error}"))
    }
}

impl Config {
    /// Loads a node's configuration: the defaults, then the file at `path`, then `env` (name and value of every
    /// environment variable; the later one wins), then the cluster's secret from its file; and checks the whole with [`Config::validate`].
    ///
    /// # Errors
    /// Every mistake at once: unreadable files, unknown keys, values of the wrong kind, values that do not fit together.
    pub fn load(path: Option<&Path>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let mut layers = Layers::new();
        if let Some(path) = path {
            match read_table(path) {
                Ok(table) => layers.put_file(table, &mut mistakes),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        layers.put_env(env, &mut mistakes);
        let mut config: Self =
            layers.whole.try_into().map_err(|error| one(Mistake::new("configuration", "", error.message())))?;
        config.read_secret(&mut mistakes);
        mistakes.extend(config.check());
        if mistakes.is_empty() { Ok(config) } else { Err(Mistakes(mistakes)) }
    }

    /// Checks that every value makes sense, alone and with the others.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn validate(&self) -> Result<(), Mistakes> {
        let mistakes = self.check();
        if mistakes.is_empty() { Ok(()) } else { Err(Mistakes(mistakes)) }
    }

    /// The names of all environment variables that are looked at, by section and key in alphabetical order.
    pub fn env_names() -> Vec<String> {
        let known = defaults();
        known
            .iter()
            .flat_map(|(section, keys)| {
                keys.as_table().into_iter().flat_map(|keys| keys.keys().map(|key| env_name(section, key)))
            })
            .collect()
    }

    fn read_secret(&mut self, mistakes: &mut Vec<Mistake>) {
        let file = &self.cluster.secret_file;
        if file.as_os_str().is_empty() {
            return;
        }
        if !self.cluster.secret.expose().is_empty() {
            mistakes.push(Mistake::new(
                "cluster.secret_file",
                file.display(),
                "cluster.secret is given too; give one of them",
            ));
            return;
        }
        match std::fs::read_to_string(file) {
            Ok(text) => self.cluster.secret = Secret::new(text.trim()),
            Err(error) => {
                mistakes.push(Mistake::new("cluster.secret_file", file.display(), format!("cannot be read: {error}")));
            }
        }
    }
}

/// The values so far, and the defaults that tell what keys there are and of what kind.
struct Layers {
    known: Table,
    whole: Table,
}

impl Layers {
    fn new() -> Self {
        let known = defaults();
        Self { whole: known.clone(), known }
    }

    fn put_file(&mut self, file: Table, mistakes: &mut Vec<Mistake>) {
        for (section, keys) in file {
            match (self.known.get(&section), keys) {
                (None, _) => mistakes.push(Mistake::new(
                    format!("[{section}]"),
                    "",
                    format!("is not a section; there are: {}", names(&self.known)),
                )),
                (Some(_), Value::Table(keys)) => {
                    keys.into_iter().for_each(|(key, value)| mistakes.extend(self.put(&section, &key, value).err()));
                }
                (Some(_), value) => {
                    mistakes.push(Mistake::new(section.clone(), value, "is a section: [name], then keys"))
                }
            }
        }
    }

    fn put_env(&mut self, env: impl IntoIterator<Item = (String, String)>, mistakes: &mut Vec<Mistake>) {
        let mut ours: Vec<_> = env.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        // Stable: where a name is given twice, the later one wins.
        ours.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, text) in ours {
            // Names outside the sections (TIDINGS_URL, TIDINGS_KEY) belong to the command line.
            let found = self.known.keys().find_map(|section| {
                let key = name.strip_prefix(&env_name(section, ""))?;
                Some((section.clone(), key.to_ascii_lowercase()))
            });
            let Some((section, key)) = found else { continue };
            let kind = self.known.get(&section).and_then(|keys| keys.get(&key));
            let result = typed(kind, &text).and_then(|value| self.put(&section, &key, value).map_err(|m| m.right));
            if let Err(right) = result {
                mistakes.push(Mistake::new(name, if is_secret(&key) { "***" } else { &text }, right));
            }
        }
    }

    /// Sets one key, if the schema takes the value there.
    fn put(&mut self, section: &str, key: &str, value: Value) -> Result<(), Mistake> {
        let name = format!("{section}.{key}");
        let keys = self.known.get(section).and_then(Value::as_table);
        let Some(default) = keys.and_then(|keys| keys.get(key)) else {
            let there = keys.map(names).unwrap_or_default();
            return Err(Mistake::new(name, "", format!("is not a key of [{section}]; there are: {there}")));
        };
        // The schema is asked about this one value among the defaults, so one wrong value does not hide another.
        let mut trial = self.known.clone();
        set(&mut trial, section, key, value.clone());
        if let Err(error) = trial.try_into::<Config>() {
            return Err(match is_secret(key) {
                true => Mistake::new(name, "***", "must be a text"),
                false => Mistake::new(name, value, format!("{}; the default is {default}", error.message())),
            });
        }
        set(&mut self.whole, section, key, value);
        Ok(())
    }
}

/// Reads a text of the environment as the kind of value that the default is.
fn typed(kind: Option<&Value>, text: &str) -> Result<Value, String> {
    match kind {
        Some(Value::Integer(_)) => match text.replace('_', "").parse() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => Err("must be a whole number".to_owned()),
        },
        Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).map_err(|_| "must be true or false".to_owned()),
        Some(Value::Table(_)) => pairs(text).map(Value::Table),
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Reads `zone=a,rack=7`.
fn pairs(text: &str) -> Result<Table, String> {
    text.split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), Value::String(value.trim().to_owned()))),
            None => Err("must look like name=value,name=value".to_owned()),
        })
        .collect()
}

fn read_table(path: &Path) -> Result<Table, Mistake> {
    let shown = PathBuf::from(path).display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| Mistake::new(&shown, "", format!("cannot be read: {error}")))?;
    // The reader's full words quote the line, which may hold the secret.
    text.parse::<Table>().map_err(|error| Mistake::new(place(&shown, &text, &error), "", error.message()))
}

/// `file:line`, as editors understand it.
fn place(file: &str, text: &str, error: &toml::de::Error) -> String {
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("{file}:{}", before.matches('\n').count() + 1),
        None => file.to_owned(),
    }
}

fn defaults() -> Table {
    toml::from_str(DEFAULT_TOML).unwrap_or_default()
}

fn set(table: &mut Table, section: &str, key: &str, value: Value) {
    if let Some(keys) = table.get_mut(section).and_then(Value::as_table_mut) {
        keys.insert(key.to_owned(), value);
    }
}

fn env_name(section: &str, key: &str) -> String {
    format!("{PREFIX}{}_{}", section.to_ascii_uppercase(), key.to_ascii_uppercase())
}

fn names(table: &Table) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn is_secret(key: &str) -> bool {
    key == "secret"
}

fn one(mistake: Mistake) -> Mistakes {
    Mistakes(vec![mistake])
}
