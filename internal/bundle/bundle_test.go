package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A secret is taken out in every shape in which programs write it, also inside of JSON inside of JSON; a Masker that does not know it leaves it.
func TestMasker_KnowsASecretInEveryShape(t *testing.T) {
	const secret, user = `p'w"\d/é<&>+ =%`, "ann"
	once, _ := json.Marshal(secret)
	for name, shape := range map[string]string{
		"bare": secret, "query": url.QueryEscape(secret), "path": url.PathEscape(secret), "userinfo": strings.TrimPrefix(url.UserPassword("", secret).String(), ":"),
		"JSON": inJSON(secret), "JSON for browsers": string(once[1 : len(once)-1]), "JSON in JSON": inJSON(inJSON(secret)), "Go": strings.Trim(fmt.Sprintf("%q", secret), `"`),
		"SQL": strings.ReplaceAll(secret, "'", "''"), "base64": base64.StdEncoding.EncodeToString([]byte(secret)), "basic": base64.StdEncoding.EncodeToString([]byte(user + ":" + secret)),
	} {
		text := []byte("before " + shape + " behind")
		got, ok := NewMasker([]string{secret}, []string{user}, nil).Bytes(text)
		if want := "before " + Hidden + " behind"; !ok || string(got) != want {
			t.Errorf("%s: %q, %t", name, got, ok)
		}
		if got, ok := NewMasker([]string{"another secret"}, []string{user}, nil).Bytes(text); !ok || !bytes.Equal(got, text) {
			t.Errorf("%s: a Masker that does not know it made %q of it", name, got)
		}
	}
}

// What is short is hidden as a word, and not in the middle of others.
func TestMasker_ShortSecretsAreWords(t *testing.T) {
	m := NewMasker([]string{"abc", "a.b"}, nil, nil)
	for in, want := range map[string]string{
		"abc":               "***",
		`{"p":"abc"}`:       `{"p":"***"}`,
		"abcd xabc ab":      "abcd xabc ab",
		"u:abc@h abc, abcd": "u:***@h ***, abcd",
		"xa.b a.bx a.b":     "xa.b a.bx ***",
	} {
		if got := m.Text(in); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}

// Of secrets that begin alike the longer one goes; a secret that comes about by taking out another keeps the piece from the archive.
func TestMasker_Overlaps(t *testing.T) {
	if got := NewMasker([]string{"secret", "secret-and-more"}, nil, nil).Text("secret-and-more, secret"); got != "***, ***" {
		t.Error(got)
	}
	pieces := []Piece{{Name: "a", Data: []byte("xx123456yy")}}
	Mask(pieces, NewMasker([]string{"123456", "xx***yy"}, nil, nil))
	if pieces[0].There() || len(pieces[0].Lacks) != 1 {
		t.Errorf("%+v", pieces[0])
	}
}

// Values of events that are quoted are hidden as they are and as JSON has them; a server's own quotes go without being known.
func TestMasker_QuotedValues(t *testing.T) {
	m := NewMasker(nil, nil, []string{`"a value"`})
	for in, want := range map[string]string{
		`as "a value"; they`:                                   `as ***; they`,
		`{"message":"as \"a value\"; they"}`:                   `{"message":"as ***; they"}`,
		"DB::Exception: Column values: x = -5, y = 'z'":        "DB::Exception: Column values: ***",
		`{"m":"Column values: x = \"q\", y","n":1}`:            `{"m":"Column values: ***","n":1}`,
		"Cannot parse string 'ann@example.org' as UInt64":      "Cannot parse string '***' as UInt64",
		"Unknown element 'gold' for enum":                      "Unknown element '***' for enum",
		"Cannot parse input: expected ',' before: 'ann@x\\n'}": "Cannot parse input: expected '***' before: ***",
	} {
		if got := m.Text(in); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}

func TestStatement_HidesWhatReachesOut(t *testing.T) {
	for in, want := range map[string]string{
		"CREATE TABLE a.b (x String DEFAULT 'd' COMMENT 'url of it') ENGINE = MergeTree ORDER BY x":    "CREATE TABLE a.b (x String DEFAULT 'd' COMMENT 'url of it') ENGINE = MergeTree ORDER BY x",
		"CREATE TABLE a.b (x String) ENGINE = S3('https://h/b', 'AKIA', 'pw', 'CSV') SETTINGS x = 1":   "CREATE TABLE a.b (x String) ENGINE = S3('***', '***', '***', '***') SETTINGS x = 1",
		"AS SELECT * FROM mysql('h:3306', 'db', 't', 'u', 'it''s (a) pw')":                             "AS SELECT * FROM mysql('***', '***', '***', '***', '***')",
		`AS SELECT decrypt('aes', c, 'k\'ey)') FROM t WHERE x = 'y'`:                                   "AS SELECT decrypt('***', c, '***') FROM t WHERE x = 'y'",
		"CREATE DICTIONARY d (k UInt64) SOURCE(CLICKHOUSE(USER 'u' PASSWORD 'pw' DB 'd')) LIFETIME(1)": "CREATE DICTIONARY d (k UInt64) SOURCE(CLICKHOUSE(USER '***' PASSWORD '***' DB '***')) LIFETIME(1)",
		"ENGINE = Kafka SETTINGS kafka_sasl_password = 'pw', kafka_topic_list = 't'":                   "ENGINE = Kafka SETTINGS kafka_sasl_password = '***', kafka_topic_list = 't'",
		"COMMENT 'see http://u:pw@h/x?sig=abc&y=1'":                                                    "COMMENT 'see http://u:***@h/x?sig=***&y=1'",
		"AS SELECT `s3(` FROM t WHERE f(x) = 'y'":                                                      "AS SELECT `s3(` FROM t WHERE f(x) = 'y'",
		"AS SELECT * FROM remote('h', db.t, 'u', 'never closed":                                        "AS SELECT * FROM remote('***', db.t, '***', '***'",
	} {
		if got := Statement(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

func TestCommand_HidesWhatRowsAreComparedWith(t *testing.T) {
	for in, want := range map[string]string{
		"DELETE WHERE user = 'ann' AND id = 17":               "DELETE WHERE user = '***' AND id = ***",
		"UPDATE `col 1` = 'it''s' WHERE x1 IN (1, 2.5, 0xff)": "UPDATE `col 1` = '***' WHERE x1 IN (***, ***, ***)",
		`MATERIALIZE PROJECTION "p 2"`:                        `MATERIALIZE PROJECTION "p 2"`,
	} {
		if got := Command(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}

// An archive is whole and the same for the same pieces; what is there stays as it is, and nothing is left beside it.
func TestWrite_WholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	head := Head{Pipeline: "p", Version: "v1", At: time.Unix(1_800_000_000, 5)}
	pieces := []Piece{{Name: "b/x.json", What: "one", Data: []byte("{}")}, {Name: "a.txt", What: "gone", Lacks: []string{"nobody\nanswers"}}, {Name: "c.jsonl", What: "empty", Data: Lines(nil)}}
	m := NewMasker(nil, nil, nil)
	one, two := filepath.Join(dir, "one.tar.gz"), filepath.Join(dir, "two.tar.gz")
	for _, path := range []string{one, two} {
		if err := Write(path, head, pieces, m); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := os.ReadFile(one) //nolint:gosec // a file of the test
	b, _ := os.ReadFile(two) //nolint:gosec // a file of the test
	if !bytes.Equal(a, b) || len(a) == 0 {
		t.Error("the same pieces make different bytes")
	}
	if err := Write(one, head, pieces[:1], m); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if now, _ := os.ReadFile(one); !bytes.Equal(a, now) { //nolint:gosec // a file of the test
		t.Error("it was overwritten")
	}
	// A link that leads nowhere is there, too: writing through it would put the archive somewhere else.
	dangling := filepath.Join(dir, "link.tar.gz")
	if err := os.Symlink(filepath.Join(dir, "nowhere"), dangling); err != nil {
		t.Fatal(err)
	}
	if err := Write(dangling, head, pieces, m); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := Write(filepath.Join(dir, "no", "such"), head, pieces, m); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
	text := string(Contents(head, pieces))
	for _, want := range []string{"pipeline p, made by Waybill v1 at 2027-01-15", "  b/x.json (2 bytes)\n      one.\n", "  a.txt: nobody answers\n", "  c.jsonl (0 bytes)\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the manifest lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "a.txt (") {
		t.Error("the manifest has a file that is not there")
	}
}
