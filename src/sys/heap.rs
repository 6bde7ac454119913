//! The heap of the programs without std: mappings of 16 KiB, split in halves.
//!
//! A block has 16 bytes to 16 KiB, in powers of two. One that is not there is half of
//! one twice as large, and one that is given back waits for the next of its size: a
//! process that does the same things again needs no more memory than before. What was
//! not touched yet takes up none. Whatever is larger is a mapping of its own and goes
//! back to the kernel at once.
//!
//! Nothing stands beside a block, for its layout comes back with it.
//!
//! A heap may have a [`Reserve`] for the time when the kernel has none: a main that
//! has just been executed in place cannot go back, and must not die of that.
//!
//! malloc(3) does die of it, which is why this is here. With musl's in its place these
//! tests of `tests/process` fail: `main_keeps_running_when_out_of_memory`
//! ("memory allocation of 4008 bytes failed"), and
//! `failed_call_after_the_exec_ends_no_generation`, which has every mmap(2) of a main
//! that was executed in place fail.

use super::call;
use super::global::Global;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering};

/// The least size of a block, which has room for a [`Free`].
const LEAST: usize = 16;
/// The greatest size of a block.
const MOST: usize = 1 << 14;
/// To what mmap(2) aligns at least, and so the greatest alignment.
const PAGE: usize = 4_096;
/// How many sizes there are.
const CLASSES: usize = class(MOST) + 1;

/// Free blocks, by their sizes.
#[derive(Debug)]
pub struct Heap {
    free: [Option<NonNull<Free>>; CLASSES],
    /// Blocks of the greatest size for when the kernel has none.
    reserve: &'static [Block],
    /// How many of them, from the end, were taken.
    taken: usize,
}

/// A block of the greatest size, aligned as a mapping is.
#[repr(align(4096))]
#[derive(Debug)]
#[expect(dead_code, reason = "whose it is has a pointer to it")]
struct Block(UnsafeCell<[u8; MOST]>);

/// So many blocks of 16 KiB, for one heap. As a static they belong to the image of the
/// program: the kernel maps them when it executes it, without a call. Untouched they
/// take up no memory.
#[derive(Debug)]
pub struct Reserve<const BLOCKS: usize>([Block; BLOCKS]);

/// Whether a heap has one. It does not stand beside the blocks: that page would be touched.
static RESERVED: AtomicBool = AtomicBool::new(false);

// SAFETY: the bytes are reached by the owners of blocks alone, which the one heap
// that has taken the reserve gives out.
unsafe impl<const BLOCKS: usize> Sync for Reserve<BLOCKS> {}

impl<const BLOCKS: usize> Reserve<BLOCKS> {
    /// A reserve for the first heap of a process that wants one.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { Block(UnsafeCell::new([0; MOST])) }; BLOCKS])
    }
}

impl<const BLOCKS: usize> Default for Reserve<BLOCKS> {
    fn default() -> Self {
        Self::new()
    }
}

/// What stands in a free block.
struct Free {
    next: Option<NonNull<Self>>,
}

// SAFETY: the lists lead to free blocks, and nothing about them belongs to a thread.
unsafe impl Send for Heap {}

/// The class of the least block that holds `size` bytes.
const fn class(size: usize) -> usize {
    let size = if size < LEAST { LEAST } else { size };
    (size - 1).ilog2() as usize + 1 - LEAST.ilog2() as usize
}

/// The class for `layout`; a block is aligned to its own size, up to a page.
fn class_of(layout: Layout) -> usize {
    class(layout.size().max(layout.align()))
}

/// A mapping of its own, of zeroes.
fn map(size: usize) -> Option<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses the place, so nothing mapped is replaced.
    let start = unsafe { call::mmap(ptr::null_mut(), size, access, flags, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

impl Heap {
    /// A heap that has taken nothing from the kernel yet.
    pub const fn new() -> Self {
        Self { free: [None; CLASSES], reserve: &[], taken: 0 }
    }

    /// Has these blocks for the time when the kernel has none, unless a heap of this
    /// process has any.
    pub fn reserve<const BLOCKS: usize>(&mut self, reserve: &'static Reserve<BLOCKS>) {
        if !RESERVED.swap(true, Ordering::SeqCst) {
            (self.reserve, self.taken) = (&reserve.0, 0);
        }
    }

    /// As many neighbouring blocks of the reserve as hold `size` bytes.
    fn take_reserve(&mut self, size: usize) -> Option<NonNull<u8>> {
        let taken = self.taken.checked_add(size.div_ceil(MOST))?;
        let first = self.reserve.len().checked_sub(taken)?;
        self.taken = taken;
        // The pointer is to all of them, not to the first one alone.
        NonNull::new(self.reserve.get(first..)?.as_ptr().cast_mut().cast())
    }

    /// How many blocks of the reserve hold `size` bytes at `block`; none where that
    /// is a mapping of its own.
    fn blocks_of_reserve(&self, block: NonNull<u8>, size: usize) -> usize {
        let places = self.reserve.as_ptr_range();
        let is_ours = places.contains(&block.as_ptr().cast_const().cast());
        if is_ours { size.div_ceil(MOST) } else { 0 }
    }

    /// Takes back what is larger than a block.
    ///
    /// # Safety
    ///
    /// As for [`Heap::give`], and it has `size` bytes.
    unsafe fn give_large(&mut self, block: NonNull<u8>, size: usize) {
        let blocks = self.blocks_of_reserve(block, size);
        for number in 0..blocks {
            // SAFETY: so many blocks of the reserve were given together.
            let one = unsafe { block.add(number * MOST) };
            // SAFETY: it is a block of the greatest size, which the caller gives up.
            unsafe { self.keep(CLASSES - 1, one) };
        }
        if blocks == 0 {
            // SAFETY: `take` gave a mapping of that size, which ends here.
            unsafe { call::munmap(block.as_ptr().cast(), size) };
        }
    }

    /// Memory for `layout`; `None` when the kernel has none, or when more than
    /// a page's alignment is asked for.
    pub fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        match class_of(layout) {
            _ if layout.align() > PAGE => None,
            class @ ..CLASSES => self.block(class),
            CLASSES.. => map(layout.size()).or_else(|| self.take_reserve(layout.size())),
        }
    }

    fn block(&mut self, class: usize) -> Option<NonNull<u8>> {
        if let Some(block) = self.free[class] {
            // SAFETY: `keep` has written it, and the block was free since then.
            self.free[class] = unsafe { block.read() }.next;
            return Some(block.cast());
        }
        if class + 1 == CLASSES {
            return map(MOST).or_else(|| self.take_reserve(MOST));
        }
        let block = self.block(class + 1)?;
        // SAFETY: the block has twice the size of `class`.
        let half = unsafe { block.add(LEAST << class) };
        // SAFETY: that half is free, and it begins where a block of its size may.
        unsafe { self.keep(class, half) };
        Some(block)
    }

    /// Keeps `block` for the next request of its size.
    ///
    /// # Safety
    ///
    /// `block` is a block of `class`, and is not used any more.
    unsafe fn keep(&mut self, class: usize, block: NonNull<u8>) {
        let block = block.cast::<Free>();
        // SAFETY: a block is large enough and aligned for a Free, and the caller
        // gives it up.
        unsafe { block.write(Free { next: self.free[class] }) };
        self.free[class] = Some(block);
    }

    /// Takes back what [`Heap::take`] or [`Heap::resize`] gave.
    ///
    /// # Safety
    ///
    /// `block` came from this heap for this `layout`, and is not used any more.
    pub unsafe fn give(&mut self, block: NonNull<u8>, layout: Layout) {
        match class_of(layout) {
            // SAFETY: `take` gave a block of this class for an equal layout.
            class @ ..CLASSES => unsafe { self.keep(class, block) },
            // SAFETY: `take` gave as much for an equal layout.
            CLASSES.. => unsafe { self.give_large(block, layout.size()) },
        }
    }

    /// Memory of `size` bytes that begins with what stood in `block`; `None`
    /// when there is none, and `block` is as it was.
    ///
    /// # Safety
    ///
    /// As for [`Heap::give`], unless the answer is `None`; and `size`, rounded
    /// up to the alignment, is no larger than a layout may be.
    pub unsafe fn resize(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller promises what this asks for.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (old, new) = (class_of(layout), class_of(wanted));
        if old < CLASSES && old == new {
            return Some(block);
        }
        let place = self.take(wanted)?;
        // SAFETY: both are at least that long, and `place` is new.
        unsafe { block.copy_to_nonoverlapping(place, layout.size().min(size)) };
        // SAFETY: the caller gives `block` up.
        unsafe { self.give(block, layout) };
        Some(place)
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

/// A heap for all of a program: its global allocator.
pub struct Allocator(Global<Heap>);

impl Allocator {
    /// An allocator that has taken nothing from the kernel yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Global::new(Heap::new()))
    }

    /// Has these blocks in reserve.
    pub fn reserve<const BLOCKS: usize>(&self, reserve: &'static Reserve<BLOCKS>) {
        self.0.with(|heap| heap.reserve(reserve));
    }
}

impl Default for Allocator {
    fn default() -> Self {
        Self::new()
    }
}

fn pointer(block: Option<NonNull<u8>>) -> *mut u8 {
    block.map_or(ptr::null_mut(), NonNull::as_ptr)
}

// SAFETY: the heap gives each block to one owner, as large and aligned as its layout
// says, or nothing; `Global` lets one thread in at a time. The lock is held over mmap(2)
// and munmap(2), which wait for no other process.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        pointer(self.0.with(|heap| heap.take(layout)))
    }

    // SAFETY: what `alloc` and `realloc` gave goes back to the same heap.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller gives back what is not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the caller gives back what this heap gave for this layout.
        self.0.with(|heap| unsafe { heap.give(block, layout) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller gives back what is not null.
        let block = unsafe { NonNull::new_unchecked(block) };
        // SAFETY: the block came from this heap for this layout, and the caller keeps
        // `size` within what a layout may have.
        pointer(self.0.with(|heap| unsafe { heap.resize(block, layout, size) }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Heap, LEAST, MOST, PAGE, Reserve, class};
    use alloc::vec::Vec;
    use core::alloc::Layout;
    use core::ptr::NonNull;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout of the test's own")
    }

    /// A block, what it should hold, and the layout to give it back with.
    struct Held {
        block: NonNull<u8>,
        layout: Layout,
        mark: u8,
    }

    impl Held {
        fn take(heap: &mut Heap, layout: Layout, mark: u8) -> Self {
            let block = heap.take(layout).expect("there is memory");
            assert_eq!(block.addr().get() % layout.align(), 0, "{layout:?}");
            let held = Self { block, layout, mark };
            held.fill();
            held
        }

        fn fill(&self) {
            // SAFETY: the heap gave it for writing, as long as the layout says.
            unsafe { self.block.write_bytes(self.mark, self.layout.size()) };
        }

        fn check(&self, length: usize) {
            for index in 0..length {
                // SAFETY: `index` is below the size of the block.
                let place = unsafe { self.block.add(index) };
                // SAFETY: `fill` has written it.
                assert_eq!(unsafe { place.read() }, self.mark, "{:?}", self.layout);
            }
        }

        fn resize(&mut self, heap: &mut Heap, size: usize) {
            // SAFETY: the block came from this heap for this layout.
            let block = unsafe { heap.resize(self.block, self.layout, size) };
            self.block = block.expect("there is memory");
            let kept = self.layout.size().min(size);
            self.layout = layout(size, self.layout.align());
            self.check(kept);
            self.fill();
        }

        fn give(self, heap: &mut Heap) {
            self.check(self.layout.size());
            // SAFETY: the block came from this heap for this layout.
            unsafe { heap.give(self.block, self.layout) };
        }
    }

    #[test]
    fn size_class_is_the_smallest_sufficient_block() {
        for size in 1..=MOST {
            let block = LEAST << class(size);
            assert!(block >= size && (block == LEAST || block / 2 < size), "{size}");
        }
    }

    #[test]
    fn blocks_never_overlap() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 33).expect("31 bits fit") % below
        };
        let (mut heap, mut held) = (Heap::new(), Vec::<Held>::new());
        for round in 0..10_000_usize {
            let most = [40, 300, 5_000, 100_000][random(4)];
            let size = 1 + random(most);
            let mark = round.to_le_bytes()[0];
            match random(4) {
                0 | 1 if held.len() < 200 => {
                    let layout = layout(size, 1 << random(if most < 5_000 { 5 } else { 13 }));
                    held.push(Held::take(&mut heap, layout, mark));
                }
                0 | 1 => held.swap_remove(random(200)).give(&mut heap),
                2 if !held.is_empty() => {
                    let index = random(held.len());
                    held[index].resize(&mut heap, size);
                }
                _ => {}
            }
        }
        held.into_iter().for_each(|held| held.give(&mut heap));
    }

    #[test]
    fn repeated_work_needs_no_more_memory() {
        let mut heap = Heap::new();
        let mut once = || {
            let sizes = (0..500).map(|index| 1 + index * 37 % 5_000);
            let held: Vec<_> =
                sizes.map(|size| Held::take(&mut heap, layout(size, 1), 1)).collect();
            let mut places: Vec<_> = held.iter().map(|held| held.block.addr()).collect();
            held.into_iter().for_each(|held| held.give(&mut heap));
            places.sort_unstable();
            places
        };
        assert_eq!(once(), once());
    }

    #[test]
    fn large_allocations_are_returned_at_once() {
        // All of these together are more than a process can have.
        let (mut heap, large) = (Heap::new(), layout(1 << 30, 1));
        for _ in 0..150_000 {
            let block = heap.take(large).expect("the one before is gone");
            // SAFETY: the block came from this heap for this layout.
            unsafe { heap.give(block, large) };
        }
    }

    #[test]
    fn reserve_serves_one_heap_and_takes_its_blocks_back() {
        static RESERVE: Reserve<4> = Reserve::new();
        let (mut heap, mut other) = (Heap::new(), Heap::new());
        heap.reserve(&RESERVE);
        other.reserve(&RESERVE);
        assert_eq!(other.take_reserve(1), None);
        let large = layout(2 * MOST + 1, 1);
        let block = heap.take_reserve(large.size()).expect("three of four are there");
        assert_eq!(heap.take_reserve(2 * MOST), None);
        // SAFETY: the block came from this heap for this layout.
        unsafe { heap.give(block, large) };
        let one = layout(MOST, 1);
        let first = heap.take(one).expect("three were given back");
        let second = heap.take(one).expect("three were given back");
        assert_eq!(first.addr().get().abs_diff(second.addr().get()), MOST);
        assert!(heap.take_reserve(MOST).is_some(), "the fourth");
        assert_eq!(heap.take_reserve(1), None);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let mut heap = Heap::new();
        assert_eq!(heap.take(layout(1 << 60, 1)), None);
        assert_eq!(heap.take(layout(1, 2 * PAGE)), None);
        let held = Held::take(&mut heap, layout(MOST + 1, 1), 7);
        // SAFETY: the block came from this heap for this layout.
        assert_eq!(unsafe { heap.resize(held.block, held.layout, 1 << 60) }, None);
        held.give(&mut heap);
    }
}
