//! Guests that use the same files at the same time.

use crate::scenarios::{
    region,
    scenario::{PLAIN, Scenario, Script, Step, script},
};
use anyhow::ensure;
use testkernel_protocol::content::Content;

/// What the host finds is what three turns make of two words.
pub(crate) fn two_guests_share() -> Scenario {
    const STEPS: &[Step] = &[
        Step::Guests(&[(0, "make")]),
        Step::Guests(&[(0, "map"), (1, "map")]),
        Step::Guests(&[(0, "store")]),
        Step::Guests(&[(1, "store")]),
        Step::Guests(&[(0, "store")]),
    ];
    script(STEPS, |region, _| {
        let checked = region.check()?;
        let found = region.contents(region::file(&checked, "shared")?)?;
        let mut expected = vec![0; found.len()];
        Content::of("shared").fill(0, &mut expected);
        for at in [0, (2 << 20) + 8000] {
            let word = Content::of("shared").word(at as u64 / 8);
            let turns = [0, 1, 0_u64];
            let word = turns.iter().fold(word, |word, guest| word.wrapping_mul(3).wrapping_add(*guest));
            expected[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        crate::scenarios::stage::same("shared", &found, &expected)
    })
}

/// What the second guest tried has changed no byte. QEMU gives it a ROM, into which stores vanish: that they were refused
/// before is what the guest checks.
pub(crate) fn read_only_client_cannot_write() -> Scenario {
    let script = Script {
        image: None,
        read_only: &[1],
        steps: &[
            Step::Guests(&[(0, "make")]),
            Step::Host(|region| {
                let digest = region.digest()?;
                region.save("before", digest);
                Ok(())
            }),
            Step::Guests(&[(1, "try")]),
        ],
        witness: |region, _| {
            ensure!(region.digest()? == region.saved("before")?, "the memory has changed");
            region.holds(&region.check()?, "plain", "plain")
        },
    };
    Scenario { shared: Some(script), ..PLAIN }
}
