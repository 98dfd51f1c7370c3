//! Extended regular expressions (regex(7)), by the C library.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

/// A compiled expression.
pub struct Regex {
    // On the heap, where it does not move: what is inside is the library's affair.
    compiled: Box<libc::regex_t>,
}

impl std::fmt::Debug for Regex {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Regex").finish_non_exhaustive()
    }
}

impl Regex {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// What is wrong with it, in the library's words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let pattern = CString::new(pattern).map_err(|_| "it holds a NUL byte".to_owned())?;
        let mut compiled: Box<MaybeUninit<libc::regex_t>> = Box::new(MaybeUninit::uninit());
        // SAFETY: regcomp(3) reads the string up to its NUL and writes what the first pointer is to, which has that type.
        let code = unsafe {
            libc::regcomp(compiled.as_mut_ptr(), pattern.as_ptr(), libc::REG_EXTENDED | libc::REG_NOSUB)
        };
        if code == 0 {
            // SAFETY: regcomp(3) initialises it when it returns 0.
            return Ok(Self { compiled: unsafe { compiled.assume_init() } });
        }
        let mut text = [0_u8; 256];
        // SAFETY: regerror(3) writes a string of at most that size, and reads an expression that regcomp(3) has refused.
        unsafe { libc::regerror(code, compiled.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
        let text = CStr::from_bytes_until_nul(&text).map(CStr::to_string_lossy).unwrap_or_default();
        Err(text.to_lowercase())
    }

    /// Whether it matches some part of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let Ok(text) = CString::new(text) else { return false };
        // SAFETY: the expression is a compiled one; with no room for matches nothing is written.
        unsafe { libc::regexec(&raw const *self.compiled, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: a compiled expression, which nobody uses any more.
        unsafe { libc::regfree(&raw mut *self.compiled) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_expressions_match_anywhere() {
        let web = Regex::new("^web-[0-9]+$|cache").unwrap();
        for (id, expected) in [("web-12", true), ("my-cache.1", true), ("web-", false), ("WEB-1", false)] {
            assert_eq!(web.matches(id), expected, "{id}");
        }
        assert!(Regex::new("").unwrap().matches("anything"));
    }

    #[test]
    fn what_is_none_is_said() {
        let error = Regex::new("web[").unwrap_err();
        assert!(!error.is_empty() && !error.contains('\n'), "{error:?}");
        assert!(Regex::new("a\0b").is_err());
    }
}
