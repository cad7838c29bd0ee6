package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// TLS says how connections are encrypted. The zero value trusts the system's authorities and shows no certificate.
type TLS struct {
	// CAFile holds the certificates, in PEM, of the authorities that brokers are trusted by; empty: the system's.
	CAFile string
	// CertFile and KeyFile are what the client shows of itself, in PEM; both or neither.
	CertFile, KeyFile string
	// ServerName is the name that brokers' certificates must be for; empty: the host that was dialled.
	ServerName string
}

const opTLS = "kafka.tls"

// Config reads the files and makes what one connection needs of them.
func (t TLS) Config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, unreadable(opTLS, "the authorities' certificates", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, unreadable(opTLS, "the authorities' certificates", fmt.Errorf("%s holds no certificate in PEM", t.CAFile))
		}
	}
	if t.CertFile == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, unreadable(opTLS, "the client's certificate", fmt.Errorf("%s with %s: %w", t.CertFile, t.KeyFile, err))
	}
	// Brokers of TLS 1.3 refuse a certificate after the handshake, when all that is left to say is "bad certificate": the dates are looked at here.
	if now := time.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		return nil, fault(opTLS, fmt.Errorf("the client's certificate in %s is valid from %s to %s, and it is %s", t.CertFile, day(pair.Leaf.NotBefore), day(pair.Leaf.NotAfter), day(now)),
			"renew it; the file is read again by the next connection")
	}
	// Shown whatever authorities the broker names: if it wants another one, its refusal says so, and no certificate at all would not.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	return c, nil
}

func day(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// explain says what to do about an error of TLS; nil if err is of another kind.
func (t TLS) explain(err error, address string) error {
	what := func(hint string) error { return fault(opTLS, fmt.Errorf("%s: %w", address, err), hint) }
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var plain tls.RecordHeaderError
	var alert *net.OpError // crypto/tls shows what the other side said in no other way
	switch {
	case errors.As(err, &unknown):
		if t.CAFile == "" {
			return what("the broker's authority is not one of the system's: name its certificate in source.kafka.tls.ca_file")
		}
		return what("the broker's certificate is of an authority that " + t.CAFile + " does not hold: add it")
	case errors.As(err, &name):
		return what("the broker's certificate is for other names: connect by one of them, or give the name in source.kafka.tls.server_name")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return what("renew the broker's certificate, or set this machine's clock")
	case errors.As(err, &invalid):
		return what("the broker's certificate cannot be used for this")
	case errors.As(err, &plain):
		return what("this port does not speak TLS: use the broker's TLS listener, or take source.kafka.tls out")
	case errors.As(err, &alert) && alert.Op == "remote error":
		return what(t.alertHint(alert.Err.Error()))
	}
	return nil
}

// Client lays TLS over a connection to address. The caller closes raw if it fails.
func (t TLS) Client(ctx context.Context, raw net.Conn, address string) (net.Conn, error) {
	c, err := t.Config()
	if err != nil {
		return nil, err
	}
	if c.ServerName == "" {
		if c.ServerName, _, err = net.SplitHostPort(address); err != nil {
			return nil, err
		}
	}
	conn := tls.Client(raw, c)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, t.brokenOff(err, address)
	}
	return explaining{conn, t, address}, nil
}

// brokenOff is the error of a handshake, where a connection that is closed says something too.
func (t TLS) brokenOff(err error, address string) error {
	if out := t.explain(err, address); out != nil {
		return out
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		// Not wrapped: the client would take the EOF for its own business, and say less.
		return fault(opTLS, fmt.Errorf("%s: the broker closed the connection during the TLS handshake (%v)", address, err), //nolint:errorlint // see above
			"if it goes on: this port does not speak TLS; use the broker's TLS listener, or take source.kafka.tls out")
	}
	return err
}

// explaining is a connection whose reads may still bring a refusal: under TLS 1.3 the client's certificate is judged after the handshake.
type explaining struct {
	*tls.Conn
	tls     TLS
	address string
}

func (c explaining) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		if out := c.tls.explain(err, c.address); out != nil {
			err = out
		}
	}
	return n, err
}

// alertHint is about what a broker says of the client's part of a handshake.
func (t TLS) alertHint(alert string) string {
	switch {
	case strings.Contains(alert, "protocol version"), strings.Contains(alert, "insufficient security"):
		return "the broker speaks no version or cipher of TLS that Waybill does: TLS 1.2 and newer"
	case !strings.Contains(alert, "certificate") && !strings.Contains(alert, "handshake failure"):
		return "see the broker's log"
	case t.CertFile == "":
		return "the broker wants a certificate of the client: give cert_file and key_file in source.kafka.tls"
	}
	return "the broker refuses the client's certificate in " + t.CertFile + ": it must be of an authority that the broker trusts (ssl.truststore), and not have expired"
}
