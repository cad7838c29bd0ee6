package engine

import "slices"

// keptBlocks is how many batches' blocks a pipeline keeps for batches to come: one to fill while another is sent.
const keptBlocks = 2

// blocks are a pipeline's blocks that have been sent and can be filled again: a block grows to the size of its
// batch once, not with every batch. life.mu guards it.
//
// A block comes here only when nobody can be reading it any more: its batch has settled, no effect is
// looking at it, and the insert of it was answered with "landed". After any other answer, or none, the
// transport may still hold its memory: such a block is left to the garbage collector.
type blocks struct {
	free []freeBlock
	idle int // blocks that nobody has taken since the last sweep: the fewest that lay here
}

// freeBlock is a batch's empty blocks, and the most bytes of rows that they have held, which is about what they take.
type freeBlock struct {
	Blocks
	peak int
}

// take is a free block, if there is one.
func (b *blocks) take() (freeBlock, bool) {
	n := len(b.free)
	if n == 0 {
		return freeBlock{}, false
	}
	f := b.free[n-1]
	b.free[n-1] = freeBlock{}
	b.free = b.free[:n-1]
	b.idle = min(b.idle, n-1)
	return f, true
}

// roomy is how many times larger than its batch a block may be and still be kept: after a backlog, batches
// are small again, and need not sit in large blocks.
const roomy = 4

// put takes a block that held peak bytes at most, size of them in its last batch.
func (b *blocks) put(f freeBlock, size int) {
	if len(b.free) >= keptBlocks || size*roomy < f.peak {
		return
	}
	f.Reset()
	b.free = append(b.free, f)
}

// sweep drops the blocks that have not been needed since the sweep before: an idle pipeline keeps none.
func (b *blocks) sweep() {
	b.free = slices.Delete(b.free, 0, b.idle)
	b.idle = len(b.free)
}
