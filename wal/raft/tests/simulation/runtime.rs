//! A runtime for openraft in which a seed decides everything: one thread, time that passes only when nobody has anything
//! to do, and tasks that go on in an order that is drawn.
//!
//! A timer fires only when no task is ready. So no task ever finds two of its events there at once, and `tokio::select!`,
//! which then would draw one by a random number that is not ours, has nothing to choose.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use openraft::async_runtime::TokioOneShotSender;
use openraft::{AsyncRuntime, OptionalSend};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;

/// Where a task runs: on the node of that number, or on none.
pub(crate) type Place = u64;

/// Where clients run, messages are on their way, and the scenario goes on.
pub(crate) const NOWHERE: Place = 0;

/// More steps than any run takes: it goes round in circles.
const MOST_STEPS: u64 = 20_000_000;

/// `now`, in nanoseconds, when a run begins: openraft goes back from it.
const BEGIN: u64 = 1_000_000_000_000;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    place: Place,
    /// `None` while it is polled.
    work: Option<Work>,
}

struct Core {
    now: u64,
    random: StdRng,
    place: Place,
    next_task: u64,
    /// Beside that of tasks: `tokio::select!` looks at a sleep before or after what it waits for, as it likes.
    next_timer: u64,
    tasks: BTreeMap<u64, Task>,
    timers: BTreeMap<(u64, u64), Waker>,
    /// In their order, not in that in which they were woken: tokio wakes those who watch a value in any.
    ready: Arc<Mutex<BTreeSet<u64>>>,
    trace: DefaultHasher,
}

impl Core {
    fn new(seed: u64) -> Self {
        Self {
            now: BEGIN,
            random: StdRng::seed_from_u64(seed),
            place: NOWHERE,
            next_task: 0,
            next_timer: 0,
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            ready: Arc::default(),
            trace: DefaultHasher::new(),
        }
    }
}

thread_local! {
    static CORE: RefCell<Core> = RefCell::new(Core::new(0));
}

/// No future is polled or dropped meanwhile: it would come back to the core.
fn core<T>(does: impl FnOnce(&mut Core) -> T) -> T {
    CORE.with_borrow_mut(does)
}

struct TaskWaker {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().insert(self.task);
    }
}

/// Runs `work` at `place`, until it ends or the place does.
pub(crate) fn spawn_at(place: Place, work: impl Future<Output = ()> + Send + 'static) {
    core(|core| {
        core.next_task += 1;
        let number = core.next_task;
        let work: Option<Work> = Some(Box::pin(work));
        core.tasks.insert(number, Task { place, work });
        core.ready.lock().unwrap().insert(number);
    });
}

/// All tasks at `place` end where they are.
pub(crate) fn end(place: Place) {
    let ended: Vec<Task> = core(|core| {
        let of_place = |task: &&u64| core.tasks[*task].place == place;
        let numbers: Vec<u64> = core.tasks.keys().filter(of_place).copied().collect();
        let ended = numbers.into_iter().map(|number| core.tasks.remove(&number));
        ended.flatten().collect()
    });
    drop(ended);
}

/// Draws by the run's seed.
pub(crate) fn draw<T>(does: impl FnOnce(&mut StdRng) -> T) -> T {
    core(|core| does(&mut core.random))
}

/// Waits for so many milliseconds.
pub(crate) async fn pause(milliseconds: u64) {
    Runtime::sleep(Duration::from_millis(milliseconds)).await;
}

/// What happens is part of the trace.
pub(crate) fn note(what: impl Hash) {
    core(|core| (core.now, what).hash(&mut core.trace));
}

/// Runs `work`, and all that it starts, until it ends. Returns what it came to, and the hash of all that happened.
pub(crate) fn run<T: Send + 'static>(
    seed: u64,
    work: impl Future<Output = T> + Send + 'static,
) -> (T, u64) {
    core(|core| *core = Core::new(seed));
    let (sender, mut receiver) = oneshot::channel();
    spawn_at(NOWHERE, async move { drop(sender.send(work.await)) });
    for _ in 0..MOST_STEPS {
        step();
        if let Ok(value) = receiver.try_recv() {
            let (tasks, trace) =
                core(|core| (std::mem::take(&mut core.tasks), core.trace.finish()));
            drop(tasks);
            return (value, trace);
        }
    }
    panic!("it does not come to an end");
}

/// One task goes on; or, if none can, time does.
fn step() {
    let number = core(|core| {
        let mut ready = core.ready.lock().unwrap();
        if ready.is_empty() {
            return None;
        }
        let nth = core.random.gen_range(0..ready.len());
        let number = ready.iter().nth(nth).copied();
        number.inspect(|number| {
            ready.remove(number);
        })
    });
    if let Some(number) = number {
        return go_on(number);
    }
    let waker = core(|core| {
        let ((at, _), waker) = core.timers.pop_first().expect("somebody waits for a time");
        core.now = core.now.max(at);
        waker
    });
    waker.wake();
}

fn go_on(number: u64) {
    // It has ended since it was woken.
    let Some((mut work, ready)) = core(|core| {
        let task = core.tasks.get_mut(&number)?;
        core.place = task.place;
        (core.now, number).hash(&mut core.trace);
        Some((task.work.take()?, Arc::clone(&core.ready)))
    }) else {
        return;
    };
    let waker = Waker::from(Arc::new(TaskWaker {
        task: number,
        ready,
    }));
    let is_over = work
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_ready();
    let left = core(|core| {
        core.place = NOWHERE;
        match core.tasks.get_mut(&number) {
            Some(task) if !is_over => {
                task.work = Some(work);
                None
            }
            _ => Some((core.tasks.remove(&number), work)),
        }
    });
    drop(left);
}

/// A time of the run, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(u64);

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

impl openraft::Instant for Instant {
    fn now() -> Self {
        Self(core(|core| core.now))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, by: Duration) -> Self {
        Self(self.0 + nanoseconds(by))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, by: Duration) -> Self {
        Self(self.0 - nanoseconds(by))
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, by: Duration) {
        *self = *self - by;
    }
}

/// As that of the standard library: never negative.
impl Sub for Instant {
    type Output = Duration;
    fn sub(self, other: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(other.0))
    }
}

/// Until a time has come. It is pending when it is first asked, also if that time is over.
#[derive(Debug)]
pub(crate) struct Sleep {
    until: u64,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        core(|core| {
            let timer = match self.timer {
                Some(timer) if !core.timers.contains_key(&(self.until, timer)) => {
                    return Poll::Ready(());
                }
                Some(timer) => timer,
                None => {
                    core.next_timer += 1;
                    core.next_timer
                }
            };
            self.timer = Some(timer);
            core.timers
                .insert((self.until, timer), context.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            // After a panic the core may be gone before its tasks.
            let removed = CORE.try_with(|core| {
                let mut core = core.try_borrow_mut().ok()?;
                core.timers.remove(&(self.until, timer))
            });
            drop(removed);
        }
    }
}

/// A future, up to a time.
pub(crate) struct Timeout<F> {
    future: Pin<Box<F>>,
    sleep: Sleep,
}

/// The time was over.
#[derive(Debug)]
pub(crate) struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the time is over")
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(value) = self.future.as_mut().poll(context) {
            return Poll::Ready(Ok(value));
        }
        Pin::new(&mut self.sleep)
            .poll(context)
            .map(|()| Err(Elapsed))
    }
}

/// What openraft runs on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Runtime;

impl AsyncRuntime for Runtime {
    type JoinError = oneshot::error::RecvError;
    type JoinHandle<T: OptionalSend + 'static> = oneshot::Receiver<T>;
    type Sleep = Sleep;
    type Instant = Instant;
    type TimeoutError = Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = Timeout<T>;
    type ThreadLocalRng = StdRng;
    type OneshotSender<T: OptionalSend> = TokioOneShotSender<T>;
    type OneshotReceiver<T: OptionalSend> = oneshot::Receiver<T>;
    type OneshotReceiverError = oneshot::error::RecvError;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let place = core(|core| core.place);
        // If nobody waits any more, nobody is told.
        spawn_at(place, async move { drop(sender.send(future.await)) });
        receiver
    }

    fn sleep(duration: Duration) -> Sleep {
        let now = <Instant as openraft::Instant>::now();
        Self::sleep_until(now + duration)
    }

    fn sleep_until(deadline: Instant) -> Sleep {
        Sleep {
            until: deadline.0,
            timer: None,
        }
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Timeout<F> {
        Timeout {
            future: Box::pin(future),
            sleep: Self::sleep(duration),
        }
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Instant,
        future: F,
    ) -> Timeout<F> {
        Timeout {
            future: Box::pin(future),
            sleep: Self::sleep_until(deadline),
        }
    }

    fn is_panic(_gone: &oneshot::error::RecvError) -> bool {
        // A panic ends the run.
        false
    }

    fn thread_rng() -> StdRng {
        draw(|random| StdRng::seed_from_u64(random.r#gen()))
    }

    fn oneshot<T: OptionalSend>() -> (Self::OneshotSender<T>, oneshot::Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (TokioOneShotSender(sender), receiver)
    }
}
