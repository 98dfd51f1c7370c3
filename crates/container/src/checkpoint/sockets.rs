//! Whether a container has TCP connections whose packets must be held back during a dump.

use std::path::Path;

/// TCP_LISTEN of the kernel's tcp_states.h, as /proc/net/tcp prints it.
const LISTEN: &str = "0A";

/// Whether the network namespace of process `pid` has a TCP socket in any state but LISTEN.
///
/// Without one there is nothing that a packet could disturb between freezing and the end of the dump, and CRIU need not run
/// iptables-restore twice while the container stands still. What cannot be read counts as a connection.
pub(crate) fn has_connections(pid: i32) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let path = format!("/proc/{pid}/net/{table}");
        match std::fs::read_to_string(&path) {
            Ok(text) => connected(&text),
            // A kernel without IPv6 has no tcp6.
            Err(_) => Path::new(&format!("/proc/{pid}/net")).join(table).exists(),
        }
    })
}

fn connected(table: &str) -> bool {
    table.lines().skip(1).any(|line| line.split_whitespace().nth(3).is_some_and(|state| state != LISTEN))
}

#[cfg(test)]
mod tests {
    use super::connected;

    #[test]
    fn listening_is_no_connection() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue\n";
        let line = |state: &str| {
            format!("{head}   0: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000\n")
        };
        assert!(!connected(head));
        assert!(!connected(&line("0A")));
        assert!(connected(&line("01")));
        assert!(connected(&line("06")));
    }
}
