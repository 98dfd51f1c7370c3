//! The options for memory that travels encrypted, of `checkpoint`, `page-server` and `lazy-pages`; named as CRIU's are.

use anyhow::{Context as _, bail};
use clap::Args;
use container::Tls;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Certificates and keys are files in PEM; CRIU has places of its own for those that are not named.
#[derive(Debug, Args)]
pub(crate) struct TlsOptions {
    /// Encrypt memory on its way, and prove by certificates who is at either end
    #[arg(long)]
    tls: bool,
    /// The authority that signed the other end's certificate [default: CRIU's]
    #[arg(long, value_name = "FILE")]
    tls_cacert: Option<PathBuf>,
    /// Certificates that it has revoked
    #[arg(long, value_name = "FILE")]
    tls_cacrl: Option<PathBuf>,
    /// Our certificate [default: CRIU's]
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its key [default: CRIU's]
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Accept a server whose address is not the name in its certificate
    #[arg(long)]
    tls_no_cn_verify: bool,
}

impl TlsOptions {
    /// What was asked for. `page_server`: memory is to travel at all.
    ///
    /// A file that cannot be read is refused here: CRIU would notice with the container standing still.
    pub(crate) fn tls(&self, page_server: bool) -> anyhow::Result<Option<Tls>> {
        let files = [
            ("--tls-cacert", &self.tls_cacert),
            ("--tls-cacrl", &self.tls_cacrl),
            ("--tls-cert", &self.tls_cert),
            ("--tls-key", &self.tls_key),
        ];
        if !self.tls {
            let named = files.iter().find(|(_, file)| file.is_some()).map(|(flag, _)| *flag);
            if let Some(flag) = named.or(self.tls_no_cn_verify.then_some("--tls-no-cn-verify")) {
                bail!("{flag} is of use with --tls only");
            }
            return Ok(None);
        }
        if !page_server {
            bail!("--tls is of use with --page-server only: nothing else travels");
        }
        let [ca_cert, ca_crl, cert, key] =
            files.map(|(flag, file)| file.as_deref().map(|file| readable(flag, file)).transpose());
        Ok(Some(Tls {
            ca_cert: ca_cert?,
            ca_crl: ca_crl?,
            cert: cert?,
            key: key?,
            no_name_check: self.tls_no_cn_verify,
        }))
    }
}

/// The file as criu, which is elsewhere, can open it.
fn readable(flag: &str, file: &Path) -> anyhow::Result<String> {
    let problem = || format!("{flag} {}", file.display());
    let opened = File::open(file).with_context(problem)?;
    if opened.metadata().with_context(problem)?.is_dir() {
        bail!("{}: is a directory", problem());
    }
    Ok(std::path::absolute(file).with_context(problem)?.display().to_string())
}
