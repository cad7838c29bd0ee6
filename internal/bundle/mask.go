package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Hidden stands where something was taken out.
const Hidden = "***"

// short is the length below which a secret is only looked for as a word of its own: inside of other words it would be anything.
const short = 6

// Masker takes out of texts what must not be shown. The zero value takes out nothing but what servers quote.
type Masker struct {
	long  *strings.Replacer
	all   [][]byte // that long takes out
	words []string // the short ones
}

// NewMasker is one for secrets, which are taken out in every shape in which programs write them, beside users' names too; and for texts, which are
// taken out as they are and as JSON has them.
func NewMasker(secrets, users, texts []string) *Masker {
	m := &Masker{}
	var shapes []string
	put := func(forms ...string) {
		for _, s := range forms {
			switch {
			case s == "":
			case len(s) < short:
				m.words = append(m.words, s)
			default:
				shapes = append(shapes, s)
			}
		}
	}
	for _, s := range secrets {
		put(written(s)...)
		for _, u := range append([]string{""}, users...) {
			if u != "" {
				u += ":"
			}
			put(encoded(u + s)...)
		}
	}
	for _, s := range texts {
		put(s, inJSON(s), inJSON(inJSON(s)))
	}
	slices.Sort(m.words)
	m.words = slices.Compact(m.words)
	slices.Sort(shapes)
	shapes = slices.Compact(shapes)
	// Of two that begin at the same place the longer one goes.
	slices.SortStableFunc(shapes, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, s := range shapes {
		pairs = append(pairs, s, Hidden)
		m.all = append(m.all, []byte(s))
	}
	m.long = strings.NewReplacer(pairs...)
	return m
}

// written are the ways in which a text is written into others.
func written(s string) []string {
	quoted := strconv.Quote(s)
	sql := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s)
	out := []string{s, url.QueryEscape(s), url.PathEscape(s), strings.TrimPrefix(url.UserPassword("", s).String(), ":"), quoted[1 : len(quoted)-1], sql, strings.ReplaceAll(s, "'", "''")}
	for _, form := range slices.Clone(out) {
		out = append(out, inJSON(form), inJSON(inJSON(form)))
	}
	// As JSON has it for browsers.
	if html, err := json.Marshal(s); err == nil {
		out = append(out, string(html[1:len(html)-1]))
	}
	return out
}

// encoded are the ways in which HTTP has it.
func encoded(s string) []string {
	b := []byte(s)
	return []string{base64.StdEncoding.EncodeToString(b), base64.RawStdEncoding.EncodeToString(b), base64.URLEncoding.EncodeToString(b), base64.RawURLEncoding.EncodeToString(b)}
}

// inJSON is a text as a JSON string has it, without the quotes.
func inJSON(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return s
	}
	text := strings.TrimSuffix(b.String(), "\n")
	return text[1 : len(text)-1]
}

// Bytes is a file without what must not be shown; false: something is in it all the same.
func (m *Masker) Bytes(data []byte) ([]byte, bool) {
	text := Quoted(string(data))
	if m.long != nil {
		text = m.long.Replace(text)
	}
	for _, w := range m.words {
		text = maskWord(text, w)
	}
	out := []byte(text)
	for _, s := range m.all { // what was put together by taking out something else
		if bytes.Contains(out, s) {
			return nil, false
		}
	}
	return out, true
}

// Text is a text without what must not be shown.
func (m *Masker) Text(s string) string {
	if out, ok := m.Bytes([]byte(s)); ok {
		return string(out)
	}
	return Hidden
}

// maskWord hides w where it is a word of its own.
func maskWord(text, w string) string {
	var b strings.Builder
	for from := 0; ; {
		i := strings.Index(text[from:], w)
		if i < 0 {
			b.WriteString(text[from:])
			return b.String()
		}
		i += from
		end := i + len(w)
		if i > 0 && wordly(text[i-1]) && wordly(w[0]) || end < len(text) && wordly(text[end]) && wordly(w[len(w)-1]) {
			b.WriteString(text[from : i+1])
			from = i + 1
			continue
		}
		b.WriteString(text[from:i] + Hidden)
		from = end
	}
}

func wordly(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// serverQuotes are the words of a ClickHouse server behind which it quotes values of rows.
var serverQuotes = []*regexp.Regexp{
	regexp.MustCompile(`(Column values: )(?:[^"\\\n]|\\.)+`),
	regexp.MustCompile(`((?i:cannot (?:parse|read|convert)|unknown element|while parsing)[^'"\n]{0,80}')(?:[^'\\\n]|\\.)+(')`),
	regexp.MustCompile(`((?i:cannot parse input: expected)[^:\n]{0,40}(?i:before): )(?:[^"\\\n]|\\.)+`),
}

// Quoted is a text without the values that a server quotes in it.
func Quoted(text string) string {
	for _, r := range serverQuotes {
		text = r.ReplaceAllString(text, "${1}"+Hidden+"${2}")
	}
	return text
}
