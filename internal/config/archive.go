package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/contract"
)

// Archive says that a pipeline keeps its records, see docs/adr/0016: in a table, or as objects.
type Archive struct {
	Table string // without the database: that of the pipeline's tables; empty: they are objects
	// TTL is for how long a record is kept, in whole days; 0: for ever. Objects have none: buckets have rules of their own.
	TTL time.Duration
	// S3 is where the objects are; nil: there is a table.
	S3 *S3
}

// S3 is where an archive's objects are kept, see docs/adr/0018.
type S3 struct {
	Endpoint  string // a URL without a path
	Bucket    string
	Prefix    string // of the objects' names: empty, or with a slash at its end
	Region    string
	AccessKey string
	SecretKey Secret
	// PathStyle: the bucket is in the path of a request, and not in the name of the host.
	PathStyle bool
	// Bytes and Age say when objects are closed: see Batch.
	Bytes int64
	Age   time.Duration
}

// Place is where the objects are, for people, tokens and ledger rows.
func (s *S3) Place() string {
	return "s3://" + strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(s.Endpoint, "http://"), "https://"), "/") + "/" + strings.TrimSuffix(s.Bucket+"/"+s.Prefix, "/")
}

// Defaults of an archive of objects.
const (
	DefaultRegion      = "us-east-1"
	DefaultObjectBytes = 64 << 20
	DefaultObjectAge   = time.Minute
)

// objectRows is how many records a batch of objects has at most: Bytes and Age close it before, as a rule.
const objectRows = 1_000_000

// ArchiveSuffix makes the name of an archive's pipeline, and its group's, of the pipeline's. No file can give a pipeline such a name.
const ArchiveSuffix = ".archive"

func readArchive(v value, a *Archive) {
	v.object(
		optional("table", intoText(&a.Table, notEmpty, tableName)),
		optional("ttl", intoDays(&a.TTL, 1, 36_500)),
		optional("s3", func(v value) {
			a.S3 = newS3()
			readS3(v, a.S3)
		}),
	)
	switch {
	case a.S3 == nil && !v.has("table"):
		v.report(v.name()+" names neither a table nor s3", "write archive: {table: NAME}, or archive: {s3: {endpoint: ..., bucket: ...}}")
	case a.S3 != nil && v.has("table"):
		v.at("s3").report(v.name()+" names a table and s3", "records are kept in one place: take one of them out")
	case a.S3 != nil && v.has("ttl"):
		v.at("ttl").report(v.path+".ttl is about a table", "objects are removed by a lifecycle rule of the bucket: `waybill archive status` says what is left")
	}
}

func newS3() *S3 {
	return &S3{Region: DefaultRegion, PathStyle: true, Bytes: DefaultObjectBytes, Age: DefaultObjectAge}
}

func readS3(v value, s *S3) {
	v.object(append(s3Place(s),
		optional("object_bytes", intoSize(&s.Bytes, 1<<10, 1<<30)),
		optional("object_age", intoDuration(&s.Age, 100*time.Millisecond, time.Hour)),
	)...)
	s.slash()
}

// slash ends the prefix with one.
func (s *S3) slash() {
	if s.Prefix != "" && !strings.HasSuffix(s.Prefix, "/") {
		s.Prefix += "/"
	}
}

// s3Place are the keys that say which bucket.
func s3Place(s *S3) []field {
	return []field{
		required("endpoint", func(v value) { readEndpoint(v, &s.Endpoint) }),
		required("bucket", intoText(&s.Bucket, bucketName)),
		optional("prefix", intoText(&s.Prefix, objectPrefix)),
		optional("region", intoText(&s.Region, notEmpty)),
		required("access_key", intoText(&s.AccessKey, notEmpty)),
		required("secret_key", func(v value) { s.SecretKey = v.password() }),
		optional("path_style", intoBool(&s.PathStyle)),
	}
}

// password reads a secret of any length that is not empty, which no message quotes.
func (v value) password() Secret {
	v.hidden()
	s, ok := v.text()
	if ok && s == "" {
		v.report(v.path+" must not be empty", "")
	}
	return NewSecret(s)
}

// readEndpoint takes a URL of a scheme and a host.
func readEndpoint(v value, to *string) {
	s, ok := v.text()
	if !ok {
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		v.report(v.path+" is not a URL of http or https", "write https://host, or http://host:port; the bucket has a key of its own")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		v.report(v.path+" has more in it than a host", "the bucket, the prefix and the keys have keys of their own")
	default:
		*to = u.Scheme + "://" + u.Host
	}
}

var bucketChars = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func bucketName(s string) (message, hint string) {
	if bucketChars.MatchString(s) {
		return "", ""
	}
	return "is not a bucket's name", "3 to 63 lower-case letters, digits, dots and dashes"
}

var prefixChars = regexp.MustCompile(`^[A-Za-z0-9!_.*'()/-]*$`)

func objectPrefix(s string) (message, hint string) {
	if prefixChars.MatchString(s) && !strings.HasPrefix(s, "/") && !strings.Contains(s, "//") && !strings.Contains("/"+s+"/", "/../") && !strings.Contains("/"+s+"/", "/./") {
		return "", ""
	}
	return "is no beginning of an object's name", "letters, digits and slashes, like waybill/archive; no slash at its beginning"
}

// archive checks what is promised of the archive beside the pipeline's own tables.
func (r *reader) archive(v value, p *Pipeline) {
	a := v.at("archive")
	for _, t := range p.Tables() {
		if t.Sink.ClickHouse.Table == p.Archive.Table && p.Archive.Table != "" {
			a.at("table").report(fmt.Sprintf("archive.table: %s is where the pipeline's rows go", p.Archive.Table), "records have other columns than rows: give them a table of their own")
		}
	}
	if len(p.Source.Kafka.Group)+len(ArchiveSuffix) > maxGroup {
		v.at("source", "kafka", "group").report(fmt.Sprintf("source.kafka.group leaves no room for the archive's, which is called the same with %s behind it", ArchiveSuffix),
			fmt.Sprintf("at most %d characters", maxGroup-len(ArchiveSuffix)))
	}
	if p.Sink.ClickHouse.Lineage.Epoch == "" {
		a.report("an archive tells the records of one epoch from those of another, and sink.clickhouse.lineage.epoch is empty", "name the column")
	}
}

// Archiver is the pipeline that keeps this one's records: of the same topic, under the same epoch, with a group and an account of its own. It
// is nil if the file keeps none.
func (p *Pipeline) Archiver() *Pipeline {
	if p.Archive == nil {
		return nil
	}
	out := *p
	out.Name, out.Source.Kafka.Group = p.Name+ArchiveSuffix, p.Source.Kafka.Group+ArchiveSuffix
	out.Archive, out.Content, out.Routes, out.Unrouted = nil, nil, nil, ""
	out.Source.Kafka.Start = Start{At: Earliest}
	out.Sink.ClickHouse.Table = p.Archive.Table
	if s3 := p.Archive.S3; s3 != nil {
		out.Sink.Objects, out.Sink.ClickHouse.Elsewhere = s3, s3.Place()
		out.Batch = Batch{Rows: objectRows, Bytes: s3.Bytes, Age: s3.Age}
		out.Audit = Audit{Reason: "an archive of objects is compared by `waybill archive verify`"}
	}
	out.Contract = contract.Contract{Raw: &contract.Raw{TTL: p.Archive.TTL}, Tables: contract.ModeEvolve}
	if redact := p.Contract.Transform.Redact; redact != nil { // its paths are those of the current version
		out.Contract.Transform = contract.Transform{Version: p.Contract.Transform.Version, Redact: redact}
	}
	out.DeadLetters = DeadLetters{Window: DefaultWindow, TTL: p.DeadLetters.TTL}
	out.Delivery = ExactlyOnce
	return &out
}

// Running are the pipelines that a process runs for files: each, and behind it the one that keeps its records, if there is one.
func Running(files []*Pipeline) []*Pipeline {
	var out []*Pipeline
	for _, p := range files {
		out = append(out, p)
		if a := p.Archiver(); a != nil {
			out = append(out, a)
		}
	}
	return out
}
