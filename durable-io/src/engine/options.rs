//! The limits of options, and what is said of a value beyond them.

use std::ops::RangeInclusive;

use crate::sync_mode::SyncMode;

/// An option has a value that the engine cannot work with. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("option {option} cannot be {value}: {rule}")]
pub struct InvalidOption {
    /// The option's name.
    pub option: &'static str,
    /// What was asked for.
    pub value: u64,
    /// What is allowed.
    pub rule: &'static str,
}

impl InvalidOption {
    /// Refuses the `value` of `option` unless it is `within` its limits, which `rule` states.
    ///
    /// # Errors
    /// [`InvalidOption`].
    ///
    /// ```
    /// use durable_io::engine::InvalidOption;
    ///
    /// let check = |keys| InvalidOption::unless_within("keys", keys, 1..=9, "it is from 1 to 9 keys");
    /// assert!(check(9).is_ok());
    /// let error = check(0).unwrap_err();
    /// assert_eq!(error.to_string(), "option keys cannot be 0: it is from 1 to 9 keys");
    /// ```
    pub fn unless_within(
        option: &'static str,
        value: u64,
        within: RangeInclusive<u64>,
        rule: &'static str,
    ) -> Result<(), Self> {
        if within.contains(&value) {
            return Ok(());
        }
        Err(Self {
            option,
            value,
            rule,
        })
    }
}

impl SyncMode {
    /// Whether an engine can work with it.
    ///
    /// # Errors
    /// [`InvalidOption`]: a batch of no writes.
    pub fn validate(self) -> Result<(), InvalidOption> {
        let writes = match self {
            Self::Batch { writes, .. } => writes.into(),
            Self::Always | Self::Manual => 1,
        };
        let within = 1..=u64::from(u32::MAX);
        InvalidOption::unless_within("writes", writes, within, "a batch has at least 1 write")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_batch_of_no_writes_is_none() {
        let batch = |writes| SyncMode::Batch {
            writes,
            interval: Duration::ZERO,
        };
        for mode in [SyncMode::Always, SyncMode::Manual, batch(1)] {
            assert_eq!(mode.validate(), Ok(()));
        }
        let error = batch(0).validate().unwrap_err();
        let text = "option writes cannot be 0: a batch has at least 1 write";
        assert_eq!(error.to_string(), text);
    }
}
