//! The heap of the programs without std: mappings of 64 KiB, split in halves.
//!
//! A block has 16 bytes to 64 KiB, in powers of two. One that is not there is
//! half of one twice as large, and one that is given back waits for the next
//! of its size: a process that does the same things again needs no more
//! memory than before. What nobody has touched yet takes up none. Whatever is
//! larger is a mapping of its own and goes back to the kernel at once.
//!
//! Nothing stands beside a block, for its layout comes back with it.
//!
//! A heap may have blocks in reserve for the time when the kernel has none: they
//! are mapped, but nobody touches them before.

use super::call;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// The least size of a block, which has room for a [`Free`].
const LEAST: usize = 16;
/// The greatest size of a block.
const MOST: usize = 1 << 16;
/// To what mmap(2) aligns at least, and so the greatest alignment.
const PAGE: usize = 4_096;
/// How many sizes there are.
const CLASSES: usize = class(MOST) + 1;

/// Blocks that nobody has, by their sizes.
#[derive(Debug)]
pub struct Heap {
    free: [Option<NonNull<Free>>; CLASSES],
    /// Where the reserve begins, and how many blocks of the greatest size are left.
    reserve: (Option<NonNull<u8>>, usize),
}

/// What stands in a block that nobody has.
struct Free {
    next: Option<NonNull<Self>>,
}

// SAFETY: the lists lead to blocks that nobody has, and nothing about them
// belongs to a thread.
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
        Self { free: [None; CLASSES], reserve: (None, 0) }
    }

    /// Has so many blocks of 64 KiB in reserve, unless the kernel has none now.
    pub fn reserve(&mut self, blocks: usize) {
        self.reserve = (map(blocks * MOST), blocks);
    }

    fn greatest(&mut self) -> Option<NonNull<u8>> {
        map(MOST).or_else(|| {
            let (start, left) = self.reserve;
            let last = left.checked_sub(1)?;
            self.reserve = (start, last);
            // SAFETY: the reserve is one mapping of more than `last` blocks.
            Some(unsafe { start?.add(last * MOST) })
        })
    }

    /// Memory for `layout`; `None` when the kernel has none, or when more than
    /// a page's alignment is asked for.
    pub fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        match class_of(layout) {
            _ if layout.align() > PAGE => None,
            class @ ..CLASSES => self.block(class),
            CLASSES.. => map(layout.size()),
        }
    }

    fn block(&mut self, class: usize) -> Option<NonNull<u8>> {
        if let Some(block) = self.free[class] {
            // SAFETY: `keep` has written it, and since then nobody had the block.
            self.free[class] = unsafe { block.read() }.next;
            return Some(block.cast());
        }
        if class + 1 == CLASSES {
            return self.greatest();
        }
        let block = self.block(class + 1)?;
        // SAFETY: the block has twice the size of `class`.
        let half = unsafe { block.add(LEAST << class) };
        // SAFETY: nobody has that half, and it begins where a block of its size may.
        unsafe { self.keep(class, half) };
        Some(block)
    }

    /// Keeps `block` for the next who asks for its size.
    ///
    /// # Safety
    ///
    /// `block` is a block of `class`, and nobody uses it any more.
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
            // SAFETY: `take` gave a mapping of that size, which ends here.
            CLASSES.. => drop(unsafe { call::munmap(block.as_ptr().cast(), layout.size()) }),
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

#[cfg(test)]
mod tests {
    use super::{Heap, LEAST, MOST, PAGE, class};
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
    fn the_class_of_a_size_is_the_least_block_that_holds_it() {
        for size in 1..=MOST {
            let block = LEAST << class(size);
            assert!(block >= size && (block == LEAST || block / 2 < size), "{size}");
        }
    }

    #[test]
    fn no_two_blocks_share_a_byte_whatever_is_taken_resized_and_given_back() {
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
    fn the_same_things_done_again_need_no_more_memory() {
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
    fn what_is_larger_than_a_block_goes_back_at_once() {
        // All of these together are more than a process can have.
        let (mut heap, large) = (Heap::new(), layout(1 << 30, 1));
        for _ in 0..150_000 {
            let block = heap.take(large).expect("the one before is gone");
            // SAFETY: the block came from this heap for this layout.
            unsafe { heap.give(block, large) };
        }
    }

    #[test]
    fn what_nobody_can_have_is_refused() {
        let mut heap = Heap::new();
        assert_eq!(heap.take(layout(1 << 60, 1)), None);
        assert_eq!(heap.take(layout(1, 2 * PAGE)), None);
        let held = Held::take(&mut heap, layout(MOST + 1, 1), 7);
        // SAFETY: the block came from this heap for this layout.
        assert_eq!(unsafe { heap.resize(held.block, held.layout, 1 << 60) }, None);
        held.give(&mut heap);
    }
}
