package infer

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Place is where a pipeline comes from and goes to, for its file.
type Place struct {
	Name       string
	Brokers    []string
	Topic      string
	Group      string
	Start      string // YAML of source.kafka.start; empty: earliest, where the group has no position
	KafkaMore  string // further keys of source.kafka, as YAML lines that are indented for it
	URL        string // of ClickHouse
	Table      string
	SinkMore   string // of sink.clickhouse, likewise
	Partitions int
}

// File is the pipeline file, with the evidence for each column beside it. What is not decided by the sample is marked with UNSURE.
func (o *Proposal) File(p *Profile, at Place) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Proposed by waybill init from a sample of topic %s: %d records, partitions: %d%s.", at.Topic, p.Records, at.Partitions, between(p.First, p.Last))
	line("# Columns are as the sample wants them; lines with UNSURE are for you to decide.")
	for _, n := range o.Notes {
		comment(&b, "", "UNSURE: "+n)
	}
	b.WriteString(at.source())
	line("contract:")
	line("  new_fields: rescue      # a field that no column takes is kept in _rescued")
	line("  type_conflicts: rescue  # so is a value that does not fit its column")
	if o.EventTime != "" {
		line("  event_time: %s", quote(o.EventTime))
	} else {
		comment(&b, "  ", "no event_time: "+o.EventTimeWhy)
	}
	line("  columns:")
	for i := range o.Fields {
		o.Fields[i].write(&b, p)
	}
	for _, s := range o.Skipped {
		comment(&b, "    ", fmt.Sprintf("no column for %s (%d times): %s", s.Path, s.Count, s.Why))
		if s.Column != "" {
			line("    #   ALTER TABLE %s ADD COLUMN %s %s", at.Table, ident(s.Column), s.Type)
		}
	}
	b.WriteString(at.sink())
	return b.String()
}

// Around is a pipeline file with a contract that is given as its text.
func (at Place) Around(contract string) string { return at.source() + contract + at.sink() }

func (at Place) source() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("name: %s", quote(at.Name))
	line("source:")
	line("  kafka:")
	line("    brokers: [%s]", quoteAll(at.Brokers))
	line("    topic: %s", quote(at.Topic))
	line("    group: %s", quote(at.Group))
	if at.Start != "" {
		line("    start: %s", at.Start)
	}
	b.WriteString(at.KafkaMore)
	return b.String()
}

func (at Place) sink() string {
	return fmt.Sprintf("sink:\n  clickhouse:\n    url: %s\n    table: %s\n", quote(at.URL), quote(at.Table)) + at.SinkMore
}

func between(first, last time.Time) string {
	if first.IsZero() {
		return ""
	}
	return fmt.Sprintf(", of %s to %s", first.UTC().Format("2006-01-02 15:04"), last.UTC().Format("2006-01-02 15:04"))
}

func (f *Field) write(b *strings.Builder, p *Profile) {
	evidence := "in " + percent(f.Records, max(p.Objects(), f.Records)) + " of the events"
	if strings.Contains(f.From, "[*]") {
		evidence = fmt.Sprintf("in %d elements", f.Records)
	}
	if f.Nulls > 0 {
		evidence += fmt.Sprintf(", null in %d", f.Nulls)
	}
	evidence += "; " + f.Why + f.examples()
	if f.Instead != "" {
		evidence += fmt.Sprintf("; the table has %s, of itself it would be %s", f.Type, f.Instead)
	}
	comment(b, "    ", evidence)
	if f.Unsure != "" {
		comment(b, "    ", "UNSURE: "+f.Unsure)
	}
	parts := []string{"type: " + quote(f.Type)}
	for _, kv := range [][2]string{{"from", f.From}, {"as", f.As}, {"format", f.Format}, {"timezone", f.Zone}} {
		if kv[1] != "" {
			parts = append(parts, kv[0]+": "+quote(kv[1]))
		}
	}
	if f.Required {
		parts = append(parts, "required: true")
	}
	fmt.Fprintf(b, "    %s: {%s}\n", quote(f.Name), strings.Join(parts, ", "))
}

// examples are of scalars, and short ones.
func (f *Field) examples() string {
	var out []string
	for _, e := range f.Examples {
		if len(e) <= 40 && e[0] != '{' && e[0] != '[' {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return ", such as " + strings.Join(out, ", ")
}

// width is where comments are broken.
const width = 100

func comment(b *strings.Builder, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width && len(line) > len(indent)+1 {
			b.WriteString(line + "\n")
			line = indent + "#  "
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}

// quote is a text as a YAML scalar: bare where that is safe.
func quote(s string) string {
	bare := s != ""
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '-' || c == '.' || c == '/' || c == '(' || c == ')'):
		default:
			bare = false
		}
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		bare = false
	}
	if bare {
		return s
	}
	return strconv.Quote(s)
}

// ident is a name as it stands in a statement: bare where that is safe.
func ident(name string) string {
	for i, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && (i == 0 || c < '0' || c > '9') {
			return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
		}
	}
	return name
}

func quoteAll(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = strconv.Quote(s)
	}
	return strings.Join(quoted, ", ")
}
