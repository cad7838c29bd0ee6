package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// conn is one connection from the client and its counterpart to the server, pumped by one goroutine each way.
type conn struct {
	p              *Proxy
	client, server *net.TCPConn
	gone           chan struct{} // closed when either end was closed by us
	goneOnce       sync.Once

	// The rest is guarded by p.mu. All but revision and sentAny starts anew with each fault.
	gen      int
	seen     []byte
	total    int64
	fired    bool  // the trigger has
	claimed  bool  // the fault counts this connection among its times
	counted  bool  // it was really applied here
	cutLeft  int64 // bytes that still pass before the cut
	reply    *insertReply
	deaf     bool // everything from the server is swallowed from now on
	sentAny  bool // the client has sent something on this connection
	revision int  // of the native protocol, as the client said hello; 0 if it never did
}

// step is what becomes of one chunk: it is held (wait), or forwarded, perhaps late, after which the connection may end.
type step struct {
	wait    <-chan struct{} // hold the chunk until this is closed, then ask again
	delay   time.Duration
	forward []byte
	answer  []byte // sent to the client in place of the server, at the end
	end     bool   // close both ends
	linger  bool   // close both ends once the server has said nothing for a while
}

func (c *conn) run() {
	var up sync.WaitGroup
	up.Go(func() { c.pump(c.client, c.server, c.upStep) })
	c.pump(c.server, c.client, c.downStep)
	up.Wait()
	c.close()
}

const (
	chunkBytes  = 64 << 10
	replyLinger = 50 * time.Millisecond
	answerGrace = time.Second
)

func (c *conn) pump(from, to *net.TCPConn, decide func([]byte) step) {
	buf := make([]byte, chunkBytes)
	for {
		n, err := from.Read(buf)
		if n > 0 && !c.handle(to, buf[:n], decide) {
			return
		}
		if errors.Is(err, io.EOF) {
			_ = to.CloseWrite()
			return
		}
		if err != nil { // a reset, or a lingering connection that fell silent
			c.close()
			return
		}
	}
}

// handle carries out what is decided about a chunk and reports whether the pump goes on.
func (c *conn) handle(to *net.TCPConn, chunk []byte, decide func([]byte) step) bool {
	s := decide(chunk)
	for s.wait != nil {
		select {
		case <-s.wait:
		case <-c.gone:
			return false
		}
		s = decide(chunk)
	}
	if s.delay > 0 && !c.sleep(s.delay) {
		return false
	}
	if len(s.forward) > 0 {
		c.count(to, len(s.forward)) // before they are sent: whoever has them finds them counted
		if _, err := to.Write(s.forward); err != nil {
			c.close()
			return false
		}
	}
	switch {
	case s.answer != nil:
		c.answer(s.answer)
		return false
	case s.end:
		c.close()
		return false
	case s.linger:
		_ = c.server.SetReadDeadline(time.Now().Add(replyLinger))
	}
	return true
}

func (c *conn) count(to *net.TCPConn, n int) {
	if to == c.server {
		c.p.upBytes.Add(int64(n))
	} else {
		c.p.downBytes.Add(int64(n))
	}
}

// sleep reports whether the connection is still there afterwards.
func (c *conn) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.gone:
		return false
	}
}

// answer sends b and closes in a way that lets the client read it: what the client still sends is taken off its hands, for
// unread bytes would turn the close into a reset.
func (c *conn) answer(b []byte) {
	_, _ = c.client.Write(b)
	_ = c.client.CloseWrite()
	_ = c.client.SetReadDeadline(time.Now().Add(answerGrace))
	_, _ = io.Copy(io.Discard, c.client)
	c.close()
}

func (c *conn) close() {
	c.goneOnce.Do(func() { close(c.gone) })
	_ = c.client.Close()
	_ = c.server.Close()
}

func (c *conn) reset() {
	_ = c.client.SetLinger(0)
	_ = c.server.SetLinger(0)
	c.close()
}

// upStep decides about bytes from the client.
func (c *conn) upStep(chunk []byte) step {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.follow()
	firedNow := c.observe(chunk)
	f := &c.p.fault
	if !c.fired {
		return step{forward: chunk}
	}
	switch f.kind {
	case kindHang:
		return c.hang(chunk)
	case kindDelay:
		return c.late(chunk, f.up)
	case kindCut:
		if firedNow && f.on != nil { // these bytes made it fire; counting starts after them
			if c.cutLeft > 0 || !c.claim() {
				return step{forward: chunk}
			}
			c.apply() // at once: they may have been all that the client has to say
			return step{forward: chunk, end: true}
		}
		return c.cut(chunk)
	case kindDropInsert:
		if firedNow {
			c.reply = &insertReply{revision: c.revision}
		}
	case kindAnswer:
		if firedNow && c.claim() {
			c.apply()
			return step{answer: f.answer}
		}
	}
	return step{forward: chunk}
}

// downStep decides about bytes from the server.
func (c *conn) downStep(chunk []byte) step {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.deaf {
		return step{}
	}
	c.follow()
	f := &c.p.fault
	if !c.fired && f.on != nil {
		return step{forward: chunk}
	}
	switch f.kind {
	case kindHang:
		return c.hang(chunk)
	case kindDelay:
		return c.late(chunk, f.down)
	case kindDropReply:
		if c.claim() {
			c.apply()
			c.deaf = f.keepOpen
			return step{linger: !f.keepOpen}
		}
	case kindDropInsert:
		return c.dropInsert(chunk)
	}
	return step{forward: chunk}
}

// follow starts anew when the fault was replaced.
func (c *conn) follow() {
	if c.gen == c.p.gen {
		return
	}
	c.gen = c.p.gen
	c.seen, c.total = nil, 0
	c.fired, c.claimed, c.counted = false, false, false
	c.cutLeft = c.p.fault.bytes
	c.reply = nil
}

// observe shows the chunk to the trigger and reports whether the fault begins with it.
func (c *conn) observe(chunk []byte) (firedNow bool) {
	first := !c.sentAny
	if first {
		c.sentAny = true
		c.revision = helloRevision(chunk)
	}
	if c.fired {
		return false
	}
	f := &c.p.fault
	if f.on == nil {
		c.fired = true
		return true
	}
	c.total += int64(len(chunk))
	c.seen = append(c.seen, chunk...)
	if over := len(c.seen) - seenMax; over > 0 {
		c.seen = append(c.seen[:0], c.seen[over:]...)
	}
	c.fired = f.on(Seen{Bytes: c.seen, Chunk: chunk, Total: c.total, First: first})
	return c.fired
}

// claim takes one of the fault's times for this connection, unless it has one already or none is left.
func (c *conn) claim() bool {
	if c.claimed {
		return true
	}
	if c.p.fault.times > 0 {
		if c.p.left == 0 {
			return false
		}
		c.p.left--
	}
	c.claimed = true
	return true
}

// apply counts the fault as applied, once for this connection.
func (c *conn) apply() {
	if !c.counted {
		c.counted = true
		c.p.applied[c.p.fault.name]++
	}
}

// release gives a claim back that came to nothing.
func (c *conn) release() {
	if c.gen == c.p.gen && c.claimed && !c.counted && c.p.fault.times > 0 {
		c.claimed = false
		c.p.left++
	}
}

func (c *conn) hang(chunk []byte) step {
	if !c.claim() {
		return step{forward: chunk}
	}
	c.apply()
	return step{wait: c.p.changed}
}

func (c *conn) late(chunk []byte, d time.Duration) step {
	if d == 0 || !c.claim() {
		return step{forward: chunk}
	}
	c.counted = true
	c.p.applied[NameDelay]++
	return step{delay: d, forward: chunk}
}

func (c *conn) cut(chunk []byte) step {
	if !c.claim() {
		return step{forward: chunk}
	}
	if int64(len(chunk)) <= c.cutLeft {
		c.cutLeft -= int64(len(chunk))
		return step{forward: chunk}
	}
	c.apply()
	return step{forward: chunk[:c.cutLeft], end: true}
}

// dropInsert passes the server's invitation to send rows, and keeps the rest back until it is known how the INSERT ended.
func (c *conn) dropInsert(chunk []byte) step {
	if c.reply == nil || !c.claim() {
		return step{forward: chunk}
	}
	forward, verdict := c.reply.feed(chunk)
	switch verdict {
	case verdictDone:
		c.apply()
		c.deaf = c.p.fault.keepOpen
		return step{forward: forward, end: !c.p.fault.keepOpen}
	case verdictRefused, verdictUnknown:
		if verdict == verdictUnknown {
			c.p.applied[NameUnparsed]++
		}
		c.release()
		c.fired, c.reply, c.seen = false, nil, nil // wait for the next INSERT
	}
	return step{forward: forward}
}
