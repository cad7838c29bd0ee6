package config

import (
	"fmt"
	"time"

	"github.com/waybill-data/waybill/internal/contract"
)

// Archive says that a pipeline keeps its records, see docs/adr/0016.
type Archive struct {
	Table string // without the database: that of the pipeline's tables
	// TTL is for how long a record is kept, in whole days; 0: for ever.
	TTL time.Duration
}

// ArchiveSuffix makes the name of an archive's pipeline, and its group's, of the pipeline's. No file can give a pipeline such a name.
const ArchiveSuffix = ".archive"

func readArchive(v value, a *Archive) {
	v.object(
		required("table", intoText(&a.Table, notEmpty, tableName)),
		optional("ttl", intoDays(&a.TTL, 1, 36_500)),
	)
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
	out.Archive, out.Routes, out.Unrouted = nil, nil, ""
	out.Source.Kafka.Start = Start{At: Earliest}
	out.Sink.ClickHouse.Table = p.Archive.Table
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
