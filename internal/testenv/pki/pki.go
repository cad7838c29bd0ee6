// Package pki makes certificates for tests.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority with its files in a folder.
type CA struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// File holds the authority's certificate, in PEM.
	File string
}

// Pair are the files of a certificate and its key, in PEM, and both in one.
type Pair struct{ Cert, Key, Both string }

// New makes an authority whose files begin with name.
func New(t testing.TB, dir, name string) *CA {
	t.Helper()
	ca := &CA{t: t, dir: dir, File: filepath.Join(dir, name+".pem")}
	ca.key = newKey(t)
	from := template(name)
	from.IsCA, from.BasicConstraintsValid, from.KeyUsage = true, true, x509.KeyUsageCertSign
	der := create(t, from, from, ca.key, ca.key)
	var err error
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	write(t, ca.File, block("CERTIFICATE", der))
	return ca
}

// Issue makes a certificate for localhost, for servers and clients alike, whose files begin with name. change may be nil.
func (ca *CA) Issue(name string, change func(*x509.Certificate)) Pair {
	ca.t.Helper()
	key := newKey(ca.t)
	from := template(name)
	from.DNSNames, from.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	from.KeyUsage, from.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	if change != nil {
		change(from)
	}
	cert := block("CERTIFICATE", create(ca.t, from, ca.cert, key, ca.key))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	at := filepath.Join(ca.dir, name)
	p := Pair{Cert: at + ".crt", Key: at + ".key", Both: at + ".pem"}
	write(ca.t, p.Cert, cert)
	write(ca.t, p.Key, block("PRIVATE KEY", der))
	write(ca.t, p.Both, append(block("PRIVATE KEY", der), cert...))
	return p
}

// Expired is a change for Issue: the certificate was good until an hour ago.
func Expired(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100)) // never fails, see crypto/rand
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour)}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func create(t testing.TB, from, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, from, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
