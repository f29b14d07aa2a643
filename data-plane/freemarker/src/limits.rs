//! Bounds on one rendering, counted by the engine itself.

use crate::error::{Raised, limit};

/// What one rendering may use. FreeMarker has no such bounds; a template that stays within them
/// behaves as it does there.
///
/// ```
/// use sluice_freemarker::{ErrorKind, Limits, Root, Settings, Template};
///
/// let template = Template::parse("t", "<#list 1.. as i>${i}</#list>", &Settings::default())?;
/// let mut limits = Limits::default();
/// limits.max_output_bytes = 100;
/// let error = template.render(&Root::new(), &limits, &mut Vec::new()).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Limit);
/// assert_eq!(error.message(), "the output is longer than 100 bytes");
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Steps: one for each directive run and each operator, name, literal or built-in evaluated,
    /// and more for work that grows with its input (searching a text, sorting a sequence).
    pub max_steps: u64,
    /// Bytes of output.
    pub max_output_bytes: usize,
    /// Bytes of strings, sequences and hashes that expressions build, summed up over the rendering:
    /// a bound of what is alive at any time. Data read in place does not count.
    pub max_value_bytes: usize,
    /// How deep directives, expressions and calls may be nested while they run.
    pub max_depth: u32,
}

impl Default for Limits {
    /// Ends any rendering within some 20 ms of CPU.
    fn default() -> Self {
        Limits { max_steps: 200_000, max_output_bytes: 4 << 20, max_value_bytes: 16 << 20, max_depth: 400 }
    }
}

/// What one rendering used.
///
/// ```
/// use sluice_freemarker::{Limits, Root, Settings, Template};
///
/// let template = Template::parse("t", "<#list 1..3 as i>${i}</#list>", &Settings::default())?;
/// let usage = template.render(&Root::new(), &Limits::default(), &mut Vec::new())?;
/// assert_eq!(usage.output_bytes, 3);
/// assert!(usage.steps > 3);
/// # Ok::<(), sluice_freemarker::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Steps, as [`Limits::max_steps`] counts them.
    pub steps: u64,
    /// Bytes that were appended to the output.
    pub output_bytes: usize,
}

/// The longest template source, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// How deep a template's source may nest directives, parentheses, brackets, and steps of one
/// `a.b.c` chain.
pub const MAX_NESTING: u32 = 80;

/// How deep sequences and hashes that expressions or host methods build may hold one another.
pub const MAX_VALUE_DEPTH: u32 = 200;

/// The longest JSON text that [`Value::write_json`](crate::Value::write_json) makes, in bytes.
pub const MAX_JSON_BYTES: usize = 4 << 20;

/// How many digits a number may have, before and after its decimal separator together.
pub const MAX_NUMBER_DIGITS: usize = 1000;

/// Counts what a rendering uses against its limits.
#[derive(Debug)]
pub(crate) struct Meter {
    limits: Limits,
    steps: u64,
    output_bytes: usize,
    value_bytes: usize,
    depth: u32,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Meter { limits: limits.clone(), steps: 0, output_bytes: 0, value_bytes: 0, depth: 0 }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage { steps: self.steps, output_bytes: self.output_bytes }
    }

    #[inline]
    pub(crate) fn step(&mut self) -> Result<(), Raised> {
        self.steps(1)
    }

    #[inline]
    pub(crate) fn steps(&mut self, count: u64) -> Result<(), Raised> {
        self.steps = self.steps.saturating_add(count);
        if self.steps > self.limits.max_steps {
            return Err(self.too_many_steps());
        }
        Ok(())
    }

    /// The steps that are left.
    pub(crate) fn steps_left(&self) -> u64 {
        self.limits.max_steps.saturating_sub(self.steps)
    }

    /// Charges for looking through `bytes` bytes.
    #[inline]
    pub(crate) fn scan(&mut self, bytes: usize) -> Result<(), Raised> {
        self.steps((bytes / 64) as u64)
    }

    #[inline]
    pub(crate) fn output(&mut self, bytes: usize) -> Result<(), Raised> {
        self.output_bytes = self.output_bytes.saturating_add(bytes);
        if self.output_bytes > self.limits.max_output_bytes {
            return Err(self.too_long_output());
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn value(&mut self, bytes: usize) -> Result<(), Raised> {
        self.value_bytes = self.value_bytes.saturating_add(bytes);
        if self.value_bytes > self.limits.max_value_bytes {
            return Err(self.too_large_values());
        }
        Ok(())
    }

    /// The bytes of values that are left.
    pub(crate) fn value_bytes_left(&self) -> usize {
        self.limits.max_value_bytes.saturating_sub(self.value_bytes)
    }

    #[inline]
    pub(crate) fn enter(&mut self) -> Result<(), Raised> {
        self.depth += 1;
        if self.depth > self.limits.max_depth {
            return Err(self.too_deep());
        }
        Ok(())
    }

    /// Whether so many levels more are allowed.
    #[inline]
    pub(crate) fn has_levels(&self, count: u32) -> bool {
        self.depth + count <= self.limits.max_depth
    }

    #[cold]
    fn too_many_steps(&self) -> Raised {
        limit(format!("the template took more than {} steps", self.limits.max_steps))
    }

    #[cold]
    fn too_long_output(&self) -> Raised {
        limit(format!("the output is longer than {} bytes", self.limits.max_output_bytes))
    }

    #[cold]
    fn too_large_values(&self) -> Raised {
        limit(format!("the values built by the template take more than {} bytes", self.limits.max_value_bytes))
    }

    #[cold]
    fn too_deep(&self) -> Raised {
        limit(format!("directives, expressions and calls are nested more than {} deep", self.limits.max_depth))
    }

    pub(crate) fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// Output that was taken back does not count.
    pub(crate) fn reset_output(&mut self, bytes: usize) {
        self.output_bytes = bytes;
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    pub(crate) fn set_depth(&mut self, depth: u32) {
        self.depth = depth;
    }

    #[inline]
    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}
