package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
)

// otherClient is somebody else who alters the table, and what it has done.
type otherClient struct {
	owned   map[string]column // columns whose comments it has taken away: what they took
	foreign map[string]string // its own columns: their DEFAULT
	drops   []drop
	renames []renaming
	touched map[string]bool // paths whose columns it has done something to
	// names that a column had before, by the one that it has.
	names map[string][]string
	// gone are columns that it has dropped and not added again.
	gone map[string]drop
	// types of columns as it has last seen them.
	types map[string]string
	made  int // how many names it has given
}

// drop is one column that it has dropped.
type drop struct {
	names map[string]bool // that the column had
	column
	after int64 // when the DROP was over: milliseconds, by the server's clock
}

// renaming is one RENAME of a column, with the time that it took.
type renaming struct {
	from string
	when interval
}

func newOtherClient() *otherClient {
	return &otherClient{owned: map[string]column{}, foreign: map[string]string{}, touched: map[string]bool{}, names: map[string][]string{}, gone: map[string]drop{}, types: map[string]string{"body": "String"}}
}

// touches reports whether it has done something to a column that has to do with the path.
func (c *otherClient) touches(path string) bool {
	for t := range c.touched {
		if leadsTo(t, path) || leadsTo(path, t) {
			return true
		}
	}
	return false
}

func (c *otherClient) newName(prefix string) string {
	c.made++
	return fmt.Sprintf("%s_x%d", prefix, c.made)
}

// altering are what it does, by name. Each reports whether there was something to do.
var altering = map[string]func(*soak) bool{
	"columns of its own added": func(s *soak) bool {
		name := s.other.newName("own")
		kind := []struct{ typ, value string }{{"String", "concat('d', toString(id))"}, {"UInt8", "7"}, {"LowCardinality(String)", "'own'"}, {"Array(UInt8)", "[1, 2]"}}[s.rng.IntN(4)]
		where := []string{"", " FIRST", " AFTER body", " AFTER id"}[s.rng.IntN(4)]
		s.alter("ADD COLUMN %s %s DEFAULT %s%s", name, kind.typ, kind.value, where)
		s.other.foreign[name] = kind.value
		return true
	},
	"names of coming fields taken": func(s *soak) bool {
		s.mu.Lock()
		next := s.nextID/s.shapes.every + 2
		s.mu.Unlock()
		f := s.shapes.walker(next)
		name, path := f.name, f.name
		if f.group != "" {
			name, path = f.group+"_"+f.name, f.group+"."+f.name
		}
		if s.other.foreign[name] != "" { // no event has come since the last time
			return false
		}
		s.other.touched[path] = true
		s.alter("ADD COLUMN %s UInt8 DEFAULT 3", name)
		s.other.foreign[name] = "3"
		return true
	},
	"columns widened": func(s *soak) bool {
		c, ok := s.evolved(func(c column) bool { return wider[c.typ] != "" })
		if ok {
			s.other.touched[c.path] = true
			s.alter("MODIFY COLUMN `%s` %s", c.name, wider[c.typ])
		}
		return ok
	},
	"columns dropped": func(s *soak) bool {
		c, ok := s.evolved(func(column) bool { return true })
		if !ok {
			return false
		}
		d := drop{names: map[string]bool{c.name: true}, column: c}
		for _, name := range s.other.names[c.name] {
			d.names[name] = true
		}
		s.other.touched[c.path] = true
		s.alter("DROP COLUMN `%s`", c.name)
		d.after = integer(s.query("SELECT toUnixTimestamp64Milli(now64(3))"))
		s.other.drops = append(s.other.drops, d)
		s.other.gone[c.name] = d
		return true
	},
	"dropped columns added again": func(s *soak) bool {
		for _, name := range slices.Sorted(maps.Keys(s.other.gone)) {
			c := s.other.gone[name]
			if len(s.rowsOf("SELECT 1 FROM system.columns WHERE database = '"+s.db+"' AND table = 'events' AND lower(name) = lower('"+name+"')")) > 0 {
				continue
			}
			delete(s.other.gone, name)
			s.alter("ADD COLUMN `%s` %s COMMENT '%s'", c.name, c.typ, c.comment)
			return true
		}
		return false
	},
	"columns renamed": func(s *soak) bool {
		c, ok := s.evolved(func(column) bool { return true })
		if !ok {
			return false
		}
		to := s.other.newName(c.name)
		s.other.names[to] = append(s.other.names[c.name], c.name)
		s.other.touched[c.path] = true
		began := time.Now()
		s.alter("RENAME COLUMN `%s` TO `%s`", c.name, to)
		s.other.renames = append(s.other.renames, renaming{c.name, interval{began, time.Now()}})
		return true
	},
	"comments taken away": func(s *soak) bool {
		c, ok := s.evolved(func(column) bool { return true })
		if ok {
			s.other.touched[c.path] = true
			s.other.owned[c.name] = c
			s.alter("COMMENT COLUMN `%s` 'ours now'", c.name)
		}
		return ok
	},
	"comments given back": func(s *soak) bool {
		for _, name := range slices.Sorted(maps.Keys(s.other.owned)) {
			c := s.other.owned[name]
			if s.query("SELECT count() FROM system.columns WHERE database = '"+s.db+"' AND table = 'events' AND comment = '"+c.comment+"'") != "0" {
				continue // the path has another column by now
			}
			s.alter("COMMENT COLUMN `%s` '%s'", c.name, c.comment)
			delete(s.other.owned, name)
			return true
		}
		return false
	},
	"comments on columns of the contract": func(s *soak) bool {
		s.alter("COMMENT COLUMN %s 'remark %d'", []string{"body", "n", "small", "_rescued"}[s.rng.IntN(4)], s.rng.IntN(1000))
		return true
	},
	"settings and comment of the table changed": func(s *soak) bool {
		s.alter("MODIFY COMMENT 'remark %d'", s.rng.IntN(1000))
		return true
	},
}

// wider are types that keep every value of a type that evolution gives.
var wider = map[string]string{
	"Nullable(Int64)": "Nullable(Int128)", "Nullable(Int128)": "Nullable(Int256)", "Nullable(String)": "LowCardinality(Nullable(String))", "Array(Int64)": "Array(Nullable(Int64))",
	"Nullable(DateTime64(3, 'UTC'))": "Nullable(DateTime64(6, 'UTC'))", "Array(String)": "Array(Nullable(String))", "Nullable(Decimal(38, 18))": "Nullable(Decimal(76, 18))",
}

// alter runs an ALTER of the table.
func (s *soak) alter(format string, args ...any) {
	s.Helper()
	statement := fmt.Sprintf("ALTER TABLE %s.events ", s.db) + fmt.Sprintf(format, args...)
	s.Logf("%s %s", time.Now().UTC().Format("15:04:05.000"), statement)
	_, err := testenv.Query(s.ch.HTTPAddr(), statement)
	switch {
	case err != nil && strings.Contains(err.Error(), "UNFINISHED"):
		s.mendMutations()
	case err != nil:
		s.Fatalf("%s\n%v", statement, err)
	}
}

// mendMutations brings back columns that parts have which were written while the column was renamed or dropped: ClickHouse carries out no mutation of the
// table before.
func (s *soak) mendMutations() {
	s.Helper()
	s.eventually("the mutations go on", func() bool {
		stuck := s.rowsOf("SELECT latest_fail_reason FROM system.mutations WHERE database = '" + s.db + "' AND table = 'events' AND NOT is_done AND latest_fail_reason != ''")
		for _, f := range stuck {
			_, rest, _ := strings.Cut(f[0], "Unknown expression identifier `")
			name, _, _ := strings.Cut(rest, "`")
			typ := s.other.types[name]
			if typ == "" {
				s.Fatalf("a mutation fails: %s", f[0])
			}
			s.exec(fmt.Sprintf("ALTER TABLE %s.events ADD COLUMN IF NOT EXISTS %s %s", s.db, quoted(name), typ))
			s.Logf("%s added %s again: %s", time.Now().UTC().Format("15:04:05.000"), name, f[0][:min(200, len(f[0]))])
			s.counts["mutations mended"]++
		}
		return s.query("SELECT count() FROM system.mutations WHERE database = '"+s.db+"' AND table = 'events' AND NOT is_done") == "0"
	})
}

// evolved draws a column that Waybill has added.
func (s *soak) evolved(suits func(column) bool) (column, bool) {
	s.Helper()
	var all []column
	for _, f := range s.rowsOf("SELECT name, type, comment FROM system.columns WHERE database = '" + s.db + "' AND table = 'events' ORDER BY name") {
		c := column{name: f[0], typ: strings.ReplaceAll(f[1], `\'`, `'`), comment: strings.ReplaceAll(f[2], `\\`, `\`)}
		s.other.types[c.name] = c.typ
		if c.path, c.asJSON = commentOf(f[2]); c.path != "" && suits(c) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return column{}, false
	}
	return all[s.rng.IntN(len(all))], true
}
