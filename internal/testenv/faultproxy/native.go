package faultproxy

import (
	"encoding/binary"
	"errors"
	"strings"
)

// What ClickHouse's native protocol is made of, as far as a reply to an INSERT needs it.
const (
	serverData          = 1
	serverException     = 2
	serverProgress      = 3
	serverEndOfStream   = 5
	serverProfile       = 6
	serverLog           = 10
	serverTableColumns  = 11
	serverProfileEvents = 14

	clientHello = 0

	revisionWriteInfo           = 54420 // progress tells what was written
	revisionCustomSerialization = 54454 // a flag in each column
	revisionQueryTime           = 54460 // progress tells the time taken
	revisionChunked             = 54470 // frames around packets: not understood here
)

// exception encodes the packet by which a server refuses a query.
func exception(code int32, name, message string) []byte {
	b := []byte{serverException}
	b = binary.LittleEndian.AppendUint32(b, uint32(code))
	b = appendString(b, name)
	b = appendString(b, message)
	b = appendString(b, "") // stack trace
	return append(b, 0)     // nothing nested
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// helloRevision reads the protocol revision from a client's first bytes, or 0 if they are no hello.
func helloRevision(b []byte) int {
	r := &reader{b: b}
	if r.uvarint() != clientHello {
		return 0
	}
	r.skipString() // client name
	r.uvarint()    // major
	r.uvarint()    // minor
	revision := r.uvarint()
	if r.err != nil {
		return 0
	}
	return int(revision)
}

type verdict int

const (
	verdictOpen    verdict = iota
	verdictDone            // end of stream: the INSERT is carried out
	verdictRefused         // an exception
	verdictUnknown         // something this reader does not understand
)

// insertReply reads what a server says to one INSERT. It lets everything pass up to the block that invites the client to send
// rows, and holds back the rest until the verdict; a verdict other than done lets go of what was held.
type insertReply struct {
	revision int
	buf      []byte // not forwarded yet
	pos      int    // how much of buf was understood
	invited  bool
}

func (r *insertReply) feed(chunk []byte) (forward []byte, v verdict) {
	r.buf = append(r.buf, chunk...)
	for r.pos < len(r.buf) {
		in := &reader{b: r.buf[r.pos:]}
		code := in.packet(r.revision)
		if errors.Is(in.err, errShort) {
			break
		}
		if in.err != nil {
			return r.release(len(r.buf)), verdictUnknown
		}
		if code == serverEndOfStream {
			return nil, verdictDone
		}
		r.pos += in.pos
		if code == serverException {
			return r.release(len(r.buf)), verdictRefused
		}
		if !r.invited {
			forward = append(forward, r.release(r.pos)...)
		}
		r.invited = r.invited || code == serverData
	}
	return forward, verdictOpen
}

// release hands out the first n held bytes.
func (r *insertReply) release(n int) []byte {
	out := r.buf[:n:n]
	r.buf, r.pos = r.buf[n:], 0
	return out
}

var (
	errShort   = errors.New("more bytes are needed")
	errForeign = errors.New("not understood")
)

// reader takes apart bytes of the protocol. After an error it returns zeros.
type reader struct {
	b   []byte
	pos int
	err error
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(len(r.b)-r.pos) {
		r.err = errShort
		return nil
	}
	out := r.b[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return out
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.pos:])
	if n <= 0 {
		r.err = errShort
		if n < 0 {
			r.err = errForeign
		}
		return 0
	}
	r.pos += n
	return v
}

func (r *reader) uvarints(n int) {
	for range n {
		r.uvarint()
	}
}

func (r *reader) str() string { return string(r.take(r.uvarint())) }
func (r *reader) skipString() { r.take(r.uvarint()) }

// packet reads over one packet from the server and says which it was.
func (r *reader) packet(revision int) (code uint64) {
	if revision < revisionWriteInfo || revision >= revisionChunked {
		r.err = errForeign
		return 0
	}
	code = r.uvarint()
	switch code {
	case serverEndOfStream:
	case serverData, serverLog, serverProfileEvents:
		r.skipString() // table
		r.block(revision)
	case serverException:
		r.take(4)
		r.skipString()
		r.skipString()
		r.skipString()
		r.take(1)
	case serverProgress:
		r.uvarints(5)
		if revision >= revisionQueryTime {
			r.uvarint()
		}
	case serverProfile:
		r.uvarints(3)
		r.take(1)
		r.uvarint()
		r.take(1)
	case serverTableColumns:
		r.skipString()
		r.skipString()
	default:
		if r.err == nil {
			r.err = errForeign
		}
	}
	return code
}

// block reads over a block, compressed or not: one that is not begins with the two fields of its info.
func (r *reader) block(revision int) {
	const infoBytes = 8
	head := r.take(infoBytes)
	if r.err != nil {
		return
	}
	r.pos -= infoBytes
	if head[0] != 1 || head[1] > 1 || head[2] != 2 || head[7] != 0 {
		r.compressedBlock()
		return
	}
	r.take(infoBytes)
	columns, rows := r.uvarint(), r.uvarint()
	for i := uint64(0); i < columns && r.err == nil; i++ {
		r.column(revision, rows)
	}
}

// compressedBlock reads over a block in one frame: checksum, method, size with this header, size without compression.
func (r *reader) compressedBlock() {
	const checksumBytes, headerBytes = 16, 9
	r.take(checksumBytes)
	header := r.take(headerBytes)
	if r.err != nil {
		return
	}
	size := uint64(binary.LittleEndian.Uint32(header[1:]))
	if size < headerBytes {
		r.err = errForeign
		return
	}
	r.take(size - headerBytes)
}

func (r *reader) column(revision int, rows uint64) {
	r.skipString() // name
	typ := r.str()
	if revision >= revisionCustomSerialization {
		if flag := r.take(1); r.err == nil && flag[0] != 0 {
			r.err = errForeign
		}
	}
	if rows == 0 || r.err != nil {
		return
	}
	switch typ, _, _ = strings.Cut(typ, "("); typ {
	case "String":
		for i := uint64(0); i < rows && r.err == nil; i++ {
			r.skipString()
		}
	case "Int8", "UInt8", "Enum8":
		r.take(rows)
	case "DateTime", "UInt32", "Int32":
		r.take(4 * rows)
	case "UInt64", "Int64":
		r.take(8 * rows)
	default:
		r.err = errForeign
	}
}
