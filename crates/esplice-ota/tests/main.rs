//! Tests of manifests, signatures and the rules of updates.

mod hostile;
mod openssl;
mod rules;
mod support;
