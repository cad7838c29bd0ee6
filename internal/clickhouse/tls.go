package clickhouse

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	waybill "github.com/waybill-data/waybill"
)

// TLS says what the server's certificate is held against, and what the client shows of itself. Files are PEM; they are read for each new
// connection, so that what rotates is taken up without a restart.
type TLS struct {
	CA         string // file of the authorities that may vouch for the server; empty: the system's
	Cert, Key  string // files of the client's certificate; empty: none
	ServerName string // that the certificate must be for; empty: the host's
}

// config for one connection to addr.
func (t *TLS) config(addr string) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if out.ServerName == "" {
		out.ServerName, _, _ = net.SplitHostPort(addr)
	}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, &fileError{"the certificate authority", err}
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &fileError{"the certificate authority", fmt.Errorf("%s holds no certificate in PEM", t.CA)}
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, &fileError{"the client's certificate", err}
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// password is what this connection logs in with.
func (cfg *Config) password() (string, error) {
	if cfg.PasswordFile == "" {
		return cfg.Password, nil
	}
	text, err := os.ReadFile(cfg.PasswordFile)
	if err != nil {
		return "", &fileError{"the password", err}
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// fileError is a file that a connection needs and that is not (yet, or any more) what it should be.
type fileError struct {
	what string
	err  error
}

func (e *fileError) Error() string { return e.what + " cannot be read: " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// tlsRule says what a failed handshake means; ok is false if err is not about one. Certificates are mended by people, and the files they are
// in may rotate at any time.
func tlsRule(err error) (rule codeRule, ok bool) {
	var (
		file      *fileError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		alert     *net.OpError
		plain     tls.RecordHeaderError
		unfit     *tls.CertificateVerificationError
	)
	denied := func(why, hint string) (codeRule, bool) {
		return codeRule{name: "TLS", class: waybill.ClassDenied, why: why, hint: hint}, true
	}
	switch {
	case errors.As(err, &file):
		return denied("a file that each connection needs", "the file is read again for each new connection: put it right")
	case errors.As(err, &authority):
		return denied("nobody that is trusted vouches for the server's certificate", "name the authority that signed it: sink.clickhouse.tls.ca")
	case errors.As(err, &name):
		return denied("the server's certificate is for another name", "use a name that the certificate is for, or say which one: sink.clickhouse.tls.server_name")
	case errors.As(err, &invalid):
		return denied("the server's certificate is not valid", "renew the server's certificate, and check both clocks")
	case errors.As(err, &unfit):
		return denied("the server's certificate does not hold", "see what the message says of it")
	case errors.As(err, &plain):
		return denied("the port speaks no TLS", "use the port for TLS, by default 9440 of clickhouses:// and 8443 of https://, or leave TLS out of the URL")
	case errors.As(err, &alert) && alert.Op == "remote error": // an alert; its type has no name
		return denied("the server refuses the client's certificate, or the version of TLS", "give the client a certificate that the server trusts: sink.clickhouse.tls.cert and key")
	}
	return codeRule{}, false
}
