package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	waybill "github.com/waybill-data/waybill"
)

// pin is a setting that goes out with every INSERT, whatever the user's profile says: each of them shapes blocks, tokens or
// what an acknowledgement means.
type pin struct {
	name, value string
	optional    bool // not known to every supported server; left out where it does not exist
}

// unlimited is above any block that Waybill builds (its byte budget is far below), yet small enough not to overflow.
const (
	unlimitedRows  = "1000000000"
	unlimitedBytes = "1000000000000"
)

var insertPins = []pin{
	// Acknowledged means written, by this statement.
	{name: "async_insert", value: "0"},
	{name: "wait_for_async_insert", value: "1"},
	{name: "implicit_transaction", value: "0", optional: true}, // a rolled back transaction keeps its tokens
	{name: "distributed_foreground_insert", value: "1"},
	// Tokens deduplicate, in the table and in what its views fill.
	{name: "deduplicate_insert", value: "enable", optional: true}, // 26.2
	{name: "insert_deduplicate", value: "1"},
	{name: "deduplicate_insert_select", value: "enable_when_possible", optional: true}, // 25.12; the deadline is an INSERT SELECT
	{name: "deduplicate_blocks_in_dependent_materialized_views", value: "1"},
	{name: "send_profile_events", value: "1"}, // without them a deduplicated answer cannot be told from a full one
	// One native block stays one block.
	{name: "max_insert_threads", value: "1"},
	{name: "max_insert_block_size", value: unlimitedRows},
	{name: "max_insert_block_size_bytes", value: "0", optional: true},
	{name: "min_insert_block_size_rows", value: unlimitedRows},
	{name: "min_insert_block_size_bytes", value: unlimitedBytes},
	{name: "min_insert_block_size_rows_for_materialized_views", value: "0"},
	{name: "min_insert_block_size_bytes_for_materialized_views", value: "0"},
	{name: "use_strict_insert_block_limits", value: "0", optional: true},
	{name: "input_format_parallel_parsing", value: "0"},
	{name: "input_format_connection_handling", value: "0", optional: true}, // 26.2
	{name: "input_format_max_block_wait_ms", value: "0", optional: true},   // 26.2
	// A view that throws is a refusal, never silence.
	{name: "materialized_views_ignore_errors", value: "0"},
	{name: "parallel_view_processing", value: "0"},
	{name: "throw_on_max_partitions_per_insert_block", value: "1"},
	// NULL for a column that is not Nullable means the column's own DEFAULT, which the server evaluates (docs/adr/0009).
	{name: "insert_null_as_default", value: "1"},
	// input() names the block's types: what the table was made with is not refused there.
	{name: "allow_suspicious_low_cardinality_types", value: "1"},
	{name: "allow_suspicious_fixed_string_types", value: "1"},
	{name: "allow_suspicious_variant_types", value: "1", optional: true},
	{name: "timeout_overflow_mode", value: "throw"},
	{name: "log_comment", value: "waybill"},
}

// readSettings go with every SELECT. A profile must not be able to make a read-back partial, cached or somebody else's:
// "absent" would then be said of rows that are there, and they would be inserted twice.
var readSettings = []ch.Setting{
	{Key: "read_overflow_mode", Value: "throw"},
	{Key: "read_overflow_mode_leaf", Value: "throw"},
	{Key: "group_by_overflow_mode", Value: "throw"},
	{Key: "result_overflow_mode", Value: "throw"},
	{Key: "timeout_overflow_mode", Value: "throw"},
	{Key: "sort_overflow_mode", Value: "throw"},
	{Key: "set_overflow_mode", Value: "throw"},
	{Key: "distinct_overflow_mode", Value: "throw"},
	{Key: "limit", Value: "0"},
	{Key: "offset", Value: "0"},
	{Key: "additional_result_filter", Value: ""},
	{Key: "additional_table_filters", Value: "{}"},
	{Key: "use_query_cache", Value: "0"},
	{Key: "use_query_condition_cache", Value: "0"},
	{Key: "enable_parallel_replicas", Value: "0"}, // the same host that took the insert
	{Key: "select_sequential_consistency", Value: "1"},
	{Key: "final", Value: "0"},
	{Key: "max_query_size", Value: "16777216"}, // many spans in one statement
	{Key: "max_ast_elements", Value: "1000000"},
	{Key: "short_circuit_function_evaluation", Value: "enable"},
	{Key: "low_cardinality_allow_in_native_format", Value: "0"}, // String whatever the column says
	{Key: "log_comment", Value: "waybill"},
}

// insertSettings are the pins that this server knows. Read-only after Open.
type insertSettings []ch.Setting

func (s insertSettings) with(extra ...ch.Setting) []ch.Setting {
	return append(slices.Clip([]ch.Setting(s)), extra...)
}

// pinSettings finds out which pins this server knows, sends them all with a query and reads them back.
func (c *Client) pinSettings(ctx context.Context, cn *conn) error {
	known, err := readBack(ctx, cn, nil)
	if err != nil {
		return err
	}
	var send insertSettings
	for _, p := range insertPins {
		if _, ok := known[p.name]; ok {
			// Important: an unknown or forbidden setting is an error, never ignored.
			send = append(send, ch.Setting{Key: p.name, Value: p.value, Important: true})
		} else if !p.optional {
			return settingError(p.name, fmt.Errorf("the server does not know the setting %s", p.name))
		}
	}
	got, err := readBack(ctx, cn, send)
	if err != nil {
		return vetoError(send, err)
	}
	for _, s := range send {
		if v := got[s.Key]; v != s.Value {
			return settingError(s.Key, fmt.Errorf("setting %s is %q although %q was asked for", s.Key, v, s.Value))
		}
	}
	c.settings = send
	return nil
}

// readBack asks for the pinned settings' values under the given settings.
func readBack(ctx context.Context, cn *conn, settings []ch.Setting) (map[string]string, error) {
	names := make([]string, len(insertPins))
	for i, p := range insertPins {
		names[i] = Literal(p.name)
	}
	var name, value proto.ColStr
	values := map[string]string{}
	err := cn.do(ctx, &statement{
		body:     "SELECT name, value FROM system.settings WHERE name IN (" + strings.Join(names, ", ") + ")",
		settings: append(slices.Clone(readSettings), settings...),
		result:   proto.Results{{Name: "name", Data: &name}, {Name: "value", Data: &value}},
		onRows: func(rows int) error {
			for i := range rows {
				values[name.Row(i)] = value.Row(i)
			}
			return nil
		},
	})
	return values, err
}

// vetoError names the setting that a profile's constraint refuses.
func vetoError(sent insertSettings, err error) error {
	e, ok := ch.AsException(err)
	if !ok || !e.IsCode(proto.ErrReadonly, errSettingConstraint, proto.ErrUnknownSetting) {
		return err
	}
	longest := ""
	for _, s := range sent {
		if strings.Contains(e.Message, s.Key) && len(s.Key) > len(longest) {
			longest = s.Key
		}
	}
	return settingError(longest, err)
}

func settingError(name string, err error) error {
	code, class := 0, waybill.ClassConfig
	if e, ok := ch.AsException(err); ok {
		code, class = int(e.Code), waybill.ClassDenied // the profile says so, which may change
	}
	return &waybill.Error{
		Op:    "clickhouse.open",
		Code:  code,
		Class: class,
		Hint:  fmt.Sprintf("let this user's settings profile change %s: exactly-once inserts depend on it", name),
		Err:   err,
	}
}
