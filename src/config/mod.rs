//! Configuration: what was written (`file`), where it came from and what it
//! becomes (`resolve`), what the proxy works with (`values`).

pub(crate) mod values;

pub(crate) use values::Config;
