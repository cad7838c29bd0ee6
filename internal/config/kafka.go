package config

import "time"

// Kafka names a topic and how its consumer group behaves.
type Kafka struct {
	Brokers []string // host:port, at least one
	Topic   string
	Group   string // default "waybill-" + the pipeline's name
	// Start is where to begin when the group has no position and the ledger has none either.
	Start Start
	// SessionTimeout is how long the broker waits for a heartbeat before it gives the partitions to
	// others; it bounds the lease of every insert.
	SessionTimeout time.Duration
	Protocol       Protocol
	Isolation      Isolation
	WhenMoved      WhenMoved

	TLS  *KafkaTLS // nil: connections are not encrypted
	SASL *SASL     // nil: the client does not say who it is

	// InstanceID makes the membership static: a worker that comes back within the session timeout has its partitions again, without a
	// rebalance. Each worker has another; empty: membership is dynamic.
	InstanceID string
	// Rack is where this worker is; a broker that has replicas there may have it read from them. Empty: from leaders only.
	Rack  string
	Fetch Fetch
}

// Start says where a pipeline without any position begins. Partitions that were added since begin at their beginnings, whatever it says.
type Start struct {
	At StartAt
	// Time of StartTimestamp: the first record at or after it.
	Time time.Time
	// Offsets of StartOffsets by partition; those that it does not name begin at their beginnings.
	Offsets map[int32]int64
}

// StartAt is a kind of start.
type StartAt string

// Starts.
const (
	Earliest       StartAt = "earliest" // the oldest record that the topic retains
	Latest         StartAt = "latest"   // the records that arrive from now on
	StartTimestamp StartAt = "timestamp"
	StartOffsets   StartAt = "offsets"
)

// Fetch bounds what is asked of brokers at once. Zero: Waybill chooses.
type Fetch struct {
	MaxBytes          int64 // of one answer of a broker
	PartitionMaxBytes int64 // of one partition in it; a record batch that is larger comes all the same
	MinBytes          int64 // a broker waits for this much
	MaxWait           time.Duration
}

// KafkaTLS names the files of TLS. They are read for each connection.
type KafkaTLS struct {
	CAFile            string // the authorities that brokers are trusted by; empty: the system's
	CertFile, KeyFile string // what the client shows of itself
	ServerName        string // that brokers' certificates are for; empty: the host that was dialled
}

// SecretText is a secret in the pipeline file, or in a file that is read whenever it is needed.
type SecretText struct {
	Value Secret
	File  string
}

// SASLMechanism is how a client says who it is.
type SASLMechanism string

// The mechanisms, by the keys of pipeline files.
const (
	SASLPlain       SASLMechanism = "plain"
	SASLScramSHA256 SASLMechanism = "scram-sha-256"
	SASLScramSHA512 SASLMechanism = "scram-sha-512"
	SASLBearer      SASLMechanism = "oauthbearer"
	SASLMSKIAM      SASLMechanism = "aws-msk-iam"
	SASLKerberos    SASLMechanism = "kerberos"
)

// SASL is one mechanism with what it needs.
type SASL struct {
	Mechanism SASLMechanism

	User     string // of plain and scram
	Password SecretText

	Token       SecretText         // of oauthbearer; or
	Credentials *ClientCredentials // where tokens are had
	Extensions  map[string]string

	AWS      AWS
	Kerberos Kerberos
}

// ClientCredentials say where an OAuth 2.0 client gets its tokens.
type ClientCredentials struct {
	URL, ClientID string
	ClientSecret  SecretText
	Scope         string
	CAFile        string
}

// AWS says where keys are. The zero value: the environment's variables, else the file of AWS's own tools.
type AWS struct {
	CredentialsFile, Profile string
}

// Kerberos names a principal and its keys.
type Kerberos struct {
	Principal, KeytabFile, ConfigFile, Service string
}

// DefaultKerberosService and DefaultKerberosConfig are what nearly everybody has.
const (
	DefaultKerberosService = "kafka"
	DefaultKerberosConfig  = "/etc/krb5.conf"
)
