//! Values that are markup already, and not escaped when they are printed.

use crate::output_format::OutputFormat;
use crate::value::Text;

/// A text in a language such as HTML: what `?esc` makes of a plain text, or what was captured where
/// output escapes by itself.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let source = "<#outputformat 'HTML'>${'<'} ${'<'?no_esc} <#assign b><b>${'&'}</b></#assign>${b}</#outputformat>";
/// let mut out = Vec::new();
/// Template::parse("t", source, &Settings::default())?.render(&Root::new(), &Limits::default(), &mut out)?;
/// assert_eq!(out, b"&lt; < <b>&amp;</b>");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Markup<'d> {
    pub(crate) format: OutputFormat,
    /// The plain text that it was escaped from, if that is known.
    pub(crate) plain: Option<Text<'d>>,
    /// The markup; `None` when it is still to be made from the plain text.
    pub(crate) markup: Option<Text<'d>>,
}

impl<'d> Markup<'d> {
    /// The name of the output format, such as `HTML`.
    pub fn format(&self) -> String {
        self.format.to_string()
    }

    /// The text as it is printed in its format.
    pub fn text(&self) -> Text<'d> {
        match (&self.markup, &self.plain) {
            (Some(markup), _) => markup.clone(),
            (None, Some(plain)) => Text::from(self.format.escaped(plain)),
            (None, None) => Text::Borrowed(""),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.plain.as_ref().or(self.markup.as_ref()).is_none_or(|text| text.is_empty())
    }

    /// How many bytes it takes.
    pub(crate) fn size(&self) -> usize {
        [&self.plain, &self.markup].into_iter().flatten().map(|text| text.len()).sum()
    }

    /// One after the other, when both are of one format.
    pub(crate) fn join(&self, right: &Markup<'d>) -> Markup<'d> {
        let both = |a: &Option<Text<'d>>, b: &Option<Text<'d>>| -> Option<Text<'d>> {
            Some(Text::from(format!("{}{}", &**a.as_ref()?, &**b.as_ref()?)))
        };
        let plain = both(&self.plain, &right.plain);
        let mut markup = both(&self.markup, &right.markup);
        if plain.is_none() && markup.is_none() {
            markup = both(&Some(self.text()), &Some(right.text()));
        }
        Markup { format: self.format, plain, markup }
    }
}
