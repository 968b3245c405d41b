//! Rivals that do the same, in turns.

use std::fmt;
use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

use crate::output;

/// How long a turn lasts, where an operation can be repeated at will.
const TURN: Duration = Duration::from_millis(4);
/// Turns of each rival.
const ROUNDS: usize = 15;

/// Somebody who does it.
pub(crate) struct Rival<'a> {
    who: &'static str,
    run: Box<dyn FnMut(u64) -> Result<()> + 'a>,
}

impl fmt::Debug for Rival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rival").field("who", &self.who).finish_non_exhaustive()
    }
}

/// A rival that does `operation` once a call.
pub(crate) fn rival<'a, T>(who: &'static str, mut operation: impl FnMut() -> Result<T> + 'a) -> Rival<'a> {
    let run = move |times| {
        for _ in 0..times {
            drop(black_box(operation()?));
        }
        Ok(())
    };
    Rival { who, run: Box::new(run) }
}

/// Which time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// All of it: somebody waits for another thread.
    Wall,
    /// This thread's on a processor: nobody waits, and who else uses the machine does not matter.
    Thread,
}

impl Clock {
    fn now(self) -> Duration {
        let id = match self {
            Self::Wall => ClockId::Monotonic,
            Self::Thread => ClockId::ThreadCPUTime,
        };
        let now = clock_gettime(id);
        Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
    }
}

impl Rival<'_> {
    fn turn(&mut self, times: u64, clock: Clock) -> Result<Duration> {
        let begin = clock.now();
        (self.run)(times)?;
        Ok(clock.now().saturating_sub(begin))
    }

    /// How often it can do it in a turn, by trying.
    fn pace(&mut self, clock: Clock) -> Result<u64> {
        let mut times = 1;
        loop {
            let took = self.turn(times, clock)?;
            if took >= TURN / 2 || times >= 1 << 30 {
                let whole = times as f64 * TURN.as_secs_f64() / took.as_secs_f64().max(1e-9);
                return Ok((whole as u64).max(1));
            }
            times *= 2;
        }
    }
}

/// Prints the nanoseconds that an operation takes each rival.
pub(crate) fn compare(name: &str, rivals: Vec<Rival<'_>>) -> Result<()> {
    paced(name, rivals, Clock::Wall)
}

/// The same for operations that never wait for another thread.
pub(crate) fn compare_busy(name: &str, rivals: Vec<Rival<'_>>) -> Result<()> {
    paced(name, rivals, Clock::Thread)
}

/// The same for operations that can be done only so often: `rounds` times `times`.
pub(crate) fn compare_few(name: &str, rivals: Vec<Rival<'_>>, times: u64, rounds: usize) -> Result<()> {
    let paces = vec![times; rivals.len()];
    turns(name, rivals, &paces, rounds, Clock::Wall)
}

fn paced(name: &str, mut rivals: Vec<Rival<'_>>, clock: Clock) -> Result<()> {
    let paces = rivals.iter_mut().map(|rival| rival.pace(clock)).collect::<Result<Vec<_>>>()?;
    turns(name, rivals, &paces, ROUNDS, clock)
}

fn turns(name: &str, mut rivals: Vec<Rival<'_>>, paces: &[u64], rounds: usize, clock: Clock) -> Result<()> {
    let mut taken = vec![Vec::new(); rivals.len()];
    for _ in 0..rounds {
        for ((rival, &pace), taken) in rivals.iter_mut().zip(paces).zip(&mut taken) {
            taken.push(rival.turn(pace, clock)?.as_secs_f64() * 1e9 / pace as f64);
        }
    }
    for (rival, taken) in rivals.iter().zip(&mut taken) {
        output::value(name, rival.who, output::median(taken), "ns");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_as_many_turns() {
        let (mut one, mut other) = (0, 0);
        let rivals = vec![
            rival("one", || {
                one += 1;
                Ok(())
            }),
            rival("other", || {
                other += 1;
                Ok(())
            }),
        ];
        compare_few("test", rivals, 7, 3).unwrap();
        assert_eq!((one, other), (21, 21));
    }

    #[test]
    fn a_pace_fills_a_turn() {
        let mut slow = rival("slow", || {
            std::thread::sleep(TURN);
            Ok(())
        });
        assert_eq!(slow.pace(Clock::Wall).unwrap(), 1);
        let mut fast = rival("fast", || Ok(()));
        assert!(fast.pace(Clock::Thread).unwrap() > 1000);
    }

    #[test]
    fn an_error_ends_it() {
        let failing = rival("failing", || Err::<(), _>(anyhow::anyhow!("no")));
        assert!(compare("test", vec![failing]).is_err());
    }
}
