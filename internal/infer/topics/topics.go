// Package topics makes events of many shapes from a seed, for tests of what is proposed for them.
package topics

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/waybill-data/waybill"
)

type obj = map[string]any

// shapes are what events of a topic look like.
var shapes = map[string]func(r *rand.Rand, i int, at time.Time) any{
	"flat": func(r *rand.Rand, i int, at time.Time) any {
		return obj{"id": i, "at": at.Format(time.RFC3339Nano), "model": pick(r, "a", "b", "c"), "tokens": r.IntN(100000), "cost": r.Float64() * 3, "ok": r.IntN(2) == 0, "note": words(r, 8)}
	},
	"deep": func(r *rand.Rand, i int, at time.Time) any {
		v := any(obj{"n": r.IntN(50), "s": words(r, 2)})
		for _, name := range []string{"f", "e", "d", "c", "b", "a"} {
			v = obj{name: v, "k_" + name: r.IntN(9)}
		}
		return obj{"ts": at.UnixMilli(), "root": v}
	},
	"sparse": func(r *rand.Rand, i int, at time.Time) any {
		o := obj{"ts": at.Unix()}
		for f := range 60 {
			if r.IntN(20) == 0 {
				o[fmt.Sprintf("f_%02d", f)] = []any{r.IntN(1000), words(r, 1), r.Float64(), r.IntN(2) == 0}[f%4]
			}
		}
		return o
	},
	"mixed": func(r *rand.Rand, i int, at time.Time) any {
		return obj{"ts": float64(at.UnixMicro()) / 1e6, "v": []any{1, "x", true, 2.5}[r.IntN(4)], "id": []any{i, fmt.Sprint(i)}[r.IntN(2)], "arr": []any{r.IntN(5), r.IntN(5)}}
	},
	"huge": func(r *rand.Rand, i int, at time.Time) any {
		return obj{"created_at": at.Format(time.RFC3339), "prompt": strings.Repeat(words(r, 10), 1+r.IntN(400)), "vec": []any{r.Float64(), r.Float64(), r.Float64()}}
	},
	"arrays of objects": func(r *rand.Rand, i int, at time.Time) any {
		var items []any
		for range r.IntN(5) {
			o := obj{"sku": words(r, 1), "price": r.Float64() * 100, "tags": []any{words(r, 1)}}
			if r.IntN(3) == 0 {
				o["gift"] = true
			}
			items = append(items, o)
		}
		if items == nil {
			items = []any{}
		}
		return obj{"ts": at.UnixNano(), "order": obj{"items": items}}
	},
	"ids": func(r *rand.Rand, i int, at time.Time) any {
		return obj{"ts": at.UnixMicro(), "id": r.Uint64() | 1<<63, "snow": r.Int64(), "uuid": uuidOf(r), "hash": fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()), "quoted": fmt.Sprint(r.Int64())}
	},
	"maps": func(r *rand.Rand, i int, at time.Time) any {
		counts, labels := obj{}, obj{}
		for range 3 {
			counts[fmt.Sprintf("user-%d", r.IntN(500))] = r.IntN(100)
			labels[words(r, 1)] = words(r, 1)
		}
		return obj{"when": at.Format("2006-01-02 15:04:05"), "counts": counts, "labels": labels}
	},
	"versions": func(r *rand.Rand, i int, at time.Time) any {
		if i%3 == 0 {
			return obj{"schema_version": 1, "ts": at.UnixMilli(), "user": words(r, 1), "prompt_tokens": r.IntN(100)}
		}
		return obj{"schema_version": 2, "ts": at.UnixMilli(), "user": obj{"id": words(r, 1)}, "usage": obj{"input_tokens": r.IntN(100)}}
	},
	"debezium": func(r *rand.Rand, i int, at time.Time) any {
		row := obj{"id": i, "email": words(r, 1), "balance": fmt.Sprintf("%d.%02d", r.IntN(1000), r.IntN(100))}
		o := obj{"before": nil, "after": row, "op": "c", "ts_ms": at.UnixMilli(), "source": obj{"table": "users", "lsn": r.Int64N(1 << 40), "snapshot": "false"}}
		if r.IntN(2) == 0 {
			o["before"], o["op"] = row, "u"
		}
		return o
	},
	"otlp": func(r *rand.Rand, i int, at time.Time) any {
		var spans []any
		for range 1 + r.IntN(4) {
			spans = append(spans, obj{"traceId": fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()), "name": words(r, 1), "startTimeUnixNano": fmt.Sprint(at.UnixNano()), "kind": 3,
				"attributes": []any{obj{"key": "gen_ai.system", "value": obj{"stringValue": "x"}}, obj{"key": "tokens", "value": obj{"intValue": "12"}}}})
		}
		return obj{"resourceSpans": []any{obj{"resource": obj{"attributes": []any{obj{"key": "service.name", "value": obj{"stringValue": "api"}}}}, "scopeSpans": []any{obj{"scope": obj{"name": "s"}, "spans": spans}}}}}
	},
	"non-JSON mixed in": func(r *rand.Rand, i int, at time.Time) any {
		if i%2000 == 7 {
			return json.RawMessage("not json")
		}
		return obj{"ts": at.Unix(), "s": words(r, 2)}
	},
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

func words(r *rand.Rand, n int) string {
	var out []string
	for range n {
		out = append(out, fmt.Sprintf("w%d", r.IntN(5000)))
	}
	return strings.Join(out, " ")
}

func uuidOf(r *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<16), r.IntN(1<<16), r.Int64N(1<<48))
}

// Names are of the topics that there are.
func Names() []string { return slices.Sorted(maps.Keys(shapes)) }

// Events are n events of a topic, from one on. Those of the same seed are the same.
func Events(name string, seed uint64, from, n int) []waybill.Record {
	r := rand.New(rand.NewPCG(seed, uint64(from))) //nolint:gosec // nothing to guess
	var out []waybill.Record
	for i := range n {
		at := time.UnixMilli(1_795_000_000_000 + int64(from+i)*731 + int64(r.IntN(500))).UTC()
		v := shapes[name](r, from+i, at)
		text, err := json.Marshal(v)
		if raw, is := v.(json.RawMessage); is {
			text, err = raw, nil
		}
		if err != nil {
			panic(err)
		}
		out = append(out, waybill.Record{Topic: "t", Offset: int64(from + i), Time: at.UnixMilli(), Value: text})
	}
	return out
}
