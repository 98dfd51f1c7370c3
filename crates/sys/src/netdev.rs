//! Network devices: moving one to another network namespace (rtnetlink(7)).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::net::in_namespace;
use crate::{Context, Error, Result};

// linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_PERMANENT: u8 = 0x80;
const RT_SCOPE_UNIVERSE: u8 = 0;

/// Whether the current network namespace has a device of this name.
pub fn exists(name: &str) -> bool {
    index(name).is_ok()
}

/// Moves the device `name` of the current network namespace into `target`, as `new_name`, and brings it up there.
///
/// It keeps those addresses that somebody gave it for good and that mean the same everywhere: permanent ones of global scope.
/// All others the kernel makes anew.
pub fn move_to(name: &str, target: BorrowedFd<'_>, new_name: &str) -> Result<()> {
    let here = Rtnetlink::open()?;
    let device = index(name)?;
    let addresses = here.addresses(device)?;
    here.set_up(device, false)?;
    let namespace = target.as_raw_fd().unsigned_abs().to_ne_bytes();
    let mut request = link(device, 0, 0);
    request.extend(attribute(IFLA_NET_NS_FD, &namespace));
    request.extend(attribute(IFLA_IFNAME, &[new_name.as_bytes(), b"\0"].concat()));
    here.ask(libc::RTM_NEWLINK, 0, &request, || format!("move {name:?} as {new_name:?}"))?;
    in_namespace(target, || {
        let there = Rtnetlink::open()?;
        let device = index(new_name)?;
        for address in &addresses {
            let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
            let request = address.request(device);
            there.ask(libc::RTM_NEWADDR, flags, &request, || format!("an address of {new_name:?}"))?;
        }
        there.set_up(device, true)
    })
}

fn index(name: &str) -> Result<u32> {
    let text =
        CString::new(name).map_err(|_| Error::new("if_nametoindex", format!("{name:?}"), libc::EINVAL))?;
    // SAFETY: the name is NUL-terminated and outlives the call.
    match unsafe { libc::if_nametoindex(text.as_ptr()) } {
        0 => Err(Error::last("if_nametoindex", format!("{name:?}"))),
        index => Ok(index),
    }
}

/// A global, permanent address, as the kernel lists it.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    family: u8,
    prefix: u8,
    /// IFA_ADDRESS, IFA_LOCAL and IFA_BROADCAST, as far as there are.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    /// From a struct ifaddrmsg with its attributes, if it is such an address of the device.
    fn of(message: &[u8], device: u32) -> Option<Self> {
        let (head, mut rest) = message.split_at_checked(8)?;
        let owner = u32::from_ne_bytes(head[4..8].try_into().ok()?);
        if owner != device || head[2] & IFA_F_PERMANENT == 0 || head[3] != RT_SCOPE_UNIVERSE {
            return None;
        }
        let mut attributes = Vec::new();
        while let Some((kind, value, tail)) = next_attribute(rest) {
            if matches!(kind, IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST) {
                attributes.push((kind, value.to_owned()));
            }
            rest = tail;
        }
        Some(Self { family: head[0], prefix: head[1], attributes })
    }

    fn request(&self, device: u32) -> Vec<u8> {
        let mut request = vec![self.family, self.prefix, IFA_F_PERMANENT, RT_SCOPE_UNIVERSE];
        request.extend(device.to_ne_bytes());
        request.extend(self.attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)));
        request
    }
}

/// A struct ifinfomsg.
fn link(device: u32, flags: u32, change: u32) -> Vec<u8> {
    let words = [0, device, flags, change];
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// A struct rtattr with its value, padded.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// The first attribute: kind, value, and what follows.
fn next_attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
    let value = bytes.get(4..length)?;
    Some((kind, value, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// A struct nlmsghdr, split off: kind, payload, and what follows.
fn next_message(bytes: &[u8]) -> Option<(i32, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(16..length)?;
    Some((kind.into(), payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// A socket to the network configuration of the namespace in which it was made.
struct Rtnetlink(OwnedFd);

impl Rtnetlink {
    fn open() -> Result<Self> {
        // Protocol 0 is NETLINK_ROUTE.
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
            .call("socket", || "AF_NETLINK, NETLINK_ROUTE".into())
            .map(Self)
    }

    fn set_up(&self, device: u32, up: bool) -> Result<()> {
        let bit = libc::IFF_UP.unsigned_abs();
        let request = link(device, if up { bit } else { 0 }, bit);
        self.ask(libc::RTM_NEWLINK, 0, &request, || format!("device {device}, up: {up}"))
    }

    fn addresses(&self, device: u32) -> Result<Vec<Address>> {
        let mut found = Vec::new();
        let list = |message: &[u8]| found.extend(Address::of(message, device));
        self.exchange(libc::RTM_GETADDR, libc::NLM_F_DUMP, &[0; 8], list, || "RTM_GETADDR".into())?;
        Ok(found)
    }

    fn ask(&self, kind: u16, flags: i32, payload: &[u8], what: impl Fn() -> String) -> Result<()> {
        self.exchange(kind, flags | libc::NLM_F_ACK, payload, |_| (), what)
    }

    /// Sends one request and takes its answers, up to the acknowledgement or the end of a list.
    fn exchange(
        &self,
        kind: u16,
        flags: i32,
        payload: &[u8],
        mut answer: impl FnMut(&[u8]),
        what: impl Fn() -> String,
    ) -> Result<()> {
        let mut request = ((16 + payload.len()) as u32).to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend(((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        request.extend([0; 8]);
        request.extend(payload);
        rustix::net::send(&self.0, &request, SendFlags::empty()).call("netlink send", &what)?;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let (_, size) = rustix::net::recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())
                .call("netlink recv", &what)?;
            let mut rest = &buffer[..size.min(buffer.len())];
            while let Some((kind, payload, tail)) = next_message(rest) {
                match kind {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => return result_of(payload, what),
                    _ => answer(payload),
                }
                rest = tail;
            }
        }
    }
}

/// The errno of a struct nlmsgerr, negative; 0 acknowledges.
fn result_of(payload: &[u8], what: impl Fn() -> String) -> Result<()> {
    let code =
        payload.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(-libc::EBADMSG, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(Error::new("netlink", what(), -code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_again() {
        let bytes = [attribute(3, b"eth0\0"), attribute(28, &7u32.to_ne_bytes())].concat();
        assert_eq!(bytes.len(), 12 + 8);
        let (kind, value, rest) = next_attribute(&bytes).unwrap();
        assert_eq!((kind, value), (3, b"eth0\0".as_slice()));
        assert_eq!(next_attribute(rest).unwrap().0, 28);
        assert_eq!(next_attribute(&[9, 0, 1, 0]), None);
    }

    #[test]
    fn only_global_permanent_addresses_are_kept() {
        let message = |flags: u8, scope: u8| {
            [vec![2, 24, flags, scope], 5u32.to_ne_bytes().to_vec(), attribute(IFA_LOCAL, &[10, 0, 0, 1])]
                .concat()
        };
        let kept = Address::of(&message(IFA_F_PERMANENT, 0), 5).unwrap();
        assert_eq!(kept.request(5), message(IFA_F_PERMANENT, 0));
        assert_eq!(Address::of(&message(IFA_F_PERMANENT, 0), 6), None);
        assert_eq!(Address::of(&message(0, 0), 5), None);
        assert_eq!(Address::of(&message(IFA_F_PERMANENT, 253), 5), None);
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        assert!(exists("lo"));
        let error = index("no-such-device").unwrap_err().to_string();
        assert!(error.contains("no-such-device") && error.contains("no such device"), "{error}");
    }
}
