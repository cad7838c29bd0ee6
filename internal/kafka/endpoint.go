package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Reach is how an address answered a client that speaks to it as the config says.
type Reach string

// How an address may answer.
const (
	ReachOK        Reach = "ok"
	ReachNoHost    Reach = "no_host"   // the name does not resolve
	ReachRefused   Reach = "refused"   // nobody listens there
	ReachSilent    Reach = "silent"    // no answer in time
	ReachWantsTLS  Reach = "wants_tls" // it speaks TLS, and was spoken to without
	ReachPlain     Reach = "plain"     // it speaks no TLS, and was spoken to with it
	ReachUntrusted Reach = "untrusted" // its certificate does not hold
	ReachCertAsked Reach = "cert_asked"
	ReachWantsSASL Reach = "wants_sasl"  // it wants the client to say who it is
	ReachNoSASL    Reach = "no_sasl"     // it wants no such thing, or not in this way: see Mechanisms
	ReachDenied    Reach = "denied"      // it does not take the credentials
	ReachStranger  Reach = "stranger"    // whoever answers is no Kafka broker
	ReachUnknown   Reach = "unreachable" // anything else, see Err
)

// Endpoint is an address of a broker, and how it answered.
type Endpoint struct {
	Addr       string
	Reach      Reach
	Err        error
	Mechanisms []string // of SASL, that it offers, if it was asked
}

// probe asks one address for what every client asks first.
func (i *inspector) probe(ctx context.Context, addr string) Endpoint {
	e := Endpoint{Addr: addr}
	within, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	raw, err := i.cfg.Dialer(within, "tcp", addr)
	if err != nil {
		e.Reach, e.Err = dialReach(err), err
		return e
	}
	_ = raw.Close() // it was only to see whether somebody is there
	one := inspector{cfg: i.cfg}
	one.cfg.Brokers = []string{addr}
	metadata := kmsg.NewPtrMetadataRequest()
	metadata.Topics = []kmsg.MetadataRequestTopic{} // of none
	_, err = one.request(ctx, metadata)
	if err == nil {
		e.Reach = ReachOK
		return e
	}
	e.Err = err
	e.Reach = one.why(ctx, &e)
	return e
}

func dialReach(err error) Reach {
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return ReachNoHost
	case errors.Is(err, syscall.ECONNREFUSED):
		return ReachRefused
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return ReachSilent
	}
	return ReachUnknown
}

// request asks the one broker of the config.
func (i *inspector) request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	cl, err := i.newClient(kgo.RequestRetries(0))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return cl.SeedBrokers()[0].Request(ctx, req)
}

// why finds out what an address speaks that did not answer as it should.
func (i *inspector) why(ctx context.Context, e *Endpoint) Reach {
	var unknownCA x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch err := e.Err; {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return ReachDenied
	case errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		e.Mechanisms, _ = i.mechanisms(ctx) // it is said without them
		return ReachNoSASL
	case errors.As(err, &unknownCA), errors.As(err, &name), errors.As(err, &invalid):
		return ReachUntrusted
	case strings.Contains(err.Error(), "tls: certificate required"):
		return ReachCertAsked
	}
	if i.cfg.TLS != nil {
		return i.whyTLS(ctx)
	}
	if r := i.whyPlain(ctx, e); r != ReachStranger {
		return r
	}
	if i.speaksTLS(ctx) {
		return ReachWantsTLS
	}
	return ReachStranger
}

// whyTLS: TLS was spoken, and did not work.
func (i *inspector) whyTLS(ctx context.Context) Reach {
	plain := inspector{cfg: i.cfg}
	plain.cfg.TLS = nil
	if _, err := plain.mechanisms(ctx); err == nil {
		return ReachPlain
	}
	if i.speaksTLS(ctx) {
		return ReachUnknown
	}
	return ReachStranger
}

// whyPlain: no TLS was spoken.
func (i *inspector) whyPlain(ctx context.Context, e *Endpoint) Reach {
	offered, err := i.mechanisms(ctx)
	switch {
	case err == nil && i.cfg.SASL == nil:
		e.Mechanisms = offered
		return ReachWantsSASL
	case err == nil:
		return ReachUnknown
	case isContext(err), errors.Is(err, os.ErrDeadlineExceeded):
		return ReachSilent
	}
	return ReachStranger
}

// mechanisms of SASL that the broker offers; an error says that it does not answer as a broker does. It is the one thing that a broker
// answers to whoever has not said who he is, beside which versions it speaks, which the client has asked for by then.
func (i *inspector) mechanisms(ctx context.Context) ([]string, error) {
	bare := inspector{cfg: i.cfg}
	bare.cfg.SASL = nil
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = "WHICH-ONES" // one that there is not: the answer lists those that there are
	answer, err := bare.request(ctx, req)
	if err != nil {
		return nil, err
	}
	h, ok := answer.(*kmsg.SASLHandshakeResponse)
	if !ok {
		return nil, errUnanswered
	}
	return h.SupportedMechanisms, nil
}

// speaksTLS: it answers a client's hello as TLS does, be it with a refusal.
func (i *inspector) speaksTLS(ctx context.Context) bool {
	raw, err := i.cfg.Dialer(ctx, "tcp", i.cfg.Brokers[0])
	if err != nil {
		return false
	}
	defer raw.Close() //nolint:errcheck // nothing was said
	_ = raw.SetDeadline(time.Now().Add(inspectTimeout))
	seen := &firstByte{Conn: raw}
	_ = tls.Client(seen, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) //nolint:gosec // nothing is said to whoever answers
	const alert, handshake = 21, 22
	return seen.got && (seen.first == alert || seen.first == handshake)
}

// firstByte keeps the first byte that comes in.
type firstByte struct {
	net.Conn
	got   bool
	first byte
}

func (f *firstByte) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if n > 0 && !f.got {
		f.got, f.first = true, p[0]
	}
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return n, err
}

// splitList are the words of a list as brokers write it.
func splitList(text string) []string {
	var out []string
	for _, word := range strings.Split(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			out = append(out, word)
		}
	}
	return out
}
