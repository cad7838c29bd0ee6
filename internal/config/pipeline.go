package config

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
	"github.com/waybill-data/waybill/internal/contract"
)

// Pipeline is one pipeline file, complete: every default is filled in and every value is checked as
// far as that is possible without a server. It is immutable.
type Pipeline struct {
	// Name is DNS-like (lower-case letters, digits, dashes; at most 63), and unique in a process.
	Name string
	// Epoch is the pipeline's generation, 0 at first. Raise it to replay on purpose, or after the
	// topic was recreated: offsets of another epoch are other records.
	Epoch  waybill.Epoch
	Source Source
	// Contract is what the table promises. With routes it is what all of their tables promise, see Tables.
	Contract contract.Contract
	Sink     Sink
	// Routes are the tables of a pipeline that has several; none: Sink names the table.
	Routes []Route
	// Unrouted says what becomes of events that no route takes; empty if there can be none.
	Unrouted contract.Unrouted
	Delivery Delivery
	Batch    Batch
	// AllowedLateness is how long after an event's time its record may come into the topic, see docs/adr/0014.
	AllowedLateness time.Duration
	// RedactSecret is the key of redaction's hashes; empty without them.
	RedactSecret Secret
	// OnBlank says what to do when no event of a batch has any field of the contract.
	OnBlank OnBlank
	// DeadLetters says how many there may be, and for how long they are kept.
	DeadLetters DeadLetters
	// Alerts are who is told of findings.
	Alerts []Alert
	Audit  Audit
	// Archive keeps the records; nil: nothing does.
	Archive *Archive
	// Content is where long values are kept; nil: no column has any.
	Content *Content
	// File is the name that the file was loaded or parsed under.
	File string
	// Job is the backfill that this pipeline file was derived for, see Shadow; empty: none.
	Job string

	// at is where a table is in the file, if not at its top: "routes[1].".
	at string

	// meaning, see Meaning.
	meaning string

	// src is the file's text, whose URL may hold a password in so many words. It is a function because
	// fmt walks into unexported fields: it would print a string or a pointer to one.
	src func() *source

	// given and hidden are the reader's, for Secrets and Masked.
	given  []given
	hidden []string
}

// Meaning is the same for two texts of a file that say the same: comments and layout do not count. It does not show what the text has of secrets.
func (p *Pipeline) Meaning() string { return p.meaning }

// Route is one of several tables. The first route whose condition an event meets has it.
type Route struct {
	// Name is DNS-like, and unique in the pipeline.
	Name string
	// When is a CEL expression of a bool; empty, in the last route only: all that is left.
	When     string
	Table    string // without the database; each route has another
	As       string // see ClickHouse.As
	Contract contract.Contract
	// Line and Col are the position in the pipeline file.
	Line, Col int

	path string
}

// Table is a pipeline as one of its tables sees it: with its contract and its name under Sink.
type Table struct {
	Route, When string // empty if the pipeline has no routes
	*Pipeline
}

// Tables are the pipeline's tables, in the order in which events are offered to them; at least one.
func (p *Pipeline) Tables() []Table {
	if len(p.Routes) == 0 {
		return []Table{{Pipeline: p}}
	}
	out := make([]Table, len(p.Routes))
	for i, r := range p.Routes {
		of := *p
		of.Contract, of.Sink.ClickHouse.Table, of.Sink.ClickHouse.As, of.at = r.Contract, r.Table, r.As, r.path
		of.Contract.Transform = p.Contract.Transform
		out[i] = Table{r.Name, r.When, &of}
	}
	return out
}

// Table is the table of a route. A pipeline of one table needs no name.
func (p *Pipeline) Table(route string) (Table, error) {
	var names []string
	for _, t := range p.Tables() {
		if t.Route == route {
			return t, nil
		}
		names = append(names, t.Route)
	}
	switch {
	case len(p.Routes) == 0:
		return Table{}, fmt.Errorf("pipeline %s has no routes", p.Name)
	case route == "":
		return Table{}, fmt.Errorf("pipeline %s has several tables: name a route, one of %s", p.Name, strings.Join(names, ", "))
	}
	return Table{}, fmt.Errorf("pipeline %s has no route %s, but %s", p.Name, route, strings.Join(names, ", "))
}

// Join is the plan of a pipeline whose tables have these, in their order.
func (p *Pipeline) Join(routes []contract.Route) (*contract.Plan, error) {
	if len(p.Routes) == 0 {
		return routes[0].Plan, nil
	}
	return contract.Join(routes, p.Unrouted)
}

// Compile compiles the contract of one table against the table as it is now, under the name that it goes by: a plan is the same before and
// after the table gets that name.
func (p *Pipeline) Compile(schema contract.TableSchema, lineage contract.Lineage, decoder uint16) (*contract.Plan, error) {
	schema.Table = cmp.Or(p.Sink.ClickHouse.As, schema.Table)
	return contract.Compile(p.Contract, schema, lineage, decoder)
}

// tablePath is where the file names the table.
func (p *Pipeline) tablePath() string {
	if p.at != "" {
		return p.at + "table"
	}
	return "sink.clickhouse.table"
}

// Source is where records come from and how they are read.
type Source struct {
	Kafka  Kafka
	Format Format
}

// Format is how a record's value is encoded.
type Format string

// JSON is one JSON object per record.
const JSON Format = "json"

// Protocol is the rebalance protocol of the consumer group.
type Protocol string

// Protocols.
const (
	Classic  Protocol = "classic"  // all brokers
	Consumer Protocol = "consumer" // KIP-848, Apache Kafka 4.0 and newer
)

// Isolation says which records of Kafka transactions are read.
type Isolation string

// Isolations.
const (
	ReadCommitted   Isolation = "read_committed"
	ReadUncommitted Isolation = "read_uncommitted"
)

// WhenMoved says what to do when the group's position disagrees with the ledger at start.
type WhenMoved string

// Ways to deal with a moved position. Both write a finding.
const (
	FollowLedger WhenMoved = "ledger" // go on where the ledger ends
	Stop         WhenMoved = "stop"   // stop and let a person decide
)

// Sink is where rows go.
type Sink struct {
	ClickHouse ClickHouse
	// Objects is where the rows of an archive go that is no table; nil: they go into a table. The account is in ClickHouse all the same.
	Objects *S3
}

// ClickHouse names a server and the target table.
type ClickHouse struct {
	Scheme Scheme // what is spoken to the server
	Addr   string // host:port
	// Others are further hosts, host:port: replicas of the same tables, for when the one before does not answer. See docs/adr/0021.
	Others   []string
	User     string
	Password Secret
	// PasswordFile holds the password instead, and is read for each new connection: a password may change while the pipeline runs.
	PasswordFile string
	TLS          TLS // of the schemes that have it
	Database     string
	Table        string // without the database: what SQL names
	// As is the name that the table goes by in tokens, plans and ledger rows, if that is not Table: a backfill writes into a table that is to
	// get the name later, see Pipeline.Shadow.
	As string
	// Elsewhere is the place of rows that are in no table: see Sink.Objects.
	Elsewhere string
	// Lineage names the columns that say which record a row came from.
	Lineage contract.Lineage
	// InsertDeadline is how long after it was sent an insert may still take effect; the server checks
	// it against its own clock.
	InsertDeadline time.Duration
	// Cluster is the name of the cluster that changes of the table run on (ON CLUSTER); empty: this server alone.
	Cluster string
	// Quorum is on how many replicas a block must be before it is acknowledged: a number, "auto" for most of them; empty: one.
	Quorum string
	// Compression of blocks on their way to the server.
	Compression Compression
}

// Name is the table's full name, as tokens, plans and ledger rows carry it.
func (c ClickHouse) Name() string { return cmp.Or(c.Elsewhere, c.Database+"."+cmp.Or(c.As, c.Table)) }

// Place is the full name under which the server has the table. It is Name, but for a table that is to get its name later.
func (c ClickHouse) Place() string { return cmp.Or(c.Elsewhere, c.Database+"."+c.Table) }

// Hosts are all of its addresses, in the order in which they are tried.
func (c ClickHouse) Hosts() []string { return append([]string{c.Addr}, c.Others...) }

// TLS says what a server's certificate is held against, and what the client shows. Files are read for each new connection. The zero value
// asks for a certificate that the system's roots vouch for, for the host's name.
type TLS struct {
	CA         string // PEM file of the authorities that may vouch for the server; empty: the system's
	Cert, Key  string // PEM files of the client's certificate; empty: none
	ServerName string // that the certificate must be for; empty: the host's
}

// HTTP reports whether the server is spoken to over HTTP, which does not say what it deduplicated.
func (c ClickHouse) HTTP() bool { return c.Scheme == SchemeHTTP || c.Scheme == SchemeHTTPS }

// Scheme is the URL's, and with it the transport.
type Scheme string

// Schemes.
const (
	SchemeNative    Scheme = "clickhouse"  // the native protocol over TCP
	SchemeNativeTLS Scheme = "clickhouses" // the same under TLS; clickhouse:// with ?secure=true means it too
	SchemeHTTP      Scheme = "http"        // native blocks over HTTP
	SchemeHTTPS     Scheme = "https"       // the same under TLS
)

// Secure reports whether the connection is under TLS.
func (c ClickHouse) Secure() bool { return c.Scheme == SchemeNativeTLS || c.Scheme == SchemeHTTPS }

// defaultPorts of a ClickHouse server.
var defaultPorts = map[Scheme]string{SchemeNative: DefaultNativePort, SchemeNativeTLS: DefaultNativeTLSPort, SchemeHTTP: DefaultHTTPPort, SchemeHTTPS: DefaultHTTPSPort}

// Compression is how blocks are compressed.
type Compression string

// Compressions.
const (
	CompressionAuto Compression = "auto" // none on loopback and private networks, lz4 otherwise
	CompressionNone Compression = "none"
	CompressionLZ4  Compression = "lz4"
	CompressionZSTD Compression = "zstd"
)

// OnBlank says what to do when no event of a batch has any field of the contract.
type OnBlank string

// Ways to deal with blank events.
const (
	BlankStop     OnBlank = "stop"     // stop before the batch is written
	BlankContinue OnBlank = "continue" // write the rows, with a finding
)

// Audit says what a worker checks beside its work.
type Audit struct {
	// Continuous: it compares the tables with the ledger all the time, and looks after what else goes wrong without a sound.
	Continuous bool
	// Reason is why it does not; it is shown where its findings would be.
	Reason string
}

// Delivery is the guarantee that a pipeline runs under.
type Delivery string

// Guarantees.
const (
	ExactlyOnce Delivery = "exactly-once"  // preflight refuses tables that cannot hold it
	AtLeastOnce Delivery = "at-least-once" // no intents; for tables that cannot prove what they hold
)

// DeadLetters bounds dead letters. The zero value bounds nothing.
type DeadLetters struct {
	// MaxShare and MaxCount are how many of the records of a window may be dead letters: a share of 1, and a number. Past either the
	// pipeline stops. 0: any.
	MaxShare float64
	MaxCount int64
	Window   time.Duration
	// TTL is for how long a dead letter is kept; 0: for ever.
	TTL time.Duration
	// Mirror is a topic that dead letters go to as well; empty: none.
	Mirror string
}

// Batch says when a batch is closed: at the first limit that is reached.
type Batch struct {
	Rows  int           // records, at most; fewer while the pipeline keeps up
	Bytes int64         // of keys, values and headers as Kafka has them, or of the block, whichever is more
	Age   time.Duration // since the batch's first record was gathered
}

// Defaults of a pipeline file.
const (
	DefaultSessionTimeout = 45 * time.Second
	DefaultInsertDeadline = 30 * time.Second
	DefaultRows           = 500_000
	DefaultBytes          = 96 << 20
	DefaultAge            = time.Second
	DefaultWindow         = 5 * time.Minute
	// DefaultAllowedLateness is Kafka's default of delivery.timeout.ms: what a producer has not got rid of by then it gives up.
	DefaultAllowedLateness = 2 * time.Minute
	DefaultKafkaPort       = "9092"
	DefaultNativePort      = "9000"
	DefaultNativeTLSPort   = "9440"
	DefaultHTTPPort        = "8123"
	DefaultHTTPSPort       = "8443"
)

func defaults() Pipeline {
	return Pipeline{
		Source: Source{
			Kafka: Kafka{
				Start: Start{At: Earliest}, SessionTimeout: DefaultSessionTimeout, Protocol: Classic,
				Isolation: ReadCommitted, WhenMoved: FollowLedger,
			},
			Format: JSON,
		},
		Contract: contract.Contract{
			NewFields: contract.Modes{Default: contract.ModeRescue}, TypeConflicts: contract.Modes{Default: contract.ModeRescue},
			Tables: contract.ModeFreeze, MaxColumns: contract.DefaultMaxColumns, RescueColumn: contract.DefaultRescueColumn,
		},
		Sink: Sink{ClickHouse: ClickHouse{
			Lineage:        contract.DefaultLineage(),
			InsertDeadline: DefaultInsertDeadline,
			Compression:    CompressionAuto,
		}},
		AllowedLateness: DefaultAllowedLateness,

		Delivery:    ExactlyOnce,
		OnBlank:     BlankStop,
		DeadLetters: DeadLetters{Window: DefaultWindow},
		Audit:       Audit{Continuous: true},
		Batch:       Batch{Rows: DefaultRows, Bytes: DefaultBytes, Age: DefaultAge},
	}
}
