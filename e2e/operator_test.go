package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-data/waybill/internal/testenv"
	"github.com/waybill-data/waybill/internal/testenv/chserver"
	"github.com/waybill-data/waybill/internal/testenv/faultproxy"
	"github.com/waybill-data/waybill/internal/testenv/kafkaserver"
)

// refuses runs a worker that must not run, and expects its exit code and words of its message.
func (w *world) refuses(code int, words ...string) {
	w.Helper()
	p := w.start("")
	if got := p.exit(patience); got != code {
		w.Errorf("exit code %d, want %d", got, code)
	}
	message := ""
	for line := range strings.SplitSeq(p.log.String(), "\n") {
		if !strings.HasPrefix(line, "{") {
			message += line + "\n"
		}
	}
	for _, word := range words {
		if !strings.Contains(message, word) {
			w.Errorf("the message does not say %q:\n%s", word, message)
		}
	}
	w.observe("refusals with exit code "+fmt.Sprint(code), 1)
}

func TestOperator_MistakesAreNamedAndLoseNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setup setup
		spoil func(w *world)
		code  int
		words []string
		mend  func(w *world)
	}{
		"bad YAML": {
			spoil: func(w *world) { w.file = strings.Replace(w.pipelineFile(), "format: json", "fromat: json", 1) },
			code:  2, words: []string{"fromat", "pipeline.yaml"},
			mend: func(w *world) { w.file = "" },
		},
		"no such table": {
			spoil: func(w *world) { w.exec("RENAME TABLE " + w.db + ".events TO " + w.db + ".elsewhere") },
			code:  4, words: []string{"events"},
			mend: func(w *world) { w.exec("RENAME TABLE " + w.db + ".elsewhere TO " + w.db + ".events") },
		},
		"a column is missing": {
			spoil: func(w *world) { w.exec("ALTER TABLE " + w.db + ".events DROP COLUMN body") },
			code:  2, words: []string{"body", "no such column"},
			mend: func(w *world) { w.exec("ALTER TABLE " + w.db + ".events ADD COLUMN body String") },
		},
		"a column of another type": {
			spoil: func(w *world) { w.exec("ALTER TABLE " + w.db + ".events MODIFY COLUMN body UInt8") },
			code:  2, words: []string{"body", "UInt8"},
			mend: func(w *world) { w.exec("ALTER TABLE " + w.db + ".events MODIFY COLUMN body String") },
		},
		"no deduplication log": {
			spoil: func(w *world) {
				w.exec("ALTER TABLE " + w.db + ".events MODIFY SETTING non_replicated_deduplication_window = 0")
			},
			code: 4, words: []string{"non_replicated_deduplication_window", "ALTER TABLE"},
			mend: func(w *world) {
				w.exec("ALTER TABLE " + w.db + ".events MODIFY SETTING non_replicated_deduplication_window = 10000")
			},
		},
		"an engine that merges rows": {
			spoil: func(w *world) {
				w.exec("RENAME TABLE "+w.db+".events TO "+w.db+".sound", fmt.Sprintf("CREATE TABLE %[1]s.events AS %[1]s.sound ENGINE = ReplacingMergeTree ORDER BY id "+
					"SETTINGS non_replicated_deduplication_window = 10000, deduplicate_merge_projection_mode = 'rebuild'", w.db))
			},
			code: 4, words: []string{"ReplacingMergeTree", "at-least-once"},
			mend: func(w *world) { w.exec("DROP TABLE "+w.db+".events", "RENAME TABLE "+w.db+".sound TO "+w.db+".events") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "bad YAML" && name != "no such table" {
				fullOnly(t)
			}
			w := newWorld(t, c.setup)
			w.produce(200, usual)
			c.spoil(w)
			w.refuses(c.code, c.words...)
			c.mend(w)
			w.settle()
			w.verify()
		})
	}
}

// The server says no to a statement for want of a grant: an error with a way out, and nothing lost.
func TestOperator_MissingGrant(t *testing.T) {
	w := newWorld(t, setup{
		ch: testenv.ClickHouse(t, func(o *chserver.Options) {
			o.Users = []chserver.User{{Name: "ingest", Grants: []string{"GRANT SELECT ON *.*"}}}
		}),
		url: "clickhouse://ingest@%s/%s",
	})
	w.produce(200, usual)
	w.refuses(4, "ACCESS_DENIED", "grant the user what the message names")
	w.url = ""
	w.settle()
	w.verify()
}

// Hosts that cannot be reached are waited for, and the status says so.
func TestOperator_HostsOutOfReach(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"ClickHouse", "Kafka"} {
		t.Run(side, func(t *testing.T) {
			proxy := testenv.Proxy(t, "127.0.0.1:1")
			if err := proxy.Down(); err != nil {
				t.Fatal(err)
			}
			var s setup
			if side == "Kafka" {
				fullOnly(t)
				s.kafka = testenv.Kafka(t, func(o *kafkaserver.Options) { o.AdvertisedAddr = proxy.Addr() })
				proxy.SetTarget(s.kafka.Addr())
			}
			if side == "Kafka" { // what the case itself produces needs the broker
				if err := proxy.Up(); err != nil {
					t.Fatal(err)
				}
			}
			w := newWorld(t, s)
			w.produce(200, usual)
			if side == "ClickHouse" {
				proxy.SetTarget(w.ch.TCPAddr())
				w.proxy = proxy
			} else if err := proxy.Down(); err != nil {
				t.Fatal(err)
			}
			if side == "Kafka" {
				w.file = strings.Replace(w.pipelineFile(), w.kafka.Addr(), proxy.Addr(), 1)
			}
			p := w.start("")
			w.eventually("stalled for want of "+side, func() bool {
				state, reason := p.state()
				return state == "stalled" && strings.Contains(reason, "refused")
			})
			w.observe("times the port was closed", proxy.Applied(faultproxy.NameDown))
			if err := proxy.Up(); err != nil {
				t.Fatal(err)
			}
			w.quiet()
			p.stop()
			w.verify()
		})
	}
}

// A stop while the server is away: what is in flight is settled by the next start.
func TestOperator_StopWhileTheServerIsAway(t *testing.T) {
	w := newWorld(t, setup{proxied: true})
	w.produce(400, usual)
	p := w.startWith("", "run", "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug", "--drain", "2s", w.writeFile())
	w.quiet()
	if err := w.proxy.Down(); err != nil {
		t.Fatal(err)
	}
	w.produce(400, usual)
	p.awaitStalled()
	p.signal(sigTerm)
	if code := p.exit(patience); code != 4 {
		t.Errorf("exit code %d", code)
	}
	w.observe("stops with batches in flight", p.said("settled at the next start"))
	if err := w.proxy.Up(); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.verify()
}

// The epoch is raised to read the topic again on purpose, here while a batch of the old epoch is pending.
func TestOperator_EpochRaised(t *testing.T) {
	t.Parallel()
	for _, pending := range []bool{false, true} {
		t.Run(fmt.Sprintf("pending=%v", pending), func(t *testing.T) {
			w := newWorld(t, setup{})
			w.produce(400, usual)
			if pending {
				w.settle()
				w.produce(400, usual)
				w.start("after-target:1").died("after-target")
			} else {
				w.settle()
			}
			ends := w.endsNow()
			if pending {
				// Of the old epoch only what was begun is finished.
				ends = nil
			}
			w.epoch++
			p := w.start("")
			w.quiet()
			if ends == nil {
				ends = map[position]int64{}
				for _, f := range w.rowsOf(fmt.Sprintf("SELECT topic, epoch, partition, max(next) FROM waybill.ledger WHERE pipeline = '%s' AND epoch = 0 GROUP BY topic, epoch, partition", w.pipeline)) {
					at := placeOf(f[0], f[1], f[2], f[3])
					ends[at.position] = at.offset
				}
			}
			w.again(ends)
			w.produce(200, usual)
			w.quiet()
			p.stop()
			w.observe("rows of the old epoch", integer(w.query("SELECT countIf(_epoch = 0) FROM "+w.db+".events")))
			w.observe("rows of the new epoch", integer(w.query("SELECT countIf(_epoch = 1) FROM "+w.db+".events")))
			w.verify()
		})
	}
}

// again says that what was produced so far is expected under the new epoch, and under the old one up to ends.
func (w *world) again(ends map[position]int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var kept []record
	for _, r := range w.records {
		if r.offset < ends[r.position] {
			kept = append(kept, r)
		}
		r.epoch = w.epoch
		kept = append(kept, r)
	}
	w.records = kept
	for at, end := range ends {
		w.ends[at] = end
	}
}

// A broker that takes shorter metadata than the default: a clear stop, and once the broker is mended
// everything goes on, with whatever was pending.
func TestOperator_ShortMetadata(t *testing.T) {
	t.Parallel()
	for _, bytes := range []string{"40", "160"} { // not even one batch fits; one does, two do not
		t.Run(bytes, func(t *testing.T) {
			if bytes != "40" {
				fullOnly(t)
			}
			w := newWorld(t, setup{partitions: 2, kafka: testenv.Kafka(t, func(o *kafkaserver.Options) {
				o.Properties = map[string]string{"offset.metadata.max.bytes": bytes}
			})})
			w.produce(6000, usual)
			w.refuses(4, "offset.metadata.max.bytes")
			if n := w.count(); bytes == "40" && n != 0 {
				t.Errorf("%d rows were written under an intent that nobody can read", n)
			}
			w.setProperty("offset.metadata.max.bytes", bytes, "4096")
			w.settle()
			w.verify()
		})
	}
}

// setProperty changes the broker's file and restarts it.
func (w *world) setProperty(name, from, to string) {
	w.Helper()
	file := filepath.Join(w.kafka.Dir(), "server.properties")
	text, err := os.ReadFile(file) //nolint:gosec // the test's own
	if err != nil {
		w.Fatal(err)
	}
	changed := strings.Replace(string(text), name+"="+from, name+"="+to, 1)
	if changed == string(text) {
		w.Fatalf("%s is not %s", name, from)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.Context(), 90*time.Second)
	defer cancel()
	if err := w.kafka.Restart(ctx); err != nil {
		w.Fatal(err)
	}
}

// Two pipelines of one process: one that must stop does not stop the other.
func TestOperator_OnePipelineStopsTheOtherGoesOn(t *testing.T) {
	w := newWorld(t, setup{})
	w.produce(400, usual)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	text := strings.NewReplacer("name: "+w.pipeline, "name: "+w.pipeline+"-bad", "table: events", "table: missing").Replace(w.pipelineFile())
	if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := w.startWith("", "run", "--listen", "", "--log-format", "json", "--log-level", "debug", w.writeFile(), bad)
	w.eventually("the group has settled everything", func() bool { return w.lag() == "" })
	p.awaitSaid("missing", `"level":"ERROR"`)
	p.signal(sigTerm)
	if code := p.exit(patience); code != 4 {
		t.Errorf("exit code %d", code)
	}
	w.observe("pipelines stopped beside a running one", p.said("missing", `"level":"ERROR"`))
	w.verify()
}
