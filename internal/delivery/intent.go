package delivery

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/waybill-data/waybill"
)

// IntentVersion is the prefix of every metadata string. A worker that meets a version it does not
// know refuses to go on rather than guess.
const IntentVersion = "wb1"

// Intent is a batch as one partition's metadata string records it.
type Intent struct {
	ID      waybill.BatchID
	Plan    waybill.PlanID
	Decoder uint16
	Table   waybill.TableID
	Time    int64 // ms
	// Spans is the number of partitions that the batch covers: whoever holds that many of its strings
	// can rebuild the whole block. 0 if the whole block must not be sent again, because rows of it may be
	// there under the tokens of a batch whose intent is lost.
	Spans int
	// Span, Count and Checksum are this partition's part.
	Span     waybill.Span
	Count    int64
	Checksum uint64
}

// Metadata is the content of one partition's committed metadata: every batch past the committed
// offset, in offset order; their spans tile the line from that offset on.
type Metadata struct {
	Epoch   waybill.Epoch
	TopicID [8]byte // the first half of the Kafka topic id
	Intents []Intent
}

// Errors of ParseMetadata.
var (
	// ErrForeignMetadata: the string was not written by Waybill (or is empty).
	ErrForeignMetadata = errors.New("metadata string is not Waybill's")
	// ErrNewerMetadata: written by a version of Waybill that this one does not know.
	ErrNewerMetadata = errors.New("metadata string is of an unknown version")
	// ErrBrokenMetadata: Waybill's prefix, but damaged or cut.
	ErrBrokenMetadata = errors.New("metadata string is damaged")
)

// Encode writes the string that goes with the committed offset.
func (m Metadata) Encode() string {
	b := make([]byte, 0, 24+56*len(m.Intents))
	b = binary.AppendUvarint(b, uint64(m.Epoch))
	b = append(b, m.TopicID[:]...)
	b = binary.AppendUvarint(b, uint64(len(m.Intents)))
	var prev Intent
	for i, in := range m.Intents {
		b = append(b, in.ID[:]...)
		if i > 0 && in.Plan == prev.Plan && in.Decoder == prev.Decoder && in.Table == prev.Table {
			b = append(b, 0)
		} else {
			b = append(b, 1)
			b = binary.LittleEndian.AppendUint64(b, uint64(in.Plan))
			b = binary.LittleEndian.AppendUint16(b, in.Decoder)
			b = binary.LittleEndian.AppendUint32(b, uint32(in.Table))
		}
		b = binary.AppendVarint(b, in.Time-prev.Time)
		b = binary.AppendUvarint(b, uint64(in.Spans))
		if i == 0 {
			b = binary.AppendUvarint(b, uint64(in.Span.First))
		}
		b = binary.AppendUvarint(b, uint64(in.Span.Len()))
		b = binary.AppendUvarint(b, uint64(in.Count))
		b = binary.LittleEndian.AppendUint64(b, in.Checksum)
		prev = in
	}
	b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return IntentVersion + "." + base64.RawURLEncoding.EncodeToString(b)
}

// ParseMetadata reads a metadata string back. Errors: ErrForeignMetadata, ErrNewerMetadata,
// ErrBrokenMetadata.
func ParseMetadata(s string) (Metadata, error) {
	version, text, found := strings.Cut(s, ".")
	switch {
	case !found || !strings.HasPrefix(version, "wb"):
		return Metadata{}, ErrForeignMetadata
	case version != IntentVersion:
		return Metadata{}, fmt.Errorf("%w: %q", ErrNewerMetadata, version)
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 4 {
		return Metadata{}, ErrBrokenMetadata
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return Metadata{}, ErrBrokenMetadata
	}
	r := reader{b: body}
	m := r.metadata()
	if r.failed || len(r.b) != 0 {
		return Metadata{}, ErrBrokenMetadata
	}
	return m, nil
}

// reader takes fields off a byte string; the first shortage makes all later reads zero.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) metadata() Metadata {
	var m Metadata
	m.Epoch = waybill.Epoch(r.uvarint())
	copy(m.TopicID[:], r.take(8))
	n := r.uvarint()
	if n > uint64(len(r.b)) { // each intent takes far more than a byte
		r.failed = true
		return m
	}
	var prev Intent
	for i := range n {
		in := prev
		copy(in.ID[:], r.take(16))
		if f := r.take(1); len(f) == 1 && f[0] == 1 {
			in.Plan = waybill.PlanID(binary.LittleEndian.Uint64(r.take(8)))
			in.Decoder = binary.LittleEndian.Uint16(r.take(2))
			in.Table = waybill.TableID(binary.LittleEndian.Uint32(r.take(4)))
		}
		in.Time = prev.Time + r.varint()
		in.Spans = int(r.uvarint())
		in.Span.First = prev.Span.Next
		if i == 0 {
			in.Span.First = int64(r.uvarint())
		}
		in.Span.Next = in.Span.First + int64(r.uvarint())
		in.Count = int64(r.uvarint())
		in.Checksum = binary.LittleEndian.Uint64(r.take(8))
		if r.failed {
			return m
		}
		m.Intents = append(m.Intents, in)
		prev = in
	}
	return m
}

var zeros [16]byte

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.failed = true
		return zeros[:n]
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return v * r.advance(n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return v * int64(r.advance(n))
}

func (r *reader) advance(n int) uint64 {
	if n <= 0 {
		r.failed = true
		return 0
	}
	r.b = r.b[n:]
	return 1
}
