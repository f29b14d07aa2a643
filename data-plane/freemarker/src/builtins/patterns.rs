//! Built-ins that look for a string or a regular expression: what their flags say.

use std::rc::Rc;
use std::sync::Arc;

use super::BuiltIn;
use super::dispatch::needs_arguments;
use super::flags::{Flags, Haystack};
use crate::ast::{BuiltInCall, Expr};
use crate::error::{Raised, limit, runtime};
use crate::eval::Interp;
use crate::matches::Matches;
use crate::model::Sequence;
use crate::regex::{Exhausted, Found, Regex, Replacement};
use crate::span::Span;
use crate::value::{Text, Value};

/// Instructions of a regular expression that are as dear as one step of a template.
const FUEL_PER_STEP: u64 = 16;

impl<'r> Interp<'r> {
    pub(super) fn pattern_built_in(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        match call.which {
            BuiltIn::Matches => self.matches(call),
            BuiltIn::Groups => self.groups(call),
            BuiltIn::Replace => self.replace(call, expr),
            BuiltIn::Split => self.split(call),
            BuiltIn::EnsureStartsWith => self.ensure_starts_with(call),
            _ => self.keep(call, expr),
        }
    }

    /// Whether the whole text matches, for a `?matches` that is only a condition.
    pub(crate) fn matches_whole(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<bool, Raised> {
        self.check_argument_count(call, expr)?;
        let text = self.text(&call.target)?;
        let (regex, _) = self.matches_args(call)?;
        self.whole_match(&regex, &text).map(|found| found.is_some())
    }

    fn matches_args(&mut self, call: &'r BuiltInCall) -> Result<(Rc<Regex>, Flags), Raised> {
        let Some(pattern) = self.printed_arg(call, 0)? else { return Err(needs_arguments(call)) };
        let flags = Flags::parse(&self.printed_arg(call, 1)?.unwrap_or(Text::Borrowed("")));
        Ok((self.regex(&pattern, flags)?, flags))
    }

    fn matches(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        let (regex, _) = self.matches_args(call)?;
        let whole = self.whole_match(&regex, &text)?;
        let mut found = Vec::new();
        self.each_match(&regex, &text, |interp, one| {
            interp.charge_items(1 + one.group_count() / 4)?;
            found.push(one);
            Ok(true)
        })?;
        let matches = Matches::new(text, whole, regex.group_count(), found);
        Ok(Value::Sequence(Sequence::Matches(Arc::new(matches))))
    }

    fn groups(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let groups = match self.value(&call.target)? {
            Value::Sequence(Sequence::Matches(matches)) => match matches.groups() {
                Ok(groups) => groups,
                Err(count) => return Ok(Value::Sequence(Sequence::NoGroups(count))),
            },
            Value::String(Text::Match(found)) => found.groups(),
            other => return Err(self.expected("regular expression matcher", &other, &call.target)),
        };
        for group in &groups {
            if let Value::String(Text::Owned(text)) = group {
                self.meter.value(text.len())?;
            }
        }
        self.built_sequence(groups)
    }

    fn whole_match(&mut self, regex: &Regex, text: &str) -> Result<Option<Found>, Raised> {
        let fuel = self.fuel();
        let mut search = regex.search(text, fuel);
        let result = search.whole();
        let left = search.fuel();
        self.burnt(fuel - left, result.as_ref().err())?;
        result.map_err(|exhausted| self.exhausted(exhausted))
    }

    /// Calls `each` for every match until it says that it has enough.
    fn each_match(
        &mut self,
        regex: &Regex,
        text: &str,
        mut each: impl FnMut(&mut Self, Found) -> Result<bool, Raised>,
    ) -> Result<(), Raised> {
        let mut search = regex.search(text, self.fuel());
        loop {
            let before = search.fuel();
            let result = search.find_next();
            self.burnt(before - search.fuel(), result.as_ref().err())?;
            match result.map_err(|exhausted| self.exhausted(exhausted))? {
                Some(found) => {
                    if !each(self, found)? {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn fuel(&self) -> u64 {
        self.meter.steps_left().saturating_mul(FUEL_PER_STEP)
    }

    /// Counts instructions that were run as steps.
    fn burnt(&mut self, fuel: u64, exhausted: Option<&Exhausted>) -> Result<(), Raised> {
        match exhausted {
            Some(_) => Ok(()),
            None => self.meter.steps(1 + fuel / FUEL_PER_STEP),
        }
    }

    fn exhausted(&mut self, exhausted: Exhausted) -> Raised {
        match exhausted {
            Exhausted::Steps => match self.meter.steps(u64::MAX) {
                Err(mut fault) => {
                    fault.message.push_str(" (in a regular expression)");
                    fault
                }
                Ok(()) => limit("the regular expression took too many steps"),
            },
            Exhausted::Memory => limit("the regular expression has too many ways to match"),
        }
    }

    /// A regular expression by its text; recently used ones are at hand.
    fn regex(&mut self, pattern: &str, flags: Flags) -> Result<Rc<Regex>, Raised> {
        if let Some(known) = self.regexes.find(pattern, flags.of_regex) {
            return Ok(known);
        }
        self.meter.steps(5 + pattern.len() as u64 / 4)?;
        let regex = Regex::parse(pattern, flags.of_regex)
            .map_err(|problem| runtime(format!("malformed regular expression: \"{pattern}\": {problem}")))?;
        self.meter.steps(regex.size() as u64 / 8)?;
        Ok(self.regexes.keep(pattern, flags.of_regex, regex))
    }

    fn replace(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        let (Some(wanted), Some(new)) = (self.printed_arg(call, 0)?, self.printed_arg(call, 1)?) else {
            return Err(needs_arguments(call));
        };
        let flags = Flags::parse(&self.printed_arg(call, 2)?.unwrap_or(Text::Borrowed("")));
        self.meter.scan(text.len() + wanted.len())?;
        if flags.regex {
            return self.replace_matches(text, &wanted, &new, flags, expr);
        }
        if wanted.is_empty() {
            let count = if flags.first_only { 1 } else { text.chars().count() + 1 };
            self.meter.value(new.len().saturating_mul(count))?;
            if flags.first_only {
                return self.built(format!("{}{}", &*new, &*text));
            }
            let mut out = new.to_string();
            for c in text.chars() {
                out.push(c);
                out.push_str(&new);
            }
            return self.built(out);
        }
        let haystack = Haystack::new(&text, flags.ignore_case());
        let lower;
        let wanted = if flags.ignore_case() {
            lower = wanted.to_lowercase();
            &*lower
        } else {
            &*wanted
        };
        let Some(mut at) = haystack.find(wanted, 0) else { return Ok(Value::String(text)) };
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        loop {
            self.meter.value(new.len() + at - from)?;
            self.meter.step()?;
            out.push_str(text.get(from..at).unwrap_or_default());
            out.push_str(&new);
            from = at + wanted.len();
            match haystack.find(wanted, from) {
                Some(next) if !flags.first_only => at = next,
                _ => break,
            }
        }
        out.push_str(text.get(from..).unwrap_or_default());
        self.built(out)
    }

    fn replace_matches(
        &mut self,
        text: Text<'r>,
        pattern: &str,
        new: &str,
        flags: Flags,
        expr: &'r Expr,
    ) -> Result<Value<'r>, Raised> {
        let regex = self.regex(pattern, flags)?;
        let mut replacement = None;
        let mut out = String::new();
        let mut from = 0;
        let subject = text.clone();
        self.each_match(&regex, &subject, |interp, found| {
            let replacement = match &replacement {
                Some(known) => known,
                // only looked at when there is something to replace, as in Java
                None => {
                    let read = Replacement::parse(new, &regex)
                        .map_err(|problem| replacement_fault(new, &problem, expr.span))?;
                    replacement.insert(read)
                }
            };
            interp.meter.value(replacement.len(&found) + found.start().saturating_sub(from))?;
            out.push_str(subject.get(from..found.start()).unwrap_or_default());
            replacement.write(&found, &subject, &mut out);
            from = found.end();
            Ok(!flags.first_only)
        })?;
        if replacement.is_none() {
            return Ok(Value::String(text));
        }
        out.push_str(text.get(from..).unwrap_or_default());
        self.built(out)
    }

    fn split(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        let Some(separator) = self.printed_arg(call, 0)? else { return Err(needs_arguments(call)) };
        let flags = Flags::parse(&self.printed_arg(call, 1)?.unwrap_or(Text::Borrowed("")));
        self.meter.scan(text.len() + separator.len())?;
        if flags.regex {
            return self.split_at_matches(&text, &separator, flags);
        }
        let mut parts = Vec::new();
        if separator.is_empty() {
            for (at, c) in text.char_indices() {
                self.charge_items(1)?;
                parts.push(self.part_of(&text, at, at + c.len_utf8())?);
            }
            return self.built_sequence(parts);
        }
        let haystack = Haystack::new(&text, flags.ignore_case());
        let lower;
        let separator = if flags.ignore_case() {
            lower = separator.to_lowercase();
            &*lower
        } else {
            &*separator
        };
        let mut from = 0;
        while let Some(at) = haystack.find(separator, from) {
            self.charge_items(1)?;
            parts.push(self.part_of(&text, from, at)?);
            from = at + separator.len();
        }
        parts.push(self.part_of(&text, from, text.len())?);
        self.built_sequence(parts)
    }

    /// As Java splits: no empty part at the start before an empty match, and none at the end.
    fn split_at_matches(&mut self, text: &Text<'r>, pattern: &str, flags: Flags) -> Result<Value<'r>, Raised> {
        let regex = self.regex(pattern, flags)?;
        let mut parts: Vec<(usize, usize)> = Vec::new();
        let mut from = 0;
        self.each_match(&regex, text, |interp, found| {
            interp.charge_items(1)?;
            if found.end() > 0 {
                parts.push((from, found.start()));
                from = found.end();
            }
            Ok(true)
        })?;
        parts.push((from, text.len()));
        if from > 0 {
            while parts.last().is_some_and(|(start, end)| start == end) {
                parts.pop();
            }
        }
        let mut values = Vec::with_capacity(parts.len());
        for (start, end) in parts {
            values.push(self.part_of(text, start, end)?);
        }
        self.built_sequence(values)
    }

    /// A part of a text, in bytes; data that is read in place stays where it is.
    pub(crate) fn part_of(&mut self, text: &Text<'r>, start: usize, end: usize) -> Result<Value<'r>, Raised> {
        match text {
            Text::Borrowed(text) => Ok(Value::String(Text::Borrowed(text.get(start..end).unwrap_or_default()))),
            other => self.built(other.get(start..end).unwrap_or_default().to_owned()),
        }
    }

    fn ensure_starts_with(&mut self, call: &'r BuiltInCall) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        let wanted = self.needed_text(call, 0)?;
        self.meter.scan(text.len() + wanted.len())?;
        let Some(added) = self.text_arg(call, 1)? else {
            let longer = (!text.starts_with(&*wanted)).then(|| format!("{}{}", &*wanted, &*text));
            return self.changed(text, longer);
        };
        let flags = match self.text_arg(call, 2)? {
            Some(flags) => Flags::parse(&flags),
            None => Flags { regex: true, ..Flags::default() },
        };
        let starts = if flags.regex {
            let regex = self.regex(&wanted, flags)?;
            let mut at_start = false;
            self.each_match(&regex, &text, |_, found| {
                at_start = found.start() == 0;
                Ok(false)
            })?;
            at_start
        } else {
            self.only_plain_flags(call, flags)?;
            match flags.ignore_case() {
                true => text.to_lowercase().starts_with(&wanted.to_lowercase()),
                false => text.starts_with(&*wanted),
            }
        };
        let longer = (!starts).then(|| format!("{}{}", &*added, &*text));
        self.changed(text, longer)
    }

    /// Some flags are for regular expressions only, and newer built-ins say so.
    fn only_plain_flags(&self, call: &BuiltInCall, flags: Flags) -> Result<(), Raised> {
        let of_regex = flags.of_regex;
        if of_regex.multi_line || of_regex.dot_all || of_regex.comments {
            let flag = if of_regex.multi_line {
                "m"
            } else if of_regex.dot_all {
                "s"
            } else {
                "c"
            };
            let name = call.which.name();
            return Err(runtime(format!("?{name} doesn't support the \"{flag}\" flag without the \"r\" flag.")));
        }
        Ok(())
    }

    /// `?keep_before` and its three relatives.
    fn keep(&mut self, call: &'r BuiltInCall, expr: &'r Expr) -> Result<Value<'r>, Raised> {
        let text = self.text(&call.target)?;
        let wanted = self.needed_text(call, 0)?;
        let flags = Flags::parse(&self.text_arg(call, 1)?.unwrap_or(Text::Borrowed("")));
        self.meter.scan(text.len() + wanted.len())?;
        let last = matches!(call.which, BuiltIn::KeepBeforeLast | BuiltIn::KeepAfterLast);
        let before = matches!(call.which, BuiltIn::KeepBefore | BuiltIn::KeepBeforeLast);
        let found = if !flags.regex {
            self.only_plain_flags(call, flags)?;
            let haystack = Haystack::new(&text, flags.ignore_case());
            let lower = if flags.ignore_case() { wanted.to_lowercase() } else { wanted.to_string() };
            let compared = haystack.compared();
            let at = if last { compared.rfind(&*lower) } else { compared.find(&*lower) };
            at.map(|at| (at, at + lower.len()))
        } else if last && wanted.is_empty() {
            Some((text.len(), text.len()))
        } else {
            self.matched_part(&text, &wanted, flags, last, expr.span)?
        };
        match found {
            Some((start, _)) if before => self.part_of(&text, 0, start),
            Some((_, end)) => self.part_of(&text, end, text.len()),
            None if before => Ok(Value::String(text)),
            None => Ok(Value::String(Text::Borrowed(""))),
        }
    }

    /// The first match, or the last, which may begin within the one before.
    fn matched_part(
        &mut self,
        text: &str,
        pattern: &str,
        flags: Flags,
        last: bool,
        place: Span,
    ) -> Result<Option<(usize, usize)>, Raised> {
        let regex = self.regex(pattern, flags)?;
        let mut search = regex.search(text, self.fuel());
        let mut found = None;
        loop {
            let before = search.fuel();
            let result = search.find_next();
            self.burnt(before - search.fuel(), result.as_ref().err())?;
            match result.map_err(|exhausted| self.exhausted(exhausted))? {
                Some(one) => {
                    found = Some((one.start(), one.end()));
                    if !last {
                        return Ok(found);
                    }
                    if one.start() == text.len() {
                        // Java's matcher can't start beyond the end
                        let problem = format!("\"{pattern}\" matches nothing at the end of the string");
                        return Err(runtime(problem).at(place));
                    }
                    search.go_on_after_start(&one);
                }
                None => return Ok(found),
            }
        }
    }
}

/// What is wrong with a replacement. A group that is not there by its number is the expression's fault in FreeMarker,
/// anything else the directive's.
fn replacement_fault(new: &str, problem: &str, place: Span) -> Raised {
    let fault = runtime(format!("malformed replacement \"{new}\": {problem}"));
    if problem.starts_with("there is no group") && !problem.contains("named") { fault.at(place) } else { fault }
}
