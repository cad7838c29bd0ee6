package clickhouse

import "sync"

// spool is a request's body: slices that are written one after the other, with their length known before the first of them
// goes out. It is filled either by keep, whose slices must stay as they are until the request is over, or by Write, which
// copies into chunks that go from one request to the next.
type spool struct {
	parts [][]byte
	size  int
	own   []*chunk
}

// chunk is as long as a frame before compression.
type chunk struct {
	bytes [frameBytes]byte
	used  int
}

var idleChunks = sync.Pool{New: func() any { return new(chunk) }}

// keep adds p by reference.
func (s *spool) keep(p []byte) {
	s.parts = append(s.parts, p)
	s.size += len(p)
}

// Write adds a copy of p.
func (s *spool) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := s.fill(p)
		p = p[n:]
	}
	s.size += written
	return written, nil
}

// fill copies as much of p as the last chunk takes.
func (s *spool) fill(p []byte) int {
	last := len(s.own) - 1
	if last < 0 || s.own[last].used == frameBytes {
		s.own = append(s.own, idleChunks.Get().(*chunk))
		s.parts = append(s.parts, nil)
		last++
		s.own[last].used = 0
	}
	c := s.own[last]
	n := copy(c.bytes[c.used:], p)
	c.used += n
	s.parts[len(s.parts)-1] = c.bytes[:c.used]
	return n
}

// release gives the chunks back.
func (s *spool) release() {
	for _, c := range s.own {
		idleChunks.Put(c)
	}
	s.own, s.parts = nil, nil
}

// keeper is the spool as a writer that does not copy. Its one user, proto.Writer, hands over slices that nobody changes
// before the next statement.
type keeper struct{ *spool }

func (k keeper) Write(p []byte) (int, error) {
	k.keep(p)
	return len(p), nil
}
