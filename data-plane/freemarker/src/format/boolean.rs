//! How booleans are written (FreeMarker manual: "Settings / boolean_format").

/// The setting `boolean_format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BooleanFormat {
    /// The words for true and false.
    words: (String, String),
    /// Whether `${flag}` prints them; FreeMarker's default format forbids that.
    prints: bool,
    source: String,
}

impl BooleanFormat {
    /// Reads `c`, or the words for true and false with a comma between.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "c" {
            return Ok(Self::new("true", "false", true, text));
        }
        match text.split_once(',') {
            Some((yes, no)) => Ok(Self::new(yes, no, text != "true,false", text)),
            None => Err(format!(
                "the boolean_format \"{text}\" is neither \"c\" nor the words for true and false \
                 with a comma between"
            )),
        }
    }

    /// FreeMarker's default: `?string` gives `true` or `false`, printing is an error.
    pub(crate) fn forbidden() -> Self {
        Self::new("true", "false", false, "true,false")
    }

    fn new(yes: &str, no: &str, prints: bool, source: &str) -> Self {
        BooleanFormat { words: (yes.into(), no.into()), prints, source: source.into() }
    }

    /// The word that `?string` gives, whatever `${flag}` does.
    pub(crate) fn word(&self, value: bool) -> &str {
        if value { &self.words.0 } else { &self.words.1 }
    }

    /// The word that `${flag}` prints, if it may.
    pub(crate) fn printed(&self, value: bool) -> Option<&str> {
        self.prints.then(|| self.word(value))
    }

    /// The setting's value.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}
