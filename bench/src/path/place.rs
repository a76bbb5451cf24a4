//! Edge. The two ends of a path: a network namespace each, with a TUN device that leads to the other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result};
use tcpforward_tests::netns;
use tun_rs::{DeviceBuilder, SyncDevice};

/// An end of the path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The client's.
    Near,
    /// The servers'.
    Far,
}

/// Where forwarders listen, in a namespace of their own.
pub const LISTENER: u16 = 7000;

/// Where servers do that send by the slow congestion control, and by the fast one.
pub const SLOW_SERVER: u16 = 7001;
/// The other one.
pub const FAST_SERVER: u16 = 7002;

/// Packets that the device holds for the link: more than any sender has under way, so that nothing is lost there.
const HELD: u32 = 20_000;

/// As of Ethernet.
const LARGEST_PACKET: u16 = 1500;

impl End {
    /// Its address on the path.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::Near => Ipv4Addr::new(10, 78, 0, 1),
            Self::Far => Ipv4Addr::new(10, 78, 0, 2),
        }
    }

    /// One of its ports, as the other end sees it.
    #[must_use]
    pub fn port(self, port: u16) -> SocketAddr {
        (IpAddr::V4(self.address()), port).into()
    }

    /// Its device, in the namespace of the calling thread; gone when dropped.
    ///
    /// # Errors
    /// Not root, or the kernel has no TUN devices.
    pub fn device(self) -> Result<SyncDevice> {
        // A connection learns nothing from those before.
        netns::set("ipv4/tcp_no_metrics_save", "1")?;
        // Nothing is on the path but what is measured: no searches for routers.
        if Path::new("/proc/sys/net/ipv6").exists() {
            netns::set("ipv6/conf/default/disable_ipv6", "1")?;
        }
        let device = DeviceBuilder::new()
            .name("long")
            .ipv4(self.address(), 24, None)
            .mtu(LARGEST_PACKET)
            .tx_queue_len(HELD);
        device.build_sync().context(
            "can't make a TUN device: `modprobe tun`, or give the container /dev/net/tun and CAP_NET_ADMIN",
        )
    }
}
