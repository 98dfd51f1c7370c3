//! The options that `page-server` and `lazy-pages` share, and the way in which addresses are written.

use crate::context::{self, Context};
use anyhow::bail;
use clap::Args;
use container::pages::Place;
use std::path::PathBuf;

/// Options of both commands.
#[derive(Debug, Args)]
pub(crate) struct PageOptions {
    /// The directory of the images [default: ./checkpoint]
    #[arg(long, value_name = "DIR", default_value = "checkpoint", hide_default_value = true)]
    image_path: PathBuf,
    /// The directory of CRIU's log and working files [default: the images']
    #[arg(long, value_name = "DIR")]
    work_path: Option<PathBuf>,
    /// Write a NUL byte to this descriptor when ready
    #[arg(long, value_name = "FD")]
    status_fd: Option<i32>,
}

impl PageOptions {
    pub(crate) fn place(&self, context: &Context) -> anyhow::Result<Place> {
        Ok(Place {
            images: self.image_path.clone(),
            work: self.work_path.clone().filter(|path| !path.as_os_str().is_empty()),
            status: self.status_fd.filter(|fd| *fd >= 0).map(context::status_file).transpose()?,
            criu: context.criu()?,
        })
    }
}

/// `ADDRESS:PORT`, with an IPv6 address in brackets; `flag` is the one that says it. Both are needed: without an address
/// CRIU serves everybody.
pub(crate) fn endpoint(flag: &str, text: &str) -> anyhow::Result<(String, u16)> {
    let parts = text.rsplit_once(':').and_then(|(address, port)| Some((address, port.parse::<u16>().ok()?)));
    let Some((address, port)) = parts.filter(|(address, _)| !address.is_empty()) else {
        bail!("{flag} {text:?}: must be ADDRESS:PORT");
    };
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bare.is_none() && address.contains(':') {
        bail!("{flag} {text:?}: an IPv6 address stands in brackets, as [{address}]:{port}");
    }
    Ok((bare.unwrap_or(address).to_owned(), port))
}

/// The same for somebody to connect to, who needs to know the port.
pub(crate) fn peer(flag: &str, text: &str) -> anyhow::Result<(String, u16)> {
    match endpoint(flag, text)? {
        (_, 0) => bail!("{flag} {text:?}: the port must not be 0"),
        peer => Ok(peer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_a_port_are_needed() {
        let at = |address: &str, port| (address.to_owned(), port);
        assert_eq!(peer("-", "127.0.0.1:27").unwrap(), at("127.0.0.1", 27));
        assert_eq!(peer("-", "[::1]:27").unwrap(), at("::1", 27));
        assert_eq!(peer("-", "host:27").unwrap(), at("host", 27));
        assert_eq!(endpoint("-", "host:0").unwrap(), at("host", 0));
        for text in ["", "27", ":27", "host:", "host:x", "host:0", "host:65536", "::1:27"] {
            assert!(peer("-", text).is_err(), "{text}");
        }
    }
}
