package trial

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/waybill-data/waybill"
)

// Events reads records from lines.
type Events struct {
	in    *bufio.Reader
	topic string
	whole bool
	// Line is the number of the line read last, from 1.
	Line int
	// Empty is how many lines have been skipped: those with nothing, or blanks, on them.
	Empty int
	next  int64
}

// ReadEvents reads from r. Each line is the value of a record, whatever is on it; with whole it is a record, see envelope. Where the
// input does not say otherwise, records are of the given topic, partition 0, offsets 0, 1, 2, ..., at the Unix epoch.
func ReadEvents(r io.Reader, topic string, whole bool) *Events {
	return &Events{in: bufio.NewReaderSize(r, 1<<16), topic: topic, whole: whole}
}

// Next is the next record; io.EOF after the last one. Other errors name the line.
func (e *Events) Next() (waybill.Record, error) {
	for {
		line, err := e.in.ReadBytes('\n')
		if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
			return waybill.Record{}, err
		}
		e.Line++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(line)) == 0 {
			e.Empty++
			continue
		}
		r := waybill.Record{Topic: e.topic, Offset: e.next, Value: line}
		if e.whole {
			if r, err = e.record(line); err != nil {
				return r, fmt.Errorf("line %d: %w", e.Line, err)
			}
		}
		e.next = r.Offset + 1
		return r, nil
	}
}

// envelope is a record as a line. Values that are strings are the bytes of the string, so that a broken event can be written too;
// null is a record without a value (a tombstone), key or header value; anything else is its JSON text.
type envelope struct {
	Value     json.RawMessage            `json:"value"`
	Key       json.RawMessage            `json:"key"`
	Headers   map[string]json.RawMessage `json:"headers"`
	Timestamp json.RawMessage            `json:"timestamp"` // RFC 3339, or milliseconds since the Unix epoch
	Topic     *string                    `json:"topic"`
	Partition int32                      `json:"partition"`
	Offset    *int64                     `json:"offset"`
}

func (e *Events) record(line []byte) (waybill.Record, error) {
	var v envelope
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		return waybill.Record{}, fmt.Errorf("not a record: %w", err)
	}
	if dec.More() {
		return waybill.Record{}, errors.New("not a record: more than one value on the line")
	}
	r := waybill.Record{Topic: e.topic, Partition: v.Partition, Offset: e.next, Value: bytesOf(v.Value), Key: bytesOf(v.Key)}
	if v.Topic != nil {
		r.Topic = *v.Topic
	}
	if v.Offset != nil {
		r.Offset = *v.Offset
	}
	for _, name := range slices.Sorted(maps.Keys(v.Headers)) {
		r.Headers = append(r.Headers, waybill.Header{Key: name, Value: bytesOf(v.Headers[name])})
	}
	var err error
	r.Time, err = millisOf(v.Timestamp)
	return r, err
}

// bytesOf is what a value of an envelope stands for.
func bytesOf(text json.RawMessage) []byte {
	var s string
	switch {
	case len(text) == 0 || string(text) == "null":
		return nil
	case json.Unmarshal(text, &s) == nil:
		return []byte(s)
	}
	return text
}

func millisOf(text json.RawMessage) (int64, error) {
	var at time.Time
	var millis int64
	switch {
	case len(text) == 0:
		return 0, nil
	case json.Unmarshal(text, &millis) == nil:
		return millis, nil
	case json.Unmarshal(text, &at) == nil:
		return at.UnixMilli(), nil
	}
	return 0, fmt.Errorf("timestamp %s is neither milliseconds since 1970 nor RFC 3339", text)
}
