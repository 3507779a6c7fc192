//! Which addresses belong to the public internet; the rest is where a server must not be made to call.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why a call was not made: the host leads somewhere that is not the public internet.
#[derive(Debug, thiserror::Error)]
#[error("the host leads to a private or reserved address")]
pub(crate) struct Forbidden;

/// Azure's platform address serves credentials to any virtual machine but lies in public space.
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

/// Whether `ip` is of the public internet (IANA special-purpose registries, RFC 6890 and its updates).
///
/// The metadata services of clouds are covered: 169.254.169.254 is link-local, 100.100.100.200 is shared space,
/// fd00:ec2::254 is unique-local.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip == AZURE_PLATFORM
        // "This network", shared space, protocol assignments, benchmarks, multicast, reserved and broadcast.
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 224;
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let tail = Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    match s {
        // IPv4 in an IPv6 coat: mapped, compatible (with ::, ::1), NAT64 (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, ..] | [0, 0, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(tail),
        [0x2002, high, low, ..] => is_public_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        // Only 2000::/3 is handed out; within it Teredo, benchmarks, ORCHID and documentation are special.
        [0x2001, b, ..] => b >= 0x200 && b != 0xdb8,
        [0x3fff, b, ..] => b > 0xfff,
        [a, ..] => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_reserved_addresses_are_told_from_public_ones() {
        let forbidden = "0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.1.1 168.63.129.16 \
            169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.168.1.1 198.18.0.1 198.51.100.1 \
            203.0.113.9 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 \
            64:ff9b::a00:1 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 3fff::1 fc00::1 fd00:ec2::254 \
            fe80::1 fec0::1 ff02::1";
        for ip in forbidden.split_whitespace() {
            assert!(!is_public(ip.parse().expect("an address")), "{ip} was let through");
        }
        let public = "1.1.1.1 8.8.8.8 100.128.0.1 172.32.0.1 192.0.1.1 198.20.0.1 223.5.5.5 2606:4700::1111 \
            2400:3200::1 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1";
        for ip in public.split_whitespace() {
            assert!(is_public(ip.parse().expect("an address")), "{ip} was refused");
        }
    }
}
