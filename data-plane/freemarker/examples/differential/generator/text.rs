//! Text between tags. White space at the ends of lines is what this is about.

use super::Generator;

impl Generator<'_> {
    /// What stands between two tags.
    pub(super) fn gap(&mut self) -> &'static str {
        self.random.pick(&[
            "", "", "", "", "\n", "\n", "\n", "\n  ", "\n    ", "  \n", " ", "\n\n", "\n \n  ", "\t", "\n\t", "\r\n",
            "\r\n  ", "\r",
        ])
    }

    pub(super) fn text(&mut self) -> String {
        let words = [
            "x",
            "text",
            "a b",
            "{\n  \"k\": ",
            "\",\n",
            "}",
            "]",
            "# $ @",
            "<b>",
            "</p>",
            "<",
            ">",
            "/>",
            "é",
            "😀",
            "-->",
            "1 < 2",
            "\"quoted\"",
            "end.",
            "\\",
            "[ ]",
            "{}",
            "<a href='#'>",
            "&amp;",
            "$",
            "}}",
            "  ",
            "\n",
            " \n ",
            "%",
            ",",
        ];
        let mut text = self.gap().to_owned();
        for _ in 0..self.random.below(3) + 1 {
            text.push_str(self.random.pick(&words));
            text.push_str(self.gap());
        }
        text
    }
}
