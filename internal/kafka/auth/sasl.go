package auth

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const opSASL = "kafka.sasl"

// Mechanism is a way to say who a client is, as the client library takes it.
type Mechanism = sasl.Mechanism

// Plain sends user and password as they are: over TLS, or for all to read.
func Plain(user string, password Text) sasl.Mechanism {
	return plain.Plain(func(context.Context) (plain.Auth, error) {
		p, err := password()
		if err != nil {
			return plain.Auth{}, unreadable(opSASL, "the password", err)
		}
		return plain.Auth{User: user, Pass: p}, nil
	})
}

// Scram proves that the client knows a password without sending it: SCRAM-SHA-512, or SCRAM-SHA-256 if weak.
func Scram(user string, password Text, hash ScramHash) sasl.Mechanism {
	credentials := func(context.Context) (scram.Auth, error) {
		p, err := password()
		if err != nil {
			return scram.Auth{}, unreadable(opSASL, "the password", err)
		}
		return scram.Auth{User: user, Pass: p}, nil
	}
	if hash == ScramSHA256 {
		return scram.Sha256(credentials)
	}
	return scram.Sha512(credentials)
}

// ScramHash is the hash of a SCRAM mechanism.
type ScramHash int

// The hashes that Kafka has.
const (
	ScramSHA512 ScramHash = iota
	ScramSHA256
)

// Bearer sends a token, with extensions that some brokers want beside it.
func Bearer(token Token, extensions map[string]string) sasl.Mechanism {
	return bearer{oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		t, err := token.Token(ctx)
		return oauth.Auth{Token: t, Extensions: extensions}, err
	}), token}
}

// Token gives tokens.
type Token interface {
	// Token is one that can be used now.
	Token(context.Context) (string, error)
	// Refused says that a broker did not take the last one.
	Refused()
}

// Tokens are read anew each time.
func Tokens(from Text) Token { return textToken{from} }

type textToken struct{ from Text }

func (t textToken) Token(context.Context) (string, error) {
	s, err := t.from()
	if err != nil {
		return "", unreadable(opSASL, "the token", err)
	}
	return s, nil
}

func (textToken) Refused() {}

// bearer is OAUTHBEARER with the broker's reason for a refusal, which comes as JSON in place of the end of the exchange.
type bearer struct {
	sasl.Mechanism
	token Token
}

func (b bearer) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	s, first, err := b.Mechanism.Authenticate(ctx, host)
	return bearerSession{s, b.token}, first, err
}

type bearerSession struct {
	sasl.Session
	token Token
}

func (s bearerSession) Challenge(answer []byte) (done bool, write []byte, err error) {
	if len(answer) == 0 {
		return s.Session.Challenge(answer)
	}
	s.token.Refused()
	var said struct {
		Status string `json:"status"`
		Scope  string `json:"scope"`
	}
	why := "without a reason that can be read"
	if json.Unmarshal(answer, &said) == nil && said.Status != "" {
		why = said.Status
		if said.Scope != "" {
			why += ", scope " + said.Scope
		}
	}
	return false, nil, fault(opSASL, fmt.Errorf("%w: the broker refuses the token: %s", kerr.SaslAuthenticationFailed, why),
		"the broker's log says what it misses: signature, issuer, audience, scope, or the time (has the token expired?)")
}
