package config

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// maxGroup is how long a group's name may be, and an instance's.
const maxGroup = 249

func readKafka(v value, k *Kafka) {
	v.object(
		required("brokers", func(v value) {
			v.list(func(v value) {
				var b string
				intoText(&b, notEmpty)(v)
				if addr, ok := v.hostPort(b, DefaultKafkaPort); ok {
					k.Brokers = append(k.Brokers, addr)
				}
			})
		}),
		required("topic", intoText(&k.Topic, topicName)),
		optional("group", intoText(&k.Group, notEmpty, atMost(maxGroup))),
		optional("start", func(v value) { readStart(v, &k.Start) }),
		optional("session_timeout", intoDuration(&k.SessionTimeout, time.Second, 30*time.Minute)),
		optional("protocol", intoWord(&k.Protocol, words(Classic, Consumer))),
		optional("isolation", intoWord(&k.Isolation, words(ReadCommitted, ReadUncommitted))),
		optional("when_moved", intoWord(&k.WhenMoved, words(FollowLedger, Stop))),
		optional("tls", func(v value) {
			k.TLS = &KafkaTLS{}
			readKafkaTLS(v, k.TLS)
		}),
		optional("sasl", func(v value) { k.SASL = readSASL(v) }),
		optional("instance_id", intoText(&k.InstanceID, notEmpty, atMost(maxGroup), instanceID)),
		optional("rack", intoText(&k.Rack, notEmpty)),
		optional("fetch", func(v value) { readFetch(v, &k.Fetch) }),
		refused("topics", severalTopics), refused("topic_pattern", severalTopics),
	)
}

const severalTopics = "a pipeline reads one topic: write a pipeline file for each; several of them may have one table, see docs/guide/several-topics.md"

func readStart(v value, s *Start) {
	if _, ok := scalarText(v.node); ok {
		intoWord(&s.At, words(Earliest, Latest))(v)
		return
	}
	v.object(
		optional("timestamp", func(v value) {
			s.At = StartTimestamp
			intoTime(&s.Time)(v)
		}),
		optional("offsets", func(v value) {
			if s.At == StartTimestamp {
				v.report(v.path+" is beside timestamp", "keep one of them")
			}
			s.At = StartOffsets
			s.Offsets = readOffsets(v)
		}),
	)
	if s.At != StartTimestamp && s.At != StartOffsets && !v.r.hasProblem(v.path) {
		v.report(v.path+" says nothing", "earliest, latest, {timestamp: 2026-01-31T00:00:00Z} or {offsets: {0: 1000, 1: 2000}}")
	}
}

func readOffsets(v value) map[int32]int64 {
	out := map[int32]int64{}
	entries, _ := v.entries()
	for _, e := range entries {
		p, err := strconv.ParseInt(e.key, 10, 32)
		if err != nil || p < 0 {
			e.atKey().report(fmt.Sprintf("%s: %q is not the number of a partition", v.path, e.key), "write {0: 1000, 1: 2000}: an offset for each partition")
			continue
		}
		var offset int64
		intoInt(&offset, 0, math.MaxInt64)(e.value)
		out[int32(p)] = offset
	}
	return out
}

func intoTime(to *time.Time) func(value) {
	return func(v value) {
		s, ok := v.text()
		if !ok {
			return
		}
		t, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			v.report(fmt.Sprintf("%s: %q is not a time", v.path, v.shown()), "write date, time and zone, like 2026-01-31T18:00:00Z")
			return
		}
		*to = t
	}
}

func readKafkaTLS(v value, t *KafkaTLS) {
	v.object(
		optional("ca_file", intoText(&t.CAFile, notEmpty)),
		optional("cert_file", intoText(&t.CertFile, notEmpty)),
		optional("key_file", intoText(&t.KeyFile, notEmpty)),
		optional("server_name", intoText(&t.ServerName, notEmpty)),
	)
	if (t.CertFile == "") != (t.KeyFile == "") && !v.r.hasProblem(v.path) {
		v.report(v.path+" has one of cert_file and key_file", "a certificate and its key go together")
	}
}

func readFetch(v value, f *Fetch) {
	v.object(
		optional("max_bytes", intoSize(&f.MaxBytes, 1<<10, 1<<30)),
		optional("partition_bytes", intoSize(&f.PartitionMaxBytes, 1<<10, 1<<30)),
		optional("min_bytes", intoSize(&f.MinBytes, 1, 64<<20)),
		optional("max_wait", intoDuration(&f.MaxWait, 10*time.Millisecond, 30*time.Second)),
	)
}

// readSASL reads the one mechanism that is named.
func readSASL(v value) *SASL {
	var s SASL
	mechanism := func(m SASLMechanism, read func(value, *SASL)) field {
		return optional(string(m), func(v value) {
			if s.Mechanism != "" {
				v.report(fmt.Sprintf("%s is a second mechanism, beside %s", v.path, s.Mechanism), "a client says who it is in one way: keep one of them")
				return
			}
			s.Mechanism = m
			read(v, &s)
		})
	}
	v.object(
		mechanism(SASLPlain, readPassword), mechanism(SASLScramSHA256, readPassword), mechanism(SASLScramSHA512, readPassword),
		mechanism(SASLBearer, readBearer), mechanism(SASLMSKIAM, readMSKIAM), mechanism(SASLKerberos, readKerberos),
	)
	if s.Mechanism == "" && !v.r.hasProblem(v.path) {
		v.report(v.path+" names no mechanism", "plain, scram-sha-256, scram-sha-512, oauthbearer, aws-msk-iam or kerberos")
	}
	return &s
}

// secretFields are a secret's key, and the key of its file.
func secretFields(key string, to *SecretText) []field {
	return []field{
		optional(key, func(v value) {
			var s string
			intoSecret(&s)(v)
			to.Value = NewSecret(s)
		}),
		optional(key+"_file", intoText(&to.File, notEmpty)),
	}
}

// intoSecret reads a text that no message quotes.
func intoSecret(to *string) func(value) {
	return func(v value) {
		s, ok := v.text()
		if ok && s == "" {
			v.report(v.path+" must not be empty", "")
		}
		*to = s
	}
}

// one of the two keys of a secret must be there, and no more.
func (v value) oneSecret(key string, s SecretText) {
	has := s.Value.Reveal() != ""
	switch {
	case v.r.hasProblem(v.path):
	case has && s.File != "":
		v.report(fmt.Sprintf("%s has %s and %s_file", v.path, key, key), "keep one of them")
	case !has && s.File == "":
		v.report(fmt.Sprintf("%s has neither %s nor %s_file", v.path, key, key), "the file is read for each connection, so that what is in it may change; the other is best a ${NAME}")
	}
}

func readPassword(v value, s *SASL) {
	v.object(append(secretFields("password", &s.Password), required("username", intoText(&s.User, notEmpty)))...)
	v.oneSecret("password", s.Password)
}

func readBearer(v value, s *SASL) {
	v.object(append(secretFields("token", &s.Token),
		optional("client_credentials", func(v value) {
			s.Credentials = &ClientCredentials{}
			readCredentials(v, s.Credentials)
		}),
		optional("extensions", func(v value) { s.Extensions = readTexts(v) }),
	)...)
	switch {
	case s.Credentials == nil:
		v.oneSecret("token", s.Token)
	case s.Token.File != "" || s.Token.Value.Reveal() != "":
		v.report(v.path+" has a token, and says where to get one", "keep one of them")
	}
}

func readCredentials(v value, c *ClientCredentials) {
	v.object(append(secretFields("client_secret", &c.ClientSecret),
		required("token_url", intoText(&c.URL, httpURL)),
		required("client_id", intoText(&c.ClientID, notEmpty)),
		optional("scope", intoText(&c.Scope, notEmpty)),
		optional("ca_file", intoText(&c.CAFile, notEmpty)),
	)...)
	v.oneSecret("client_secret", c.ClientSecret)
}

func httpURL(s string) (message, hint string) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return "is not a URL of http or https without a user in it", "https://HOST/PATH"
	}
	return "", ""
}

func readMSKIAM(v value, s *SASL) {
	v.object(
		optional("credentials_file", intoText(&s.AWS.CredentialsFile, notEmpty)),
		optional("profile", intoText(&s.AWS.Profile, notEmpty)),
	)
}

func readKerberos(v value, s *SASL) {
	k := &s.Kerberos
	k.Service, k.ConfigFile = DefaultKerberosService, DefaultKerberosConfig
	v.object(
		required("principal", intoText(&k.Principal, notEmpty)),
		required("keytab_file", intoText(&k.KeytabFile, notEmpty)),
		optional("krb5_conf", intoText(&k.ConfigFile, notEmpty)),
		optional("service", intoText(&k.Service, notEmpty)),
	)
}

var instanceChars = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

func instanceID(s string) (message, hint string) {
	if instanceChars.MatchString(s) && s != "." && s != ".." {
		return "", ""
	}
	return "is not an instance id that Kafka allows", "letters, digits, dots, dashes and underscores, like waybill-${HOSTNAME}"
}
