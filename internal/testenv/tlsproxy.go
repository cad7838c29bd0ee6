package testenv

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Authority signs certificates, for tests of TLS.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	next int64
}

// NewAuthority makes one with a certificate of its own.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "authority"}}, nil)
	return a
}

// sign signs a certificate; by itself, if there is nothing to sign it with yet.
func (a *Authority) sign(c *x509.Certificate, until *time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(a.next), time.Now().Add(-2*time.Hour), time.Now().Add(time.Hour)
	if until != nil {
		c.NotAfter = *until
	}
	by, with := c, key
	if a.cert != nil {
		by, with = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, key.Public(), with)
	if err == nil {
		c, err = x509.ParseCertificate(der)
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

// CA is the file with the authority's certificate.
func (a *Authority) CA() string { return a.write("ca.pem", "CERTIFICATE", a.cert.Raw) }

func (a *Authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// Issue gives name's certificate and key, as files called after it, and as a pair; until may be nil. Names are the host names that it is for.
func (a *Authority) Issue(name string, until *time.Time, names ...string) (cert, key string, pair tls.Certificate) {
	a.t.Helper()
	c := &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		}
	}
	signed, private := a.sign(c, until)
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = a.write(name+".pem", "CERTIFICATE", signed.Raw), a.write(name+".key", "EC PRIVATE KEY", der)
	if pair, err = tls.LoadX509KeyPair(cert, key); err != nil {
		a.t.Fatal(err)
	}
	return cert, key, pair
}

// Server is how a server shows a certificate; clients says that it wants one of the authority's from them.
func (a *Authority) Server(pair tls.Certificate, clients bool) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if clients {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		c.ClientCAs.AddCert(a.cert)
	}
	return c
}

// TLSProxy terminates TLS in front of a server that speaks none, until the test ends, and is its address: what the client does with TLS is as
// against a server that speaks it.
func TLSProxy(t testing.TB, target string, config *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { _ = ln.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			raw, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { terminate(tls.Server(raw, config), target) })
		}
	})
	return ln.Addr().String()
}

func terminate(in *tls.Conn, target string) {
	defer func() { _ = in.Close() }()
	if err := in.Handshake(); err != nil {
		return
	}
	out, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	var pipes sync.WaitGroup
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
		_ = from.Close()
	}
	pipes.Go(func() { pipe(out, in) })
	pipes.Go(func() { pipe(in, out) })
	pipes.Wait()
}
