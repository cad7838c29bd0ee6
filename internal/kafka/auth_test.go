package kafka

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/kafka/auth"
	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
	"github.com/waybill-data/waybill/internal/testenv/kdc"
	"github.com/waybill-data/waybill/internal/testenv/pki"
)

// secured is one broker of Apache Kafka with a listener for each way to say who one is.
type secured struct {
	*kafkaserver.Server
	dir     string
	ca      *pki.CA
	adm     *kadm.Client
	signer  *rsa.PrivateKey // of tokens
	kdc     *kdc.Server
	topic   string
	records int64
}

const (
	listenTLS    = "TLS"
	listenMutual = "MTLS"
	listenPlain  = "PLAIN"
	listenScram  = "SCRAM"
	listenBearer = "BEARER"
	listenTicket = "TICKET"
)

const (
	plainModule  = "org.apache.kafka.common.security.plain.PlainLoginModule required "
	scramModule  = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	bearerModule = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
	ticketModule = `com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true keyTab="%s" principal="kafka/localhost@%s";`
)

func startSecured(t *testing.T) *secured {
	s := &secured{dir: t.TempDir(), topic: "secured", records: 3}
	s.ca = pki.New(t, s.dir, "authority")
	server := s.ca.Issue("broker", nil)
	var err error
	s.signer, err = rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	jwks := filepath.Join(s.dir, "jwks.json")
	must(t, os.WriteFile(jwks, s.jwks(), 0o600))
	s.kdc = testenv.Kerberos(t)
	keytab := filepath.Join(s.dir, "broker.keytab")
	must(t, s.kdc.Principal(t.Context(), "kafka/localhost", keytab))
	s.Server = testenv.Kafka(t, func(o *kafkaserver.Options) {
		o.Listeners = map[string]string{listenTLS: "SSL", listenMutual: "SSL", listenPlain: "SASL_SSL", listenScram: "SASL_SSL", listenBearer: "SASL_SSL", listenTicket: "SASL_PLAINTEXT"}
		o.JavaFlags = []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://" + jwks, "-Djava.security.krb5.conf=" + s.kdc.ConfigFile()}
		o.Properties = map[string]string{
			"ssl.keystore.type": "PEM", "ssl.keystore.location": server.Both, "ssl.truststore.type": "PEM", "ssl.truststore.location": s.ca.File,
			"listener.name.mtls.ssl.client.auth": "required",

			"listener.name.plain.sasl.enabled.mechanisms":        "PLAIN",
			"listener.name.plain.plain.sasl.jaas.config":         plainModule + `user_waybill="plain-secret";`,
			"listener.name.scram.sasl.enabled.mechanisms":        "SCRAM-SHA-256,SCRAM-SHA-512",
			"listener.name.scram.scram-sha-256.sasl.jaas.config": scramModule,
			"listener.name.scram.scram-sha-512.sasl.jaas.config": scramModule,

			"listener.name.ticket.sasl.enabled.mechanisms":    "GSSAPI",
			"listener.name.ticket.sasl.kerberos.service.name": "kafka",
			"listener.name.ticket.gssapi.sasl.jaas.config":    fmt.Sprintf(ticketModule, keytab, kdc.Realm),

			"listener.name.bearer.sasl.enabled.mechanisms":                               "OAUTHBEARER",
			"listener.name.bearer.oauthbearer.sasl.jaas.config":                          bearerModule,
			"listener.name.bearer.oauthbearer.sasl.server.callback.handler.class":        "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
			"listener.name.bearer.oauthbearer.sasl.oauthbearer.jwks.endpoint.url":        "file://" + jwks,
			"listener.name.bearer.oauthbearer.sasl.oauthbearer.expected.audience":        "kafka",
			"listener.name.bearer.oauthbearer.sasl.oauthbearer.expected.issuer":          "test",
			"listener.name.bearer.oauthbearer.sasl.oauthbearer.jwks.endpoint.refresh.ms": "3600000",
			"listener.name.bearer.oauthbearer.sasl.oauthbearer.clock.skew.seconds":       "0",
			"listener.name.bearer.oauthbearer.connections.max.reauth.ms":                 "60000",
		}
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Addr()), kgo.DefaultProduceTopic(s.topic))
	must(t, err)
	t.Cleanup(cl.Close)
	s.adm = kadm.NewClient(cl)
	_, err = s.adm.CreateTopic(t.Context(), 1, 1, nil, s.topic)
	must(t, err)
	for i := range s.records {
		must(t, cl.ProduceSync(t.Context(), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
	}
	return s
}

// setScram gives a user another password, for both hashes.
func (s *secured) setScram(t *testing.T, password string) {
	t.Helper()
	for _, m := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // of one user, a request takes one
		resp, err := s.adm.AlterUserSCRAMs(t.Context(), nil, []kadm.UpsertSCRAM{{User: "waybill", Mechanism: m, Iterations: 4096, Password: password}})
		must(t, errors.Join(err, resp.Error()))
	}
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func (s *secured) jwks() []byte {
	key := map[string]string{"kty": "RSA", "kid": "1", "alg": "RS256", "use": "sig", "n": b64(s.signer.N.Bytes()), "e": b64(big.NewInt(int64(s.signer.E)).Bytes())}
	data, _ := json.Marshal(map[string]any{"keys": []any{key}}) // of plain strings
	return data
}

// token is a JWT as an identity provider makes them.
func (s *secured) token(t *testing.T, audience string, life time.Duration) string {
	t.Helper()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{"sub": "waybill", "aud": audience, "iat": now.Add(-time.Hour).Unix(), "exp": now.Add(life).Unix(), "iss": "test"})
	must(t, err)
	signed := b64([]byte(`{"alg":"RS256","kid":"1","typ":"JWT"}`)) + "." + b64(claims)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.signer, crypto.SHA256, digest[:])
	must(t, err)
	return signed + "." + b64(signature)
}

func (s *secured) config(listener string, sasl auth.Mechanism) Config {
	c := Config{Brokers: []string{s.Listener(listener)}, Topic: s.topic, Group: fmt.Sprintf("secured-%d", unique.Add(1)), SASL: sasl, TLS: &auth.TLS{CAFile: s.ca.File}}
	return c
}

// works joins a group and reads the topic, as a pipeline does.
func (s *secured) works(t *testing.T, cfg Config) {
	t.Helper()
	held := make(chan []waybill.TopicPartition, 1)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	sess, err := Open(ctx, cfg, Callbacks{Assigned: func(tps []waybill.TopicPartition) { held <- tps }})
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close(true)
	var tps []waybill.TopicPartition
	select {
	case tps = <-held:
	case <-ctx.Done():
		t.Fatal("no partition was assigned: ", sess.Err())
	}
	sess.Start(StartAt{tps[0], 0, -1})
	for next := int64(0); next < s.records; {
		got, err := sess.Poll(ctx, 0)
		must(t, err)
		for _, p := range got.Partitions {
			next = p.Records[len(p.Records)-1].Offset + 1
		}
		for _, e := range got.Errors {
			t.Fatal(e.Err)
		}
		got.Recycle()
	}
	results, err := sess.Commit(ctx, func() map[waybill.TopicPartition]CommitEntry {
		return map[waybill.TopicPartition]CommitEntry{tps[0]: {Offset: s.records, LeaderEpoch: -1}}
	})
	must(t, errors.Join(err, results[tps[0]]))
}

// refused opens with what must not work: the error heals, names what is wrong and says what to do, and keeps the secrets to itself.
func (s *secured) refused(t *testing.T, cfg Config, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	sess, err := Open(ctx, cfg, Callbacks{})
	if err == nil {
		sess.Close(true)
		t.Fatal("it was let in")
	}
	var e *waybill.Error
	if !errors.As(err, &e) || !e.Class.Heals() && e.Class != waybill.ClassDenied || e.Hint == "" {
		t.Errorf("not an error that heals, with a hint: %v", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in: %v", w, err)
		}
	}
	for _, secret := range []string{"plain-secret", "scram-secret", "wrong-secret", "client-secret", "eyJ", "AKIA"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	put(t, path, text)
	return path
}

func put(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// Every way that Apache Kafka has to be told who a client is, and every way to get it wrong, on one broker.
func TestAuth_ApacheKafka(t *testing.T) {
	s := startSecured(t)
	t.Run("TLS", func(t *testing.T) { authTLS(t, s) })
	t.Run("mTLS", func(t *testing.T) { authMutual(t, s) })
	t.Run("PLAIN", func(t *testing.T) { authPlain(t, s) })
	t.Run("SCRAM", func(t *testing.T) { authScram(t, s) })
	t.Run("OAUTHBEARER", func(t *testing.T) { authBearer(t, s) })
	t.Run("Kerberos", func(t *testing.T) { authKerberos(t, s) })
}

func authTLS(t *testing.T, s *secured) {
	cfg := s.config(listenTLS, nil)
	s.works(t, cfg)

	cfg.TLS = &auth.TLS{}
	s.refused(t, cfg, "ca_file")
	other := pki.New(t, t.TempDir(), "other")
	cfg.TLS = &auth.TLS{CAFile: other.File}
	s.refused(t, cfg, "unknown authority", other.File)
	cfg.TLS = &auth.TLS{CAFile: s.ca.File, ServerName: "elsewhere"}
	s.refused(t, cfg, "elsewhere", "server_name")
	cfg.TLS = &auth.TLS{CAFile: filepath.Join(s.dir, "absent.pem")}
	s.refused(t, cfg, "absent.pem", "put the file there")
	cfg.TLS = nil
	s.refused(t, cfg, "source.kafka.tls")
	cfg.TLS, cfg.Brokers = &auth.TLS{CAFile: s.ca.File}, []string{s.Addr()}
	s.refused(t, cfg, "does not speak TLS")
}

func authMutual(t *testing.T, s *secured) {
	cfg := s.config(listenMutual, nil)
	s.refused(t, cfg, "cert_file")

	dir := t.TempDir()
	mine := pki.Pair{Cert: filepath.Join(dir, "me.crt"), Key: filepath.Join(dir, "me.key")}
	take := func(p pki.Pair) { // as a rotation does it: the same files, other contents
		for from, to := range map[string]string{p.Cert: mine.Cert, p.Key: mine.Key} {
			data, err := os.ReadFile(from)
			must(t, err)
			put(t, to, string(data))
		}
	}
	cfg.TLS.CertFile, cfg.TLS.KeyFile = mine.Cert, mine.Key
	s.refused(t, cfg, "me.crt")
	take(s.ca.Issue("old", pki.Expired))
	s.refused(t, cfg, "me.crt is valid from", "renew it")
	take(pki.New(t, t.TempDir(), "stranger").Issue("stranger", nil))
	s.refused(t, cfg, "the broker refuses the client's certificate")
	take(s.ca.Issue("good", nil))
	s.works(t, cfg)
}

func authPlain(t *testing.T, s *secured) {
	s.works(t, s.config(listenPlain, auth.Plain("waybill", auth.Fixed("plain-secret"))))
	path := fileOf(t, "wrong-secret\n")
	cfg := s.config(listenPlain, auth.Plain("waybill", auth.File(path)))
	s.refused(t, cfg, "SASL_AUTHENTICATION_FAILED", "source.kafka.sasl")
	put(t, path, "plain-secret\n")
	s.works(t, cfg)
	s.refused(t, s.config(listenPlain, nil), "source.kafka.sasl")
	s.refused(t, s.config(listenPlain, auth.Scram("waybill", auth.Fixed("plain-secret"), auth.ScramSHA512)), "UNSUPPORTED_SASL_MECHANISM", "sasl.enabled.mechanisms")
	s.refused(t, s.config(listenPlain, auth.Plain("waybill", auth.File(path+".absent"))), "the password", "put the file there")
}

func authScram(t *testing.T, s *secured) {
	s.setScram(t, "scram-secret")
	path := fileOf(t, "scram-secret")
	for _, hash := range []auth.ScramHash{auth.ScramSHA256, auth.ScramSHA512} {
		cfg := s.config(listenScram, auth.Scram("waybill", auth.File(path), hash))
		testenv.Eventually(t, within, "the broker has taken the password up", func() bool {
			r, err := OpenReader(t.Context(), cfg)
			if err == nil {
				r.Close()
			}
			return err == nil
		})
		s.works(t, cfg)
	}
	cfg := s.config(listenScram, auth.Scram("waybill", auth.File(path), auth.ScramSHA512))
	s.refused(t, s.config(listenScram, auth.Scram("nobody", auth.File(path), auth.ScramSHA512)), "SASL_AUTHENTICATION_FAILED")

	// The password is rotated: first on the broker, then in the file.
	s.setScram(t, "scram-secret-2")
	testenv.Eventually(t, within, "the broker has taken the password up", func() bool {
		r, err := OpenReader(t.Context(), cfg)
		if err == nil {
			r.Close()
		}
		return err != nil
	})
	s.refused(t, cfg, "SASL_AUTHENTICATION_FAILED", "files are read again")
	put(t, path, "scram-secret-2")
	s.works(t, cfg)
}

func authBearer(t *testing.T, s *secured) {
	s.works(t, s.config(listenBearer, auth.Bearer(auth.Tokens(auth.Fixed(s.token(t, "kafka", time.Hour))), nil)))

	path := fileOf(t, s.token(t, "kafka", -time.Minute))
	cfg := s.config(listenBearer, auth.Bearer(auth.Tokens(auth.File(path)), map[string]string{"logicalCluster": "lkc-1"}))
	s.refused(t, cfg, "refuses the token", "invalid_token", "has the token expired?")
	put(t, path, s.token(t, "elsewhere", time.Hour))
	s.refused(t, cfg, "refuses the token")
	put(t, path, s.token(t, "kafka", time.Hour)+"\n")
	s.works(t, cfg)

	var asked int
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		user, secret, _ := r.BasicAuth()
		if user != "waybill" || secret != "client-secret" || r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("scope") != "kafka.read" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`)) // the client shows what it misses
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": s.token(t, "kafka", time.Hour), "token_type": "Bearer", "expires_in": 3600})
	}))
	defer endpoint.Close()
	secret := fileOf(t, "wrong-secret")
	credentials := &auth.ClientCredentials{URL: endpoint.URL, ClientID: "waybill", Secret: auth.File(secret), Scope: "kafka.read"}
	cfg.SASL = auth.Bearer(credentials, nil)
	s.refused(t, cfg, `does not know client "waybill"`, endpoint.URL)
	put(t, secret, "client-secret")
	asked = 0
	s.works(t, cfg)
	if asked != 1 {
		t.Errorf("%d tokens were asked for, where one does for all connections", asked)
	}
	endpoint.Close()
	cfg.SASL = auth.Bearer(&auth.ClientCredentials{URL: endpoint.URL, ClientID: "waybill", Secret: auth.File(secret)}, nil)
	s.refused(t, cfg, "check that the token endpoint runs")
}

func authKerberos(t *testing.T, s *secured) {
	keytab := filepath.Join(t.TempDir(), "me.keytab")
	who := auth.Kerberos{Principal: "waybill@" + kdc.Realm, KeytabFile: keytab, ConfigFile: s.kdc.ConfigFile(), Service: "kafka"}
	cfg := s.config(listenTicket, who.Mechanism())
	cfg.TLS = nil
	s.refused(t, cfg, "the keytab "+keytab, "put the file there")
	must(t, s.kdc.Principal(t.Context(), "waybill", keytab))
	s.works(t, cfg)

	with := func(change func(*auth.Kerberos)) Config {
		other := who
		change(&other)
		c := cfg
		c.SASL = other.Mechanism()
		return c
	}
	s.refused(t, with(func(k *auth.Kerberos) { k.Service = "kakfa" }), "kakfa/HOST")
	s.refused(t, with(func(k *auth.Kerberos) { k.Principal = "nobody@" + kdc.Realm }), "nobody")
	s.refused(t, with(func(k *auth.Kerberos) { k.ConfigFile = "/nowhere/krb5.conf" }), "/nowhere/krb5.conf")

	// The keys are made anew at the centre: the file is stale, until it is written again.
	stale, err := os.ReadFile(keytab)
	must(t, err)
	must(t, s.kdc.Principal(t.Context(), "waybill", keytab))
	fresh, err := os.ReadFile(keytab)
	must(t, err)
	put(t, keytab, string(stale))
	s.refused(t, cfg, "make it anew")
	put(t, keytab, string(fresh))
	s.works(t, cfg)

	s.kdc.Kill()
	s.refused(t, cfg, "does not answer")
}
