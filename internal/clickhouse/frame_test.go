package clickhouse

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/ClickHouse/ch-go/compress"
)

var framed = []method{methodLZ4, methodZSTD}

// Whatever the pieces in which bytes arrive, the frames hold them, in order, a MiB in each but the last. ch-go's reader, which
// shares nothing with the framer, checks sums and sizes.
func TestFramer_RoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, m := range framed {
		for _, size := range []int{0, 1, 100, frameBytes - 1, frameBytes, frameBytes + 1, 3*frameBytes + 17} {
			raw := mixed(rng, size)
			var out bytes.Buffer
			f := newFramer(m, &out)
			for rest := raw; len(rest) > 0; {
				n := min(len(rest), 1+rng.IntN([]int{10_000, 2 * frameBytes}[rng.IntN(2)]))
				if _, err := f.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := f.flush(); err != nil {
				t.Fatal(err)
			}
			f.release()
			for i, n := range frameSizes(t, out.Bytes()) {
				if want := min(frameBytes, size-i*frameBytes); n != want {
					t.Errorf("%#x, %d bytes: frame %d holds %d, want %d", byte(m), size, i, n, want)
				}
			}
			got, err := io.ReadAll(compress.NewReader(&out))
			if err != nil && !strings.Contains(err.Error(), "EOF") || !bytes.Equal(got, raw) {
				t.Errorf("%#x, %d bytes: %d came back, %v", byte(m), size, len(got), err)
			}
		}
	}
}

// mixed is bytes of which some compress and some do not.
func mixed(rng *rand.Rand, size int) []byte {
	var b []byte
	for len(b) < size {
		if rng.IntN(2) == 0 {
			b = fmt.Appendf(b, "some text number %d; ", rng.IntN(100))
		} else {
			b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
		}
	}
	return b[:size]
}

// frameSizes is how many bytes each frame holds.
func frameSizes(t *testing.T, b []byte) []int {
	t.Helper()
	var sizes []int
	for len(b) > 0 {
		sizes = append(sizes, int(binary.LittleEndian.Uint32(b[frameChecksum+5:])))
		b = b[frameChecksum+int(binary.LittleEndian.Uint32(b[frameChecksum+1:])):]
	}
	return sizes
}

// An encoder that is used again must not remember the block before.
func TestFramer_SameBytesSameFrames(t *testing.T) {
	raw := mixed(rand.New(rand.NewPCG(5, 6)), 2*frameBytes+5)
	for _, m := range framed {
		var first []byte
		for i := range 3 {
			var out bytes.Buffer
			f := newFramer(m, &out)
			if _, err := f.Write(raw); err != nil {
				t.Fatal(err)
			}
			if err := f.flush(); err != nil {
				t.Fatal(err)
			}
			f.release()
			if i == 0 {
				first = out.Bytes()
			} else if !bytes.Equal(first, out.Bytes()) {
				t.Errorf("%#x: other frames the %d. time", byte(m), i+1)
			}
		}
	}
}

func TestCompression_GoesByTheAddress(t *testing.T) {
	for ip, want := range map[string]method{
		"127.0.0.1": methodNone, "::1": methodNone, "10.1.2.3": methodNone, "172.16.0.1": methodNone, "172.32.0.1": methodLZ4,
		"192.168.3.4": methodNone, "169.254.1.1": methodNone, "100.64.0.1": methodNone, "100.127.255.255": methodNone,
		"100.128.0.1": methodLZ4, "fd00::1": methodNone, "fe80::1": methodNone, "2001:db8::1": methodLZ4, "203.0.113.7": methodLZ4,
		"::ffff:10.0.0.1": methodNone, "::ffff:8.8.8.8": methodLZ4,
	} {
		addr := &net.TCPAddr{IP: net.ParseIP(ip), Port: 9000}
		for _, auto := range []Compression{"", CompressionAuto} {
			if got := auto.method(addr); got != want {
				t.Errorf("%s: %#x, want %#x", ip, byte(got), byte(want))
			}
		}
		if CompressionNone.method(addr) != methodNone || CompressionLZ4.method(addr) != methodLZ4 || CompressionZSTD.method(addr) != methodZSTD {
			t.Errorf("%s: what was asked for is not what is used", ip)
		}
	}
	if err := Compression("gzip").check(); err == nil {
		t.Error("gzip passes")
	}
}
