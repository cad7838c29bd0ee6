package audit

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTTLOf(t *testing.T) {
	for _, c := range []struct {
		engine string
		want   []string // conditions
		unread string
	}{
		{"MergeTree ORDER BY id SETTINGS index_granularity = 8192", nil, ""},
		{"MergeTree ORDER BY id TTL day + toIntervalYear(1) SETTINGS index_granularity = 8192", []string{"(day + toIntervalYear(1)) <= now()"}, ""},
		{"MergeTree ORDER BY id TTL at + toIntervalDay(7) DELETE WHERE kind IN ('a, b', ' WHERE '), day + toIntervalYear(1)", []string{"(at + toIntervalDay(7)) <= now() AND (kind IN ('a, b', ' WHERE '))", "(day + toIntervalYear(1)) <= now()"}, ""},
		{"MergeTree ORDER BY id TTL at + toIntervalDay(7) TO DISK 'cold', at + toIntervalDay(9) RECOMPRESS CODEC(ZSTD(9)), at + toIntervalDay(9) TO VOLUME 'v'", nil, ""},
		{"MergeTree ORDER BY id TTL at + toIntervalDay(7) GROUP BY id SET n = sum(n)", nil, "a TTL that sums rows up"},
		{"MergeTree ORDER BY (id, ' TTL ') SETTINGS comment = ' TTL x'", nil, ""},
	} {
		rules, unread := ttlOf(c.engine)
		var got []string
		for _, r := range rules {
			got = append(got, r.condition())
		}
		if !slices.Equal(got, c.want) || !strings.Contains(unread, c.unread) || (unread == "") != (c.unread == "") {
			t.Errorf("%s: %q, %q", c.engine, got, unread)
		}
	}
}

func TestParseMutation(t *testing.T) {
	for _, c := range []struct {
		command string
		want    mutation
		ok      bool
	}{
		{"(DELETE WHERE id IN (6, 7))", mutation{deletes: true, condition: "id IN (6, 7)"}, true},
		{"DELETE WHERE (id = 1) AND (s = 'x')", mutation{deletes: true, condition: "(id = 1) AND (s = 'x')"}, true},
		{"(UPDATE _row_exists = 0 IN PARTITION '202612' WHERE id = 50)", mutation{deletes: true, condition: "id = 50"}, true},
		{"(UPDATE `s` = concat('a, b = c', ' WHERE '), n = n + 1 WHERE s = ' WHERE ')", mutation{assigns: []string{"s", "n"}, condition: "s = ' WHERE '"}, true},
		{"(MATERIALIZE INDEX i)", mutation{}, false},
		{"(DROP COLUMN c)", mutation{}, false},
	} {
		got, ok := parseMutation(c.command)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(mutation{})); diff != "" || ok != c.ok {
			t.Errorf("%s: %t %s", c.command, ok, diff)
		}
	}
}
