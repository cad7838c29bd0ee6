package engine

import (
	"log/slog"

	"github.com/waybill-data/waybill/internal/config"
	"github.com/waybill-data/waybill/internal/kafka"
	"github.com/waybill-data/waybill/internal/kafka/auth"
)

// KafkaConfig is how the pipeline file says that its brokers are spoken to. Whoever opens a connection to them, in whatever command, starts
// from here: so that TLS and SASL reach all of them.
func KafkaConfig(cfg *config.Pipeline, log *slog.Logger) kafka.Config {
	k := cfg.Source.Kafka
	return kafka.Config{
		Brokers: k.Brokers, Topic: k.Topic, Group: k.Group, Protocol: kafka.Protocol(k.Protocol), SessionTimeout: k.SessionTimeout,
		Isolation: kafka.Isolation(k.Isolation), ClientID: "waybill", Log: log,
		InstanceID: k.InstanceID, Rack: k.Rack,
		FetchMaxBytes: int32(k.Fetch.MaxBytes), PartitionMaxBytes: int32(k.Fetch.PartitionMaxBytes), //nolint:gosec // the reader of files bounds them
		FetchMinBytes: int32(k.Fetch.MinBytes), FetchMaxWait: k.Fetch.MaxWait, //nolint:gosec // likewise
		TLS: tlsOf(k.TLS), SASL: saslOf(k.SASL),
	}
}

func tlsOf(t *config.KafkaTLS) *auth.TLS {
	if t == nil {
		return nil
	}
	return &auth.TLS{CAFile: t.CAFile, CertFile: t.CertFile, KeyFile: t.KeyFile, ServerName: t.ServerName}
}

func saslOf(s *config.SASL) auth.Mechanism {
	if s == nil {
		return nil
	}
	switch s.Mechanism {
	case config.SASLPlain:
		return auth.Plain(s.User, textOf(s.Password))
	case config.SASLScramSHA256:
		return auth.Scram(s.User, textOf(s.Password), auth.ScramSHA256)
	case config.SASLScramSHA512:
		return auth.Scram(s.User, textOf(s.Password), auth.ScramSHA512)
	case config.SASLMSKIAM:
		return auth.MSKIAM(keysOf(s.AWS))
	case config.SASLKerberos:
		return auth.Kerberos(s.Kerberos).Mechanism()
	case config.SASLBearer:
	}
	if c := s.Credentials; c != nil {
		return auth.Bearer(&auth.ClientCredentials{URL: c.URL, ClientID: c.ClientID, Secret: textOf(c.ClientSecret), Scope: c.Scope, CAFile: c.CAFile}, s.Extensions)
	}
	return auth.Bearer(auth.Tokens(textOf(s.Token)), s.Extensions)
}

func textOf(s config.SecretText) auth.Text {
	if s.File != "" {
		return auth.File(s.File)
	}
	return auth.Fixed(s.Value.Reveal())
}

func keysOf(a config.AWS) auth.AWSSource {
	if a.CredentialsFile == "" && a.Profile == "" {
		return auth.AWSEnvironment
	}
	return auth.AWSFile(a.CredentialsFile, a.Profile)
}
