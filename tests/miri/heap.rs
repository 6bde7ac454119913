//! The heap of the programs without std, as the heap of this program.
//!
//! `make miri` runs it, and so each access to memory is checked: to which mapping it belongs,
//! whether what is read was written, whether it was given back. src maps memory by syscall(2),
//! which Miri runs for no mmap(2); here the heap has the C library's function of that name.
#![allow(unsafe_code, reason = "src/sys/heap.rs is a part of this program")]

extern crate alloc;

#[path = "../../src/sys/global.rs"]
mod global;
#[path = "../../src/sys/heap.rs"]
#[expect(dead_code, reason = "the reserve is for its own tests")]
mod heap;

/// What the heap finds in the place of `sys::call`.
mod call {
    pub use libc::{mmap, munmap};
}

#[global_allocator]
static ALLOCATOR: heap::Allocator = heap::Allocator::new();

/// Numbers of a fixed sequence.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits fit") % most
    }
}

/// A block of the heap's, of which every byte is `mark`.
struct Held {
    bytes: Vec<u8>,
    mark: u8,
}

impl Held {
    fn resize(&mut self, size: usize) {
        let kept = self.bytes.len().min(size);
        self.bytes.truncate(kept);
        self.bytes.shrink_to_fit();
        self.bytes.reserve_exact(size - kept);
        self.check();
        self.bytes.extend_from_slice(&vec![self.mark; size - kept]);
    }

    fn check(&self) {
        assert!(self.bytes == vec![self.mark; self.bytes.len()], "{} bytes", self.bytes.len());
    }
}

#[test]
fn blocks_keep_their_bytes_while_others_come_and_go() {
    let (mut random, mut held) = (Random(0x9e37_79b9_7f4a_7c15), Vec::<Held>::new());
    for round in 0..if cfg!(miri) { 150 } else { 20_000_usize } {
        let most = [40, 40, 300, 5_000, 40_000][random.below(5)];
        let (size, place) = (1 + random.below(most), random.below(40));
        let mark = round.to_le_bytes()[0];
        match held.get_mut(place) {
            None => held.push(Held { bytes: vec![mark; size], mark }),
            Some(one) if random.below(2) == 0 => one.resize(size),
            Some(_) => held.swap_remove(place).check(),
        }
    }
    held.iter().for_each(Held::check);
}

#[test]
fn threads_take_and_give_back_at_the_same_time() {
    let count = |thread: u8| (0..50).map(|mark| vec![thread; 1 + mark]).map(|it| it.len()).sum();
    let sums: Vec<usize> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|thread| scope.spawn(move || count(thread))).collect();
        all.into_iter().map(|one| one.join().expect("it has a sum")).collect()
    });
    assert_eq!(sums, [1_275; 3]);
}
