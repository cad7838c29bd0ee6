package auth

import (
	"context"
	"fmt"
	"strings"

	"github.com/jcmturner/gokrb5/v8/client"
	krbconfig "github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/kerberos"
)

// Kerberos says who the client is to the key distribution centre.
type Kerberos struct {
	Principal  string // NAME@REALM, or NAME/HOST@REALM
	KeytabFile string // the principal's keys
	ConfigFile string // krb5.conf: where the realm's servers are
	Service    string // the first part of the brokers' principals, as in kafka/HOST@REALM
}

// DefaultKerberosConfig is where systems keep krb5.conf.
const DefaultKerberosConfig = "/etc/krb5.conf"

// Mechanism is GSSAPI, as Kafka calls it.
func (k Kerberos) Mechanism() sasl.Mechanism { return gssapi{k} }

type gssapi struct{ Kerberos }

func (gssapi) Name() string { return "GSSAPI" }

// Authenticate gets a ticket with a client of its own, which has read keytab and configuration anew.
func (g gssapi) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	cl, err := g.client()
	if err != nil {
		return nil, nil, err
	}
	s, first, err := kerberos.Kerberos(func(context.Context) (kerberos.Auth, error) {
		return kerberos.Auth{Client: cl, Service: g.Service}, nil
	}).Authenticate(ctx, host)
	if err != nil {
		cl.Destroy()
		return nil, nil, g.explain(err)
	}
	return ticketed{s, cl}, first, nil
}

// ticketed ends the client, and the goroutine by which it renews its session, once the exchange is over. One that breaks off is left to the
// library's finalizer.
type ticketed struct {
	sasl.Session
	client *client.Client
}

func (t ticketed) Challenge(answer []byte) (done bool, write []byte, err error) {
	done, write, err = t.Session.Challenge(answer)
	if done || err != nil {
		t.client.Destroy()
	}
	return done, write, err
}

// client reads the files. It has not spoken to anybody yet.
func (k Kerberos) client() (*client.Client, error) {
	conf, err := krbconfig.Load(k.ConfigFile)
	if err != nil {
		return nil, unreadable(opSASL, "Kerberos' configuration "+k.ConfigFile, err)
	}
	keys, err := keytab.Load(k.KeytabFile)
	if err != nil {
		return nil, unreadable(opSASL, "the keytab "+k.KeytabFile, err)
	}
	name, realm, ok := strings.Cut(k.Principal, "@")
	if !ok {
		realm = conf.LibDefaults.DefaultRealm
	}
	// FAST is what Active Directory cannot do.
	return client.NewWithKeytab(name, realm, keys, conf, client.DisablePAFXFAST(true)), nil
}

// explain says what to do about errors of the exchange with the key distribution centre, which are many words of its library's.
func (k Kerberos) explain(err error) error {
	words, hint := err.Error(), "see the log of the key distribution centre"
	for _, c := range []struct{ said, hint string }{
		{"KDC_ERR_C_PRINCIPAL_UNKNOWN", "the realm does not know the principal " + k.Principal},
		{"KDC_ERR_S_PRINCIPAL_UNKNOWN", "the realm does not know the broker as " + k.Service + "/HOST: connect by the host name of its principal, or correct `service`"},
		{"KDC_ERR_PREAUTH_FAILED", k.staleKeytab()}, {"Decrypt", k.staleKeytab()}, {"decrypt", k.staleKeytab()}, {"matching key not found in keytab", k.staleKeytab()},
		{"clock skew", skewed}, {"KRB_AP_ERR_SKEW", skewed},
		{"Networking_Error", "the key distribution centre that " + k.ConfigFile + " names does not answer"},
	} {
		if strings.Contains(words, c.said) {
			hint = c.hint
			break
		}
	}
	return fault(opSASL, fmt.Errorf("kerberos: %w", err), hint)
}

const skewed = "the clocks of this machine and of the key distribution centre differ too much: set them"

func (k Kerberos) staleKeytab() string {
	return "the keytab " + k.KeytabFile + " is not that of " + k.Principal + " as the realm knows it now: make it anew; it is read again by the next connection"
}
