// SPDX-License-Identifier: MIT
//! TCP (RFC 9293): what a connection's first segments say of the size of later ones, and a segment as several.

use super::ipv4;

/// Bytes of the header without options.
pub(crate) const LEN: usize = 20;

/// Where in the header the checksum is.
pub const CHECKSUM: usize = 16;

/// Where in the header the flags are, and some of them (RFC 9293 section 3.1).
const FLAGS: usize = 13;
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Where in the header the sequence number is.
const SEQUENCE: std::ops::Range<usize> = 4..8;

/// Kind of the maximum segment size option, its bytes, and where in it the size is (RFC 9293 section 3.2).
const MSS: u8 = 2;
const MSS_LEN: usize = 4;
const MSS_AT: usize = 2;

/// True for a segment that begins a connection, or accepts one.
pub fn is_syn(segment: &[u8]) -> bool {
    segment.get(FLAGS).is_some_and(|flags| flags & SYN != 0)
}

/// Bytes of a segment's header, with options; `None`: it is not whole, or says less than it has.
pub fn header_len(segment: &[u8]) -> Option<usize> {
    let len = usize::from(segment.get(12)? >> 4) * 4;
    (LEN..=segment.len()).contains(&len).then_some(len)
}

/// Makes the header, which is whole, that of a part of its segment, which begins `at` bytes behind that. The checksum is
/// left zero. What ends the segment (FIN, PSH) is said by the last part, and what is said once (CWR, RFC 3168 section 6.1.2) by
/// the first.
pub fn make_part(header: &mut [u8], at: u32, is_last: bool) {
    if let Some(Ok(sequence)) = header.get_mut(SEQUENCE).map(<&mut [u8; 4]>::try_from) {
        *sequence = u32::from_be_bytes(*sequence).wrapping_add(at).to_be_bytes();
    }
    if let Some(flags) = header.get_mut(FLAGS) {
        *flags &= if is_last { u8::MAX } else { !(FIN | PSH) };
        *flags &= if at == 0 { u8::MAX } else { !CWR };
    }
    if let Some(checksum) = header.get_mut(CHECKSUM..CHECKSUM + 2) {
        checksum.fill(0);
    }
}

/// Lowers the maximum segment size that a segment announces to `most`, if it announces more. Updates the checksum (RFC 1624
/// equation 3), unless that is not made yet (`unfinished`): a wrong one stays wrong.
pub fn lower_mss(segment: &mut [u8], most: u16, unfinished: bool) {
    let Some(at) = find_mss(segment) else { return };
    let [.., high, low] = segment[..at + 2] else {
        return;
    };
    let size = u16::from_be_bytes([high, low]);
    if size <= most {
        return;
    }
    segment[at..at + 2].copy_from_slice(&most.to_be_bytes());
    if unfinished {
        return;
    }
    // At an odd offset its bytes are in two words, each in the other half.
    let (old, new) = match at % 2 {
        0 => (size, most),
        _ => (size.swap_bytes(), most.swap_bytes()),
    };
    let checksum = u16::from_be_bytes([segment[CHECKSUM], segment[CHECKSUM + 1]]);
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    segment[CHECKSUM..CHECKSUM + 2].copy_from_slice(&(!ipv4::fold(sum)).to_be_bytes());
}

/// Where the size is, if the header, which is whole, announces one.
fn find_mss(segment: &[u8]) -> Option<usize> {
    let end = usize::from(segment.get(12)? >> 4) * 4;
    let header = segment.get(..end)?;
    let mut at = LEN;
    loop {
        let option = header.get(at..)?;
        match option {
            [1, ..] => at += 1,
            [MSS, len, ..] if usize::from(*len) == MSS_LEN => {
                return (option.len() >= MSS_LEN).then_some(at + MSS_AT);
            }
            [2..=255, len @ 2..=255, ..] => at += usize::from(*len),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN with these options, padded, and a checksum over itself that is right.
    fn syn(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![
            0x12, 0x34, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, 2, 0xff, 0xff, 0, 0, 0, 0,
        ];
        segment.extend(options);
        segment.resize(segment.len().next_multiple_of(4), 0);
        segment[12] = (segment.len() / 4) as u8 * 16;
        segment.extend(b"data");
        let checksum = !ipv4::sum(&segment);
        segment[CHECKSUM..CHECKSUM + 2].copy_from_slice(&checksum.to_be_bytes());
        segment
    }

    #[test]
    fn a_size_is_lowered_wherever_it_stands_and_the_checksum_stays_right() {
        for front in [
            &[][..],
            &[1],
            &[1, 1],
            &[3, 3, 7],
            &[4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1],
        ] {
            for size in [0, 1, 536, 1410, 1411, 1460, 8960, u16::MAX] {
                let [high, low] = size.to_be_bytes();
                let mut segment = syn(&[front, &[MSS, 4, high, low]].concat());
                let before = segment.clone();
                lower_mss(&mut segment, 1410, false);
                assert_eq!(ipv4::sum(&segment), 0xffff, "{front:?} {size}");
                let at = LEN + front.len() + MSS_AT;
                assert_eq!(segment[at..at + 2], size.min(1410).to_be_bytes());
                if size <= 1410 {
                    assert_eq!(segment, before);
                }
                segment[CHECKSUM..CHECKSUM + 2].copy_from_slice(&before[CHECKSUM..CHECKSUM + 2]);
                segment[at..at + 2].copy_from_slice(&before[at..at + 2]);
                assert_eq!(segment, before, "nothing else is changed");
            }
        }
    }

    #[test]
    fn what_has_no_size_or_makes_no_sense_is_left_alone() {
        for options in [
            &[][..],
            &[0, MSS, 4, 0xff, 0xff],
            &[MSS, 3, 0xff, 0xff],
            &[MSS, 0, 0xff, 0xff],
            &[8, 1, MSS, 4, 0xff, 0xff],
            &[8, 0, MSS, 4, 0xff, 0xff],
            &[1, 1, 1, MSS],
            &[1, MSS, 4, 0xff],
            &[8, 200, MSS, 4, 0xff, 0xff],
        ] {
            // Padded by hand where padding would complete an option.
            let mut segment = syn(options);
            if options == [1, MSS, 4, 0xff] {
                assert_eq!(segment[12], 0x60);
            }
            let before = segment.clone();
            lower_mss(&mut segment, 100, false);
            assert_eq!(segment, before, "{options:?}");
        }
        let whole = syn(&[MSS, 4, 0xff, 0xff]);
        let mut unfinished = whole.clone();
        lower_mss(&mut unfinished, 100, true);
        assert_eq!(
            unfinished[CHECKSUM..CHECKSUM + 2],
            whole[CHECKSUM..CHECKSUM + 2]
        );
        assert_eq!(unfinished[LEN + MSS_AT..][..2], [0, 100]);
        for len in 0..24 {
            let mut cut = whole[..len].to_vec();
            lower_mss(&mut cut, 100, false);
            assert_eq!(cut, whole[..len]);
        }
        assert!(is_syn(&whole) && !is_syn(&whole[..13]));
    }
}
