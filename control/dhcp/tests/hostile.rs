// SPDX-License-Identifier: MIT
//! Nothing that a controller says panics, or keeps a guest from its address.

use proptest::prelude::*;

use super::lease6::{ADDRESS as ADDRESS6, azure};
use super::*;

fn option() -> impl Strategy<Value = (String, String)> {
    let value = prop_oneof![
        ".{0,40}",
        "[0-9./, :x]{0,40}",
        Just("10.0.0.0/8,10.7.1.9".to_owned()),
        (0..2000usize).prop_map(|len| "v".repeat(len)),
    ];
    let code = prop_oneof![
        1 => any::<u8>(),
        1 => prop::sample::select(vec![3, 6, 12, 26, 33, 51, 66, 67, 119, 121, 150, 249]),
    ];
    (code.prop_map(|code| code.to_string()), value)
}

proptest! {
    #[test]
    fn whatever_the_controller_says_the_guest_has_its_address(
        extra in prop::collection::vec(option(), 0..20),
        dns in prop::collection::vec(".{0,20}", 0..3),
    ) {
        let extra: Vec<_> = extra.iter().map(|(name, value)| (&**name, &**value)).collect();
        let dns: Vec<_> = dns.iter().map(|entry| &**entry).collect();
        let (lease, _) = Said::new().extra(&extra).dns(&dns).read().unwrap();
        prop_assert_eq!((lease.address.addr(), lease.server), (ADDRESS, SERVER));
        for code in lease.options.codes() {
            // Readable to the end, and short enough for an answer that has room.
            prop_assert!(value_of(&lease, code).is_some());
            prop_assert!(lease.options.get(code).unwrap().len() <= usize::from(MTU) - 308);
        }
    }

    #[test]
    fn whatever_the_controller_says_the_guest_has_its_ipv6_address(
        extra in prop::collection::vec(option(), 0..100),
        dns in prop::collection::vec(".{0,20}", 0..3),
        name in ".{0,20}",
    ) {
        let extra: Vec<_> = extra.iter().map(|(name, value)| (&**name, &**value)).collect();
        let dns: Vec<_> = dns.iter().map(|entry| &**entry).collect();
        let mut said = azure().extra(&extra).dns(&dns).state("10.7.1.10", "");
        if let Some(dhcp) = &mut said.dhcp {
            dhcp.port_host_name = name;
        }
        let (lease, _) = said.read6().unwrap();
        prop_assert_eq!(&*lease.addresses, &[ADDRESS6]);
        prop_assert!(lease.options.len() <= Lease6::MAX_OPTIONS);
        for (code, option) in &lease.options {
            prop_assert_eq!(&option[..2], code.to_be_bytes());
            prop_assert_eq!(usize::from(u16::from_be_bytes([option[2], option[3]])), option.len() - 4);
            prop_assert!(option.len() <= 1000);
        }
    }
}
