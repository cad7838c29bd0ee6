package clickhouse

import (
	"fmt"
	"net"
	"net/netip"
)

// Compression says how blocks are compressed on their way to the server.
type Compression string

// Compressions. Compressing costs more than it brings where the network is fast: LZ4 takes longer than decoding the events.
const (
	CompressionAuto Compression = "auto" // none on loopback and private networks, LZ4 otherwise; also the empty string
	CompressionNone Compression = "none"
	CompressionLZ4  Compression = "lz4"
	CompressionZSTD Compression = "zstd"
)

// method is the byte that names a compression in a frame.
type method byte

const (
	methodNone method = 0
	methodLZ4  method = 0x82
	methodZSTD method = 0x90
)

// method decides by the address that was really connected to, whatever name led there.
func (c Compression) method(remote net.Addr) method {
	switch c {
	case CompressionLZ4:
		return methodLZ4
	case CompressionZSTD:
		return methodZSTD
	case CompressionNone:
		return methodNone
	}
	if isPrivate(remote) {
		return methodNone
	}
	return methodLZ4
}

func (c Compression) check() error {
	switch c {
	case "", CompressionAuto, CompressionNone, CompressionLZ4, CompressionZSTD:
		return nil
	}
	return fmt.Errorf("compression %q is none of auto, none, lz4, zstd", string(c))
}

// carrierGrade is RFC 6598's shared address space, which overlay networks use like a private one.
var carrierGrade = netip.MustParsePrefix("100.64.0.0/10")

// isPrivate: loopback, RFC 1918, RFC 4193, link-local, RFC 6598.
func isPrivate(remote net.Addr) bool {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrierGrade.Contains(ip)
}
