//! How booleans are written (FreeMarker manual: "Settings / boolean_format").

/// The setting `boolean_format`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BooleanFormat {
    /// The words for true and false.
    words: (String, String),
    /// Whether `${flag}` prints them; FreeMarker's default format forbids that.
    prints: bool,
}

impl BooleanFormat {
    /// Reads `c`, or the words for true and false with a comma between.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "c" {
            return Ok(Self::new("true", "false", true));
        }
        match text.split_once(',') {
            Some((yes, no)) => Ok(Self::new(yes, no, text != "true,false")),
            None => Err(format!(
                "the boolean_format \"{text}\" is neither \"c\" nor the words for true and false \
                 with a comma between"
            )),
        }
    }

    /// FreeMarker's default: `?string` gives `true` or `false`, printing is an error.
    pub(crate) fn forbidden() -> Self {
        Self::new("true", "false", false)
    }

    fn new(yes: &str, no: &str, prints: bool) -> Self {
        BooleanFormat { words: (yes.into(), no.into()), prints }
    }

    /// The word that `?string` gives, whatever `${flag}` does.
    pub(crate) fn word(&self, value: bool) -> &str {
        if value { &self.words.0 } else { &self.words.1 }
    }

    /// The word that `${flag}` prints, if it may.
    pub(crate) fn printed(&self, value: bool) -> Option<&str> {
        self.prints.then(|| self.word(value))
    }
}
