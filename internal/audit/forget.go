package audit

import (
	"fmt"
	"strings"

	"github.com/waybill-data/waybill/internal/clickhouse"
)

// ttlRule is when a table removes rows.
type ttlRule struct {
	text         string
	expr, filter string
}

// condition is that for rows whose time has come.
func (r ttlRule) condition() string {
	if r.filter == "" {
		return fmt.Sprintf("(%s) <= now()", r.expr)
	}
	return fmt.Sprintf("(%s) <= now() AND (%s)", r.expr, r.filter)
}

// forgetful says how rows of a table may be gone by right.
func (t *table) forgetful(info clickhouse.TableInfo) {
	plain := strings.TrimPrefix(strings.TrimPrefix(info.Engine, "Replicated"), "Shared")
	switch plain {
	case "MergeTree":
	case "ReplacingMergeTree":
		t.replacing, t.key = true, info.SortingKey
	case "Null":
		t.forgets = "its engine, Null, keeps no rows"
		for i, v := range info.Views {
			if i == 0 {
				t.forgets += "; they are in what its views fill, which is not looked at:"
			}
			t.forgets += fmt.Sprintf(" %s.%s (by %s)", v.Target.Database, v.Target.Table, v.View)
		}
		return
	default:
		t.forgets = fmt.Sprintf("its engine, %s, merges or removes rows", info.Engine)
	}
	var unread string
	if t.ttl, unread = ttlOf(info.EngineFull); unread != "" && t.forgets == "" {
		t.forgets = unread
	}
}

// may says why rows of the table may be gone by right, whatever is known of the rows themselves; empty: they may not.
func (t *table) may() string {
	switch {
	case t.forgets != "":
		return t.forgets
	case len(t.ttl) > 0:
		return "it has a TTL"
	case t.replacing:
		return "its engine replaces rows by others of the same key"
	}
	return ""
}

// ttlOf reads the rules by which a table removes rows; unread is why they cannot be read.
func ttlOf(engineFull string) (rules []ttlRule, unread string) {
	_, clause, ok := cutOutside(engineFull, " TTL ")
	if !ok {
		return nil, ""
	}
	clause, _, _ = cutOutside(clause, " SETTINGS ")
	for clause != "" {
		var one string
		one, clause, _ = cutOutside(clause, ", ")
		if has(one, " TO DISK ") || has(one, " TO VOLUME ") || has(one, " RECOMPRESS ") {
			continue // the rows stay
		}
		if has(one, " GROUP BY ") {
			return nil, "it has a TTL that sums rows up (" + one + ")"
		}
		r := ttlRule{text: one}
		r.expr, r.filter, _ = cutOutside(one, " WHERE ")
		r.expr = strings.TrimSuffix(r.expr, " DELETE")
		rules = append(rules, r)
	}
	return rules, ""
}

func has(text, mark string) bool {
	_, _, ok := cutOutside(text, mark)
	return ok
}

// cutOutside cuts text at the first mark that is in no quotes and no parentheses.
func cutOutside(text, mark string) (before, after string, found bool) {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case depth == 0 && strings.HasPrefix(text[i:], mark):
			return text[:i], text[i+len(mark):], true
		case c == '\'' || c == '`' || c == '"':
			quote = c
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		}
	}
	return text, "", false
}
