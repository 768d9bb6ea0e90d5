//! A segmented write-ahead log.
