package config_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/config"
)

// source is a pipeline file whose source.kafka has these lines beside the required ones.
func source(lines ...string) []byte {
	return []byte("name: m\nsource:\n  kafka:\n    brokers: [k]\n    topic: t\n    " + strings.Join(lines, "\n    ") +
		"\nsink: {clickhouse: {url: \"clickhouse://h/d\", table: t}}\ncontract: {columns: {id: {type: UInt64}}}\n")
}

func TestParse_KafkaConnections(t *testing.T) {
	env := func(name string) (string, bool) { return "of-" + name, true }
	for name, c := range map[string]struct {
		lines []string
		want  func(*config.Kafka)
	}{
		"tls": {[]string{"tls: {ca_file: /ca, cert_file: /c, key_file: /k, server_name: n}"}, func(k *config.Kafka) {
			k.TLS = &config.KafkaTLS{CAFile: "/ca", CertFile: "/c", KeyFile: "/k", ServerName: "n"}
		}},
		"tls by the system's authorities": {[]string{"tls: {}"}, func(k *config.Kafka) { k.TLS = &config.KafkaTLS{} }},
		"plain": {[]string{"sasl: {plain: {username: u, password: \"${P}\"}}"}, func(k *config.Kafka) {
			k.SASL = &config.SASL{Mechanism: config.SASLPlain, User: "u", Password: config.SecretText{Value: config.NewSecret("of-P")}}
		}},
		"scram": {[]string{"sasl: {scram-sha-512: {username: u, password_file: /p}}"}, func(k *config.Kafka) {
			k.SASL = &config.SASL{Mechanism: config.SASLScramSHA512, User: "u", Password: config.SecretText{File: "/p"}}
		}},
		"token": {[]string{"sasl: {oauthbearer: {token_file: /t, extensions: {logicalCluster: lkc}}}"}, func(k *config.Kafka) {
			k.SASL = &config.SASL{Mechanism: config.SASLBearer, Token: config.SecretText{File: "/t"}, Extensions: map[string]string{"logicalCluster": "lkc"}}
		}},
		"credentials": {[]string{"sasl: {oauthbearer: {client_credentials: {token_url: \"https://idp/t\", client_id: c, client_secret_file: /s, scope: x, ca_file: /ca}}}"}, func(k *config.Kafka) {
			k.SASL = &config.SASL{Mechanism: config.SASLBearer, Credentials: &config.ClientCredentials{URL: "https://idp/t", ClientID: "c", ClientSecret: config.SecretText{File: "/s"}, Scope: "x", CAFile: "/ca"}}
		}},
		"msk": {[]string{"sasl: {aws-msk-iam: {profile: p, credentials_file: /c}}"}, func(k *config.Kafka) {
			k.SASL = &config.SASL{Mechanism: config.SASLMSKIAM, AWS: config.AWS{CredentialsFile: "/c", Profile: "p"}}
		}},
		"kerberos": {[]string{"sasl: {kerberos: {principal: w@R, keytab_file: /k}}"}, func(k *config.Kafka) {
			k.SASL = &config.SASL{Mechanism: config.SASLKerberos, Kerberos: config.Kerberos{Principal: "w@R", KeytabFile: "/k", ConfigFile: "/etc/krb5.conf", Service: "kafka"}}
		}},
		"membership and fetches": {[]string{"instance_id: w-${HOST}", "rack: eu-1a", "fetch: {max_bytes: 16MiB, partition_bytes: 2MiB, min_bytes: 64KiB, max_wait: 1s}"}, func(k *config.Kafka) {
			k.InstanceID, k.Rack = "w-of-HOST", "eu-1a"
			k.Fetch = config.Fetch{MaxBytes: 16 << 20, PartitionMaxBytes: 2 << 20, MinBytes: 64 << 10, MaxWait: time.Second}
		}},
		"start at a time": {[]string{"start: {timestamp: 2026-01-31T18:00:00+01:00}"}, func(k *config.Kafka) {
			k.Start = config.Start{At: config.StartTimestamp, Time: time.Date(2026, 1, 31, 17, 0, 0, 0, time.UTC)}
		}},
		"start at offsets": {[]string{"start: {offsets: {0: 10, 2: 30}}"}, func(k *config.Kafka) {
			k.Start = config.Start{At: config.StartOffsets, Offsets: map[int32]int64{0: 10, 2: 30}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := config.Parse("p.yaml", source(c.lines...), env)
			if err != nil {
				t.Fatal(err)
			}
			bare, err := config.Parse("p.yaml", source("group: waybill-m"), env)
			if err != nil {
				t.Fatal(err)
			}
			got, want := p.Source.Kafka, bare.Source.Kafka
			c.want(&want)
			if got.Start.Time.Equal(want.Start.Time) {
				got.Start.Time = want.Start.Time
			}
			if !sameSASL(got.SASL, want.SASL) {
				t.Errorf("got %+v, want %+v", got.SASL, want.SASL)
			}
			got.SASL, want.SASL = nil, nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// sameSASL looks into secrets, which are functions.
func sameSASL(a, b *config.SASL) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	same := x.Password.Value.Equal(y.Password.Value) && x.Token.Value.Equal(y.Token.Value)
	x.Password.Value, y.Password.Value, x.Token.Value, y.Token.Value = config.Secret{}, config.Secret{}, config.Secret{}, config.Secret{}
	if x.Credentials != nil && y.Credentials != nil {
		c, d := *x.Credentials, *y.Credentials
		same = same && c.ClientSecret.Value.Equal(d.ClientSecret.Value)
		c.ClientSecret.Value, d.ClientSecret.Value = config.Secret{}, config.Secret{}
		x.Credentials, y.Credentials = &c, &d
	}
	return same && reflect.DeepEqual(x, y)
}

func TestParse_KafkaConnectionsRefused(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"half a certificate":   {"tls: {cert_file: /c}", "source.kafka.tls has one of cert_file and key_file"},
		"no mechanism":         {"sasl: {}", "source.kafka.sasl names no mechanism (plain, scram-sha-256, scram-sha-512, oauthbearer, aws-msk-iam or kerberos)"},
		"two mechanisms":       {"sasl: {plain: {username: u, password: p}, kerberos: {principal: w, keytab_file: k}}", "source.kafka.sasl.kerberos is a second mechanism, beside plain"},
		"unknown mechanism":    {"sasl: {scram-sha-521: {}}", `did you mean "scram-sha-512"?`},
		"no password":          {"sasl: {plain: {username: u}}", "source.kafka.sasl.plain has neither password nor password_file"},
		"two passwords":        {"sasl: {plain: {username: u, password: p, password_file: f}}", "source.kafka.sasl.plain has password and password_file"},
		"no user":              {"sasl: {plain: {password: p}}", "source.kafka.sasl.plain.username is missing"},
		"token and where":      {"sasl: {oauthbearer: {token: t, client_credentials: {token_url: \"https://i\", client_id: c, client_secret: s}}}", "has a token, and says where to get one"},
		"no token":             {"sasl: {oauthbearer: {}}", "source.kafka.sasl.oauthbearer has neither token nor token_file"},
		"a token endpoint":     {"sasl: {oauthbearer: {client_credentials: {token_url: idp, client_id: c, client_secret: s}}}", "is not a URL of http or https"},
		"no keytab":            {"sasl: {kerberos: {principal: w}}", "source.kafka.sasl.kerberos.keytab_file is missing"},
		"an instance id":       {"instance_id: \"a b\"", "is not an instance id that Kafka allows"},
		"start":                {"start: soon", `source.kafka.start: "soon" is not a choice`},
		"start at nothing":     {"start: {}", "source.kafka.start says nothing"},
		"start twice":          {"start: {timestamp: 2026-01-31T18:00:00Z, offsets: {0: 1}}", "source.kafka.start.offsets is beside timestamp"},
		"start without a zone": {"start: {timestamp: 2026-01-31}", "is not a time"},
		"start at a partition": {"start: {offsets: {all: 1}}", `"all" is not the number of a partition`},
		"a fetch":              {"fetch: {max_bytes: 1}", "is outside of 1KiB to 1GiB"},
		"several topics":       {"topics: [a, b]", "there is no source.kafka.topics (a pipeline reads one topic: write a pipeline file for each; several of them may have one table"},
		"a pattern of topics":  {"topic_pattern: a.*", "there is no source.kafka.topic_pattern (a pipeline reads one topic"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse("p.yaml", source(c.line), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

// What is wrong beside a secret is shown with its line, and not with the secret.
func TestParse_KafkaSecretsAreNotShown(t *testing.T) {
	for _, line := range []string{
		"sasl: {plain: {username: u, password: hunter2, passwort: x}}",
		"sasl: {plain: {username: u, password: \"hunter2 and hunter2\", passwort: x}}",
		"sasl: {plain: {usernam: u, password: 'hunter2, or hunter2'}}",
		"sasl: {oauthbearer: {token: hunter2, x: y}}",
		"sasl: {oauthbearer: {client_credentials: {client_secret: hunter2, x: y}}}",
		"sasl: {scram-sha-256: {password: hunter2 , user: hunter}} # and no name",
	} {
		_, err := config.Parse("p.yaml", source(line), nil)
		var out strings.Builder
		ps, ok := err.(config.Problems) //nolint:errorlint // it is just that
		if !ok {
			t.Fatalf("%s: %v", line, err)
		}
		if err := ps.Render(&out, false); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "hunter2") || !strings.Contains(out.String(), "***") {
			t.Errorf("%s:\n%s", line, &out)
		}
	}
}
