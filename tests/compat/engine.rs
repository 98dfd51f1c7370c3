//! A case: a bundle, some command lines, and what may differ; and how it is run on both runtimes.

use crate::differences::Intended;
use crate::transcript::{self, Names, Order, Transcript};
use std::sync::OnceLock;
use testkit::needs::Need;
use testkit::{BundleBuilder, Case, Cmd, Fallible, Outcome, Runtime, Test, Value, comparing, json};

type Change = Box<dyn Fn(BundleBuilder) -> Fallible<BundleBuilder> + Send + Sync>;
type TextChange = Box<dyn Fn(String, &Names) -> String + Send + Sync>;

/// Something that is done to a bundle, then some command lines; both runtimes must show the same.
#[must_use = "it belongs into a list of cases"]
pub(crate) struct Comparison {
    name: &'static str,
    changes: Vec<Change>,
    steps: Vec<String>,
    intended: Vec<&'static Intended>,
    needs: Vec<Need>,
    texts: Vec<TextChange>,
    order: Order,
}

/// A case that runs the bundle's program in the foreground, unless it is given other steps.
pub(crate) fn case(name: &'static str) -> Comparison {
    Comparison {
        name,
        changes: Vec::new(),
        steps: Vec::new(),
        intended: Vec::new(),
        needs: Vec::new(),
        texts: Vec::new(),
        order: Order::AsPrinted,
    }
}

impl Comparison {
    /// Sets a value of config.json.
    pub(crate) fn set(self, pointer: &'static str, value: Value) -> Self {
        self.bundle(move |bundle| bundle.set(pointer, value.clone()))
    }

    /// Appends to a list of config.json.
    pub(crate) fn push(self, pointer: &'static str, value: Value) -> Self {
        self.bundle(move |bundle| bundle.push(pointer, value.clone()))
    }

    /// Adds a mount; `options` are separated by commas.
    pub(crate) fn mount(
        self,
        destination: &'static str,
        kind: &'static str,
        source: &'static str,
        options: &'static str,
    ) -> Self {
        let options: Vec<_> = options.split(',').filter(|option| !option.is_empty()).collect();
        self.push(
            "/mounts",
            json!({"destination": destination, "type": kind, "source": source, "options": options}),
        )
    }

    /// Removes a key of config.json's object at `pointer`.
    pub(crate) fn without(self, pointer: &'static str, key: &'static str) -> Self {
        self.bundle(move |bundle| {
            bundle.edit(|config| {
                let object = config.pointer_mut(pointer).and_then(Value::as_object_mut);
                object.and_then(|object| object.remove(key));
            })
        })
    }

    /// Adds a capability to the bounding, effective and permitted sets.
    pub(crate) fn capability(self, name: &'static str) -> Self {
        self.bundle(move |bundle| bundle.capability(name))
    }

    /// Writes a file into the root file system.
    pub(crate) fn file(mut self, path: &'static str, text: &'static str) -> Self {
        self.changes.push(Box::new(move |bundle| {
            std::fs::write(bundle.path(path), text)?;
            Ok(bundle)
        }));
        self
    }

    /// Changes the bundle in another way.
    pub(crate) fn bundle(
        mut self,
        change: impl Fn(BundleBuilder) -> BundleBuilder + Send + Sync + 'static,
    ) -> Self {
        self.changes.push(Box::new(move |bundle| Ok(change(bundle))));
        self
    }

    /// Runs a command of the host's shell in the root file system.
    pub(crate) fn host(mut self, script: &'static str) -> Self {
        self.changes.push(Box::new(move |bundle| {
            Cmd::new("sh").args(["-ec", script]).current_dir(bundle.path("")).succeeds()?;
            Ok(bundle)
        }));
        self
    }

    /// The program: a script of busybox's shell. What it says on stderr counts as output.
    pub(crate) fn sh(self, script: &'static str) -> Self {
        self.bundle(move |bundle| bundle.script(&format!("exec 2>&1; {script}")))
    }

    /// Command lines, one in each line, words separated by blanks, `'...'` for a word that holds some.
    ///
    /// A line is one of the runtime's, or of the host's shell after `!`. `$I` is the container's id, `$B` the bundle's
    /// directory, `$D` a directory for the case's files, `$R` the state root. `?` first: only whether it fails, and how, is
    /// compared, not what it prints.
    pub(crate) fn steps(mut self, lines: &str) -> Self {
        self.steps.extend(lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        self
    }

    /// The container's cgroup; `$I` is its id.
    pub(crate) fn cgroup(mut self, path: &'static str) -> Self {
        self.texts.push(Box::new(move |config, names| {
            let path = format!("\"linux\": {{\"cgroupsPath\": \"{}\",", names.put_in(path));
            config.replacen("\"linux\": {", &path, 1)
        }));
        self
    }

    /// Puts `text` in the place of the first `old` of config.json's text.
    pub(crate) fn text(mut self, text: &'static str, old: &'static str) -> Self {
        self.texts.push(Box::new(move |config, _| config.replacen(old, text, 1)));
        self
    }

    /// Appends to config.json's text.
    pub(crate) fn tail(mut self, text: &'static str) -> Self {
        self.texts.push(Box::new(move |config, _| config + text));
        self
    }

    /// Gives each of these hooks the shell script, with its own name as `$0`.
    pub(crate) fn hooks(mut self, kinds: &'static [&'static str], script: &'static str) -> Self {
        self.texts.push(Box::new(move |config, names| {
            let script = names.put_in(script);
            let hook = |kind: &&str| {
                (kind.to_string(), json!([{"path": "/bin/sh", "args": ["sh", "-c", script, kind]}]))
            };
            let hooks: serde_json::Map<_, _> = kinds.iter().map(hook).collect();
            config.replacen('{', &format!("{{\"hooks\": {},", Value::Object(hooks)), 1)
        }));
        self
    }

    /// Numbers, times and the width of columns tell nothing.
    pub(crate) fn numbers(mut self) -> Self {
        self.order = Order::WithoutNumbers;
        self
    }

    /// Output is mountinfo: what two runs have in common of it, sorted by mount point.
    pub(crate) fn mounts(mut self) -> Self {
        self.order = Order::OfMounts;
        self
    }

    /// A difference that is meant. The case fails when there is none any more.
    pub(crate) fn intended(mut self, difference: &'static Intended) -> Self {
        self.intended.push(difference);
        self
    }

    /// The order of the lines of output tells nothing.
    pub(crate) fn sorted(mut self) -> Self {
        self.order = Order::None;
        self
    }

    /// What the machine must have.
    pub(crate) fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What may differ.
    pub(crate) fn differences(&self) -> &[&'static Intended] {
        &self.intended
    }

    /// The test.
    pub(crate) fn into_case(self) -> Case {
        let needs = self.needs.clone();
        let case = comparing(self.name, move |test| self.compare(test));
        needs.into_iter().fold(case, Case::needs)
    }

    fn compare(&self, test: &Test) -> Outcome {
        let ours = self.transcript(test)?;
        let its = test.with_runtime(Runtime::runc(), |runc| self.transcript(runc))?;
        if ours.seen == its.seen {
            return match self.intended.first() {
                Some(stale) => Err(format!("no longer differs: {}\n{}", stale.what, ours.seen).into()),
                None => Ok(()),
            };
        }
        if let Some(other) = self.intended.iter().find(|one| !one.is_between(&ours.seen, &its.seen)) {
            return Err(
                format!("differs in another way than: {}\n{}{}", other.what, ours.seen, its.seen).into()
            );
        }
        let normal = |text: &str| self.intended.iter().fold(text.to_owned(), |text, one| one.without(&text));
        let (normal_ours, normal_its) = (normal(&ours.seen), normal(&its.seen));
        if normal_ours == normal_its {
            return Ok(());
        }
        let difference = transcript::difference(&normal_ours, &normal_its);
        Err(format!("{difference}rt said:\n{}runc said:\n{}", ours.said, its.said).into())
    }

    /// Everything that the caller sees, on one runtime.
    fn transcript(&self, test: &Test) -> Fallible<Transcript> {
        let builder = test.bundle_of(base()?)?.script("true");
        let bundle = self.changes.iter().try_fold(builder, |bundle, change| change(bundle))?.build()?;
        let names = Names {
            id: test.new_id(),
            bundle: bundle.directory().to_owned(),
            directory: test.new_path("files"),
            root: test.root(),
        };
        std::fs::create_dir(&names.directory)?;
        if !self.texts.is_empty() {
            let text = std::fs::read_to_string(bundle.config())?;
            let text = self.texts.iter().fold(text, |text, change| change(text, &names));
            std::fs::write(bundle.config(), text)?;
        }
        let default = ["run --bundle $B $I".to_owned()];
        let steps = if self.steps.is_empty() { &default } else { self.steps.as_slice() };
        let mut transcript = Transcript::default();
        for step in steps {
            let (line, prints) = step.strip_prefix('?').map_or((step.as_str(), true), |rest| (rest, false));
            let output = command(test, line, &names)?.output()?;
            transcript.add(step, &output, &names, prints.then_some(self.order));
        }
        Ok(transcript)
    }
}

/// The command of one line.
fn command(test: &Test, line: &str, names: &Names) -> Fallible<Cmd> {
    let words = |text: &str| -> Vec<String> { words(text).iter().map(|word| names.put_in(word)).collect() };
    if let Some(line) = line.trim().strip_prefix('!') {
        return Ok(Cmd::new("sh").args(["-c", &names.put_in(line)]));
    }
    let words = words(line);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Ok(match words.first() {
        // Without the state root: for what is wrong before one is looked at.
        Some(&"bare") => test.bare(&words[1..]),
        _ => test.cmd(&words),
    })
}

/// Splits at blanks that stand outside of single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for character in line.trim().chars() {
        match character {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => word.push(character),
        }
    }
    if begun || !word.is_empty() {
        words.push(word);
    }
    words
}

/// What runc's `spec` writes, without a terminal and with a writable root: where every bundle starts.
fn base() -> Fallible<Value> {
    static BASE: OnceLock<Option<Value>> = OnceLock::new();
    let read = || {
        let directory = tempfile::tempdir().ok()?;
        let path = directory.path().display().to_string();
        Cmd::new(Runtime::runc().binary).args(["spec", "--bundle", &path]).succeeds().ok()?;
        let text = std::fs::read_to_string(directory.path().join("config.json")).ok()?;
        let mut config: Value = serde_json::from_str(&text).ok()?;
        config["process"]["terminal"] = json!(false);
        config["root"]["readonly"] = json!(false);
        Some(config)
    };
    BASE.get_or_init(read).clone().ok_or_else(|| "`runc spec` writes no config.json".into())
}
